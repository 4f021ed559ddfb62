"""Networks as scikit-learn estimators: MLP, CNN, RNN and NeuralNet, each for classification and regression."""
from ldl_cy.estimators.cnn import CNNClassifier, CNNRegressor
from ldl_cy.estimators.mlp import MLPClassifier, MLPRegressor
from ldl_cy.estimators.neural_net import NeuralNetClassifier, NeuralNetRegressor
from ldl_cy.estimators.rnn import RNNClassifier, RNNRegressor

__all__ = [
    "CNNClassifier", "CNNRegressor", "MLPClassifier", "MLPRegressor", "NeuralNetClassifier",
    "NeuralNetRegressor", "RNNClassifier", "RNNRegressor"]
