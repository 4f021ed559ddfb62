"""The table of optimizers: what each of its entries must have, whichever is added. Each test is named after one."""
import inspect
from pathlib import Path

import pytest

from ldl_cy import optimizers
from ldl_cy._engine.vec import RULES
from ldl_cy.optimizers import OPTIMIZERS, FullBatchMethod, IterativeMethod, Optimizer, StepRule

README = Path(__file__).parents[2] / "README.md"
BASES = {Optimizer, StepRule, FullBatchMethod, IterativeMethod}


def test_every_public_class_has_a_name():
    public = {value for value in vars(optimizers).values() if isinstance(value, type) and issubclass(value, Optimizer)}
    assert public - BASES == set(OPTIMIZERS.values()) and len(set(OPTIMIZERS.values())) == len(OPTIMIZERS)


@pytest.mark.parametrize("kernel", RULES)
def test_a_kernel_has_a_rule(kernel):
    assert any(RULES[kind.rule_id] == kernel for kind in OPTIMIZERS.values() if issubclass(kind, StepRule))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_is_of_one_kind(name):
    """A formula or a method, by its name or as an object, and public."""
    kind, made = OPTIMIZERS[name], optimizers.get(name)
    assert type(made) is kind and optimizers.get(made) is made
    assert issubclass(kind, StepRule) != issubclass(kind, FullBatchMethod)
    assert (made.method is None) == isinstance(made, StepRule)
    assert made.method is None or made.full_batch
    assert kind.__name__ in optimizers.__all__, "its class is not in __all__"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_its_settings_make_it_again(name):
    made = optimizers.get(name)
    config = made.get_config()
    assert set(config) == set(inspect.signature(type(made)).parameters)
    assert repr(type(made)(**config)) == repr(made)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_its_state_can_be_read_from_a_file(name):
    """Files are refused where they hold another number of vectors, or numbers below their least."""
    made = optimizers.get(name)
    assert made.n_slots in made.slot_counts and made.n_vectors == made.n_slots
    assert made.state_name == type(made).__name__
    assert all(isinstance(key, str) and isinstance(low, float) for key, low in made.state_scalars.items())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_is_documented(name):
    """Its equations, where they come from, every argument; in the README too."""
    kind = OPTIMIZERS[name]
    text = inspect.getdoc(kind)
    assert "::" in text and "←" in text, f"{kind.__name__} has no equations"
    assert "References\n----------" in text, f"{kind.__name__} names no source"
    arguments = " ".join(line.split(" : ")[0] for line in text.splitlines() if " : " in line).replace(",", " ").split()
    assert set(inspect.signature(kind).parameters) <= set(arguments)
    assert kind.__name__ in README.read_text(encoding="utf-8"), f"{kind.__name__} is not in the README"
