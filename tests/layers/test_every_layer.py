"""Every public layer, by its example in helpers/cases.py: the contract, and a model of the layer alone."""
import inspect
import re
from pathlib import Path

import pytest
from branches import check_keeping, check_rows_and_bits, check_stack_gradient, small
from cases import LAYERS, PUBLIC, example
from contract import CHECKS, DTYPES, check_config, check_in_a_model, close

from ldl_cy import Sequential
from ldl_cy.layers import Layer

# layers that are made of others have no build, and those that change shapes alone no kernel
KERNELS = [name for name, case in LAYERS.items()
           if type(case.layer).build is not Layer.build and case.layer.build(case.input_shape).kernel]
# The functions of a Custom layer are not in its repr, and files need them from the caller.
KEPT = [name for name in PUBLIC if name != "Custom"]
README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PUBLIC)
def test_forward(name, dtype):
    case = example(name)
    assert type(case.layer).__name__ == name
    model, x = small([case.layer], case.input_shape, dtype, data=case.data)
    p = {key.partition(".")[2]: value.astype(float) for key, value in model.parameters.items()}
    found, expected = model.predict(x), case.reference(p, x.astype(float))
    assert found.dtype == dtype and found.shape == expected.shape == (len(x), *model.output_shape)
    close(found, expected, 1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "check"), [
    (name, check) for name in KERNELS for check in CHECKS
    if name in KEPT or check not in (check_config, check_in_a_model)])
def test_contract(name, check, dtype):
    check(example(name), dtype)


@pytest.mark.parametrize("name", KEPT)
def test_what_decays(name):
    """alpha and weight_decay act on kernels and tables, and on nothing else."""
    case = example(name)
    network = Sequential([case.layer]).build(case.input_shape).network
    for entry in network.graph.parameters:
        kind = entry.name.rpartition(".")[2]
        assert entry.parameter.decays == (kind in ("kernel", "recurrent_kernel", "table")), entry.name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_says_what_it_is(name, dtype):
    """Its name, what it was made from, and its work, without which no thread would share it."""
    kernel = LAYERS[name].layer.build(LAYERS[name].input_shape).kernel(dtype)
    assert kernel.dtype == dtype
    assert kernel.name, f"the kernel of {name} has no name"
    assert kernel.config, f"the kernel of {name} has no config"
    assert kernel.flops > 0, f"the kernel of {name} has no flops"


@pytest.mark.parametrize("name", PUBLIC)
def test_is_documented(name):
    """What it takes and gives, its arguments and weights, where a layer with weights is from; in the README too."""
    kind, case = type(example(name).layer), example(name)
    text = inspect.getdoc(kind)
    weights = [entry.name.rpartition(".")[2] for entry in
               Sequential([case.layer]).build(case.input_shape).network.graph.parameters]
    sections = ["Parameters", "Shape"] + (["Attributes", "References"] if weights and name in KEPT else [])
    missing = [section for section in sections if f"{section}\n{'-' * len(section)}\n" not in text]
    assert not missing, f"{name} has no {', '.join(missing)} in its docstring"
    unknown = [word for word in inspect.signature(kind).parameters if not re.search(rf"\b{word}\b", text)]
    assert not unknown, f"{name} does not say what {', '.join(unknown)} is"
    # "Max, Avg, GlobalMax and GlobalAvg pooling in 1D and 2D"
    word = re.sub(r"Pool[12]D$", "", name)
    assert re.search(rf"\b{word}\b", README.read_text(encoding="utf-8")), f"{name} is not in the README"


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", PUBLIC)
def test_gradient(name, training):
    case = example(name)
    check_stack_gradient([case.layer], case.input_shape, training, case.data)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PUBLIC)
def test_threads(name, dtype):
    case = example(name)
    check_rows_and_bits([case.layer], case.input_shape, dtype, case.data)


@pytest.mark.parametrize("name", KEPT)
def test_keeping(name, tmp_path, capsys):
    case = example(name)
    check_keeping([case.layer], case.input_shape, tmp_path, capsys, case.data)
    assert case.layer.from_config(case.layer.get_config()) == case.layer


def test_examples_are_of_public_layers():
    assert sorted(LAYERS) == PUBLIC
