"""Files that are no models, or models no more: ValueError "load: ...", little memory, and nothing in them is run."""
from __future__ import annotations

import io
import json
import re
import struct
import sys
import warnings
import zipfile

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="the extra 'fuzz' brings hypothesis, which draws the examples")

from fuzz.damage import damaged, spoilt_json
from fuzz.outcomes import Refused, attempt, measured
from hypothesis import given
from hypothesis import strategies as st

from ldl_cy import Sequential, layers

FORM = re.compile(r"load: ")
LARGEST = 1 << 22                   # bytes that loading a file of some kB may take
NAMES = ["model.json", "theta.npy", "state.npy", "slots.npy"]
VALUES = [None, True, -1, 0, 1, 3, 2**31, 2**70, 1e300, float("nan"), float("inf"), "", "x", [], {}, [1, 2], {"a": 1},
          {"class": "Dense", "config": {}}, {"function": "print"}, {"tuple": 3}, {"dict": []}, "float64", [[[]]],
          {"class": "Dense", "config": {"units": 2**28}}, {"class": "Embedding", "config": {
              "input_dim": 2**24, "output_dim": 2**24}}, {"class": ["Dense"], "config": 3}, {"class": "os"}]
DTYPES = ["f4", "f8", "f2", ">f4", "i8", "u1", "?", "c8", "O", "U4", "V8", "M8[s]", "f4,f4"]
SHAPES = [(), (0,), (1,), (29,), (2**62,), (2**31, 2**31), (2**63,), (-1,), (10**9,), (1, 2, 3)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two models in files, as bytes."""
    folder, found = tmp_path_factory.mktemp("models"), []
    X = np.ones((6, 4))
    for dtype, optimizer in (("float32", "adam"), ("float64", "cg")):
        model = Sequential([layers.Dense(3, "tanh"), layers.LayerNorm(), layers.Dense(2)], dtype, 0)
        model.fit(X, np.ones((6, 2)), loss="squared_error", optimizer=optimizer, epochs=2)
        model.save(folder / dtype)
        Sequential.load(folder / dtype)             # what is imported for it is there from now on
        found.append((folder / dtype).read_bytes())
    return found


WATCHED: list[str] = []
WATCHING: list[bool] = []


def watch(event, arguments):
    """Names what a file has no business with."""
    if WATCHING and event in ("pickle.find_class", "exec", "os.system", "subprocess.Popen", "import"):
        WATCHED.append(f"{event} {arguments[:1]}")


sys.addaudithook(watch)


def check(tally, kind, content, path):
    """Load a file; a model that comes out is one."""
    path.write_bytes(content)
    WATCHED.clear()
    model, largest = measured(lambda: Sequential.load(path), FORM, WATCHING)
    tally(kind, "refused" if isinstance(model, Refused) else "loaded")
    assert not WATCHED
    assert largest < LARGEST
    if not isinstance(model, Refused) and model.input_shape == (4,):
        assert model.predict(np.ones((2, 4))).shape == (2, *model.output_shape)
        attempt(lambda: model.fit(np.ones((2, 4)), np.ones((2, *model.output_shape)), loss="squared_error", epochs=1))


@given(st.integers(0, 1), st.data())
def test_bytes(tally, files, tmp_path_factory, which, data):
    check(tally, "damaged files", damaged(files[which], data), tmp_path_factory.mktemp("fuzz") / "model")


@given(st.binary(max_size=300))
def test_any_bytes(tally, tmp_path_factory, content):
    check(tally, "files of any bytes", content, tmp_path_factory.mktemp("fuzz") / "model")


def npy(dtype, shape, order=False, content=b"", header=None, version=b"\x01\x00"):
    """A .npy file with any header."""
    text = header if header is not None else f"{{'descr': {dtype!r}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text = text.encode("latin1", "replace") + b"\n"
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + content


@st.composite
def arrays(draw):
    """Members in place of an array."""
    header = draw(st.sampled_from([None] * 6 + ["", "{}", "__import__('os')", "[" * 200, "{'descr': 'f4'}",
                                                                                "(" * 5000,
                                               "{'descr': '|O', 'fortran_order': False, 'shape': (3,)}"]))
    length = draw(st.sampled_from([0, 4, 29 * 4, 29 * 8]))
    return npy(draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SHAPES)), draw(st.booleans()),
               bytes(length), header,
               draw(st.sampled_from([b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"])))


def deep(draw):
    """JSON that is deep, long or none at all."""
    return draw(st.sampled_from([b"", b"{", b"[" * 100000, b"1" * 5000, b'{"format": 1}', b"\xff\xfe", b"null", b"[]",
                                 b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"format": 1, "format": 2}', b"NaN"]))


@given(st.integers(0, 1), st.data())
def test_members(tally, files, tmp_path_factory, which, data):
    """A zip that is sound, with members that are not."""
    with zipfile.ZipFile(io.BytesIO(files[which])) as archive:
        members = [(name, archive.read(name)) for name in NAMES]
    for _ in range(data.draw(st.integers(1, 2))):
        how = data.draw(st.sampled_from(
            ["json", "json", "json", "deep", "array", "array", "double", "missing", "path", "bomb", "other"]))
        at = data.draw(st.integers(0, len(members) - 1))
        name, content = members[at]
        if how == "json":
            with zipfile.ZipFile(io.BytesIO(files[which])) as archive:
                described = json.loads(archive.read("model.json"))
            members = [m for m in members if m[0] != "model.json"]
            members.append(("model.json", json.dumps(spoilt_json(data.draw, described, VALUES)).encode()))
            break
        if how == "deep":
            members = [(n, deep(data.draw) if n == "model.json" else c) for n, c in members]
            break
        if how == "array":
            members[at] = (data.draw(st.sampled_from(NAMES[1:])), data.draw(arrays()))
        elif how == "double":
            members.append((name, data.draw(arrays()) if name.endswith("npy") else content))
        elif how == "missing":
            del members[at]
            if not members:
                break
        elif how == "path":
            members.append((data.draw(st.sampled_from(["../evil", "/etc/evil", "a/../theta.npy", "theta.npy/",
                                                       "con"])),
                            content))
        elif how == "bomb":
            many = data.draw(st.sampled_from([10**6, 10**7, 3 * 10**7]))
            start = npy("<f4", (many // 4,)) if name.endswith("npy") else b'{"a": "'
            members[at] = (name, start + bytes(many))
        else:
            members[at] = (name, data.draw(st.binary(max_size=50)))
    buffer = io.BytesIO()
    kind = data.draw(st.sampled_from([zipfile.ZIP_STORED] * 3 + [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2,
                                                                 zipfile.ZIP_LZMA]))
    if any(len(content) > LARGEST // 8 for _, content in members):
        kind = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(buffer, "w", kind) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")                 # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    check(tally, "files of other members", buffer.getvalue(), tmp_path_factory.mktemp("fuzz") / "model")


# -- files of weights -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights_file():
    """A model, and its weights in a safetensors file, as bytes."""
    pytest.importorskip("safetensors", reason="the extra 'test' brings safetensors")
    model = Sequential([layers.Dense(3, "tanh"), layers.BatchNorm(), layers.Dense(2)], random_state=0).build(4)
    buffer = io.BytesIO()
    model.save_weights(buffer)
    model.load_weights(io.BytesIO(buffer.getvalue()))
    return model, buffer.getvalue()


def check_weights(tally, kind, model, content, path, strict):
    """Load a file of weights: what comes in is finite, and after an error the model has the bits that it had."""
    path.write_bytes(content)
    before = model.theta.tobytes(), model.network.statistics.tobytes()
    report, largest = measured(lambda: model.load_weights(path, strict=strict), re.compile("load_weights: "))
    tally(kind, "refused" if isinstance(report, Refused) else "loaded")
    assert largest < LARGEST
    assert np.isfinite(model.theta).all() and np.isfinite(model.network.statistics).all()
    if isinstance(report, Refused):
        assert (model.theta.tobytes(), model.network.statistics.tobytes()) == before


@given(st.booleans(), st.data())
def test_bytes_of_weights(tally, weights_file, tmp_path_factory, strict, data):
    model, content = weights_file
    path = tmp_path_factory.mktemp("fuzz") / "w"
    check_weights(tally, "damaged weights", model, damaged(content, data), path, strict)


@given(st.booleans(), st.data())
def test_headers_of_weights(tally, weights_file, tmp_path_factory, strict, data):
    """A header that is JSON, with values that are not what they should be."""
    model, content = weights_file
    length, = struct.unpack("<Q", content[:8])
    if data.draw(st.integers(0, 4)):
        text = json.dumps(spoilt_json(data.draw, json.loads(content[8:8 + length]), VALUES)).encode()
    else:
        text = deep(data.draw)
    numbers = content[8 + length:]
    if data.draw(st.booleans()):
        numbers = data.draw(st.sampled_from([b"", numbers[:-1], numbers * 2, b"\xff" * len(numbers)]))
    check_weights(tally, "headers of weights", model, struct.pack("<Q", len(text)) + text + numbers,
                  tmp_path_factory.mktemp("fuzz") / "w", strict)
