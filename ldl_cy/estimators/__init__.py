"""Networks as scikit-learn estimators: MLP, CNN, RNN, NeuralNet, each for classes and for numbers; Autoencoder."""
from ldl_cy.estimators.autoencoder import Autoencoder
from ldl_cy.estimators.cnn import CNNClassifier, CNNRegressor
from ldl_cy.estimators.mlp import MLPClassifier, MLPRegressor
from ldl_cy.estimators.neural_net import NeuralNetClassifier, NeuralNetRegressor
from ldl_cy.estimators.rnn import RNNClassifier, RNNRegressor

__all__ = [
    "Autoencoder", "CNNClassifier", "CNNRegressor", "MLPClassifier", "MLPRegressor", "NeuralNetClassifier",
    "NeuralNetRegressor", "RNNClassifier", "RNNRegressor"]
