"""class_weight in Sequential.fit: the same bits as the sample weights that it means, and what it refuses."""
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight
from states import check_same

from ldl_cy import Sequential, layers, losses

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 4))
CODES = RNG.choice(3, 50, p=[0.6, 0.3, 0.1])
BINARY = (CODES > 0).astype(int)
WEIGHTS = RNG.uniform(0.5, 2, 50)
# loss, outputs, targets, class_weight, the weight of each row
CASES = {
    "codes": ("log_loss", 3, CODES, {0: 0.5, 2: 4}, np.array([0.5, 1, 4])[CODES]),
    "floats": ("log_loss", 3, 1.0 * CODES, {0.0: 0.5, np.int64(2): np.float32(4)}, np.array([0.5, 1, 4])[CODES]),
    "one-hot": ("crossentropy", 3, np.eye(3)[CODES], {1: 3}, np.array([1, 3, 1])[CODES]),
    "a class that is left out": ("log_loss", 3, CODES, {0: 0}, (CODES > 0).astype(float)),
    "smoothed": (losses.LogLoss(0.1), 3, CODES, {}, np.ones(50)),
    "binary": ("binary_log_loss", 1, BINARY, {0: 2, 1: 0.25}, np.array([2, 0.25])[BINARY]),
    "binary column": ("binary_log_loss", 1, BINARY[:, None], {1: 5}, np.array([1, 5])[BINARY]),
    "hinge": ("hinge", 3, CODES, {0: 0.5, 1: 2}, np.array([0.5, 2, 1])[CODES]),
    "hinge 0 and 1": ("hinge", 1, BINARY, {0: 0.5}, np.array([0.5, 1])[BINARY]),
    "hinge -1 and 1": ("hinge", 1, 2 * BINARY - 1, {-1: 0.5, 1: 3}, np.array([0.5, 3])[BINARY]),
    "balanced": ("log_loss", 3, CODES, "balanced", compute_sample_weight("balanced", CODES)),
    "balanced, a class without rows": ("log_loss", 5, CODES, "balanced", compute_sample_weight("balanced", CODES)),
    "balanced binary": ("binary_log_loss", 1, BINARY, "balanced", compute_sample_weight("balanced", BINARY))}


def made(k, dtype="float64", stack=()):
    return Sequential([layers.Dense(5, "tanh"), *stack, layers.Dense(k)], dtype, 1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("given", [None, WEIGHTS], ids=["alone", "weighted"])
@pytest.mark.parametrize("name", CASES)
def test_is_the_sample_weight_of_its_class(name, given, optimizer, dtype):
    loss, k, y, class_weight, weights = CASES[name]
    one, other = made(k, dtype), made(k, dtype)
    history = one.fit(X, y, loss=loss, optimizer=optimizer, epochs=3, class_weight=class_weight, sample_weight=given)
    if given is not None:
        weights = weights * given.astype(dtype)
    expected = other.fit(X, y, loss=loss, optimizer=optimizer, epochs=3, sample_weight=weights)
    check_same(one, other)
    assert history.history == expected.history


def test_lists_and_series_of_targets():
    pd = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the series")
    one, *others = made(3), made(3), made(3)
    one.fit(X, CODES, loss="log_loss", epochs=1, class_weight={0: 3})
    for other, y in zip(others, (CODES.tolist(), pd.Series(CODES, index=range(50, 0, -1)))):
        other.fit(X, y, loss="log_loss", epochs=1, class_weight={0: 3})
        check_same(other, one)


def test_validation_rows_have_no_class_weight():
    """"balanced" counts what is trained on; the loss of what is held out is without it."""
    one, other = made(3), made(3)
    history = one.fit(X, CODES, loss="log_loss", epochs=2, class_weight="balanced", validation_split=0.3)
    first, codes = X[:35], CODES[:35]
    assert history.history["val_loss"][-1] == pytest.approx(one.evaluate(X[35:], CODES[35:], loss="log_loss"), rel=1e-9)
    other.fit(first, codes, loss="log_loss", epochs=2, sample_weight=compute_sample_weight("balanced", codes))
    np.testing.assert_array_equal(one.theta, other.theta)


def test_batches_of_the_users():
    """Each batch by the same dict; a batch of classes without weight is no step."""
    rows = [slice(0, 20), slice(20, 45), slice(45, 50)]
    zeros = np.flatnonzero(CODES == 0)[:4]
    batches = [*((X[i], CODES[i]) for i in rows), (X[zeros], CODES[zeros]), (X[rows[0]], CODES[rows[0]], WEIGHTS[:20])]
    weights = np.array([0, 1, 4.0])
    same = [(*batch[:2], weights[batch[1]] * (batch[2] if len(batch) > 2 else 1)) for batch in batches]
    one, other = made(3), made(3)
    one.fit(batches, loss="log_loss", epochs=2, class_weight={0: 0, 2: 4})
    other.fit(same, loss="log_loss", epochs=2)
    check_same(one, other)
    assert one.step == 8
    signs = [(X[:5], np.ones(5)), (X[5:9], -np.ones(4)), (X[9:], np.ones(41))]
    made(1).fit(signs, loss="hinge", class_weight={-1: 2, 1: 1})    # not all classes in each batch


def test_frozen_trunks():
    one, other = (made(3, stack=[layers.Dense(4)]).freeze("dense_0") for _ in range(2))
    one.fit(X, CODES, loss="log_loss", epochs=3, class_weight={2: 3})
    other.fit(X, CODES, loss="log_loss", epochs=3, sample_weight=np.array([1, 1, 3.0])[CODES])
    check_same(one, other)


SEQUENCES = RNG.standard_normal((6, 3, 4)), RNG.integers(0, 2, (6, 3))
KEYS = "Sequential: the keys of class_weight must be classes, "


@pytest.mark.parametrize(("options", "kind", "message"), [
    ({"class_weight": 2}, TypeError, "Sequential: class_weight must be a dict of weights by class, 'balanced' or None"),
    ({"class_weight": [1, 2, 3]}, TypeError, "class_weight must be a dict of weights by class"),
    ({"class_weight": "even"}, ValueError, "or None, got 'even'"),
    ({"class_weight": {3: 1}}, ValueError, KEYS + "0 .. 2, got 3."),
    ({"class_weight": {-1: 1}}, ValueError, KEYS + "0 .. 2, got -1."),
    ({"class_weight": {"a": 1}}, ValueError, KEYS + "0 .. 2, got 'a'."),
    ({"class_weight": {True: 1}}, ValueError, KEYS + "0 .. 2, got True."),
    ({"class_weight": {0.5: 1}}, ValueError, KEYS + "0 .. 2, got 0.5."),
    ({"class_weight": {1: -2}}, ValueError, r"Sequential: class_weight\[1\] must be a number >= 0, got -2."),
    ({"class_weight": {1: "b"}}, TypeError, r"class_weight\[1\] must be a number >= 0, got 'b'."),
    ({"class_weight": {1: np.nan}}, ValueError, r"class_weight\[1\] must be a number >= 0, got nan"),
    ({"class_weight": {0: 0, 1: 0, 2: 0}}, ValueError, "Sequential: class_weight must leave a row with a weight > 0"),
    ({"class_weight": {0: 1e300}, "dtype": "float32"}, ValueError, "class_weight, with sample_weight, must fit into"),
    ({"class_weight": {0: 1}, "loss": "squared_error", "y": np.eye(3)[CODES]}, ValueError,
     "class_weight must be None with a loss other than log_loss, binary_log_loss and hinge, got .* with squared_error"),
    ({"class_weight": {0: 1}, "y": np.full((50, 3), 1 / 3)}, ValueError,
     r"log_loss: with class_weight, y must hold one class code for a sample, got targets of shape \(50, 3\)"),
    ({"class_weight": "balanced", "loss": "binary_log_loss", "y": np.eye(3)[CODES]}, ValueError,
     "binary_log_loss: with class_weight, y must hold 0 or 1 for a sample with one output"),
    ({"class_weight": {0: 1}, "X": SEQUENCES[0], "y": SEQUENCES[1]}, ValueError, "log_loss: with class_weight, y must"),
    ({"class_weight": {0: 1}, "loss": "hinge", "X": SEQUENCES[0], "y": SEQUENCES[1]}, ValueError, "hinge: with cl"),
    ({"class_weight": "balanced", "X": [(X, CODES)], "y": None}, ValueError,
     "class_weight must be a dict with an iterable of batches, whose classes are not counted before, got 'balanced'")])
def test_refused_before_any_work(options, kind, message):
    options = {"X": X, "y": CODES, "loss": "log_loss", **options}
    model = made(3, options.pop("dtype", "float64")).build(options["X"][0].shape if options["y"] is not None else 4)
    before = model.theta.copy()
    with pytest.raises(kind, match=message):
        model.fit(options.pop("X"), options.pop("y"), **options)
    assert model.step == 0 and (model.theta == before).all()
