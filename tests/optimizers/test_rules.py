"""Update rules: each against its paper's formula in NumPy, resuming, threads, what settings they refuse."""
import numpy as np
import pytest
import vec_kernels as vec

from ldl_cy import Sequential, layers, optimizers
from ldl_cy.optimizers import (
    GD,
    OPTIMIZERS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    Nadam,
    RMSprop,
    StepRule,
)

NAMES = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, StepRule)]
NET = [layers.Dense(16, "tanh"), layers.Dropout(0.2), layers.Dense(3)]


def data(n=75, n_in=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_in))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


# -- formulas: functions of the gradient, the step t = 1, 2, ... and its rate that return what is added to theta --


def sgd(momentum=0.0, nesterov=False):
    v = 0

    def step(g, t, rate):
        nonlocal v
        v = momentum * v - rate * g
        return momentum * v - rate * g if nesterov else v
    return step


def adam(beta_1, beta_2, epsilon):
    m = v = 0

    def step(g, t, rate):
        nonlocal m, v
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        return -rate * (m / (1 - beta_1**t)) / (np.sqrt(v / (1 - beta_2**t)) + epsilon)
    return step


def nadam(beta_1, beta_2, epsilon, momentum_decay):
    m = v = 0
    product = 1

    def mu(t):
        return beta_1 * (1 - 0.5 * 0.96**(t * momentum_decay))

    def step(g, t, rate):
        nonlocal m, v, product
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        product *= mu(t)
        mean = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        return -rate * mean / (np.sqrt(v / (1 - beta_2**t)) + epsilon)
    return step


def rmsprop(rho, epsilon, momentum=0.0, centered=False):
    square = mean = v = 0

    def step(g, t, rate):
        nonlocal square, mean, v
        square, mean = rho * square + (1 - rho) * g**2, rho * mean + (1 - rho) * g
        v = momentum * v - rate * g / (np.sqrt(square - centered * mean**2) + epsilon)
        return v
    return step


def adagrad(initial, epsilon):
    total = initial

    def step(g, t, rate):
        nonlocal total
        total = total + g**2
        return -rate * g / (np.sqrt(total) + epsilon)
    return step


def adadelta(rho, epsilon):
    square = steps = 0

    def step(g, t, rate):
        nonlocal square, steps
        square = rho * square + (1 - rho) * g**2
        delta = np.sqrt(steps + epsilon) / np.sqrt(square + epsilon) * g
        steps = rho * steps + (1 - rho) * delta**2
        return -rate * delta
    return step


def lion(beta_1, beta_2):
    m = 0

    def step(g, t, rate):
        nonlocal m
        c, m = beta_1 * m + (1 - beta_1) * g, beta_2 * m + (1 - beta_2) * g
        return -rate * np.sign(c)
    return step


# name: the optimizer with the common settings, its formula, the rate of step t; every step rule is here by its own name
RULES = {
    "gd": (lambda **kw: GD(0.1, tol=0, **kw), sgd, lambda t: 0.1),
    "sgd": (lambda **kw: SGD(0.1, **kw), sgd, lambda t: 0.1),
    "sgd-momentum": (lambda **kw: SGD(0.1, 0.9, **kw), lambda: sgd(0.9), lambda t: 0.1),
    "sgd-nesterov": (lambda **kw: SGD(0.1, 0.9, True, **kw), lambda: sgd(0.9, True), lambda t: 0.1),
    "sgd-schedule": (lambda **kw: SGD(lambda steps: 0.1 / (1 + steps), **kw), sgd, lambda t: 0.1 / t),
    "adam": (lambda **kw: Adam(0.01, 0.8, 0.95, 1e-6, **kw), lambda: adam(0.8, 0.95, 1e-6), lambda t: 0.01),
    "adamw": (lambda **kw: AdamW(0.01, 0.8, 0.95, 1e-6, **kw), lambda: adam(0.8, 0.95, 1e-6), lambda t: 0.01),
    "nadam": (lambda **kw: Nadam(0.01, 0.8, 0.95, 1e-6, **kw), lambda: nadam(0.8, 0.95, 1e-6, 0.004),
              lambda t: 0.01),
    "nadam-decay": (lambda **kw: Nadam(0.01, 0.9, momentum_decay=2.0, **kw), lambda: nadam(0.9, 0.999, 1e-8, 2.0),
                    lambda t: 0.01),
    "rmsprop": (lambda **kw: RMSprop(0.01, 0.9, 1e-6, **kw), lambda: rmsprop(0.9, 1e-6), lambda t: 0.01),
    "rmsprop-momentum": (lambda **kw: RMSprop(0.01, momentum=0.9, **kw), lambda: rmsprop(0.99, 1e-8, 0.9),
                         lambda t: 0.01),
    "rmsprop-centered": (lambda **kw: RMSprop(0.01, 0.9, centered=True, **kw),
                         lambda: rmsprop(0.9, 1e-8, centered=True), lambda t: 0.01),
    "rmsprop-both": (lambda **kw: RMSprop(0.01, 0.95, 1e-6, 0.5, True, **kw),
                     lambda: rmsprop(0.95, 1e-6, 0.5, True), lambda t: 0.01),
    "rmsprop-schedule": (lambda **kw: RMSprop(lambda steps: 0.1 / (1 + steps), 0.9, momentum=0.5, **kw),
                         lambda: rmsprop(0.9, 1e-8, 0.5), lambda t: 0.1 / t),
    "adagrad": (lambda **kw: Adagrad(0.1, **kw), lambda: adagrad(0, 1e-10), lambda t: 0.1),
    "adagrad-decay": (lambda **kw: Adagrad(0.1, 0.2, 0.3, 1e-4, **kw), lambda: adagrad(0.3, 1e-4),
                      lambda t: 0.1 / (1 + 0.2 * (t - 1))),
    "adadelta": (lambda **kw: Adadelta(**kw), lambda: adadelta(0.9, 1e-6), lambda t: 1.0),
    "adadelta-rho": (lambda **kw: Adadelta(0.5, 0.8, 1e-4, **kw), lambda: adadelta(0.8, 1e-4), lambda t: 0.5),
    "lion": (lambda **kw: Lion(0.01, 0.8, 0.95, **kw), lambda: lion(0.8, 0.95), lambda t: 0.01),
    "lion-schedule": (lambda **kw: Lion(lambda steps: 0.1 / (1 + steps), **kw), lambda: lion(0.9, 0.99),
                      lambda t: 0.1 / t),
}
SETTINGS = {
    "plain": {}, "alpha": {"alpha": 0.5}, "clipped": {"clip_norm": 0.05}, "decayed": {"weight_decay": 0.3},
    "all": {"alpha": 0.5, "clip_norm": 0.05, "weight_decay": 0.3},
}


def steps_of(optimizer, dtype, n_steps=10, alpha=0.0):
    """theta after each full-batch step, the function that gives the gradient, and where alpha and decay act."""
    X, y = data()
    model = Sequential([layers.Dense(4, "tanh"), layers.Dense(3)], dtype, 1).build(5)
    reference = Sequential(model.layers, "float64", 1).build(5)
    decays = np.concatenate([np.full(v.size, v.ndim >= 2, float) for v in model.parameters.values()])
    path = [model.theta.astype(float)]
    for _ in range(n_steps):
        model.fit(X, y, loss="log_loss", optimizer=optimizer, batch_size="full", epochs=1, alpha=alpha)
        path.append(model.theta.astype(float))

    def gradient(theta):
        return reference.loss_and_grad(X, y, loss="log_loss", theta=theta)[1] + alpha / len(X) * decays * theta

    return path, gradient, decays


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_has_a_formula_here(name):
    assert name in RULES, f"{name} has no formula in NumPy in this file"
    assert type(RULES[name][0]()) is OPTIMIZERS[name]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-12), ("float32", 5e-6)])
def test_formula(dtype, atol, name, setting):
    make, formula, rate = RULES[name]
    common = dict(SETTINGS[setting])
    alpha = common.pop("alpha", 0.0)
    optimizer, step = make(**common), formula()
    path, gradient, decays = steps_of(optimizer, dtype, alpha=alpha)
    theta = path[0]
    for t, found in enumerate(path[1:], 1):
        g = gradient(theta)
        norm = np.linalg.norm(g)
        if optimizer.clip_norm is not None:
            assert norm > optimizer.clip_norm
            g = g * optimizer.clip_norm / norm
        theta = theta * (1 - rate(t) * optimizer.weight_decay * decays) + step(g, t, rate(t))
        np.testing.assert_allclose(found, theta, rtol=0, atol=atol)


def test_adamw_is_adam_that_decays():
    paths = [steps_of(optimizer, "float32")[0] for optimizer in (AdamW(), Adam(weight_decay=0.01), Adam())]
    np.testing.assert_array_equal(paths[0], paths[1])
    assert (paths[0][-1] != paths[2][-1]).any()


def test_variance_of_an_unchanging_gradient():
    """Centered RMSprop's variance falls towards 0 as w (1 - w) g², w = 1 - ρᵗ, and never below."""
    g = np.linspace(-3, 3, 40, dtype="float32")
    theta, slots = np.zeros_like(g), np.zeros((3, 40), "float32")
    for t in range(1, 3001):
        vec.update_("rmsprop", theta, g, slots, np.array([1e-3, 0.99, 1e-8, 0.0, 1.0]))
        w = 1 - 0.99**t
        np.testing.assert_allclose(slots[0], w * (1 - w) * g.astype(float)**2, rtol=1e-2, atol=1e-9)
        assert (slots[0] >= 0).all() and np.isfinite(theta).all()


def test_lion_moves_by_its_rate_or_not_at_all():
    g = np.array([0, -0.0, 1e-300, -1e300, 2])
    theta, m = np.zeros(5), np.array([[0, 0, 0, 0, -2.0]])
    vec.update_("lion", theta, g, m, np.array([0.25, 0.5, 0.75]))
    # the last: c = -1 + 1
    np.testing.assert_array_equal(theta, [0, 0, -0.25, 0.25, 0])
    np.testing.assert_array_equal(m[0], [0, 0, 2.5e-301, -2.5e299, -1])


# -- the rows of coefficients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [
    Nadam(), Nadam(beta_1=0.9999, momentum_decay=10.0), Adam(), Adagrad(learning_rate_decay=0.1)], ids=repr)
def test_coefficients_depend_on_the_step_alone(optimizer):
    whole = optimizer.coefficients(0, 9000)
    for first, count in ((0, 1), (0, 5), (1, 1), (5, 5), (100, 33), (4000, 200), (4095, 1), (4096, 2), (8999, 1)):
        np.testing.assert_array_equal(optimizer.coefficients(first, count), whole[first:first + count])


@pytest.mark.parametrize("beta_1", [0.0, 0.5, 0.9, 0.999, 0.99999])
@pytest.mark.parametrize("momentum_decay", [0.0, 0.004, 0.1, 0.3, 1.0, 30.0])
def test_product_of_momenta(beta_1, momentum_decay):
    """Also where it is not multiplied factor by factor any more."""
    t = np.arange(1, 20001)
    exact = np.cumprod(beta_1 * (1 - np.longdouble(0.96)**(t * momentum_decay) / 2))
    found = Nadam(beta_1=beta_1, momentum_decay=momentum_decay).products(t)
    np.testing.assert_allclose(1 / (1 - found), (1 / (1 - exact)).astype(float), rtol=1e-9)
    np.testing.assert_allclose(found, exact.astype(float), rtol=0, atol=1e-12)


# -- resuming, and threads ------------------------------------------------------------------------------------

VARIANTS = [
    *NAMES, SGD(0.05, 0.9, True), GD(0.1, tol=0),
    Adam(lambda s: 0.01 / (1 + s), clip_norm=0.1, weight_decay=0.1), Nadam(momentum_decay=1.0),
    RMSprop(momentum=0.9), RMSprop(centered=True), RMSprop(momentum=0.9, centered=True, clip_norm=0.1),
    Adagrad(learning_rate_decay=0.1, initial_accumulator_value=0.1)]


def identify(optimizer):
    return optimizer if isinstance(optimizer, str) else f"{type(optimizer).__name__}-{VARIANTS.index(optimizer)}"


@pytest.mark.parametrize("optimizer", VARIANTS, ids=identify)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_resumes_to_the_same_bits(optimizer, dtype, tmp_path):
    X, y = data()
    options = {"loss": "log_loss", "optimizer": optimizer, "alpha": 0.01}
    whole, parts = Sequential(NET, dtype, 1), Sequential(NET, dtype, 1)
    history = whole.fit(X, y, epochs=10, **options).history["loss"]
    first = parts.fit(X, y, epochs=5, **options)
    parts.save(tmp_path / "model")
    loaded = Sequential.load(tmp_path / "model")
    for model in (parts, loaded):
        second = model.fit(X, y, epochs=5, **options)
        np.testing.assert_array_equal(model.theta, whole.theta)
        assert first.history["loss"] + second.history["loss"] == history
        assert second.epoch == [6, 7, 8, 9, 10]
        assert (model.epoch, model.step) == (whole.epoch, whole.step)


@pytest.mark.parametrize("optimizer", VARIANTS, ids=identify)
def test_threads_share_an_update(optimizer):
    X, y = data(64, 200)
    thetas = []
    for threads in (1, 2, 5):
        model = Sequential([layers.Dense(400, "relu"), layers.Dense(3)], random_state=1)
        model.fit(X, y, loss="log_loss", optimizer=optimizer, epochs=3, n_threads=threads)
        thetas.append(model.theta)
    np.testing.assert_array_equal(thetas[1], thetas[0])
    np.testing.assert_array_equal(thetas[2], thetas[0])


def test_another_kind_of_state_starts_over():
    """RMSprop's second slot is a velocity, then not one: what it held may not be taken for the other."""
    X, y = data()
    options = {"loss": "log_loss", "epochs": 3, "shuffle": False}
    net = [layers.Dense(3)]
    one, other = Sequential(net, random_state=1), Sequential(net, random_state=1)
    one.fit(X, y, optimizer=RMSprop(momentum=0.9), **options)
    other.build(5).theta = one.theta
    for model in (one, other):
        model.fit(X, y, optimizer=RMSprop(centered=True), **options)
    np.testing.assert_array_equal(one.theta, other.theta)


@pytest.mark.parametrize(("first", "second"), [
    (SGD(ema=0.9), SGD(momentum=0.9)), (SGD(momentum=0.9), SGD(ema=0.9)),
    (RMSprop(ema=0.9), RMSprop(momentum=0.9)), (RMSprop(momentum=0.9, ema=0.9), RMSprop(centered=True))])
def test_an_average_is_no_moment(first, second):
    """Of as many vectors."""
    X, y = data()
    options = {"loss": "log_loss", "epochs": 3, "shuffle": False}
    one, other = Sequential([layers.Dense(3)], random_state=1), Sequential([layers.Dense(3)], random_state=1)
    one.fit(X, y, optimizer=first, **options)
    other.build(5).theta = one.theta
    assert first.n_vectors == second.n_vectors
    for model in (one, other):
        model.fit(X, y, optimizer=second, **options)
    np.testing.assert_array_equal(one.theta, other.theta)


def test_a_line_search_where_the_gradient_is_zero():
    X, _ = data()
    model = Sequential([layers.Dense(1, kernel_initializer="zeros")], "float64", 1)
    history = model.fit(X, np.zeros(len(X)), loss="squared_error", optimizer=GD(tol=0, line_search=True), epochs=1500)
    assert history.stop_reason == "stalled" and history.epoch == [1] and not model.theta.any()


# -- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", VARIANTS, ids=identify)
def test_settings_make_the_same_optimizer(optimizer):
    optimizer = optimizers.get(optimizer)
    assert repr(type(optimizer)(**optimizer.get_config())) == repr(optimizer)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: SGD(0), "SGD: learning_rate must be a float > 0, a schedule or a function of the step, got 0."),
    (lambda: SGD("fast"),
     "SGD: learning_rate must be a float > 0, a schedule or a function of the step, got 'fast'."),
    (lambda: SGD(0.1, 1.1), "SGD: momentum must be a number >= 0 and <= 1, got 1.1."),
    (lambda: SGD(0.1, 0.5, 1), "SGD: nesterov must be True or False, got 1."),
    (lambda: GD(0.1, -1), "GD: tol must be a number >= 0, got -1."),
    (lambda: Adam(beta_1=1.0), "Adam: beta_1 must be a number >= 0 and < 1, got 1.0."),
    (lambda: Adam(epsilon=0), "Adam: epsilon must be a number > 0, got 0."),
    (lambda: Adam(clip_norm=0), "Adam: clip_norm must be a number > 0, got 0."),
    (lambda: Adam(weight_decay=-1), "Adam: weight_decay must be a number >= 0, got -1."),
    (lambda: Adam(lambda s: s * np.nan).coefficients(0, 2), "Adam: learning_rate must return 2 finite"),
    (lambda: type("Mine", (optimizers.StepRule,), {"rule_id": 0})(0.1).coefficients(0, 2),
     "Mine: an optimizer must define formula(rates, first)."),
    (lambda: type("Mine", (optimizers.StepRule,), {})(0.1),
     "Mine: rule_id must be the place of a kernel in vec.RULES, got None."),
    (lambda: type("Mine", (SGD,), {"rule_id": 99})(0.1), "Mine: rule_id must be the place of a kernel"),
    (lambda: Sequential(NET).fit(*data(), loss="log_loss", optimizer=type("Mine", (optimizers.Optimizer,), {})()),
     "Mine: an optimizer must be a StepRule or a FullBatchMethod."),
    (lambda: Sequential(NET[::2]).fit(*data(), loss="log_loss", optimizer=optimizers.IterativeMethod(0.0)),
     "IterativeMethod: a method must define iterate(objective, theta, slots, scalars)."),
    (lambda: Sequential(NET[::2]).fit(*data(), loss="log_loss", optimizer=optimizers.FullBatchMethod(0.0)),
     "FullBatchMethod: a method must define minimize(objective, theta, slots, scalars, epochs, callback)."),
    (lambda: AdamW(beta_2=-0.1), "AdamW: beta_2 must be a number >= 0 and < 1, got -0.1."),
    (lambda: AdamW(weight_decay="much"), "AdamW: weight_decay must be a number >= 0, got 'much'."),
    (lambda: Nadam(epsilon=0), "Nadam: epsilon must be a number > 0, got 0."),
    (lambda: Nadam(momentum_decay=-1), "Nadam: momentum_decay must be a number >= 0, got -1."),
    (lambda: RMSprop(-1), "RMSprop: learning_rate must be a float > 0, a schedule or a function of the step, got -1."),
    (lambda: RMSprop(rho=1), "RMSprop: rho must be a number >= 0 and < 1, got 1."),
    (lambda: RMSprop(epsilon=np.nan), "RMSprop: epsilon must be a number > 0, got nan."),
    (lambda: RMSprop(momentum=2), "RMSprop: momentum must be a number >= 0 and <= 1, got 2."),
    (lambda: RMSprop(centered="yes"), "RMSprop: centered must be True or False, got 'yes'."),
    (lambda: Adagrad(learning_rate_decay=-1), "Adagrad: learning_rate_decay must be a number >= 0, got -1."),
    (lambda: Adagrad(initial_accumulator_value=-1),
     "Adagrad: initial_accumulator_value must be a number >= 0, got -1."),
    (lambda: Adagrad(epsilon=0), "Adagrad: epsilon must be a number > 0, got 0."),
    (lambda: Adadelta(rho=1.5), "Adadelta: rho must be a number >= 0 and < 1, got 1.5."),
    (lambda: Adadelta(epsilon=None), "Adadelta: epsilon must be a number > 0, got None."),
    (lambda: Lion(0), "Lion: learning_rate must be a float > 0, a schedule or a function of the step, got 0."),
    (lambda: Lion(beta_1=1), "Lion: beta_1 must be a number >= 0 and < 1, got 1."),
    (lambda: Lion(beta_2="0.99"), "Lion: beta_2 must be a number >= 0 and < 1, got '0.99'."),
    (lambda: optimizers.get("rprop"),
     f"Sequential: optimizer must be one of {', '.join(OPTIMIZERS)} or an Optimizer, got 'rprop'."),
])
def test_bad_settings(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value).startswith(message)


# -- averages of the weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "make", [SGD, lambda **kw: SGD(0.1, 0.9, **kw), lambda **kw: RMSprop(momentum=0.9, **kw), Adam])
def test_average_of_the_steps_weights(make, dtype):
    X, y = data(40)
    options = {"loss": "log_loss", "batch_size": 10, "shuffle": False}
    plain, averaged = Sequential(NET, dtype, 1).build(5), Sequential(NET, dtype, 1).build(5)
    expected, t = np.zeros(plain.n_parameters), 0
    for _ in range(3):
        for start in range(0, 40, 10):
            # a step at a time; the epoch, which dropout counts, moves with whole passes
            plain.training_state.epoch = t // 4
            plain.fit(X[start:start + 10], y[start:start + 10], optimizer=make(), epochs=1, **options)
            decay = min(0.8, t / (t + 1))
            expected = decay * expected + (1 - decay) * plain.theta
            t += 1
        averaged.fit(X, y, optimizer=make(ema=0.8), epochs=1, **options)
        np.testing.assert_allclose(averaged.theta, expected, rtol=0, atol=1e-13 if dtype == "float64" else 1e-6)
        np.testing.assert_array_equal(averaged.training_state.optimizer.slots[-1], plain.theta)


def test_an_average_resumes_to_the_same_bits(tmp_path):
    X, y = data()
    options = {"loss": "log_loss", "optimizer": Adam(ema=0.9, clip_norm=1.0)}
    whole, parts = Sequential(NET, random_state=1), Sequential(NET, random_state=1)
    seen = []
    whole.fit(X, y, epochs=10, **options)
    parts.fit(X, y, epochs=5, callbacks=[lambda model, logs: seen.append(model.theta.copy())], **options)
    parts.save(tmp_path / "model")
    np.testing.assert_array_equal(seen[-1], parts.theta)
    for model in (parts, Sequential.load(tmp_path / "model")):
        model.fit(X, y, epochs=5, **options)
        np.testing.assert_array_equal(model.theta, whole.theta)


def test_an_average_of_no_steps():
    """A fit that fails before its first leaves nothing behind."""
    X, y = data()
    model, other = Sequential(NET, random_state=1).build(5), Sequential(NET, random_state=1).build(5)
    theta = model.theta.copy()
    for rate, error, message in ((lambda s: s * np.nan, ValueError, "SGD: learning_rate must return"),
                                 (1e38, FloatingPointError, "became non-finite in epoch 1")):
        with pytest.raises(error, match=message):
            model.fit(X, y, loss="log_loss", optimizer=SGD(rate, ema=0.9))
        np.testing.assert_array_equal(model.theta, theta)
        assert not model.training_state.optimizer.scalars
    for each in (model, other):
        each.fit(X, y, loss="log_loss", optimizer=SGD(ema=0.9), epochs=2)
    np.testing.assert_array_equal(model.theta, other.theta)


def test_weights_set_by_hand_begin_a_new_average():
    X, y = data()
    model = Sequential(NET, random_state=1)
    model.fit(X, y, loss="log_loss", optimizer=Adam(1e-12, ema=0.9), epochs=3)
    model.theta = np.ones(model.n_parameters)
    model.fit(X, y, loss="log_loss", optimizer=Adam(1e-12, ema=0.9), epochs=1)
    np.testing.assert_allclose(model.theta, 1, atol=1e-6)
