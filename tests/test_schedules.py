"""Schedules: each against its formula, by step and by epoch, and fits that resume as if they had never ended."""
import copy
import math
import pickle

import numpy as np
import pytest

from ldl_cy import MLPClassifier, Sequential, layers, optimizers, schedules
from ldl_cy.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    Linear,
    OneCycle,
    Schedule,
    Step,
    Warmup,
)


def one_cycle(t, shape):
    """OneCycle(0.5, 20, 0.1, 0.01, peak_at=0.25)."""
    if t < 5:
        return 0.1 + (0.5 - 0.1) * shape(t / 5)
    return 0.5 + (0.01 - 0.5) * shape(min((t - 5) / 15, 1))


# a schedule, its rate at one position, the position from where it no longer changes
CASES = {
    "constant": (Constant(0.3), lambda t: 0.3, 0),
    "step": (Step(0.3, 0.5, 4), lambda t: 0.3 * 0.5 ** (t // 4), None),
    "milestones": (Step(0.3, 0.5, [2, 7]), lambda t: 0.3 if t < 2 else 0.15 if t < 7 else 0.075, 7),
    "exponential": (Exponential(0.3, 0.9), lambda t: 0.3 * 0.9**t, None),
    "exponential, every": (Exponential(0.3, 2, every=5), lambda t: 0.3 * 2 ** (t / 5), None),
    "inverse scaling": (InverseScaling(0.3, 0.7, 0.1), lambda t: 0.3 / (1 + 0.1 * t) ** 0.7, None),
    "linear": (Linear(0.3, 20, 0.1), lambda t: 0.3 + (0.1 - 0.3) * min(t / 20, 1), 20),
    "cosine": (Cosine(0.3, 20, 0.1), lambda t: 0.1 + 0.1 * (1 + math.cos(math.pi * min(t / 20, 1))), 20),
    "one cycle": (OneCycle(0.5, 20, 0.1, 0.01, 0.25),
                  lambda t: one_cycle(t, lambda u: (1 - math.cos(math.pi * u)) / 2), 20),
    "one cycle, linear": (OneCycle(0.5, 20, 0.1, 0.01, 0.25, "linear"), lambda t: one_cycle(t, lambda u: u), 20),
    "warmup": (Warmup(0.3, 4), lambda t: 0.3 * min((t + 1) / 5, 1), 4),
    "warmup of a cosine": (
        Warmup(Cosine(0.3, 16), 4),
        lambda t: 0.3 * (t + 1) / 5 if t < 4 else 0.15 * (1 + math.cos(math.pi * min((t - 4) / 16, 1))), 20),
}
GIVEN = [case[0] for case in CASES.values()]


def by_epoch(schedule):
    """The same schedule, counting epochs."""
    config = schedule.get_config()
    if isinstance(config.get("schedule"), Schedule):
        config["schedule"] = by_epoch(config["schedule"])
    return type(schedule)(**{**config, "by": "epoch"})


# -- formulas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(schedules.__all__) - {"Schedule"}))
def test_every_schedule_has_a_case(name):
    assert any(type(schedule) is getattr(schedules, name) for schedule in GIVEN), f"{name} is not in CASES"


@pytest.mark.parametrize(("schedule", "formula", "end"), CASES.values(), ids=CASES)
def test_formula_to_the_end_and_past_it(schedule, formula, end):
    t = np.arange(40)
    np.testing.assert_allclose(schedule(t), [formula(int(i)) for i in t], rtol=1e-12, atol=1e-16)
    assert schedule(t.reshape(4, 10)).shape == (4, 10)
    assert isinstance(schedule(3), float) and schedule(3) == schedule(t)[3]
    if end is not None:
        assert (schedule(np.array([end, end + 1, 10**9])) == schedule(end)).all()


@pytest.mark.parametrize("schedule", GIVEN, ids=CASES)
def test_a_rate_does_not_depend_on_its_neighbours(schedule):
    """What resuming a fit rests on: vectors of any length and alignment give the same bits."""
    whole = schedule(np.arange(67))
    for start in range(67):
        np.testing.assert_array_equal(schedule(np.arange(start, 67)), whole[start:])
        assert schedule(start) == whole[start]


def test_ends_are_exact():
    for schedule in (Linear(0.3, 7, 0.1), Cosine(0.3, 7, 0.1)):
        assert schedule(0) == 0.3 and schedule(7) == 0.1
    cycle = OneCycle(0.5, 10)
    assert (cycle(0), cycle(3), cycle(10)) == (0.5 / 25, 0.5, 0.5 / 1e4)
    assert Warmup(Cosine(0.3, 5), 4)(4) == 0.3
    assert Linear(0.3, 1)(1) == Cosine(0.3, 1)(1) == 0


@pytest.mark.parametrize("schedule", GIVEN, ids=CASES)
def test_repr_equality_and_copies(schedule):
    assert eval(repr(schedule), vars(schedules)) == schedule
    assert type(schedule)(**schedule.get_config()) == schedule
    for other in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert other == schedule and hash(other) == hash(schedule)
        np.testing.assert_array_equal(other(np.arange(9)), schedule(np.arange(9)))
    assert schedule != by_epoch(schedule) and schedule != 0.3
    assert sum(schedule == other for other in GIVEN) == 1


def test_repr_names_every_argument():
    assert repr(Cosine(0.1, 100)) == "Cosine(rate=0.1, length=100, final=0.0, by='step')"
    assert repr(optimizers.SGD(Warmup(0.1, 3, by="epoch"))).startswith(
        "SGD(learning_rate=Warmup(schedule=0.1, length=3, by='epoch'), ")


def test_warmup_counts_as_its_schedule():
    assert Warmup(Cosine(0.3, 5, by="epoch"), 4).by == "epoch"
    assert Warmup(Cosine(0.3, 5, by="epoch"), 4, by="epoch").by == "epoch"


# -- in an optimizer -------------------------------------------------------------------------------------------


def test_rates_by_step_and_by_epoch():
    schedule = Exponential(1.0, 0.5)
    np.testing.assert_array_equal(optimizers.SGD(schedule).rates(3, 4, 1, 2), 0.5 ** np.array([3, 4, 5, 6]))
    found = optimizers.SGD(by_epoch(schedule)).rates(20, 7, 2, 3)
    np.testing.assert_array_equal(found, 0.5 ** np.array([2, 2, 2, 3, 3, 3, 4]))


def data(n=75):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 5))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


@pytest.mark.parametrize("unit", ["step", "epoch"])
def test_a_fit_uses_the_rates(unit):
    """A fit with a schedule is fits of one epoch, in which the rates are given as numbers."""
    X, y = data(64)
    schedule = Warmup(Cosine(0.2, 3, 0.01), 2)
    schedule = by_epoch(schedule) if unit == "epoch" else schedule
    model, other = (Sequential([layers.Dense(3)], "float64", 1).build(5) for _ in range(2))
    size = 64 if unit == "step" else 16
    model.fit(X, y, loss="log_loss", optimizer=optimizers.SGD(schedule), batch_size=size, epochs=7)
    for t in range(7):
        other.fit(X, y, loss="log_loss", optimizer=optimizers.SGD(float(schedule(t))), batch_size=size, epochs=1)
    np.testing.assert_array_equal(model.theta, other.theta)


@pytest.mark.parametrize("unit", ["step", "epoch"])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("schedule", GIVEN, ids=CASES)
def test_fit_resumes_to_the_same_bits(schedule, warm, unit, tmp_path):
    X, y = data()
    schedule = Warmup(schedule, 3) if warm else schedule
    schedule = by_epoch(schedule) if unit == "epoch" else schedule
    options = {"loss": "log_loss", "optimizer": optimizers.Adam(schedule, weight_decay=0.1)}
    net = [layers.Dense(16, "tanh"), layers.Dropout(0.2), layers.Dense(3)]
    whole, parts, watched = (Sequential(net, random_state=1) for _ in range(3))
    whole.fit(X, y, epochs=10, **options)
    watched.fit(X, y, epochs=10, callbacks=[lambda model, logs: None], **options)
    np.testing.assert_array_equal(watched.theta, whole.theta)
    parts.fit(X, y, epochs=5, **options)
    parts.save(tmp_path / "model")
    for model in (parts, Sequential.load(tmp_path / "model"), pickle.loads(pickle.dumps(parts))):
        if model is not parts:
            assert model.training_state.optimizer.epochs == 5
        model.fit(X, y, epochs=5, **options)
        np.testing.assert_array_equal(model.theta, whole.theta)


def test_positions_start_over_with_another_optimizer_and_with_reset():
    X, y = data()
    cut = optimizers.SGD(Step(0.1, 1e-12, every=[2], by="epoch"))
    model = Sequential([layers.Dense(3)], random_state=1).build(5)

    def moves():
        before = model.theta.copy()
        model.fit(X, y, loss="log_loss", optimizer=cut, epochs=1)
        return bool(np.abs(model.theta - before).max() > 1e-6)

    assert [moves(), moves(), moves()] == [True, True, False]
    model.fit(X, y, loss="log_loss", optimizer="adam", epochs=1)
    assert [moves(), moves(), moves()] == [True, True, False]
    model.reset()
    assert moves()


def test_a_schedule_of_ones_own():
    class Sawtooth(Schedule):
        def __init__(self, rate, length, *, by="step"):
            self.rate, self.length = rate, length
            super().__init__(by=by)

        def formula(self, t):
            return self.rate * (1 - t % self.length / self.length)

    optimizer = optimizers.SGD(Warmup(Sawtooth(0.4, 4, by="epoch"), 1))
    np.testing.assert_allclose(optimizer.rates(0, 12, 0, 2), np.repeat([0.2, 0.4, 0.3, 0.2, 0.1, 0.4], 2))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_take_schedules():
    X, y = data()
    solver = optimizers.Adam(OneCycle(0.02, 5, by="epoch"))
    curves = [MLPClassifier((8,), solver=solver, max_iter=5, tol=0.0, random_state=0).fit(X, y).loss_curve_
              for solver in (solver, copy.deepcopy(solver), optimizers.Adam(0.02))]
    assert curves[0] == curves[1] != curves[2]


# -- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Constant(0), "Constant: rate must be a number > 0, got 0."),
    (lambda: Constant(0.1, by="batch"), "Constant: by must be one of 'step', 'epoch', got 'batch'."),
    (lambda: Step("fast"), "Step: rate must be a number > 0, got 'fast'."),
    (lambda: Step(0.1, 0), "Step: factor must be a number > 0, got 0."),
    (lambda: Step(0.1, every=0), "Step: every must be an int >= 1, got 0."),
    (lambda: Step(0.1, every=1.5), "Step: every must be an int >= 1, got 1.5."),
    (lambda: Step(0.1, every=[3, 3]), "Step: every must be an int >= 1 or increasing ints, got [3, 3]."),
    (lambda: Step(0.1, every=[]), "Step: every must be an int >= 1 or increasing ints, got []."),
    (lambda: Exponential(0.1, -1), "Exponential: factor must be a number > 0, got -1."),
    (lambda: Exponential(0.1, 0.9, 0), "Exponential: every must be an int >= 1, got 0."),
    (lambda: InverseScaling(0.1, 0), "InverseScaling: power must be a number > 0, got 0."),
    (lambda: InverseScaling(0.1, scale=np.inf), "InverseScaling: scale must be a number > 0, got inf."),
    (lambda: Linear(0.1, 0), "Linear: length must be an int >= 1, got 0."),
    (lambda: Linear(0.1, 5, -1), "Linear: final must be a number >= 0, got -1."),
    (lambda: Cosine(0.1, 0), "Cosine: length must be an int >= 1, got 0."),
    (lambda: Cosine(0.1, 5, np.nan), "Cosine: final must be a number >= 0, got nan."),
    (lambda: OneCycle(0, 5), "OneCycle: highest must be a number > 0, got 0."),
    (lambda: OneCycle(0.1, 5, -1), "OneCycle: start must be a number >= 0, got -1."),
    (lambda: OneCycle(0.1, 5, peak_at=1), "OneCycle: peak_at must be a number > 0 and < 1, got 1."),
    (lambda: OneCycle(0.1, 5, phases="sine"), "OneCycle: phases must be one of 'cosine', 'linear', got 'sine'."),
    (lambda: Warmup(0.1, 0), "Warmup: length must be an int >= 1, got 0."),
    (lambda: Warmup(0, 5), "Warmup: schedule must be a number > 0, got 0."),
    (lambda: Warmup("cosine", 5), "Warmup: schedule must be a Schedule or a number > 0, got 'cosine'."),
    (lambda: Warmup(0.1, 5, by=3), "Warmup: by must be one of 'step', 'epoch', got 3."),
    (lambda: Warmup(Constant(0.1), 5, by="epoch"), "Warmup: by must be 'step' as its schedule's, got 'epoch'."),
    (lambda: Constant(0.1)(-1), "Constant: position must be >= 0, got -1."),
    (lambda: Schedule()(1), "Schedule: a schedule must define formula(t)."),
    (lambda: optimizers.SGD(None),
     "SGD: learning_rate must be a float > 0, a schedule or a function of the step, got None."),
])
def test_bad_input(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value) == message


def test_rates_that_overflow_are_refused():
    X, y = data()
    model = Sequential([layers.Dense(3)], random_state=1).build(5)
    before = model.theta.copy()
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="SGD: learning_rate must return 30 finite"):
        model.fit(X, y, loss="log_loss", optimizer=optimizers.SGD(Exponential(1.0, 1e200)))
    np.testing.assert_array_equal(model.theta, before)
