"""Outputs to which the loss applies its activation once more: refused however the last layers pass them on."""
import numpy as np
import pytest

from ldl_cy import Sequential, layers, losses, optimizers
from ldl_cy.layers import Activation, Add, Bidirectional, Concatenate, Dense, Dropout, Flatten, Reshape

X = np.random.default_rng(0).standard_normal((10, 6))
STEPS = X.reshape(10, 2, 3)
SOFTMAX, LOGISTIC, SIGMOID = Dense(4, "softmax"), Dense(4, "logistic"), Dense(4, "sigmoid")
RECURRENT = layers.RNN(2, "sigmoid", name="own")

APPLIED = [     # layers, the activation and the layer that are named
    ([SOFTMAX], "softmax", "dense_0"), ([LOGISTIC], "logistic", "dense_0"), ([SIGMOID], "sigmoid", "dense_0"),
    ([SOFTMAX, Dropout(0.1)], "softmax", "dense_0"), ([SIGMOID, Dropout(0)], "sigmoid", "dense_0"),
    ([SOFTMAX, Flatten()], "softmax", "dense_0"), ([SOFTMAX, Reshape(4)], "softmax", "dense_0"),
    ([Dense(3), SOFTMAX, Dropout(0.1), Reshape((2, 2)), Flatten(), Dropout(0.5)], "softmax", "dense_1"),
    ([Dense(4), Activation("softmax")], "softmax", "activation_1"),
    ([Dense(4), Activation("sigmoid", name="probabilities"), Flatten()], "sigmoid", "probabilities"),
    ([SOFTMAX, Activation("identity")], "softmax", "dense_0"), ([SOFTMAX, Activation("linear")], "softmax", "dense_0"),
    ([Dense(4, "softmax", name="head"), Dropout(0.1)], "softmax", "head"),
    ([Concatenate([Dense(2, "softmax")], [Dense(2)])], "softmax", "concatenate_0.0.dense_0"),
    ([Concatenate([Dense(2)], [Dense(2), Activation("sigmoid")]), Flatten()], "sigmoid",
     "concatenate_0.1.activation_1"),
    ([SOFTMAX, Concatenate([], [Dense(2)])], "softmax", "dense_0"),
    ([SOFTMAX, Concatenate([Dropout(0.1)], [Dense(2)])], "softmax", "dense_0"),
    ([SOFTMAX, Concatenate([Concatenate([], [Dense(1)]), Dropout(0.1)], [Dense(1)])], "softmax", "dense_0"),
    ([SOFTMAX, Reshape((2, 2)), layers.Permute((2, 1))], "softmax", "dense_0"),
    ([SIGMOID, Reshape((2, 2)), layers.ZeroPadding1D(1)], "sigmoid", "dense_0"),
    ([SIGMOID, Reshape((2, 2, 1)), layers.ZeroPadding2D(1), Flatten()], "sigmoid", "dense_0"),
    ([Reshape((2, 3)), RECURRENT], "sigmoid", "own"),
    ([Reshape((2, 3)), Bidirectional(RECURRENT)], "sigmoid", "bidirectional_1"),
    ([Reshape((2, 3)), Bidirectional(RECURRENT), Dropout(0.1)], "sigmoid", "bidirectional_1"),
    ([Reshape((2, 3, 1)), layers.Conv2D(4, (2, 3), activation="softmax"), Flatten()], "softmax", "conv2d_1"),
]
RAW = [
    [SOFTMAX, Dense(4)], [SOFTMAX, Activation("tanh")], [Dense(4, "tanh"), Dropout(0.1)], [SOFTMAX, layers.BatchNorm()],
    [Add([SOFTMAX], [Dense(4)])], [SOFTMAX, Add([], [Dense(4)])], [SOFTMAX, layers.LayerNorm(), Flatten()],
    [Concatenate([SOFTMAX, Dense(2)], [Dense(2)])], [Reshape((2, 3)), Bidirectional(RECURRENT, "sum")],
    [SOFTMAX, layers.PReLU()], [layers.Multiply([SOFTMAX], [Dense(4)])],
    [Reshape((2, 3)), RECURRENT, Dense(4)], [Dense(4, "softplus")],
]


def uses(model, loss):
    y = np.full((10, *model.output_shape), 1 / model.output_shape[-1])
    yield lambda: model.fit(X, y, loss=loss, epochs=1)
    yield lambda: model.fit(X, y, loss=loss, epochs=1, optimizer=optimizers.LBFGS())
    yield lambda: model.fit([(X, y)], loss=loss, epochs=1)
    yield lambda: model.evaluate(X, y, loss=loss)
    yield lambda: model.loss_and_grad(X, y, loss=loss)


@pytest.mark.parametrize("loss", ["log_loss", "binary_log_loss", losses.LogLoss(0.1)], ids=str)
@pytest.mark.parametrize(("stack", "activation", "name"), APPLIED, ids=str)
def test_applied_twice(stack, activation, name, loss):
    model = Sequential(stack, random_state=0).build(6)
    for use in uses(model, loss):
        with pytest.raises(ValueError, match=rf"the loss applies {activation} itself; drop activation='{activation}' "
                                             rf"from layer '{name}'\.$"):
            use()
    assert np.isfinite(model.evaluate(X, np.zeros((10, *model.output_shape)), loss="squared_error"))


@pytest.mark.parametrize("loss", ["log_loss", "binary_log_loss"])
@pytest.mark.parametrize("stack", RAW, ids=str)
def test_raw_outputs(stack, loss):
    model = Sequential(stack, random_state=0).build(6)
    assert all(use() is not None for use in uses(model, loss))


@pytest.mark.parametrize("kind", [getattr(layers, name) for name in layers.__all__])
def test_layers_that_keep_values_have_no_weights_and_no_activation(kind):
    """What a subclass of Layer says by default is that its output is neither its input nor an activation of it."""
    if kind.output_activations is not layers.Layer.output_activations:
        assert kind in (Activation, Bidirectional, Concatenate, Dropout, Flatten, Reshape, layers.RNN, layers.Permute,
                        layers.ZeroPadding1D, layers.ZeroPadding2D, layers.UpSampling1D, layers.UpSampling2D,
                        layers.RandomFlip, layers.RandomTranslation, layers.GaussianNoise)
