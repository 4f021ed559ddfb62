"""Names of losses: what people know from other libraries."""
import numpy as np
import pytest

from ldl_cy import Sequential, layers, losses


@pytest.mark.parametrize("name", losses.ALIASES)
def test_aliases(name):
    """Keras' and PyTorch's names of the same formulas; none hides a loss's own."""
    assert type(losses.get(name)) is losses.LOSSES[losses.ALIASES[name]] and name not in losses.LOSSES


def test_a_fit_takes_an_alias():
    X, y = np.eye(4), np.arange(4.0)
    thetas = []
    for loss in ("mse", "squared_error"):
        model = Sequential([layers.Dense(1)], "float64", 0)
        model.fit(X, y, loss=loss, epochs=2)
        assert model.evaluate(X, y, loss=loss) == model.evaluate(X, y, loss="mean_squared_error")
        thetas.append(model.theta)
    np.testing.assert_array_equal(*thetas)
    assert losses.get("crossentropy").name == "log_loss" and losses.get("mae").name == "absolute_error"
    assert losses.get("binary_crossentropy").name == "binary_log_loss"
