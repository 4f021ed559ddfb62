"""The README's examples run as they stand."""
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
EXAMPLES = list(re.finditer(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "example", EXAMPLES, ids=["pipeline", "sequences", "layers", "custom", "resume", "second order"])
def test_example(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)         # one writes a file
    # empty lines in front, so that a traceback shows the README's own line
    code = "\n" * TEXT.count("\n", 0, example.start(1)) + example[1]
    exec(compile(code, str(README), "exec"), {})
