"""Published architectures: their counts of parameters, their shapes, and estimators around them."""
import doctest
import importlib

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV

from ldl_cy import NeuralNetClassifier, NeuralNetRegressor, Sequential, layers, networks
from ldl_cy.network import make_graph

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
BIG, CIFAR, SERIES = (224, 224, 3), (32, 32, 3), (150, 1)
# network, input, classes (None: without an output layer), published count of trained parameters
PUBLISHED = [
    (networks.lenet5(), (28, 28, 1), 10, 61_706), (networks.lenet5(padding=0), (32, 32, 1), 10, 61_706),
    (networks.vgg(11), BIG, 1000, 132_863_336), (networks.vgg(11, True), BIG, 1000, 132_868_840),
    (networks.vgg(13), BIG, 1000, 133_047_848), (networks.vgg(13, True), BIG, 1000, 133_053_736),
    (networks.vgg(), BIG, 1000, 138_357_544), (networks.vgg(16, True), BIG, 1000, 138_365_992),
    (networks.vgg(19), BIG, 1000, 143_667_240), (networks.vgg(19, True), BIG, 1000, 143_678_248),
    (networks.resnet(18), BIG, 1000, 11_689_512), (networks.resnet(34), BIG, 1000, 21_797_672),
    (networks.resnet(), BIG, 1000, 25_557_032), (networks.resnet(101), BIG, 1000, 44_549_160),
    (networks.resnet(152), BIG, 1000, 60_192_808),
    (networks.resnet(20), CIFAR, 10, 269_722), (networks.resnet(32), CIFAR, 10, 464_154),
    (networks.resnet(44), CIFAR, 10, 658_586), (networks.resnet(56), CIFAR, 10, 853_018),
    (networks.resnet(110), CIFAR, 10, 1_727_962),
    (networks.mobilenet_v2(), BIG, 1000, 3_504_872), (networks.mobilenet_v2(0.35), BIG, 1000, 1_677_128),
    (networks.mobilenet_v2(1.4), BIG, 1000, 6_108_776),
    (networks.fcn(), SERIES, None, 264_704), (networks.resnet_series(), SERIES, None, 504_000),
    (networks.inception_time(), SERIES, None, 420_192),
    (networks.lstm_fcn(), SERIES, None, 264_704 + 4 * 8 * (150 + 8 + 1)),
    (networks.tcn(output=784), (784, 1), 10, 66_510)]
SMALL = {
    "lenet5": (networks.lenet5(), (12, 12, 1)),
    "vgg": (networks.vgg(11, True, (8,)), (32, 32, 1)),
    "resnet": (networks.resnet(20), (9, 7, 1)),
    "mobilenet_v2": (networks.mobilenet_v2(0.1), (33, 32, 1)),
    "fcn": (networks.fcn((4, 5), (8, 3)), (13, 2)),
    "resnet_series": (networks.resnet_series(4), (13, 2)),
    "inception_time": (networks.inception_time(2, kernel_size=8, bottleneck=3, n_channels=2), (13, 2)),
    "tcn": (networks.tcn((4, 4), 3, 0.1, n_channels=2), (13, 2)),
    "lstm_fcn": (networks.lstm_fcn(3), (13, 2)),
}


@pytest.mark.parametrize(("stack", "shape", "classes", "count"), PUBLISHED)
def test_parameters_as_published(stack, shape, classes, count):
    graph = make_graph([*stack, *([layers.Dense(classes)] if classes else [])], shape, "float32")
    assert graph.n_params == count and all(e.trainable for e in graph.parameters)


@pytest.mark.parametrize("module", ["fcn", "inception_time", "lenet", "resnet", "resnet_series", "tcn"])
def test_examples(module):
    results = doctest.testmod(importlib.import_module(f"ldl_cy.networks.{module}"))
    assert results.attempted > 0 and results.failed == 0


def test_every_name_is_here():
    assert set(SMALL) == set(networks.__all__)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", networks.__all__)
def test_steps(name, dtype, tmp_path):
    """A model and an estimator of each train, on odd sizes and a last batch of one row, and come back from a file."""
    stack, shape = SMALL[name]
    X = RNG.normal(size=(7, *shape)).astype(dtype)
    y = RNG.normal(size=(7, 2)).astype(dtype)
    model = Sequential([*stack, layers.Dense(2)], dtype=dtype, random_state=0)
    model.fit(X, y, loss="squared_error", optimizer="adam", batch_size=3, epochs=2)
    assert model.step == 6 and np.isfinite(model.theta).all() and model.predict(X[:1]).shape == (1, 2)
    model.save(tmp_path / "model.ldl")
    np.testing.assert_array_equal(Sequential.load(tmp_path / "model.ldl").predict(X), model.predict(X))
    reg = NeuralNetRegressor(stack, max_iter=1, random_state=0).fit(X, y)
    assert reg.predict(X).shape == (7, 2) and reg.model_.dtype == dtype
    assert clone(reg).layers == stack


def test_the_same_call_gives_equal_layers_of_its_own():
    for name in networks.__all__:
        one, two = (getattr(networks, name)() for _ in range(2))
        assert one == two and not {id(layer) for layer in one} & {id(layer) for layer in two}


@pytest.mark.parametrize("n_channels", [1, 3])
def test_inception_time_reads_what_libraries_for_series_hand_over(n_channels):
    stack = networks.inception_time(2, kernel_size=8, n_channels=n_channels)
    X = RNG.normal(size=(20, n_channels, 16))
    y = np.where(X[:, 0].sum(axis=1) > 0, "up", "down")
    first = NeuralNetClassifier(stack, input_format="channels_first", max_iter=2, random_state=0).fit(X, y)
    last = NeuralNetClassifier(stack, max_iter=2, random_state=0).fit(X.transpose(0, 2, 1), y)
    np.testing.assert_array_equal(first.model_.theta, last.model_.theta)
    np.testing.assert_array_equal(first.predict(X), last.predict(X.transpose(0, 2, 1)))
    if n_channels == 1:
        np.testing.assert_array_equal(first.predict(X[:, 0]), first.predict(X))
    search = GridSearchCV(first, {"layers": [stack, networks.fcn((4,), (3,))]}, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    np.testing.assert_array_equal(search.best_estimator_.predict(X), clone(search.best_estimator_).fit(X, y).predict(X))


def test_the_ensemble():
    """As in the docstring: networks of other seeds, and the mean of their probabilities."""
    rows = RNG.normal(size=(20, 16))
    net = NeuralNetClassifier(networks.inception_time(2, kernel_size=8), input_shape=(16, 1), max_iter=2)
    ensemble = BaggingClassifier(net, 3, bootstrap=False, random_state=0).fit(rows, rows[:, 0] > 0)
    several = [each.predict_proba(rows) for each in ensemble.estimators_]
    assert (several[0] != several[1]).any()
    np.testing.assert_allclose(ensemble.predict_proba(rows), np.mean(several, axis=0), rtol=1e-6)


def test_a_bottleneck_for_several_channels_only():
    counts = [make_graph(networks.inception_time(n_channels=n), (50, k), "float32").n_params
              for n, k in ((1, 1), (1, 6), (6, 6))]
    windows = 40 + 20 + 10
    # the convolutions of the first module, its maximum and the first residual connection read the input
    assert counts[1] - counts[0] == 5 * (32 * windows + 32 + 128)
    assert counts[2] - counts[1] == 6 * 32 + 32 * 32 * windows - 6 * 32 * windows


def test_tcn_outputs():
    X = RNG.normal(size=(4, 15, 3))
    steps, last, mean = (Sequential(networks.tcn((6, 5), 3, output=output, n_channels=3), "float64", 0).build((15, 3))
                         for output in (None, 15, "mean"))
    np.testing.assert_array_equal(last.predict(X), steps.predict(X)[:, -1])
    np.testing.assert_allclose(mean.predict(X), steps.predict(X).mean(axis=1), rtol=1e-12)
    later = X.copy()
    later[:, 9:] += 1
    np.testing.assert_array_equal(steps.predict(later)[:, :9], steps.predict(X)[:, :9])     # causal
    reach = 1 + 2 * (3 - 1) * (2**2 - 1)
    early = X.copy()
    early[:, :15 - reach] += 1
    np.testing.assert_array_equal(last.predict(early), last.predict(X))
    early[:, 15 - reach] += 1
    assert (last.predict(early) != last.predict(X)).any()
    with pytest.raises(ValueError, match="Reshape: target_shape must hold as many numbers"):
        Sequential(networks.tcn(output=15)).build((14, 1))


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: networks.vgg(12), ValueError, "vgg: depth must be one of 11, 13, 16, 19, got 12."),
    (lambda: networks.vgg([16]), TypeError, r"vgg: depth must be an int >= 1, got \[16\]."),
    (lambda: networks.vgg(16.0), TypeError, "vgg: depth must be an int >= 1, got 16.0."),
    (lambda: networks.resnet({}), TypeError, "resnet: depth must be an int >= 1, got {}."),
    (lambda: networks.vgg(batch_norm=1), TypeError, "vgg: batch_norm must be True or False, got 1."),
    (lambda: networks.vgg(hidden_layer_sizes=8), TypeError,
     "vgg: hidden_layer_sizes must be a list of ints >= 1, got 8."),
    (lambda: networks.vgg(dropout=1), ValueError, "Dropout: rate must be"),
    (lambda: networks.resnet(19), ValueError,
     "resnet: depth must be one of 18, 34, 50, 101, 152, 20, 32, 44, 56, 110, got 19."),
    (lambda: networks.mobilenet_v2(0), ValueError, "mobilenet_v2: alpha must be a number > 0, got 0."),
    (lambda: networks.lenet5(padding=-1), ValueError, "lenet5: padding must be an int >= 0, got -1."),
    (lambda: networks.fcn(()), ValueError, r"fcn: filters must be a list of ints >= 1, got \(\)."),
    (lambda: networks.fcn((4, 0, 3)), ValueError, "fcn: filters must be an int >= 1, got 0."),
    (lambda: networks.fcn((4, 4)), ValueError,
     r"fcn: kernel_sizes must be as many as filters \(4, 4\), got \(8, 5, 3\)"),
    (lambda: networks.resnet_series(0), ValueError, "resnet_series: filters must be an int >= 1, got 0."),
    (lambda: networks.inception_time(kernel_size=3), ValueError, "inception_time: kernel_size must be an int >= 4"),
    (lambda: networks.inception_time(n_channels=0), ValueError, "inception_time: n_channels must be an int >= 1"),
    (lambda: networks.tcn(output="last"), ValueError, "tcn: output must be 'mean', None or an int >= 1, got 'last'."),
    (lambda: networks.tcn(output=1.5), TypeError, "tcn: output must be 'mean', None or an int >= 1, got 1.5."),
    (lambda: networks.tcn(output=0), ValueError, "tcn: output must be an int >= 1, got 0."),
    (lambda: networks.tcn(5), TypeError, "tcn: filters must be a list of ints >= 1, got 5."),
    (lambda: networks.lstm_fcn(0), ValueError, "LSTM: units must be an int >= 1"),
])
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
