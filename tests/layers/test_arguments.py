"""Every constructor argument of every layer refuses a value of no use, and says who, what and which value."""
import pytest
from cases import PUBLIC, example

from ldl_cy import layers


class Nonsense:
    """No number, no name, no function, no sequence."""

    def __repr__(self):
        return "NONSENSE"


CASES = [(name, argument) for name in PUBLIC for argument in getattr(layers, name)._arguments()]


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_nonsense_is_refused(name, argument):
    layer = example(name).layer
    with pytest.raises((TypeError, ValueError)) as error:
        layer.from_config({**layer.get_config(), argument: Nonsense()})
    text = str(error.value)
    assert text.startswith(f"{name}: ") and argument in text and "NONSENSE" in text
