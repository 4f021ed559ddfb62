"""The README's examples run as they are, and reach what the text says."""
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
EXAMPLES = list(re.finditer(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
# what each has reached in the end, from the names that it leaves
REACHED = {
    "pipeline": lambda model, X_test, y_test, **_: model.score(X_test, y_test) > 0.95,
    "sequences": lambda clf, X, y, **_: clf.score(X, y) > 0.8,
    "layers": lambda history, **_: history.history["loss"][-1] < 0.1 * history.history["loss"][0],
    "custom": lambda model, np, **_: model.predict(np.ones((2, 4))).shape == (2, 1),
    "resume": lambda model, **_: model.epoch == 40,
    "second order": lambda history, **_: history.history["loss"][-1] < 1e-5,
    "onnx": lambda onx, model, X, **_: same_classes(onx, model, X[:200].astype("float32")),
}


def same_classes(onx, model, X):
    from onnx.reference import ReferenceEvaluator

    return (ReferenceEvaluator(onx).run(None, {"X": X})[0] == model.predict(X)).all()


def test_every_example_is_run():
    assert len(EXAMPLES) == len(REACHED)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("example", "reached"), [*zip(EXAMPLES, REACHED.values())], ids=REACHED)
def test_example(example, reached, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)         # one writes a file
    # empty lines in front, so that a traceback shows the README's own line
    code = "\n" * TEXT.count("\n", 0, example.start(1)) + example[1]
    names = {}
    exec(compile(code, str(README), "exec"), names)
    assert reached(**names)
