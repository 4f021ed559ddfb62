"""Schedules as long as a fit: by step and by epoch, in further fits, where the length is not known."""
import pickle
import warnings

import numpy as np
import pytest
from states import check_same

from ldl_cy import MLPRegressor, Sequential, layers, optimizers, schedules
from ldl_cy.schedules import Constant, Cosine, Linear, OneCycle, Schedule, Warmup

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((37, 4)), RNG.standard_normal((37, 1))
# without a length, and the same over n positions
MADE = {
    "linear": (lambda by: Linear(0.1, final=0.01, by=by), lambda n, by: Linear(0.1, n, 0.01, by=by)),
    "cosine": (lambda by: Cosine(0.1, by=by), lambda n, by: Cosine(0.1, n, by=by)),
    "one cycle": (lambda by: OneCycle(0.1, by=by), lambda n, by: OneCycle(0.1, n, by=by)),
    "warm-up": (lambda by: Warmup(Cosine(0.1, by=by), 2), lambda n, by: Warmup(Cosine(0.1, n - 2, by=by), 2)),
    "two warm-ups": (lambda by: Warmup(Warmup(Linear(0.1, by=by), 1), 2),
                     lambda n, by: Warmup(Warmup(Linear(0.1, n - 3, by=by), 1), 2))}


def made():
    return Sequential([layers.Dense(5, "tanh"), layers.Dense(1)], "float64", 1)


def fit(model, rate, epochs=6, kind=optimizers.SGD, **options):
    return model.fit(X, Y, loss="squared_error", optimizer=kind(rate), epochs=epochs, **{"batch_size": 8, **options})


@pytest.mark.parametrize("by", ["step", "epoch"])
@pytest.mark.parametrize("name", MADE)
def test_the_length_of_a_fit(name, by):
    """All its steps, or epochs: the bits of a schedule of that length."""
    without, of_length = MADE[name]
    for options, steps in (({}, 5), ({"batch_size": "full"}, 1), ({"validation_split": 0.3}, 4)):
        one, other = made(), made()
        fit(one, without(by), **options)
        fit(other, of_length(6 * steps if by == "step" else 6, by), **options)
        check_same(one, other)


@pytest.mark.parametrize("by", ["step", "epoch"])
def test_each_fit_goes_through_the_schedule_once(by, tmp_path):
    """A further fit begins with the schedule's first rate, also through a file; with a length it continues."""
    whole, parts, again = made(), made(), made()
    n = 5 if by == "step" else 1
    fit(whole, schedules.Cosine(0.1, 3 * n, by=by), 3)
    fit(parts, schedules.Cosine(0.1, by=by), 3)
    check_same(parts, whole)
    parts.save(tmp_path / "model")
    parts = Sequential.load(tmp_path / "model")
    fit(parts, schedules.Cosine(0.1, by=by), 2)

    class Twice(Schedule):
        def formula(self, t):
            return np.where(t < 3 * n, Cosine(0.1, 3 * n)(t), Cosine(0.1, 2 * n)(np.maximum(t - 3 * n, 0)))

    fit(again, Twice(by=by), 5)
    np.testing.assert_array_equal(parts.theta, again.theta)
    assert parts.training_state.optimizer.steps == 25


def test_another_optimizer_starts_over():
    """The positions are those of the new optimizer's state."""
    one, other = made(), made()
    for model, rate in ((one, Cosine(0.1)), (other, Cosine(0.1, 10))):
        fit(model, 0.01, 2)
        fit(model, rate, 2, optimizers.Adam)
    np.testing.assert_array_equal(one.theta, other.theta)


def test_batches_of_the_users():
    batches = [(X[i:i + 8], Y[i:i + 8]) for i in range(0, 37, 8)]
    one, other = made(), made()
    one.fit(batches, loss="squared_error", optimizer=optimizers.SGD(Cosine(0.1)), epochs=3)
    other.fit(batches, loss="squared_error", optimizer=optimizers.SGD(Cosine(0.1, 15)), epochs=3)
    check_same(one, other)

    class Endless:
        def __iter__(self):
            return iter(batches)

    by_epoch = made()
    by_epoch.fit(Endless(), loss="squared_error", optimizer=optimizers.SGD(Cosine(0.1, by="epoch")), epochs=3)
    assert by_epoch.epoch == 3
    with pytest.raises(ValueError, match=r"^Cosine: length must be given, or by='epoch', for an iterable of batches "):
        by_epoch.fit(Endless(), loss="squared_error", optimizer=optimizers.SGD(Cosine(0.1)), epochs=3)
    assert by_epoch.epoch == 3


def test_full_batch_descent_counts_its_epochs():
    one, other = made(), made()
    for model, rate in ((one, Linear(0.1)), (other, Linear(0.1, 4))):
        model.fit(X, Y, loss="squared_error", optimizer=optimizers.GD(rate, tol=0), epochs=4)
    check_same(one, other)


@pytest.mark.parametrize("rate", [Cosine(0.1), Linear(0.1), OneCycle(0.1), Warmup(Cosine(0.1), 3)], ids=repr)
def test_outside_of_a_fit_there_is_no_length(rate):
    with pytest.raises(ValueError, match=r"length must be an int >= 1 outside of a fit, got None"):
        rate(0)
    with pytest.raises(ValueError, match="outside of a fit"):
        optimizers.SGD(rate).coefficients(0, 3)
    sized = rate.with_length(7)
    assert sized(0) > 0 and sized.with_length(3) is sized and rate.ended(0) and not sized.ended(0)
    assert rate == pickle.loads(pickle.dumps(rate)) and rate != sized
    assert "length=None" in repr(rate)


def test_schedules_with_a_length_are_left_alone():
    for rate in (Constant(0.1), Cosine(0.1, 3), Warmup(0.1, 3), Warmup(Cosine(0.1, 3), 2), schedules.Step(0.1)):
        assert rate.with_length(9) is rate and rate.in_fit(3, 9) is rate
        sgd = optimizers.SGD(rate)
        assert sgd.in_fit((0, 0), (9, 9)) is sgd
    assert Warmup(Cosine(0.1), 9).with_length(4)(9) == 0.1          # a fit that is shorter than the warm-up


def test_estimators():
    """The schedule runs over max_iter epochs; it ended as planned, which is no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = (MLPRegressor(hidden_layer_sizes=(4,), solver=optimizers.Adam(rate), max_iter=5, batch_size=8,
                                   random_state=0).fit(X, Y[:, 0]) for rate in (Cosine(0.01), Cosine(0.01, 25)))
    np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
