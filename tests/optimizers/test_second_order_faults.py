"""Full-batch methods: what they refuse, numbers that overflow, and fits that are interrupted."""
import numpy as np
import pytest

from ldl_cy import Sequential, layers
from ldl_cy.optimizers import GD, LBFGS, ConjugateGradient, GaussNewtonCG, LevenbergMarquardt
from ldl_cy.optimizers.levenberg_marquardt import solve_damped

LM, GNCG, CG = LevenbergMarquardt(), GaussNewtonCG(), ConjugateGradient()
LED = [LM, LevenbergMarquardt(bayesian=True), GNCG, CG, LBFGS(), GD(0.1, line_search=True)]
NET = [layers.Dense(4, "tanh"), layers.Dense(2)]
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((9, 5, 3)), RNG.standard_normal((9, 2))
FLAT = X[:, 0]
DROP, NORM, STATE = layers.Dropout(0.5), layers.BatchNorm(), layers.GRU(2)
WITHOUT = ("the network must be without trainable BatchNorm and layers that draw random numbers in training, which "
           "make the loss more than a function of the weights, got ")


def bytes_of(model):
    state = model.training_state
    return (model.theta.tobytes(), model.network.statistics.tobytes(), state.optimizer.slots.tobytes(),
            state.to_dict())


def test_damping_makes_a_matrix_positive():
    matrix, right = np.diag([2.0, -1.0]), np.array([1.0, 2.0])
    assert solve_damped(matrix, 0.5, right) is None
    np.testing.assert_allclose(solve_damped(matrix, 3.0, right), [0.2, 1.0], rtol=1e-12)
    np.testing.assert_array_equal(matrix, np.diag([2.0, -1.0]))         # another damping may follow


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimizer", "options", "message"), [
    (LM, {"loss": "log_loss"}, "LevenbergMarquardt: the loss must be squared_error, got log_loss; GaussNewtonCG, "
                               "ConjugateGradient and LBFGS take others."),
    (LM, {"loss": "huber"}, "LevenbergMarquardt: the loss must be squared_error, got huber"),
    (GNCG, {"loss": "huber"}, "GaussNewtonCG: the loss must be squared_error, log_loss, binary_log_loss or poisson, "
                              "got huber."),
    (GNCG, {"loss": "hinge"}, "GaussNewtonCG: the loss must be"),
    *((o, {"batch_size": 3}, f"Sequential: batch_size must be 'auto' or 'full' with {type(o).__name__}, which takes "
                             "the full batch, got 3.") for o in LED),
    *((o, {"layers": [DROP, *NET]}, f"{type(o).__name__}: {WITHOUT}dropout_0.") for o in (LM, GNCG)),
    *((o, {"layers": [layers.Dense(2), NORM]}, f"{type(o).__name__}: {WITHOUT}batch_norm_1.") for o in (LM, GNCG)),
    *((o, {"layers": [layers.Add([layers.Dense(3), DROP], []), *NET]},
       f"{type(o).__name__}: {WITHOUT}add_0.0.dropout_1.") for o in (LM, GNCG)),
    *((o, {"layers": [layers.Concatenate([layers.Add([NORM], [])], []), *NET]},
       f"{type(o).__name__}: {WITHOUT}concatenate_0.0.add_0.0.batch_norm_0.") for o in (LM, GNCG)),
    *((o, {"layers": [layers.Concatenate(layers.Bidirectional(STATE), [DROP, STATE]), *NET], "X": X},
       f"{type(o).__name__}: {WITHOUT}concatenate_0.1.dropout_0.") for o in (LM, GNCG)),
    *((o, {"layers": [layers.GaussianNoise(0.1), layers.Reshape((3, 1)), layers.Flatten(), *NET]},
       f"{type(o).__name__}: {WITHOUT}gaussian_noise_0.") for o in (LM, GNCG)),
    *((o, {"layers": [layers.GRU(2, return_sequences=True)], "X": X, "y": X[..., :2]},
       f"{type(o).__name__}: the output must have one axis, got the shape (5, 2).") for o in (LM, GNCG)),
    (LM, {"layers": [layers.Dense(20000), *NET]}, "LevenbergMarquardt: its matrices may take at most 4 GiB, got 160014 "
                                                  "weights, for which they take 381.5 GiB; GaussNewtonCG needs none."),
], ids=lambda value: type(value).__name__ if isinstance(value, (LevenbergMarquardt, GaussNewtonCG)) else None)
def test_refusals_change_nothing(optimizer, options, message):
    given = {"layers": NET, "X": FLAT, "y": Y, "loss": "squared_error", "optimizer": optimizer, **options}
    stack, rows, y = given.pop("layers"), given.pop("X"), given.pop("y")
    if given["loss"] in ("log_loss", "hinge"):
        y = (Y[:, 0] > 0).astype(int)
    model, unbuilt = Sequential(stack, random_state=1).build(rows.shape[1:]), Sequential(stack, random_state=1)
    before = bytes_of(model)
    for each in (model, unbuilt):
        with pytest.raises(ValueError) as error:
            each.fit(rows, y, **given)
        assert str(error.value).startswith(message)
    assert bytes_of(model) == before and unbuilt.input_shape is None


@pytest.mark.parametrize(("make", "message"), [
    (lambda: LevenbergMarquardt(damping=0), "LevenbergMarquardt: damping must be a number > 0, got 0."),
    (lambda: LevenbergMarquardt(tol=-1), "LevenbergMarquardt: tol must be a number >= 0, got -1."),
    (lambda: LevenbergMarquardt(max_damping=np.inf), "LevenbergMarquardt: max_damping must be a number > 0, got inf."),
    (lambda: LevenbergMarquardt(bayesian=1), "LevenbergMarquardt: bayesian must be True or False, got 1."),
    (lambda: GaussNewtonCG(damping="a"), "GaussNewtonCG: damping must be a number > 0, got 'a'."),
    (lambda: GaussNewtonCG(max_products=0), "GaussNewtonCG: max_products must be an int >= 1, got 0."),
    (lambda: GaussNewtonCG(accuracy=1), "GaussNewtonCG: accuracy must be a number > 0 and < 1, got 1."),
    (lambda: ConjugateGradient(sigma=0), "ConjugateGradient: sigma must be a number > 0, got 0."),
    (lambda: ConjugateGradient(scale=np.nan), "ConjugateGradient: scale must be a number > 0, got nan."),
    (lambda: LBFGS(memory=0), "LBFGS: memory must be an int >= 1, got 0."),
    (lambda: LBFGS(max_fun=1.5), "LBFGS: max_fun must be an int >= 1, got 1.5."),
    (lambda: LBFGS(loss_tol=-1), "LBFGS: loss_tol must be a number >= 0, got -1."),
    (lambda: GD(criterion="lose"), "GD: criterion must be one of 'gradient', 'loss', got 'lose'."),
    (lambda: GD(line_search=1), "GD: line_search must be True or False, got 1."),
    (lambda: GD(lambda s: s, line_search=True), "GD: line_search=True takes a float as learning_rate"),
    (lambda: GD(0.1, line_search=True, clip_norm=1.0), "GD: line_search=True takes a float as learning_rate"),
])
def test_bad_settings(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value).startswith(message)


# -- numbers that overflow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", LED, ids=repr)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_start_that_is_not_finite(optimizer, alpha):
    model = Sequential([layers.Dense(4, "relu"), layers.Dense(2)], "float64", 1).build(3)
    model.theta[:] = 1e200
    before = model.theta.tobytes()
    with pytest.raises(FloatingPointError, match="Sequential: the loss or"), np.errstate(over="ignore"):
        model.fit(FLAT, Y, loss="squared_error", optimizer=optimizer, epochs=5, alpha=alpha)
    assert model.theta.tobytes() == before and model.epoch == 0
    model.reset()
    assert np.isfinite(model.fit(FLAT, Y, loss="squared_error", optimizer=optimizer).history["loss"]).all()


def fenced(bound):
    """x + w, and NaN outside a fence: steps that reach it must be shortened."""
    def forward(parameters, x):
        return np.where(np.abs(parameters["w"]).max() > bound, np.nan, x + parameters["w"])

    def backward(parameters, x, y, dy):
        return dy, {"w": dy.sum(axis=0) + 0 * y.sum(axis=0)}

    return layers.Custom(forward, backward, output_shape=2, parameters={"w": 2})


@pytest.mark.parametrize("optimizer", [o for o in LED if not isinstance(o, LBFGS)], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_to_nowhere_are_refused(optimizer, dtype):
    model = Sequential([fenced(1.0)], dtype, 1).build(2)
    model.theta[:] = 0.5
    rows = Y - Y.mean(axis=0)
    history = model.fit(rows, rows + 3, loss="squared_error", optimizer=optimizer, epochs=60)
    assert np.isfinite(history.history["loss"]).all()
    assert np.abs(model.theta).max() <= 1 and model.theta.max() > 0.9       # as far as the fence


def test_lbfgs_keeps_its_last_finite_iterate():
    model = Sequential([fenced(1.5)], "float64", 1).build(2)
    model.theta[:] = 0.5
    path = []
    with pytest.raises(FloatingPointError, match="non-finite"):
        model.fit(Y, Y + np.array([1.4, 9]), loss="squared_error", optimizer=LBFGS(), epochs=60,
                  callbacks=lambda model, logs: path.append(model.theta.copy()))
    assert len(path) == model.epoch
    np.testing.assert_array_equal(model.theta, path[-1] if path else [0.5, 0.5])


@pytest.mark.parametrize("optimizer", [GNCG, CG, GD(1.0, line_search=True)], ids=repr)
def test_overflow_of_the_loss_is_refused(optimizer):
    """exp(ŷ) of a first step that is far too long."""
    rows, y = 300 * FLAT, np.full((9, 1), 1e6)
    model = Sequential([layers.Dense(1, kernel_initializer="zeros")], "float64", 1)
    history = model.fit(rows, y, loss="poisson", optimizer=optimizer, epochs=30)
    assert np.isfinite(history.history["loss"]).all() and history.history["loss"][-1] < -1e6
    assert np.all(np.diff(history.history["loss"]) <= 0)


def test_a_gradient_that_is_not_finite_ends_the_search():
    """Conjugate gradients look at the gradient a little aside, where it need not be finite."""
    def backward(parameters, x, y, dy):
        w = parameters["w"]
        return dy, {"w": np.where(np.abs(w - 0.5) > 1e-9, np.nan, dy.sum(axis=0))}

    layer = layers.Custom(lambda p, x: x + p["w"], backward, output_shape=2, parameters={"w": 2})
    model = Sequential([layer], "float64", 1).build(2)
    model.theta[:] = 0.5
    with pytest.raises(FloatingPointError, match=r"non-finite in epoch 1 .*; the weights are those of epoch 0"):
        model.fit(Y, Y + 3, loss="squared_error", optimizer=CG, epochs=5)
    assert np.isfinite(model.theta).all()


# -- interruption --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", LED, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_interrupted_fit_resumes_as_if_it_were_not(optimizer, dtype):
    def interrupt(model, logs):
        if model.epoch == 3:
            raise KeyboardInterrupt

    options = {"loss": "squared_error", "optimizer": optimizer}
    model, whole = (Sequential([layers.Dense(3, "tanh"), layers.Dense(2)], dtype, 1) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        model.fit(FLAT, Y, epochs=50, callbacks=interrupt, **options)
    assert model.epoch == 3 and np.isfinite(model.predict(FLAT)).all()
    whole.fit(FLAT, Y, epochs=3, **options)
    np.testing.assert_array_equal(model.theta, whole.theta)
    for each in (model, whole):
        each.fit(FLAT, Y, epochs=3, **options)
    np.testing.assert_array_equal(model.theta, whole.theta)


# -- weights that a callback sets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cg", "gd", "lm", "gauss_newton_cg", "lbfgs"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_that_a_callback_sets(name, dtype):
    """The next iteration begins with them: as in a further fit, and after a snapshot as if nothing had been."""
    rule = {"gd": GD(0.1, tol=0, line_search=True)}.get(name, name)
    options = {"loss": "squared_error", "optimizer": rule}
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 3))
    b = np.sin(A[:, :1] * A[:, 1:2])
    stack = [layers.Dense(5, "tanh"), layers.Dense(1)]
    one, parts, back, short = (Sequential(stack, dtype, 1).build(3) for _ in range(4))
    saved = []

    def double(model, logs):
        if model.epoch == 2:
            model.theta = 2 * model.theta

    def restore(model, logs):
        if model.epoch == 2 and not saved:
            saved.extend([model.network.snapshot(), model.training_state.snapshot()])
        elif model.epoch == 4 and len(saved) == 2:
            model.network.restore(saved[0])
            model.training_state.restore(saved[1])
            saved.append(None)

    one.fit(A, b, epochs=5, callbacks=double, **options)
    parts.fit(A, b, epochs=2, **options)
    parts.theta = 2 * parts.theta
    parts.fit(A, b, epochs=3, **options)
    np.testing.assert_array_equal(one.theta, parts.theta)
    back.fit(A, b, epochs=6, callbacks=restore, **options)
    short.fit(A, b, epochs=2, **options)
    short.fit(A, b, epochs=2, **options)
    np.testing.assert_array_equal(back.theta, short.theta)
    assert back.epoch == 4 and back.training_state.to_dict() == short.training_state.to_dict()
