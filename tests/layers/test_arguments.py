"""Every constructor argument of every layer refuses a value of no use, and says who, what and which value."""
import inspect

import pytest

from ldl_cy import layers

ALIASES = {"SimpleRNN", "BatchNormalization", "LayerNormalization", "Layer"}
NEEDED = {
    "Dense": (3,), "Conv1D": (2, 3), "Conv2D": (2, 3), "RNN": (2,), "LSTM": (2,), "GRU": (2,), "Dropout": (0.1,),
    "Activation": ("relu",), "Reshape": ((2,),), "Embedding": (3, 2), "Bidirectional": (layers.GRU(2),),
    "Custom": (abs, abs, 3),
}
BRANCHES = {"Add": ([], []), "Concatenate": ([], [])}       # paths are positional and have tests of their own


class Nonsense:
    """No number, no name, no function, no sequence."""

    def __repr__(self):
        return "NONSENSE"


CASES = [
    (name, argument) for name in sorted(set(layers.__all__) - ALIASES)
    for argument in getattr(layers, name)._arguments() if argument != "paths"]


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_nonsense_is_refused(name, argument):
    cls = getattr(layers, name)
    names = [p for p in inspect.signature(cls.__init__).parameters if p != "self"]
    given = {**dict(zip(names, NEEDED.get(name, ()))), argument: Nonsense()}
    with pytest.raises((TypeError, ValueError)) as error:
        cls(*BRANCHES.get(name, ()), **given)
    text = str(error.value)
    assert text.startswith(f"{name}: ") and argument in text and "NONSENSE" in text
