"""Learning rates by name of a parameter: which names, how they act on steps and decay, what is refused."""
import pickle

import numpy as np
import pytest
from states import check_same

from ldl_cy import MLPRegressor, Sequential, layers, schedules
from ldl_cy.callbacks import ReduceOnPlateau
from ldl_cy.optimizers import GD, OPTIMIZERS, SGD, Adam, AdamW, StepRule

RULES = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, StepRule)]
STACK = [layers.Dense(6, "tanh"), layers.Add([layers.Dense(6, "relu")], []), layers.Dense(1, name="head")]
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((37, 4)), RNG.standard_normal((37, 1))


def made(dtype="float64"):
    return Sequential(STACK, dtype, 1).build(4)


def fit(model, optimizer, epochs=3, **options):
    return model.fit(X, Y, loss="squared_error", optimizer=optimizer, epochs=epochs,
                     **{"batch_size": "full" if optimizer.full_batch else 8, **options})


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", RULES)
def test_factors_of_one_are_none(name, dtype):
    """To the bit, also where theta is cut into ranges; and a factor for all is another learning rate."""
    kind = OPTIMIZERS[name]
    plain, cut, all_of_it, other = (made(dtype) for _ in range(4))
    fit(plain, kind(0.01, weight_decay=0.1))
    fit(cut, kind(0.01, weight_decay=0.1, rate_factors={"*.bias": 2, "*": 0.5, "*.kernel": 1, "*bias": 1.0}))
    check_same(cut, plain)
    fit(all_of_it, kind(0.01, weight_decay=0.1, rate_factors={"*": 0.5}))
    fit(other, kind(0.005, weight_decay=0.1))
    check_same(all_of_it, other)


def adamw(rates, decays, steps, rate=0.02, decay=0.1):
    """The paper's formula in NumPy, with a factor of the rate for each weight, over steps of all rows."""
    model = made()
    theta, m, v = model.theta.copy(), 0, 0
    for t in range(1, steps + 1):
        g = model.loss_and_grad(X, Y, loss="squared_error", theta=theta)[1]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        eta = rate * rates
        theta = theta - eta * decay * decays * theta
        theta = theta - eta * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return theta


def test_factors_multiply_the_rate_of_steps_and_decay():
    model = made()
    rates = np.ones(model.n_parameters)
    decays = np.zeros(model.n_parameters)
    for entry in model.network.graph.parameters:
        place = slice(entry.offset, entry.offset + entry.parameter.size)
        decays[place] = entry.parameter.decays
        rates[place] = 0.1 if entry.name.startswith("dense_0") else 3 if entry.name == "add_1.0.dense_0.bias" else 1
    fit(model, AdamW(0.02, weight_decay=0.1, rate_factors={"dense_?.*": 0.1, "add_1.0.dense_0.b*": 3}), 5,
        batch_size="full")
    np.testing.assert_allclose(model.theta, adamw(rates, decays, 5), rtol=1e-10, atol=1e-13)


def test_the_last_name_that_matches_applies():
    sgd = SGD(rate_factors={"*": 0.5, "dense_0.*": 0.1, "*.bias": 2.0})
    assert sgd.factors(["dense_0.kernel", "dense_0.bias", "head.kernel"]) == [0.1, 2.0, 0.5]
    assert SGD(rate_factors={"*.bias": 2.0, "dense_0.*": 0.1}).factors(["dense_0.bias", "head.kernel"]) == [0.1, 1.0]
    assert SGD().factors(["a"]) == SGD(rate_factors={}).factors(["a"]) == [1.0]


def test_with_zero_weights_keep_their_bits():
    model = made("float32")
    before = {name: values.copy() for name, values in model.parameters.items()}
    fit(model, Adam(0.01, weight_decay=0.1, rate_factors={"dense_0.*": 0}))
    assert [name for name, values in model.parameters.items() if (values == before[name]).all()] == [
        "dense_0.kernel", "dense_0.bias"]


def test_schedules_plateaus_and_resumed_fits(tmp_path):
    """The product of all factors; fit(2) + fit(4) is fit(6) through a file, on any number of threads."""
    def optimizer():
        return SGD(schedules.Cosine(0.05, length=30), 0.9, ema=0.9, clip_norm=1.0, rate_factors={"dense_0.*": 0.3})

    def watch():
        return ReduceOnPlateau("loss", factor=0.5, patience=1, min_delta=0.5)

    whole, parts = made(), made()
    fit(whole, optimizer(), 6, callbacks=[watch()], n_threads=1)
    assert whole.training_state.rate_factor < 0.5
    fit(parts, optimizer(), 2, callbacks=[watch()], n_threads=2)
    parts.save(tmp_path / "model")
    parts = Sequential.load(tmp_path / "model")
    fit(parts, optimizer(), 4, callbacks=[watch()], n_threads=3)
    check_same(parts, whole)
    # new factors take effect, as other new numbers do
    theta = parts.parameters["dense_0.kernel"].copy()
    fit(parts, SGD(0.05, 0.9, ema=0.9, rate_factors={"dense_0.*": 0.0}), 1)
    assert parts.training_state.optimizer.steps > 30 and theta.shape == parts.parameters["dense_0.kernel"].shape


def test_frozen_layers_and_batches_of_the_users():
    """A name may match frozen layers only; each batch of an iterable is a step with the same factors."""
    one, other = made().freeze("dense_0"), made().freeze("dense_0")
    adam = Adam(0.01, rate_factors={"dense_0.*": 0.1, "head.*": 5})
    fit(one, adam, 2, shuffle=False)
    batches = [(X[i:i + 8], Y[i:i + 8]) for i in range(0, 37, 8)]
    other.fit(batches, loss="squared_error", optimizer=adam, epochs=2)
    np.testing.assert_array_equal(one.theta, other.theta)


@pytest.mark.parametrize("built", [False, True])
def test_names_that_match_nothing_are_refused_before_any_work(built):
    model = Sequential(STACK, random_state=1)
    model = model.build(4) if built else model
    before = model.theta.copy() if built else None
    for given in ({"conv2d_*": 0.1}, {"*": 1, "dense_0": 0.5}, {"Dense_0.*": 1}):
        with pytest.raises(ValueError, match=r"^Adam: rate_factors must match names of parameters, got '.*'; there "
                                             r"are: dense_0.kernel, dense_0.bias, add_1.0.dense_0.kernel, "):
            fit(model, Adam(rate_factors=given))
    assert model.step == 0 and (not built or (model.theta == before).all())
    assert model.input_shape == ((4,) if built else None)


@pytest.mark.parametrize(("given", "kind", "message"), [
    (0.1, TypeError, "SGD: rate_factors must be a dict of names of parameters, which may have .* got 0.1."),
    (["a"], TypeError, "rate_factors must be a dict of names"), ({1: 0.5}, TypeError, "rate_factors must be a dict of"),
    ({"a": -1}, ValueError, r"^SGD: rate_factors\['a'\] must be a number >= 0, got -1."),
    ({"a": "b"}, TypeError, r"rate_factors\['a'\] must be a number >= 0, got 'b'"),
    ({"a": np.inf}, ValueError, "must be a number >= 0, got inf"), ({"a": np.nan}, ValueError, "got nan")])
def test_refused_settings(given, kind, message):
    with pytest.raises(kind, match=message):
        SGD(rate_factors=given)
    sgd = SGD()
    with pytest.raises(kind, match=message):
        sgd.rate_factors = given
    assert sgd.rate_factors is None


def test_settings_are_the_optimizers_own():
    given = {"a*": 1}
    sgd = SGD(rate_factors=given)
    given["a*"] = -5
    assert sgd.get_config()["rate_factors"] == {"a*": 1.0} and "rate_factors={'a*': 1.0}" in repr(sgd)
    assert pickle.loads(pickle.dumps(sgd)).rate_factors == {"a*": 1.0}
    old = SGD.__new__(SGD)
    old.__setstate__({key: value for key, value in vars(SGD()).items() if key != "rate_factors"})
    assert old.rate_factors is None and old.get_config() == SGD().get_config()
    with pytest.raises(ValueError, match=r"^GD: line_search=True takes a float .* got 0.01, None, 0.0, None and {'a"):
        GD(line_search=True, rate_factors={"a": 1})
    assert GD(line_search=True, rate_factors={}).method is not None


@pytest.mark.parametrize(("factors", "message"), [
    (lambda self, names: [1.0], "Mine: factors must return 6 finite numbers >= 0, got"),
    (lambda self, names: [-1.0] * 6, "Mine: factors must return 6 finite"),
    (lambda self, names: ["a"] * 6, "Mine: factors must return 6 finite")])
def test_a_users_own_factors_are_checked(factors, message):
    Mine = type("Mine", (SGD,), {"factors": factors})
    model = made()
    with pytest.raises(ValueError, match=message):
        fit(model, Mine(0.1))
    assert model.step == 0


def test_estimators_take_them():
    slow = Adam(0.01, rate_factors={"dense_0.*": 0.0})
    net = MLPRegressor(hidden_layer_sizes=(5,), solver=slow, max_iter=3, random_state=0, tol=0)
    with pytest.warns(UserWarning):
        net.fit(X, Y[:, 0])
    first = [values.copy() for values in net.coefs_]
    with pytest.warns(UserWarning):
        net.set_params(warm_start=True).fit(X, Y[:, 0])
    assert (net.coefs_[0] == first[0]).all() and (net.coefs_[1] != first[1]).any()
