"""The README's examples run as they stand."""
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=["pipeline", "layers"])
def test_example(code):
    exec(compile(code, str(README), "exec"), {})
