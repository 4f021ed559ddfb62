"""Optimizers that strangers wrote and that do not keep the contract: a sentence before any work, no memory overrun."""
import dataclasses
import warnings
from inspect import CO_VARARGS

import numpy as np
import pytest
from strangers import run_all

from ldl_cy import Sequential, layers, optimizers
from ldl_cy._engine.vec import RULES
from ldl_cy.optimizers import Adam, Ended, FullBatchMethod, IterativeMethod, Optimizer, RMSprop, StepRule
from ldl_cy.optimizers.settings import Setting

X = np.random.default_rng(0).standard_normal((40, 30))
Y = X[:, :2]
WIDE = layers.Dense(2000)               # 62,000 weights: a vector too few is far past the end of the heap's block


def of(base, **members):
    """A subclass with other members: functions of self become properties, unless they have more arguments."""
    def plain(value):
        return callable(value) and value.__code__.co_argcount == 1 and not value.__code__.co_flags & CO_VARARGS

    made = {name: property(value) if plain(value) else value for name, value in members.items()}
    return type("Mine", (base,), made)


def one(self, rates, first):            # a row for sgd's kernel
    return np.column_stack([rates, 0 * rates, 0 * rates])


def rule_with(**changed):
    return lambda self, alpha, ranges: dataclasses.replace(super(type(self), self).rule(alpha, ranges), **changed)


SGD_RULE = {"rule_id": RULES.index("sgd"), "slot_counts": (0, 1), "formula": one}


def rms(momentum, centered):
    return lambda self, rates, first: np.column_stack(
        [rates, *[c + 0 * rates for c in (0.9, 1e-8, momentum, centered)]])


def changes(self, rates, first):
    """Plain in the row that is checked first, centered later."""
    return rms(0.5, 0.0 if first == 0 and len(rates) == 1 else 1.0)(self, rates, first)


class Rereads:
    """A number that is another one each time."""

    def __init__(self, *values):
        self.values = list(values)

    def __get__(self, instance, owner=None):
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


STEP_RULES = {
    # wrong numbers of vectors
    "adam with none": of(Adam, n_slots=lambda self: 0, slot_counts=(0,)),
    "adam with one": of(Adam, n_slots=lambda self: 1, slot_counts=(1,)),
    "adam with three": of(Adam, n_slots=lambda self: 3, slot_counts=(3,)),
    "adam with less than none": of(Adam, n_slots=lambda self: -1),
    "adam with two and a half": of(Adam, n_slots=lambda self: 2.5),
    "adam with a word": of(Adam, n_slots=lambda self: "two"),
    "adam with too many to count": of(Adam, n_slots=lambda self: 10**12),
    "adam with other counts": of(Adam, slot_counts=(5,)),
    "adam with no counts": of(Adam, slot_counts=()),
    "adam with a count": of(Adam, slot_counts=2),
    "adam that changes its mind": of(Adam, n_slots=Rereads(2, 2, 2, 0)),
    "adam that changes it soon": of(Adam, n_slots=Rereads(2, 0)),
    "adam with other vectors": of(Adam, n_vectors=lambda self: 1),
    "adam with many vectors": of(Adam, n_vectors=lambda self: 9),
    "lion without": of(optimizers.Lion, n_slots=lambda self: 0, slot_counts=(0,)),
    "momentum without": of(optimizers.SGD, n_slots=lambda self: 0, formula=lambda self, rates, first:
                           np.column_stack([rates, 0.9 + 0 * rates, 0 * rates])),
    # rmsprop reads as many as its coefficients say
    "momentum without velocity": of(RMSprop, formula=rms(0.5, 0.0)),
    "centered without mean": of(RMSprop, formula=rms(0.0, 1.0)),
    "centered by NaN": of(RMSprop, formula=rms(0.0, np.nan)),
    "centered later": of(RMSprop, formula=changes, n_slots=lambda self: 2, depends_on_step=lambda self: True),
    # wrong kernels
    "no kernel": of(StepRule, formula=one, rule_id=None),
    "a kernel that is not": of(StepRule, formula=one, rule_id=99),
    "a kernel below none": of(StepRule, formula=one, rule_id=-1),
    "a kernel's name": of(StepRule, formula=one, rule_id="sgd"),
    "another kernel": of(Adam, rule_id=RULES.index("lion")),
    "a kernel that changes": of(optimizers.SGD, rule_id=Rereads(0, 0, 0, 1)),
    "a kernel that changes soon": of(optimizers.SGD, rule_id=Rereads(0, 1)),
    # wrong formulas
    "no formula": of(StepRule, rule_id=0),
    "a formula of None": of(StepRule, **{**SGD_RULE, "formula": lambda self, rates, first: None}),
    "a formula of words": of(StepRule, **{**SGD_RULE, "formula": lambda self, rates, first: [["a", "b", "c"]]}),
    "a formula of objects": of(StepRule, **{**SGD_RULE, "formula": lambda self, r, first: np.full((len(r), 3), None)}),
    "a complex formula": of(StepRule, **{**SGD_RULE, "formula": lambda self, r, first: 1j * one(self, r, first)}),
    "a formula of NaN": of(StepRule, **{**SGD_RULE, "formula": lambda self, r, first: np.nan * one(self, r, first)}),
    "a row for many": of(StepRule, **{**SGD_RULE, "formula": lambda self, r, first: one(self, r, first)[:1]}),
    "rows for one": of(StepRule, **{**SGD_RULE, "formula": lambda self, r, first: np.ones((len(r) + 1, 3))}),
    "no rows": of(StepRule, **{**SGD_RULE, "formula": lambda self, rates, first: np.ones((0, 3))}),
    "a number": of(StepRule, **{**SGD_RULE, "formula": lambda self, rates, first: 0.1}),
    "three axes": of(StepRule, **{**SGD_RULE, "formula": lambda self, rates, first: np.ones((len(rates), 3, 1))}),
    "two columns": of(StepRule, **{**SGD_RULE, "formula": lambda self, rates, first: np.ones((len(rates), 2))}),
    "nine columns": of(StepRule, **{**SGD_RULE, "formula": lambda self, rates, first: np.ones((len(rates), 9))}),
    "ragged": of(StepRule, **{**SGD_RULE, "formula": lambda self, rates, first: [[1, 2], [3]]}),
    "transposed": of(StepRule, **{**SGD_RULE, "formula": lambda self, r, first: one(self, r, first).T}),
    # wrong tables
    "coefficients of its own": of(optimizers.SGD, coefficients=lambda self, *a, **kw: np.zeros((2, 5))),
    "coefficients of None": of(optimizers.SGD, coefficients=lambda self, *a, **kw: None),
    "one too few": of(optimizers.SGD, coefficients=lambda self, *a, **kw: np.zeros((3, 4))),
    "averages without a vector": of(optimizers.SGD, coefficients=lambda self, *a, **kw: np.full((1, 5), 0.5)),
    "rates of its own": of(optimizers.SGD, rates=lambda self, *a, **kw: np.ones(7)),
    # wrong rules
    "a rule of None": of(optimizers.SGD, rule=lambda self, alpha, ranges: None),
    "a rule of a dict": of(optimizers.SGD, rule=lambda self, alpha, ranges: {"rule_id": 0}),
    "another rule": of(optimizers.SGD, rule=rule_with(rule_id=RULES.index("adam"))),
    "a rule past the end": of(optimizers.SGD, rule=rule_with(rule_id=10**6)),
    "ranges past the end": of(optimizers.SGD, rule=rule_with(alpha=1.0, ranges=np.array([[0, 10**9]]))),
    "ranges before the start": of(optimizers.SGD, rule=rule_with(alpha=1.0, ranges=np.array([[-10**9, 10]]))),
    "ranges of one column": of(optimizers.SGD, rule=rule_with(alpha=1.0, ranges=np.array([0, 10]))),
    "ranges of words": of(optimizers.SGD, rule=rule_with(alpha=1.0, ranges="all")),
    "ranges of reals": of(optimizers.SGD, rule=rule_with(alpha=1.0, ranges=np.array([[0.5, 10.0]]))),
    "averages": of(optimizers.SGD, rule=rule_with(averages=True)),
    "averages of a word": of(optimizers.SGD, rule=rule_with(averages="yes")),
    "alpha of a word": of(optimizers.SGD, rule=rule_with(alpha="much")),
    "alpha of NaN": of(optimizers.SGD, rule=rule_with(alpha=np.nan)),
    "clip_norm of None": of(optimizers.SGD, rule=rule_with(clip_norm=None)),
    "tol of a word": of(optimizers.SGD, rule=rule_with(tol="low")),
    # what is neither a rule nor a method
    "an optimizer": of(Optimizer),
    "method of a word": of(optimizers.SGD, method=lambda self: "lbfgs"),
    "method of itself": of(optimizers.SGD, method=lambda self: self),
    "no method": of(Optimizer, method=lambda self: None),
    "full batch of a word": of(optimizers.SGD, full_batch="yes"),
    "name of None": of(optimizers.SGD, state_name=lambda self: None),
    "no name": of(optimizers.SGD, state_name=lambda self: ""),
    "keys of a word": of(optimizers.SGD, log_keys="gain"),
    "keys of numbers": of(optimizers.SGD, log_keys=(1, 2)),
    "keys of the loss": of(optimizers.SGD, log_keys=("loss",)),
    "scalars of a word": of(optimizers.SGD, state_scalars="rate"),
    "scalars of words": of(optimizers.SGD, state_scalars={"rate": "low"}),
    "check of None": of(optimizers.SGD, check=None),
}
# a result is as good as a sentence
FINE = {"adam that changes its mind", "a kernel that changes", "rates of its own"}


def made(kind):
    try:
        return kind(0.01)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        return kind()


def fit_by(kind, epochs=3):
    model = Sequential([WIDE, layers.Dense(2)], random_state=0)
    model.build((30,))
    before = model.theta.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            history = model.fit(X, Y, loss="squared_error", optimizer=made(kind), epochs=epochs)
        except (TypeError, ValueError, AttributeError):
            assert np.array_equal(model.theta, before) and model.epoch == 0, "changed before it was refused"
            model.fit(X, Y, loss="squared_error", epochs=1)
            raise
    assert np.isfinite(model.theta).all()
    assert model.epoch == len(history.epoch) == len(history.history["loss"])
    return "fitted"


def step_rule(name):
    return fit_by(STEP_RULES[name])


def test_step_rules():
    for name, ended in zip(STEP_RULES, run_all(step_rule, [[name] for name in STEP_RULES])):
        said = name in FINE and ended.value == "fitted"
        assert said or (ended.error in ("TypeError", "ValueError") and ended.text.startswith("Mine: ")), (name, ended)


# -- methods -------------------------------------------------------------------------------------------


def steps_down(self, objective, theta, slots, scalars, epochs, callback):
    for _ in range(epochs):
        value, grad = objective.value_and_grad(theta.astype(float))
        theta[:] = theta - 0.1 * grad
        if callback({"loss": value}):
            return


def minimizes(change, **members):
    def minimize(self, objective, theta, slots, scalars, epochs, callback):
        return change(locals())
    return of(FullBatchMethod, __init__=lambda self, tol=0.0: FullBatchMethod.__init__(self, tol), minimize=minimize,
              **members)


def iterates(iterate, **members):
    return of(IterativeMethod, __init__=lambda self, tol=0.0: IterativeMethod.__init__(self, tol), iterate=iterate,
              **members)


def after(end):
    """A method that does as it says, and then something else."""
    def change(given):
        names = ("self", "objective", "theta", "slots", "scalars", "epochs", "callback")
        steps_down(*[given[name] for name in names])
        return end(given)
    return change


again = after(lambda given: None)


def assign(name, value):
    return lambda given: given[name].__setitem__(slice(None), value)


METHODS = {
    "vectors": minimizes(again, n_slots=lambda self: 3),
    "negative vectors": minimizes(again, n_slots=lambda self: -1),
    "vectors of a word": minimizes(again, n_slots=lambda self: "one"),
    "scalars of None": minimizes(again, state_scalars=None),
    "an unknown scalar": minimizes(after(lambda given: given["scalars"].update(rate=1.0))),
    "a scalar that is a word": minimizes(after(lambda given: given["scalars"].update(rate="low")),
                                         state_scalars={"rate": 0.0}),
    "a scalar that is NaN": minimizes(after(lambda given: given["scalars"].update(rate=np.nan)),
                                      state_scalars={"rate": 0.0}),
    "a scalar below its least": minimizes(after(lambda given: given["scalars"].update(rate=-1.0)),
                                          state_scalars={"rate": 0.0}),
    "a dtype that is not": minimizes(again, dtype="float16"),
    "a dtype of a number": minimizes(again, dtype=3),
    "no minimize": of(FullBatchMethod, __init__=lambda self, tol=0.0: FullBatchMethod.__init__(self, tol)),
    "ends with a word": minimizes(after(lambda given: "converged")),
    "ends with a number": minimizes(after(lambda given: 3)),
    "ends for another reason": minimizes(after(lambda given: Ended("tired", "it was late"))),
    "ends without a message": minimizes(after(lambda given: Ended("converged", None))),
    "ends with a tuple": minimizes(after(lambda given: ("converged", "well"))),
    "never calls back": minimizes(lambda given: None),
    "never calls back and ends": minimizes(lambda given: Ended("converged", "at once")),
    "ends early": minimizes(lambda given: given["callback"]({"loss": 1.0}) and None),
    "calls too often": minimizes(after(lambda given: given["callback"]({"loss": 1.0}))),
    "calls without end": minimizes(lambda given: [given["callback"]({"loss": 1.0}) for _ in range(10**9)] and None),
    "values of None": minimizes(lambda given: given["callback"](None)),
    "values without loss": minimizes(lambda given: given["callback"]({"gain": 1.0})),
    "values of words": minimizes(lambda given: given["callback"]({"loss": "low"})),
    "values under numbers": minimizes(lambda given: given["callback"]({"loss": 1.0, 3: 1.0})),
    "complex values": minimizes(lambda given: given["callback"]({"loss": 1j})),
    "an array of losses": minimizes(lambda given: given["callback"]({"loss": np.ones(3)})),
    "values that were not announced": minimizes(lambda given: given["callback"]({"loss": 1.0, "gain": 1.0})),
    "no iterate": of(IterativeMethod, __init__=lambda self, tol=0.0: IterativeMethod.__init__(self, tol)),
    "iterates over None": iterates(lambda self, *a: None),
    "iterates over numbers": iterates(lambda self, *a: iter([1, 2, 3])),
    "iterates over nothing": iterates(lambda self, *a: iter([])),
    "iterates once": iterates(lambda self, *a: iter([({"loss": 1.0}, None)])),
    "iterates over triples": iterates(lambda self, *a: iter([({"loss": 1.0}, None, 3)] * 9)),
    "iterates over words": iterates(lambda self, *a: iter([({"loss": 1.0}, "converged")] * 9)),
}
NOT_FINITE = {
    "theta of NaN": minimizes(lambda given: assign("theta", np.nan)(given) or given["callback"]({"loss": 1.0})),
    "a loss of NaN": minimizes(lambda given: assign("theta", 3.0)(given) or given["callback"]({"loss": np.nan})),
    "theta of NaN later": minimizes(after(assign("theta", np.inf))),
}


def method(name):
    kind = {**METHODS, **NOT_FINITE}[name]
    model = Sequential([layers.Dense(5), layers.Dense(2)], random_state=0)
    model.build((30,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            history = model.fit(X, Y, loss="squared_error", optimizer=kind(), epochs=3)
        finally:
            assert np.isfinite(model.theta).all() and model.epoch <= 3
            assert model.training_state.optimizer.scalars in ({}, {"rate": 1.0})
            assert len(model.fit(X, Y, loss="squared_error", epochs=1).epoch) == 1
    return len(history.epoch)


def test_methods():
    names = [*METHODS, *NOT_FINITE]
    for name, ended in zip(names, run_all(method, [[name] for name in names])):
        if name == "vectors":
            assert ended.error == "ValueError", ended       # slot_counts of a method are those that files may have
        elif name in NOT_FINITE:
            assert ended.says("FloatingPointError", "Sequential: the loss or a weight became non-finite in epoch "), (
                name, ended)
        else:
            assert ended.error in ("TypeError", "ValueError", "RuntimeError"), (name, ended)
            assert ended.text.startswith("Mine: "), (name, ended)


def test_a_method_that_keeps_the_contract():
    model = Sequential([layers.Dense(2)], random_state=0)
    assert len(model.fit(X, Y, loss="squared_error", optimizer=minimizes(again)(), epochs=3).epoch) == 3


# -- settings that change after construction ----------------------------------------------------------


CHANGES = [
    ("SGD", "learning_rate", "x", TypeError), ("SGD", "learning_rate", 0, ValueError),
    ("SGD", "momentum", 2, ValueError), ("SGD", "nesterov", 1, TypeError), ("SGD", "ema", 2, ValueError),
    ("SGD", "clip_norm", -1, ValueError), ("SGD", "weight_decay", None, TypeError),
    ("Adam", "beta_1", None, TypeError), ("Adam", "beta_2", 1.0, ValueError), ("Adam", "epsilon", 0, ValueError),
    ("Nadam", "momentum_decay", -1, ValueError), ("RMSprop", "centered", "yes", TypeError),
    ("RMSprop", "rho", 1, ValueError), ("RMSprop", "momentum", np.nan, ValueError),
    ("Adagrad", "initial_accumulator_value", -1, ValueError), ("Adagrad", "learning_rate_decay", [1], TypeError),
    ("Adadelta", "rho", "x", TypeError), ("Lion", "beta_1", 1, ValueError), ("GD", "tol", -1, ValueError),
    ("GD", "criterion", "slope", ValueError), ("GD", "line_search", None, TypeError),
    ("LBFGS", "memory", 0, ValueError), ("LBFGS", "max_fun", 1.5, TypeError), ("LBFGS", "loss_tol", -1, ValueError),
    ("LBFGS", "tol", "x", TypeError), ("ConjugateGradient", "sigma", 0, ValueError),
    ("ConjugateGradient", "scale", None, TypeError), ("LevenbergMarquardt", "damping", 0, ValueError),
    ("LevenbergMarquardt", "bayesian", 1, TypeError), ("LevenbergMarquardt", "max_damping", "x", TypeError),
    ("GaussNewtonCG", "max_products", 0, ValueError), ("GaussNewtonCG", "accuracy", 1, ValueError),
]


@pytest.mark.parametrize(("kind", "name", "value", "error"), CHANGES)
def test_a_setting_is_checked_when_it_is_changed(kind, name, value, error):
    made = getattr(optimizers, kind)()
    before = made.get_config()
    with pytest.raises(error, match=f"^{kind}: {name} must be "):
        setattr(made, name, value)
    assert made.get_config() == before


def test_every_setting_is_checked_when_it_is_changed():
    for kind in optimizers.OPTIMIZERS.values():
        for name in kind().get_config():
            assert isinstance(getattr(kind, name), Setting), f"{kind.__name__}.{name} can be set to anything"


def test_a_line_search_with_a_schedule():
    made = optimizers.GD(line_search=True)
    made.learning_rate = lambda steps: 0.1 + 0 * steps
    with pytest.raises(ValueError, match=r"^GD: line_search=True takes a float"):
        Sequential([layers.Dense(2)]).fit(X, Y, loss="squared_error", optimizer=made)


def test_new_settings_take_effect():
    made = optimizers.SGD(0.1)
    made.learning_rate, made.momentum = 0.2, 0.5
    assert repr(made) == repr(optimizers.SGD(0.2, 0.5)) and made.n_slots == 1


def test_without_a_constructor():
    kind = of(optimizers.SGD, __init__=lambda *a: None)
    with pytest.raises(AttributeError, match=r"^Mine: ema has no value; the constructor must call"):
        Sequential([layers.Dense(2)]).fit(X, Y, loss="squared_error", optimizer=kind())
