"""``ldl-cy convert``: every kind of file into every other one, compared, and what is refused in one line."""
import json
import struct
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx_graphs import graph, numbers
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ldl_cy import MLPClassifier, Sequential, interop
from ldl_cy import layers as L
from ldl_cy.__main__ import main
from ldl_cy.interop import convert
from ldl_cy.interop.safetensors import from_safetensors

KINDS = [".ldl", ".onnx", ".safetensors"]


@pytest.fixture
def model():
    stack = [L.Conv2D(3, 3, padding="same"), L.BatchNorm(), L.Activation("relu"), L.MaxPool2D(),
             L.Add([L.Conv2D(3, 1)], []), L.Flatten(), L.Dense(4, "softmax")]
    made = Sequential(stack, random_state=0).build((6, 5, 2))
    for values in made.state.values():
        values[...] = np.random.default_rng(0).uniform(0.5, 2, values.shape)
    return made


def write(model, path):
    convert.WRITE[path.suffix](model, str(path))
    return str(path)


@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("here", KINDS)
def test_every_kind_into_every_other_one(model, there, here, tmp_path, capsys):
    source, target = write(model, tmp_path / f"in{there}"), str(tmp_path / f"out{here}")
    assert main(["convert", source, target, "--check"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{source} -> {target}: ") and "(6, 5, 2) -> (4,), float32" in first
    assert "8 random rows: largest difference" in second
    X = np.random.default_rng(0).standard_normal((3, 6, 5, 2))
    np.testing.assert_allclose(convert.READ[here](target).predict(X), model.predict(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stack, shape", [
    ([L.Embedding(7, 3), L.GRU(4)], (5,)), ([L.CategoryEmbedding([1], [4]), L.Dense(2)], (3,)),
    ([L.Conv1D(3, 2), L.GlobalMaxPool1D()], (6, 2)),
], ids=["token ids", "categories", "signals"])
def test_other_inputs(stack, shape, tmp_path):
    source = write(Sequential(stack, random_state=0).build(shape), tmp_path / "in.ldl")
    assert main(["convert", source, str(tmp_path / "out.onnx"), "--check"]) == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lengths", [False, True])
def test_loops_and_lengths(dtype, lengths, tmp_path):
    """All lengths are those of the whole sequence."""
    stack = [L.Bidirectional(L.RNN(3, "gelu", return_sequences=True)), L.LayerNorm(axis=1), L.GlobalMaxPool1D()]
    model = Sequential(stack, dtype, 0).build((6, 2))
    interop.to_onnx(model, tmp_path / "in.onnx", dtype=dtype, lengths=lengths)
    assert main(["convert", str(tmp_path / "in.onnx"), str(tmp_path / "out.ldl"), "--check"]) == 0


@pytest.mark.filterwarnings("ignore:.*Maximum iterations:Warning")
@pytest.mark.parametrize("classes", [2, 3])
def test_classifiers(classes, tmp_path, capsys):
    """Up to the probabilities, of two classes up to that of the second one; labels are left out."""
    X = np.random.default_rng(0).standard_normal((30, 4)).astype("f4")
    y = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [0, 0.5][:classes - 1])]
    clf = MLPClassifier((5,), max_iter=3, random_state=0).fit(X, y)
    source, target = str(tmp_path / "in.onnx"), str(tmp_path / "out.safetensors")
    interop.to_onnx(clf, source)
    assert main(["convert", source, target, "--check"]) == 0
    p = clf.predict_proba(X)
    np.testing.assert_allclose(from_safetensors(target).predict(X), p if classes == 3 else p[:, 1:], atol=1e-6)
    skl2onnx = pytest.importorskip("skl2onnx", reason="the extra 'test' brings skl2onnx, which converts the pipeline")
    interop.register_skl2onnx()
    pipe = make_pipeline(StandardScaler(), clf).fit(X, y)
    for rows in (X[:1], X[:1].astype(float)):
        onnx.save(skl2onnx.to_onnx(pipe, rows), source)
        assert main(["convert", source, target, "--check"]) == 0
    p = pipe.predict_proba(X)
    np.testing.assert_allclose(from_safetensors(target).predict(X), p if classes == 3 else p[:, 1:], atol=1e-6)
    assert capsys.readouterr().out.count("8 random rows: largest difference") == 3


@pytest.mark.parametrize("batch", ["n", 1])
def test_graphs_that_read_channels_first(batch, tmp_path):
    inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (batch, 3, 5, 4))]
    proto = graph([("Conv", "x W", "y", {"pads": [1] * 4})], (), {"W": numbers(2, 3, 3, 3)}, inputs=inputs)
    onnx.save(proto, tmp_path / "in.onnx")
    assert main(["convert", str(tmp_path / "in.onnx"), str(tmp_path / "out.ldl"), "--check"]) == 0
    assert Sequential.load(tmp_path / "out.ldl").input_shape == (5, 4, 3)


def test_outputs_that_differ(model, tmp_path, capsys, monkeypatch):
    def spoilt(model, path):
        theta = model.theta.copy()
        theta[-1] += 0.01
        model.theta = theta
        model.save(path)

    monkeypatch.setitem(convert.WRITE, ".ldl", spoilt)
    source = write(model, tmp_path / "in.onnx")
    assert main(["convert", source, str(tmp_path / "out.ldl"), "--check"]) == 1
    assert "ldl-cy convert: the outputs must differ by at most 2e-05 of the largest one, got" in capsys.readouterr().err


@pytest.mark.parametrize("make, text", [
    (lambda path: path.with_name("none.onnx"), "No such file"),
    (lambda path: write(Sequential([L.Dense(2)]), path.with_suffix(".ldl")), "Sequential: "),
    (lambda path: path.write_bytes(b"no graph") and path, "from_onnx: "),
    (lambda path: path.with_suffix(".ldl").write_bytes(b"no model") and path.with_suffix(".ldl"), "load: "),
    (lambda path: path.with_suffix(".safetensors").write_bytes(b"x" * 20) and path.with_suffix(".safetensors"),
     "from_safetensors: "),
], ids=["no file", "not built", "no graph", "no model", "no weights"])
def test_what_cannot_be_read_is_said_in_one_line(make, text, tmp_path, capsys):
    target = tmp_path / "out.safetensors"
    assert main(["convert", str(make(tmp_path / "in.onnx")), str(target)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("ldl-cy convert: ") and text in said.err
    assert not target.exists()


@pytest.mark.parametrize("arguments", [["in.onnx"], ["in.h5", "out.onnx"], ["in.onnx", "out"], ["a.ldl", "b.ldl", "c"]])
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(["convert", *arguments])
    assert error.value.code == 2 and "usage: ldl-cy" in capsys.readouterr().err


def test_as_a_program(model, tmp_path):
    command = [sys.executable, "-m", "ldl_cy", "convert", write(model, tmp_path / "in.ldl"), "out.safetensors"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and (tmp_path / "out.safetensors").exists()


# -- models from safetensors files --------------------------------------------------------------------------------


def test_a_model_from_its_weights(model, tmp_path):
    model.save_weights(tmp_path / "w.safetensors")
    again = from_safetensors(tmp_path / "w.safetensors")
    assert again.theta.tobytes() == model.theta.tobytes() and again.layers == model.layers
    assert all((again.state[name] == values).all() for name, values in model.state.items())


def spoilt(path, change):
    """The file with another header."""
    content = path.read_bytes()
    length, = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length:])


def described(change):
    def apply(header):
        found = json.loads(header["__metadata__"]["model"])
        change(found)
        header["__metadata__"]["model"] = json.dumps(found)
    return apply


@pytest.mark.parametrize("change, text", [
    (lambda header: header.pop("__metadata__"), "must have a description of the network"),
    (lambda header: header["__metadata__"].update(format="pt"), "must have a description of the network"),
    (lambda header: header["__metadata__"].update(model="{"), "is not a readable description of a model"),
    (lambda header: header["__metadata__"].update(model="3"), "is not a readable description of a model"),
    (described(lambda found: found["layers"].pop()), "the arrays must be those of the network, got dense_1"),
    (described(lambda found: found.update(input_shape=[2**40])), ""),
    (described(lambda found: found["layers"][0]["config"].update(units=2**28)), "must have the shape"),
    (described(lambda found: found["layers"][0].update({"class": "os"})), "needs the class 'os'"),
    (lambda header: header.update({"dense_9.kernel": header.pop("dense_1.kernel")}), "got dense_9.kernel"),
    (lambda header: header["dense_1.kernel"].update(shape=[4, 3]), "must have the shape"),
], ids=["no metadata", "another format", "no JSON", "a number", "fewer layers", "a large input", "a large layer",
        "another class", "another name", "another shape"])
def test_descriptions_that_do_not_fit(change, text, tmp_path):
    Sequential([L.Dense(3), L.Dense(4)], random_state=0).build((2,)).save_weights(tmp_path / "w.safetensors")
    spoilt(tmp_path / "w.safetensors", change)
    with pytest.raises(ValueError, match=f"^from_safetensors: .*{text}"):
        from_safetensors(tmp_path / "w.safetensors")


def test_keras_files(model, tmp_path, monkeypatch):
    pytest.importorskip("keras", reason="ci/oracle installs Keras, which writes .keras files")
    source, target = write(model, tmp_path / "in.ldl"), str(tmp_path / "out.keras")
    assert main(["convert", source, target, "--check"]) == 0
    assert main(["convert", target, str(tmp_path / "out.onnx"), "--check"]) == 0
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)        # by this library's own means
    assert main(["convert", target, str(tmp_path / "again.ldl"), "--check"]) == 0


def test_tokens_for_embeddings_in_branches(tmp_path):
    stack = [L.Concatenate([L.Embedding(7, 3)], [L.Add([L.Embedding(2, 3)], [L.Embedding(9, 3)])]), L.Flatten()]
    source = write(Sequential(stack, random_state=0).build(4), tmp_path / "in.ldl")
    assert main(["convert", source, str(tmp_path / "out.onnx"), "--check"]) == 0


@pytest.mark.filterwarnings("error")
def test_outputs_that_are_not_finite_differ(tmp_path, capsys):
    made = Sequential([L.Activation("leaky_relu"), L.Dense(2)]).build(4)
    made.theta[:] = 3e38
    source = write(made, tmp_path / "in.ldl")
    assert main(["convert", source, str(tmp_path / "out.safetensors"), "--check"]) == 1
    assert "got nan" in capsys.readouterr().err


def test_a_file_is_not_written_over_itself(model, tmp_path, capsys):
    path, same = tmp_path / "net.ldl", tmp_path / ".." / tmp_path.name / "net.ldl"
    model.save(path)
    before = path.read_bytes()
    assert main(["convert", str(path), str(same)]) == 1
    assert "OUT must be another file than IN" in capsys.readouterr().err
    assert path.read_bytes() == before
