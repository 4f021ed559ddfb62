"""Fits that end with their schedule as planned do not warn; others that make all their epochs do."""
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from small_estimators import EVERY, problem, small

from ldl_cy import MLPRegressor, optimizers, schedules

ENDS_AT_SIX = {
    "cosine": schedules.Cosine(0.01, 6, by="epoch"), "linear": schedules.Linear(0.01, 6, by="epoch"),
    "one cycle": schedules.OneCycle(0.01, 6, by="epoch"),
    "warmup": schedules.Warmup(schedules.Cosine(0.01, 4, by="epoch"), 2),
    "milestones": schedules.Step(0.01, every=(2, 5), by="epoch"),
}
STEPS = 3               # of an epoch: 90 rows in batches of 30
BY_STEP = {
    "cosine": schedules.Cosine(0.01, 6 * STEPS), "linear": schedules.Linear(0.01, 6 * STEPS),
    "one cycle": schedules.OneCycle(0.01, 6 * STEPS),
    "warmup": schedules.Warmup(schedules.Linear(0.01, 5 * STEPS), STEPS),
    "milestones": schedules.Step(0.01, every=(2, 6 * STEPS - 1)),
}
ENDLESS = [schedules.Constant(0.01), schedules.Step(0.01, every=1, by="epoch"), schedules.Exponential(0.01, 0.5),
           schedules.InverseScaling(0.01), schedules.Warmup(0.01, 2), schedules.Warmup(schedules.Constant(0.01), 2),
           lambda steps: np.full(len(steps), 0.01), 0.01]


def fit(name, rate, epochs, n=90, **parameters):
    est = small(name, solver=optimizers.SGD(rate), max_iter=epochs, batch_size=30, **parameters)
    X, y = problem(est, n)
    return est.fit(X, y)


def warns(name, rate, epochs, **parameters):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        est = fit(name, rate, epochs, **parameters)
    assert est.stop_reason_ == "epochs" and est.n_iter_ == epochs
    return [str(warning.message) for warning in caught if issubclass(warning.category, ConvergenceWarning)]


@pytest.mark.parametrize("rates", [ENDS_AT_SIX, BY_STEP], ids=["by epoch", "by step"])
@pytest.mark.parametrize("kind", ENDS_AT_SIX)
def test_a_schedule_that_is_over(kind, rates):
    assert warns("MLPClassifier", rates[kind], 6) == warns("MLPClassifier", rates[kind], 9) == []
    assert warns("MLPClassifier", rates[kind], 5) == [
        "Stochastic Optimizer: Maximum iterations (5) reached and the optimization hasn't converged yet."]


@pytest.mark.parametrize("name", EVERY)
def test_every_estimator(name):
    assert warns(name, ENDS_AT_SIX["cosine"], 6) == []
    assert len(warns(name, ENDS_AT_SIX["cosine"], 3)) == 1


@pytest.mark.parametrize("by", ["step", "epoch"])
@pytest.mark.parametrize("epochs", [1, 4, 7])
@pytest.mark.parametrize("kind", [schedules.Cosine, schedules.Linear, schedules.OneCycle])
def test_a_schedule_as_long_as_the_fit(kind, epochs, by):
    assert warns("MLPClassifier", kind(0.01, by=by), epochs) == []
    assert warns("MLPClassifier", kind(0.01, by=by), epochs, early_stopping=True, validation_fraction=0.4) == []
    if epochs > 1:
        assert warns("MLPClassifier", schedules.Warmup(kind(0.01, by="epoch"), 1), epochs) == []


@pytest.mark.parametrize("rate", ENDLESS, ids=repr)
def test_rates_without_an_end(rate):
    assert len(warns("MLPRegressor", rate, 4)) == 1
    assert not isinstance(rate, schedules.Schedule) or not rate.ended(10**9)


def test_the_position_is_that_of_all_fits():
    """A warm start continues the schedule, and another optimizer begins a new one."""
    X, y = problem(MLPRegressor(), 90)
    reg = MLPRegressor(hidden_layer_sizes=5, solver=optimizers.SGD(ENDS_AT_SIX["cosine"]), max_iter=3, warm_start=True,
                       random_state=0)
    with pytest.warns(ConvergenceWarning):
        reg.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reg.fit(X, y)
    reg.set_params(solver=optimizers.Adam(ENDS_AT_SIX["cosine"]))
    with pytest.warns(ConvergenceWarning):
        reg.fit(X, y)


def test_rows_that_are_held_out_make_no_steps():
    """A length in steps of all rows is too long for the epochs of fewer; one in epochs is not."""
    assert len(warns("MLPClassifier", BY_STEP["cosine"], 6, early_stopping=True, validation_fraction=0.4)) == 1
    assert warns("MLPClassifier", ENDS_AT_SIX["cosine"], 6, early_stopping=True, validation_fraction=0.4) == []


def test_a_schedule_of_ones_own():
    class Triangle(schedules.Schedule):
        def formula(self, t):
            return 0.01 * np.maximum(1 - t / 6, 0)

    class Ends(Triangle):
        def ended(self, position):
            return position >= 6

    assert len(warns("MLPRegressor", Triangle(by="epoch"), 6)) == 1
    assert warns("MLPRegressor", Ends(by="epoch"), 6) == []


def test_full_batch():
    X, y = problem(MLPRegressor(), 90)
    for rate, expected in ((schedules.Linear(0.1, 4), 0), (schedules.Linear(0.1, 5), 1), (0.1, 1)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            MLPRegressor(hidden_layer_sizes=5, solver=optimizers.GD(rate, tol=0), max_iter=4, random_state=0).fit(X, y)
        assert len(caught) == expected


def test_every_schedule_is_here():
    kinds = {type(rate).__name__ for rate in (*ENDS_AT_SIX.values(), *ENDLESS) if isinstance(rate, schedules.Schedule)}
    assert kinds == set(schedules.__all__) - {"Schedule"}
