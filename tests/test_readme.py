"""The README's examples run as they are, and reach what the text says."""
import re
from pathlib import Path

import keras_files
import numpy as np
import pytest

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
# those with a communicator are run on several ranks, by test_many_machines.py
EXAMPLES = [found for found in re.finditer(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
            if "mpi4py" not in found[1]]
# what each has reached in the end, from the names that it leaves
REACHED = {
    "pipeline": lambda model, X_test, y_test, **_: model.score(X_test, y_test) > 0.95,
    "sequences": lambda clf, X, y, **_: clf.score(X, y) > 0.8,
    "echo state": lambda echo, X, series, **_: echo.score(X[400:], series[450:]) > 0.9999,
    "layers": lambda history, **_: history.history["loss"][-1] < 0.1 * history.history["loss"][0],
    "transfer": lambda clf, X, y, low, **_: clf.score(X[~low], y[~low]) > 0.95,
    "custom": lambda model, np, **_: model.predict(np.ones((2, 4))).shape == (2, 1),
    "resume": lambda model, **_: model.epoch == 40,
    "second order": lambda history, **_: history.history["loss"][-1] < 1e-5,
    "weights": lambda report, model, state_dict, **_: len(report.loaded) == len(state_dict) == 4,
    "torch": lambda module, model, again, torch, **_: same_outputs(model, module, again, torch),
    "keras": lambda model, **_: (model.predict(np.ones((1, 3))) == 4).all(),
    "sklearn": lambda fitted, clf, again, X, **_: (
        (clf.predict(X) == fitted.predict(X)).all() and type(again) is type(fitted)),
    "onnx": lambda onx, net, model, X, **_: (
        net.n_parameters == model[-1].model_.n_parameters and same_classes(onx, model, X[:200].astype("float32"))),
}


def same_classes(onx, model, X):
    from onnx.reference import ReferenceEvaluator

    return (ReferenceEvaluator(onx).run(None, {"X": X})[0] == model.predict(X)).all()


def same_outputs(model, *modules_and_torch):
    *modules, torch = modules_and_torch
    x = np.random.default_rng(0).standard_normal((5, 8, 8, 3)).astype("float32")
    outputs = [module(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).detach().numpy() for module in modules]
    return all(np.allclose(y, model.predict(x), atol=1e-5) for y in outputs)


def write_model_keras(folder):
    """The file that one example reads."""
    pytest.importorskip("h5py", reason="the extra 'test' brings h5py, which reads .keras files")
    config = keras_files.sequential(keras_files.input_layer((3,)), keras_files.dense("dense", 2))
    keras_files.write(folder / "model.keras", config, {"layers/dense": [np.ones((3, 2)), np.ones(2)]})


def test_every_example_is_run():
    assert len(EXAMPLES) == len(REACHED)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("example", "reached"), [*zip(EXAMPLES, REACHED.values())], ids=REACHED)
def test_example(example, reached, tmp_path, monkeypatch):
    if "import torch" in example[1]:
        pytest.importorskip("torch", reason="ci/oracle installs PyTorch and runs this example")
    if '"model.keras"' in example[1]:
        write_model_keras(tmp_path)
    monkeypatch.chdir(tmp_path)         # some write or read files
    # empty lines in front, so that a traceback shows the README's own line
    code = "\n" * TEXT.count("\n", 0, example.start(1)) + example[1]
    names = {}
    exec(compile(code, str(README), "exec"), names)
    assert reached(**names)
