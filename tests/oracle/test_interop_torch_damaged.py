"""Modules of torch that were changed after they were made, and tensors without numbers: a sentence."""
from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the extra 'oracle' brings PyTorch, whose modules these tests make")

import torch
from torch import nn

from ldl_cy import Sequential, interop, layers


def within_itself():
    module = nn.Sequential(nn.Linear(3, 3))
    module.add_module("again", module)
    return module


def doubled(levels):
    """2^levels modules, all of them one."""
    module = nn.Sequential()
    for _ in range(levels):
        module = nn.Sequential(module, module)
    return module


def nested(levels):
    module = nn.Linear(3, 3)
    for _ in range(levels):
        module = nn.Sequential(module)
    return module


def changed(name, value, module=None):
    module = nn.Linear(3, 3) if module is None else module
    setattr(module, name, value)
    return module


class Shown(nn.Sequential):
    """Has the forward of nn.Sequential, which runs through other modules."""

    def __iter__(self):
        return iter([])


class Called(nn.Sequential):
    """Does not run its forward alone."""

    def __call__(self, x):
        return 2 * x


MODULES = {
    "within itself": (within_itself, "from_torch: modules must be nested at most 64 deep, got more in 'again'."),
    "doubled": (lambda: doubled(40), "from_torch: module must have at most 100000 modules, got more."),
    "nested": (lambda: nested(2000), "from_torch: modules must be nested at most 64 deep, got more in '0'."),
    "another forward": (lambda: changed("forward", lambda x: x),
                        "from_torch: Linear must have no hooks, such as those of weight_norm"),
    "another forward of all": (lambda: changed("forward", lambda x: x, nested(1)), "from_torch: Sequential "),
    "another __iter__": (lambda: Shown(nn.Linear(3, 3)), "from_torch: Shown "),
    "another __call__": (lambda: Called(nn.Linear(3, 3)), "from_torch: Called "),
    "meta": (lambda: nn.Linear(3, 3, device="meta"),
             "from_torch: weight must be a dense tensor with numbers, got one on the meta device."),
    "sparse": (lambda: changed("weight", nn.Parameter(torch.eye(3).to_sparse(), requires_grad=False)),
               "from_torch: weight must be a dense tensor with numbers, got "),
    "no weight": (lambda: changed("weight", None),
                  "from_torch: Linear has no counterpart: it has no 'weight'."),
    "no size": (lambda: changed("output_size", 0, nn.AdaptiveAvgPool1d(1)), "from_torch: AdaptiveAvgPool1d has no"),
    "no axes": (lambda: changed("normalized_shape", 3, nn.LayerNorm(3)), "from_torch: LayerNorm has no counterpart: "),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_sentence(name):
    make, start = MODULES[name]
    with pytest.raises(ValueError) as raised:
        interop.from_torch(make(), (4, 3) if name == "no size" else 3)
    assert str(raised.value).startswith(start), str(raised.value)


@pytest.mark.parametrize("name", ["training", "order", "dtype", "_modules", "forward"])
def test_names_of_layers_that_a_module_has(name):
    with pytest.raises(ValueError, match=r"^to_torch: a layer's name must not be an attribute of nn.Sequential, got "):
        interop.to_torch(Sequential([layers.Dense(2, name=name)]).build(3))


@pytest.mark.parametrize("kind", ["meta", "sparse", "uninitialized"])
def test_tensors_without_numbers(kind):
    model = Sequential([layers.Dense(3)]).build(3)
    weight = {"meta": torch.empty((3, 3), device="meta"), "sparse": torch.eye(3).to_sparse(),
              "uninitialized": nn.UninitializedParameter()}[kind]
    before = model.theta.tobytes()
    for load, prefix, name in ((model.load_weights, "dense_0", "kernel"),
                               (lambda given: interop.load_torch(model, given), "0", "weight")):
        with pytest.raises(ValueError, match=rf"^load_\w+: {prefix}.{name} must be a dense tensor with numbers, got "):
            load({f"{prefix}.{name}": weight, f"{prefix}.bias": torch.ones(3)})
    assert model.theta.tobytes() == before


def test_a_negated_view():
    """A tensor whose numbers NumPy cannot read where they are."""
    model = Sequential([layers.Dense(2)]).build(3)
    interop.load_torch(model, {"0.weight": torch._neg_view(torch.ones(2, 3)), "0.bias": torch.zeros(2)})
    assert (model.parameters["dense_0.kernel"] == -1).all()
