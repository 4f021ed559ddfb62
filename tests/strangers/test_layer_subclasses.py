"""Layers that strangers wrote, with other shapes, weights and kernels than they say: a sentence when they are built."""
import copy
import pickle
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from strangers import run_all

from ldl_cy import Sequential, layers
from ldl_cy._engine.op import Kernel
from ldl_cy._engine.spec import Parameter
from ldl_cy._kernels.augmentation import random_images
from ldl_cy._kernels.embedding import category_embedding
from ldl_cy.layers import Dense

WIDE = 4000                     # numbers past the end are far past the end of the heap's block


def says(base=Dense, arguments=(6,), **changed):
    """A layer whose build returns something else: functions get what the base's returned, and the input's shape."""
    def build(self, input_shape):
        built = base.build(self, input_shape)
        return replace(built, **{name: change(built, input_shape) for name, change in changed.items()})
    return type("Mine", (base,), {"build": build})(*arguments)


def overrides(base=Dense, arguments=(6,), **members):
    return type("Mine", (base,), members)(*arguments)


def kernel_of(layer):
    return lambda built, shape: layer.build(shape).kernel


def parameters(*shapes):
    return lambda built, shape: tuple(Parameter(f"p{i}", s, "zeros") for i, s in enumerate(shapes))


def tables(weights, counts, **changed):
    """CategoryEmbedding with another kernel, whose numbers of weights and counts are those that it says."""
    settings = {"places": (0,), "n_ids": (4,), "k": (1,), **changed}
    return says(layers.CategoryEmbedding, ([0], [4], [1]), output_shape=lambda built, shape: (6,),
                kernel=lambda built, shape: partial(category_embedding, n_in=6, **settings),
                parameters=parameters(weights), state=parameters(counts), check_input=lambda built, shape: None)


LAYERS = {
    # shapes of outputs
    "less output": lambda: says(output_shape=lambda built, shape: (1,)),
    "more output": lambda: says(output_shape=lambda built, shape: (WIDE,)),
    "no output": lambda: says(output_shape=lambda built, shape: (0,)),
    "negative output": lambda: says(output_shape=lambda built, shape: (-2, -3)),
    "output of None": lambda: says(output_shape=lambda built, shape: None),
    "output of a number": lambda: says(output_shape=lambda built, shape: 6),
    "output of reals": lambda: says(output_shape=lambda built, shape: (6.0,)),
    "output of words": lambda: says(output_shape=lambda built, shape: ("6",)),
    "output of a list": lambda: says(output_shape=lambda built, shape: [6]),
    "another shape": lambda: says(layers.Flatten, (), output_shape=lambda built, shape: (WIDE,)),
    "less of it": lambda: says(layers.Flatten, (), output_shape=lambda built, shape: (1,)),
    # kernels
    "a wide kernel": lambda: says(kernel=kernel_of(Dense(WIDE))),
    "a kernel for other rows": lambda: says(kernel=lambda built, shape: Dense(6).build((WIDE,)).kernel),
    "another layer's": lambda: says(kernel=kernel_of(layers.BatchNorm())),
    "another dtype's": lambda: says(kernel=lambda built, shape: lambda dtype: built.kernel("float64")),
    "an empty kernel": lambda: says(kernel=lambda built, shape: lambda dtype: Kernel()),
    "a kernel of None": lambda: says(kernel=lambda built, shape: lambda dtype: None),
    "a word as a kernel": lambda: says(kernel=lambda built, shape: lambda dtype: "dense"),
    # tables beside numbers: 6 columns
    "a column before the first": lambda: tables((4,), (4,), places=(-1,)),
    "a column past the last": lambda: tables((4,), (4,), places=(WIDE,)),
    "a column twice": lambda: tables((4, 2), (4,), n_ids=(2, 2), k=(1, 1), places=(3, 3)),
    "tables of no length": lambda: tables((32,), (12,), n_ids=(4, 8), k=(-2, 4), places=(0, 1)),
    "tables of fewer columns": lambda: tables((4,), (4,), places=(0, 1)),
    "numbers of no table": lambda: tables((4,), (4,), n_ids=(4,) * WIDE),
    "one shift of an image": lambda: says(layers.GaussianNoise, (1,), kernel=lambda built, shape: partial(
        random_images, image=(6, 1, 1), down=(), right=(0, 1))),
    # weights
    "no weights": lambda: says(parameters=parameters()),
    "few weights": lambda: says(parameters=parameters((1, 1))),
    "many weights": lambda: says(parameters=parameters((WIDE, WIDE))),
    "negative weights": lambda: says(parameters=parameters((-6, -6))),
    "weights of reals": lambda: says(parameters=parameters((6.0, 6.0))),
    "weights of None": lambda: says(parameters=parameters(None)),
    "no statistics": lambda: says(layers.BatchNorm, (), state=parameters()),
    "statistics where there are none": lambda: says(state=parameters((3,))),
    # builds and connections
    "built of None": lambda: overrides(build=lambda self, shape: None),
    "built of a tuple": lambda: overrides(build=lambda self, shape: ((6,), None)),
    "connected to nothing": lambda: overrides(connect=lambda self, graph, x, name: None),
    "connected past the end": lambda: overrides(connect=lambda self, graph, x, name: 10**6),
    "connected before the start": lambda: overrides(connect=lambda self, graph, x, name: -1),
    "no base": lambda: overrides(layers.Layer, ()),
}
# right results: what these change is not what compiled code reads
HARMLESS = {
    "an output shape that is computed": lambda: overrides(compute_output_shape=lambda self, shape: (WIDE,)),
    "weights in one": lambda: says(parameters=parameters((36,), (6,))),
    "weights in parts": lambda: says(parameters=parameters((5, 6), (2, 6))),
    "activations": lambda: overrides(output_activations=lambda self, before, name: {"softmax": 3}),
    "no kernel": lambda: says(kernel=lambda built, shape: None),
    "through": lambda: overrides(connect=lambda self, graph, x, name: x),
}
X = np.random.default_rng(0).standard_normal((20, 6))


def used(name):
    """Whatever a model does with the layer, in the middle of others."""
    layer = {**LAYERS, **HARMLESS}[name]()
    model = Sequential([Dense(6, "tanh"), layer, Dense(6)], random_state=0)
    model.fit(X, X, loss="squared_error", optimizer="adam", epochs=2, batch_size=7)
    model.predict(X)
    model.jacobian(X[:2])
    model.trace(X)
    np.testing.assert_array_equal(copy.deepcopy(model).predict(X), model.predict(X))
    return bool(np.isfinite(model.theta).all())


def test_layers_that_do_not_fit_what_they_say():
    for name, ended in zip(LAYERS, run_all(used, [[name] for name in LAYERS])):
        assert ended.error in ("ValueError", "TypeError"), (name, ended)
        owner, _, rest = ended.text.partition(": ")
        assert owner in ("Mine", "Sequential", "CategoryEmbedding", "random_images") and " must " in rest, (name, ended)
    assert all(ended.result() for ended in run_all(used, [[name] for name in HARMLESS]))


# -- layers that change after they were built -------------------------------------------------------------------------


def changed(attribute, value):
    """The built network stays as it is; what is made from the layers later is another one, or a sentence."""
    first = Dense(6, "tanh")
    model = Sequential([first, layers.Dropout(0.2), Dense(2)], random_state=0).build(6)
    model.fit(X, X[:, :2], loss="squared_error", epochs=1)
    expected = model.predict(X)
    setattr(first, attribute, {"object": object(), "nan": float("nan")}.get(value, value))
    said = []

    def check(call):
        try:
            call()
        except (ValueError, TypeError) as error:        # a TypeError may be Python's own, of a word as a number
            said.append(type(error).__name__)

    np.testing.assert_array_equal(model.predict(X), expected)
    model.fit(X, X[:, :2], loss="squared_error", epochs=1)
    model.reset().fit(X, X[:, :2], loss="squared_error", epochs=1)
    np.testing.assert_array_equal(model.predict(X), expected)
    with tempfile.TemporaryDirectory() as folder:
        def keep():
            model.save(Path(folder, "model"))
            Sequential.load(Path(folder, "model")).predict(X)
        check(keep)
    check(lambda: pickle.loads(pickle.dumps(model)).predict(X))
    check(lambda: copy.deepcopy(model).predict(X))
    check(lambda: model.build(7).fit(np.ones((3, 7)), np.ones((3, 2)), loss="squared_error", epochs=1))
    return said


def test_layers_that_change_after_they_were_built():
    cases = [("units", 10**4), ("units", 1), ("units", -3), ("units", None), ("units", "many"), ("activation", "relu"),
             ("activation", "none such"), ("activation", 3), ("use_bias", False), ("use_bias", "yes"),
             ("name", "other"), ("name", 3), ("trainable", False), ("trainable", "no"),
             ("kernel_initializer", "object"), ("build", None), ("connect", 3), ("get_config", None)]
    for case, ended in zip(cases, run_all(changed, cases)):
        refused = ended.result()
        # words, negative numbers and other sizes than those of the weights are never taken
        assert bool(refused) == (case not in [("activation", "relu"), ("name", "other"), ("trainable", False)]), case
