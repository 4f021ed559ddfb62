"""Damaged and hostile .keras files: refused in a sentence, without memory that the file does not account for."""
import io
import sys
import tracemalloc

import numpy as np
import pytest
from keras_files import archive, dense, entry, input_layer, load, sequential, weights, write

from ldl_cy.interop import from_keras, to_keras

h5py = pytest.importorskip("h5py", reason="the extra 'test' brings h5py, which reads .keras files")


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


CONFIG = sequential(input_layer((3,)), dense("d", 2))
GOOD = {"layers/dense": [draw(3, 2), draw(2)]}


def h5(change):
    """The weights of CONFIG in a file that ``change`` has been at."""
    file = io.BytesIO(weights(GOOD))
    with h5py.File(file, "r+") as target:
        change(target, target["layers/dense/vars"])
    return file.getvalue()


def replaced(**settings):
    def change(file, group):
        del group["0"]
        group.create_dataset("0", **settings)
    return change


def virtual(file, group):
    del group["0"]
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", (3, 2))
    group.create_virtual_dataset("0", layout)


def linked(link):
    def change(file, group):
        del group["0"]
        group["0"] = link
    return change


@pytest.mark.parametrize("change, text", [
    (lambda file, group: group.pop("1"), r"Dense 'd' must have 2 arrays in layers/dense/vars, got 1"),
    (lambda file, group: group.create_dataset("2", data=1.0), "must have 2 arrays in layers/dense/vars, got 3"),
    (lambda file, group: group.move("0", "zero"), r"its weights in layers/dense/vars/0, which are missing"),
    (lambda file, group: file.move("layers/dense", "layers/d"), "its weights in layers/dense/vars, which are missing"),
    (replaced(data=np.zeros((2, 3), "f4")), r"of the shape \(3, 2\) in layers/dense/vars/0, got \(2, 3\) of float32"),
    (replaced(data=np.zeros((3, 2), "S4")), r"numbers of the shape \(3, 2\).*got \(3, 2\) of \|S4"),
    (replaced(data=np.zeros((3, 2), complex)), r"got \(3, 2\) of complex128"),
    (replaced(data=np.full((3, 2), np.nan, "f4")), "kernel of Dense 'd' must be finite"),
    (replaced(shape=(3, 2), dtype="f4"), "in one piece in the file"),                   # no number is there
    (replaced(data=np.zeros((3, 2), "f4"), chunks=(1, 2)), "in one piece in the file, uncompressed"),
    (replaced(data=np.zeros((3, 2), "f4"), compression="gzip"), "in one piece in the file, uncompressed"),
    (replaced(shape=(3, 2), dtype="f4", external=[("/etc/passwd", 0, 24)]), "in one piece in the file"),
    (virtual, "in one piece in the file"),
    (linked(h5py.SoftLink("/layers/dense/vars/1")), "which is a link to another place"),
    (linked(h5py.ExternalLink("other.h5", "/0")), "which is a link to another place"),
    (replaced(data=h5py.Empty("f4")), r"numbers of the shape \(3, 2\)"),
], ids=["too few", "too many", "other names", "no layer", "other shape", "text", "complex", "NaN", "no numbers",
        "chunks", "compressed", "external", "virtual", "soft link", "external link", "empty"])
def test_refused_weights(tmp_path, change, text):
    path = tmp_path / "model.keras"
    path.write_bytes(archive(CONFIG, h5(change)))
    with pytest.raises(ValueError, match=rf"from_keras: .*model.keras: .*{text}"):
        from_keras(path)


def test_numbers_that_several_layers_have(tmp_path):
    """Hard links make a small file large."""
    file = io.BytesIO(weights({"layers/dense": [draw(40, 40), draw(40)]}))
    with h5py.File(file, "r+") as target:
        for i in range(1, 10):
            target[f"layers/dense_{i}"] = target["layers/dense"]
    path = tmp_path / "model.keras"
    path.write_bytes(archive(sequential(input_layer((40,)), *(dense(f"d{i}", 40) for i in range(10))), file.getvalue()))
    with pytest.raises(ValueError, match=r"must have numbers of its own in the file, got .*, which others have too"):
        from_keras(path)


@pytest.mark.parametrize("content, text", [
    (b"", "must be a .keras file, which is a zip archive"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), "must be a .keras file, which is a zip archive"),
    (archive(CONFIG, weights(GOOD))[:-100], "must be a .keras file, which is a zip archive"),
    (archive(b"{", weights(GOOD)), "config.json must be JSON: Expecting property"),
    (archive(b"\xff\xfe", weights(GOOD)), "config.json must be JSON: Expecting value"),
    (archive(b"[" * 100_000, weights(GOOD)), "config.json must be JSON: .*recursion"),
    (archive([], weights(GOOD)), "each layer must have a class_name and a config"),
    (archive({"class_name": "Sequential", "config": {"layers": 3}}, weights(GOOD)), "must be Sequential or Functional"),
    (archive(entry("MyModel", "m", layers=[]), weights(GOOD)), "must be Sequential or Functional, got MyModel 'm'"),
    (archive({**CONFIG, "module": "my.models"}, weights(GOOD)), "must be Sequential or Functional, got Sequential"),
    (archive(sequential(), weights(GOOD)), "must have the shape of its input, got None"),
    (archive(sequential(input_layer((0,))), weights(GOOD)), "must have the shape of its input"),
    (archive(CONFIG, b"no HDF5"), "[Uu]nable to.*open file"),
    (archive(CONFIG, weights(GOOD)[:2000]), "[Uu]nable to.*open file"),
    (archive(CONFIG, weights(GOOD), version="2.15.0"), "keras_version must be 3, got '2.15.0'"),
    (archive(b" " * (1 << 24) + b"{}", weights(GOOD)), "config.json must have at most"),
    (archive(b" " * (1 << 24), weights(GOOD), compression=8), "must have a size that fits what is stored"),
    (archive(CONFIG, weights(GOOD), compression=14), "must be stored, or compressed by deflate, got method 14"),
], ids=["empty", "h5", "truncated", "no JSON", "no text", "deep", "a list", "no layers", "own class", "own module",
        "no shape", "no numbers", "no h5", "half of h5", "Keras 2", "long", "bomb", "lzma"])
def test_refused_archives(tmp_path, content, text):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"from_keras: .*model.keras.*{text}"):
        from_keras(path)


def test_changed_bytes_are_noticed(tmp_path):
    """By the checksum, also where a part is read in place."""
    config = sequential(input_layer((600,)), dense("a", 700))
    content = archive(config, weights({"layers/dense": [draw(600, 700), draw(700)]}))
    at = len(content) // 2
    path = tmp_path / "model.keras"
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1:])
    with pytest.raises(ValueError, match=r"Bad CRC-32 for file 'model.weights.h5'|must be a .keras file.*Bad CRC-32"):
        from_keras(path)


def test_sizes_that_nothing_holds(tmp_path):
    """Sizes of a config cost nothing: the weights must be there."""
    config = sequential(input_layer((2**20,)), dense("d", 2**11 - 1))
    with pytest.raises(ValueError, match=r"of the shape \(1048576, 2047\) in layers/dense/vars/0, got \(3, 2\)"):
        load(tmp_path, config, GOOD)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_keras(tmp_path / "none.keras")
    with pytest.raises(ValueError, match="from_keras: path must be a file, got the folder"):
        from_keras(tmp_path)
    with pytest.raises(TypeError, match=r"from_keras: path_or_model must be a .keras file or a Keras model, got 3"):
        from_keras(3)


def test_missing_packages(tmp_path, monkeypatch):
    path = write(tmp_path / "model.keras", CONFIG, GOOD)
    model = from_keras(path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'from_keras: needs the package h5py.*pip install "ldl_cy\[io\]"'):
        from_keras(path)
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ImportError, match=r"to_keras: needs the package keras.*pip install keras"):
        to_keras(model)
    with pytest.raises(TypeError, match="to_keras: model must be a Sequential, got 3"):
        to_keras(3)


@pytest.mark.parametrize("axis", [-1, [1, 2]])
def test_weights_that_a_file_leaves_out(axis, tmp_path):
    """A LayerNormalization without scale and center has none in the file, and as many here as its input is large."""
    layer = entry("LayerNormalization", "ln", axis=axis, epsilon=1e-3, scale=False, center=False)
    groups = {"layers/layer_normalization": []}
    model = from_keras(write(tmp_path / "small.keras", sequential(input_layer((2, 3)), layer), groups))
    assert model.network.n_params == (6 if axis == -1 else 12)
    path = write(tmp_path / "large.keras", sequential(input_layer((2, 10**9)), layer), groups)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"^from_keras: .*large.keras: the layers must have at most \d+ weights for a "
                                         r"file of this size, got [24]0{9}\."):
        from_keras(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 23
    tracemalloc.stop()


def test_one_number_for_a_large_input(tmp_path):
    """Of a Normalization; it is one number here too, whatever the size of the input."""
    layer = entry("Normalization", "norm", axis=-1, mean=1.0, variance=[4.0])
    model = from_keras(write(tmp_path / "m.keras", sequential(input_layer((10**9,)), layer), {}))
    assert model.network.statistics.tolist() == [1.0, 4.0]
    model = from_keras(write(tmp_path / "m.keras", sequential(input_layer((3,)), layer), {}))
    assert model.predict(np.array([[1.0, 3.0, 5.0]], "f")).tolist() == [[0.0, 1.0, 2.0]]
