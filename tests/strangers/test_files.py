"""Files from strangers, and several processes at one file: a model or a sentence, at a cost bounded by the size.

What SECURITY.md states about memory and time is measured here.
"""
import contextlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from strangers import LIMITS_MEMORY, run_all

from ldl_cy import Sequential, layers

FORM = re.compile(r"(load|[A-Z][A-Za-z0-9]*): ")
HUGE = int("1" + "0" * 4000)
ARRAYS = ("theta", "state", "slots")
# SECURITY.md: of the file, of model.json in it, and whatever the file
BYTES_PER_BYTE, BYTES_PER_CHARACTER, BYTES = 3, 300, 32 << 20
SECONDS_PER_MB = 30             # 2 on a quiet machine


def layer(kind, **config):
    return {"class": kind, "config": config}


def pair(*values):
    return {"tuple": list(values)}


def path_of(kind, *paths, **config):
    return layer(kind, paths=pair(*paths), **config)


def npy(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def archived(stack, input_shape, n_params=0, n_state=0, text=None, **changes):
    """The members of a file of these layers."""
    described = {
        "format": 1, "dtype": "float32", "random_state": 0, "input_shape": input_shape, "epoch": 0, "step": 0,
        "optimizer": "", "optimizer_steps": 0, "optimizer_epochs": 0, "memory": {}, "layers": stack, **changes}
    arrays = {"theta": np.ones(n_params, "f"), "state": np.ones(n_state, "f"), "slots": np.ones((0, n_params), "f")}
    return [("model.json", text or json.dumps(described)), *((f"{name}.npy", npy(a)) for name, a in arrays.items())]


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")                 # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def nested(depth, kind="Add"):
    stack = [layer("Activation", activation="tanh")]
    for _ in range(depth):
        stack = [path_of(kind, stack, [])]
    return stack


CONV = dict(filters=1, kernel_size=1)
LAYERS = {                          # name: (layers, input shape, numbers in theta)
    "padding": ([layer("Conv2D", **CONV, padding=10**9)], [3, 3, 1], 2),
    "padding of padding": ([layer("Conv1D", **CONV, padding=2**29)] * 40, [3, 1], 80),
    "more padding": ([layer("Conv1D", **CONV, padding=HUGE)], [3, 1], 2),
    "units": ([layer("Dense", units=2**31)], [1], 2),
    "units of 4000 digits": ([layer("Dense", units=HUGE)], [3], 2),
    "filters": ([layer("Conv2D", filters=2**40, kernel_size=1)], [3, 3, 1], 2),
    "kernel size": ([layer("Conv2D", filters=1, kernel_size=2**40, padding="same")], [3, 3, 1], 2),
    "strides": ([layer("Conv2D", **CONV, strides=pair(HUGE, 1))], [3, 3, 1], 2),
    "dilation": ([layer("Conv2D", filters=1, kernel_size=3, padding="same", dilation_rate=2**62)], [3, 3, 1], 10),
    "pool size": ([layer("MaxPool2D", pool_size=2**16, strides=1, padding="same")], [3, 3, 1], 0),
    "larger pool size": ([layer("MaxPool2D", pool_size=2**40, strides=1, padding="same")], [3, 3, 1], 0),
    "mean of a pool": ([layer("AvgPool2D", pool_size=2**62, strides=1, padding="same")], [3, 3, 1], 0),
    "embedding": ([layer("Embedding", input_dim=2**31, output_dim=2**31)], [3], 2),
    "lstm": ([layer("LSTM", units=2**14)], [2**47, 1], 2),
    "reshape": ([layer("Reshape", target_shape=pair(*[HUGE] * 1000))], [3], 0),
    "axes": ([layer("Reshape", target_shape=pair(*[1] * 10**5, 3))], [3], 0),
    "axes of the input": ([layer("Flatten")], [1] * 10**5, 0),
    "input shape": ([layer("Flatten")], [HUGE] * 100, 0),
    "axes for each layer": ([layer("Activation", activation="tanh")] * 10**4, [1] * 10**5, 0),
    "deep": (nested(300), [3], 0), "deeper": (nested(10**4), [3], 0), "deepest": (nested(10**5), [3], 0),
    "deep concatenations": (nested(150, "Concatenate"), [3], 0),
    "a million layers": ([layer("Flatten")] * 10**6, [3], 0),
    "many layers": ([layer("Activation", activation="relu")] * 10_000, [3], 0),
    "too many layers": ([layer("Flatten")] * 120_000, [3], 0),
    "too many paths": ([path_of("Add", *[[]] * 120_000)], [3], 0),
    "too many paths beside each other": ([path_of("Concatenate", *[[]] * 120_000)], [3], 0),
    "layers of long names": ([path_of("Add", [layer("BatchNorm")] * 8000, [], name="n" * 1080)], [1], 16_000),
    "zeros": ([layer("ZeroPadding2D", padding=10**9)], [3, 3, 1], 0),
    "more zeros": ([layer("ZeroPadding1D", padding=pair(0, HUGE))], [3, 1], 0),
    "pairs of zeros": ([layer("ZeroPadding2D", padding=pair(pair(0, 2**62), pair(1, 10**6)))], [3, 3, 1], 0),
    "an order of axes": ([layer("Permute", dims=pair(*range(1, 10**5)))], [3], 0),
    "an order of no axes": ([layer("Permute", dims=pair(HUGE, 1))], [3, 3], 0),
    "images": ([layer("Conv2D", filters=8, kernel_size=1, padding=10**6)], [3, 3, 1], 16),
    "a long name": ([path_of("Add", *[[layer("Activation", activation="tanh")]] * 10**4, name="n" * 10**6)], [3], 0),
    "floats": ([layer("Dense", units=3.0)], [3], 12), "NaN": ([layer("Dense", units=float("nan"))], [3], 12),
    "infinity": ([layer("Activation", activation="leaky_relu", negative_slope=float("inf"))], [3], 0),
    "a long activation": ([layer("Dense", units=1, activation="a" * 10**6)], [3], 4),
    "many shared axes": ([layer("PReLU", shared_axes=pair(*range(1, 10**5)))], [3], 3),
}
TEXTS = {
    "deep lists": "[" * 10**5 + "]" * 10**5, "deep dicts": '{"a":' * 10**5 + "1" + "}" * 10**5,
    "a number": "1" + "0" * 4000, "a longer number": "1" * 10**6, "NaN": "NaN", "spaces": " " * (1 << 24) + "{}",
    "lists": '{"format": 1, "layers": [' + ",".join(["[]"] * 3 * 10**5) + "]}",
    "keys": '{"format": 1, ' + ",".join(f'"{i}": {i}' for i in range(30_000)) + "}",
}


def twice(members):
    return zipped([*members, members[0]])


def paths(members):
    return zipped([("../" + members[0][0], members[0][1]), *members[1:]])


def many_members(members):
    return zipped([*members, *((f"{i}", b"") for i in range(5000))])


def overlapping(members):
    """The three arrays are the same bytes of the file."""
    content = bytearray(zipped(members))
    places = {}
    at = content.index(b"PK\x01\x02")
    while content[at:at + 4] == b"PK\x01\x02":
        length, more, comment = struct.unpack_from("<HHH", content, at + 28)
        places[bytes(content[at + 46:at + 46 + length])] = at
        at += 46 + length + more + comment
    head = content[places[b"theta.npy"] + 16:places[b"theta.npy"] + 28], content[places[b"theta.npy"] + 42:][:4]
    for name in (b"state.npy", b"slots.npy"):
        content[places[name] + 16:places[name] + 28], content[places[name] + 42:places[name] + 46] = head
    return bytes(content)


def zip64(members):
    """Sizes of a member in 64 bits that are not true."""
    content = zipped(members)
    at = content.index(b"PK\x01\x02")
    extra = struct.pack("<HHQQ", 1, 16, 2**40, 2**40)
    length, = struct.unpack_from("<H", content, at + 28)
    head = bytearray(content[at:at + 46])
    head[20:28] = b"\xff" * 8
    head[30:32] = struct.pack("<H", len(extra))
    changed = content[:at] + head + content[at + 46:at + 46 + length] + extra + content[at + 46 + length:]
    end = bytearray(changed[changed.rindex(b"PK\x05\x06"):])
    end[12:16] = struct.pack("<I", struct.unpack_from("<I", end, 12)[0] + len(extra))
    return changed[:changed.rindex(b"PK\x05\x06")] + end


ARCHIVES = {"a member twice": twice, "members with paths": paths, "many members": many_members,
            "members that overlap": overlapping, "sizes of 64 bits": zip64}


def content_of(group, name):
    if group == "layers":
        stack, shape, n_params = LAYERS[name]
        if name.startswith("deep"):                 # deeper than json writes
            depth = {"deep": 300, "deeper": 10**4, "deepest": 10**5, "deep concatenations": 150}[name]
            kind = "Concatenate" if "conc" in name else "Add"
            text = (f'{{"class":"{kind}","config":{{"paths":{{"tuple":[[' * depth + json.dumps(nested(0)[0])
                    + "],[]]}}}" * depth)
            whole = archived(["HERE"], shape)
            return zipped([(whole[0][0], whole[0][1].replace('"HERE"', text)), *whole[1:]])
        return zipped(archived(stack, shape, n_params, n_params if "long names" in name else 0))
    if group == "texts":
        return zipped(archived([], [1], text=TEXTS[name]))
    return ARCHIVES[name](archived([layer("Dense", units=1)], [3], 4))


def address_space():
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def loads(group, name):
    """Load it, with no more memory than a file of its size may take, and predict."""
    import resource

    content, found = content_of(group, name), "a model"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        described = sum(info.file_size for info in archive.infolist() if info.filename == "model.json")
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m")
        path.write_bytes(content)
        bound = address_space() + BYTES + BYTES_PER_BYTE * len(content) + BYTES_PER_CHARACTER * described
        resource.setrlimit(resource.RLIMIT_AS, (bound, unlimited[1]))
        before = time.perf_counter()
        try:
            model = Sequential.load(path)
        except ValueError as error:
            found = str(error)
        seconds = time.perf_counter() - before
        resource.setrlimit(resource.RLIMIT_AS, unlimited)
        assert seconds < 10 + SECONDS_PER_MB * len(content) / 1e6, f"{seconds} s for a file of {len(content)} bytes"
    if found == "a model":
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            model.summary()
        assert "memory of a sample" in shown.getvalue()
        try:
            found = f"predicts {model.predict(np.ones((1, *model.input_shape), 'f')).shape}"
        except (ValueError, MemoryError) as error:
            found = f"{type(error).__name__} {error}"
    return found[:300]


ACCEPTED = {"many layers": "predicts (1, 3)", "many members": "predicts (1, 1)",
            "layers of long names": "predicts (1, 1)", "images": "MemoryError Sequential: a workspace of "}


@pytest.mark.skipif(not LIMITS_MEMORY, reason="the address sanitizer reserves more address space than the limit")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux alone has this file")
@pytest.mark.parametrize("group", ["layers", "texts", "archives"])
def test_hostile_files(group):
    names = {"layers": LAYERS, "texts": TEXTS, "archives": ARCHIVES}[group]
    for name, ended in zip(names, run_all(loads, [(group, name) for name in names])):
        found = ended.result()
        assert found.startswith(ACCEPTED.get(name, "load: ")), f"{name}: {found}"


# -- the same layers without a file ---------------------------------------------------------------------------


def doubled(times):
    """A few objects that stand for 2^times layers."""
    one = layers.Dense(3)
    for _ in range(times):
        one = layers.Add(one, one)
    return one


def inside_itself():
    one = layers.Add([], [])
    one.paths[0].append(one)
    return one


def levels(depth):
    one = layers.Dense(3)
    for _ in range(depth):
        one = layers.Add([one], [])
    return one


BUILT = {
    "pool": lambda: [layers.Conv2D(2, 1), layers.MaxPool2D((70000, 70000), 1, "same")],
    "larger pool": lambda: [layers.Conv2D(2, 1), layers.MaxPool2D((2**40, 2**40), 1, "same")],
    "pool of one row": lambda: [layers.Conv2D(2, 1), layers.MaxPool2D((2**31 - 3, 1), 1, "same")],
    "strides": lambda: [layers.Conv2D(2, 1, strides=(10**30, 1))],
    "strides of a pool": lambda: [layers.MaxPool2D(2, strides=10**30)],
    "dilation": lambda: [layers.Conv2D(2, 3, dilation_rate=2**62, padding="same")],
    "padding": lambda: [layers.Conv2D(2, 3, padding=10**9)],
    "less padding": lambda: [layers.Conv2D(2, 3, padding=10**5)],
    "time": lambda: [layers.Flatten(), layers.Reshape((9, 2)), layers.Conv1D(1, 1, padding=2**30), layers.LSTM(2**10)],
    "units": lambda: [layers.Dense(10**4000)], "ids": lambda: [layers.Embedding(10**9, 2)],
    "axes": lambda: [layers.Reshape((1,) * 10**6 + (18,))],
    "axes for NumPy": lambda: [layers.Reshape((1,) * 40 + (18,))],
    "numbers": lambda: [layers.Reshape((10**4000,) * 1000)], "numbers of axes": lambda: [layers.Reshape((HUGE,) * 30)],
    "doubled": lambda: [layers.Dense(3), doubled(40)], "inside itself": lambda: [inside_itself()],
    "levels": lambda: [layers.Dense(3), levels(200)], "most levels": lambda: [layers.Dense(3), levels(64)],
    "names": lambda: [layers.Add([layers.Dense(2, name="n" * 1000)], [layers.Dense(2)], name="m" * 1000)],
    "Custom": lambda: [layers.Custom(lambda p, x: x, lambda p, x, y, dy: (dy, {}), lambda shape: (2**40, 2**40))],
    "weights of Custom": lambda: [layers.Custom(lambda p, x: x, lambda p, x, y, dy: (dy, {}), lambda shape: shape,
                                                {"w": (2**33, 2**33)})],
}


def builds(name):
    """Build, predict, fit, save and load."""
    X = np.ones((2, 3, 3, 2), "f")
    model = Sequential(BUILT[name](), random_state=0).build(X.shape[1:])
    y = model.predict(X)
    model.fit(X, y, loss="squared_error", epochs=1)
    memory = io.BytesIO()
    model.save(memory)
    np.testing.assert_array_equal(Sequential.load(memory).predict(X), model.predict(X))
    return list(y.shape)


def test_layers_of_any_size():
    ends = run_all(builds, [(name,) for name in BUILT])
    for name, ended in zip(BUILT, ends):
        if name in ("most levels", "pool of one row"):
            assert ended.result()[0] == 2
        else:
            assert ended.error in ("ValueError", "TypeError", "MemoryError") and FORM.match(ended.text), (name, ended)


# -- several processes at one file ----------------------------------------------------------------------------


WRITER = """
import sys, time
import numpy as np
from ldl_cy import Sequential, layers
from ldl_cy.callbacks import Checkpoint
path, kind, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
X = np.random.default_rng(0).standard_normal((8, 3))
def made(seed):
    return Sequential([layers.Dense(300, "tanh"), layers.Dense(1)], random_state=seed)
end = time.monotonic() + seconds
while time.monotonic() < end:
    if kind == "save":
        for seed in (1, 2):
            model = made(seed).build(3)
            model.theta[:] = seed
            model.save(path)
    else:
        model = made(3)
        model.fit(X, X[:, :1], loss="squared_error", epochs=3, callbacks=Checkpoint(path, keep=2))
"""


def read_while(kinds, seconds):
    """Processes write one path; each read of this one gives a whole model or a sentence."""
    models = sentences = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m")
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, kind, str(seconds)], cwd=folder,
                                    stderr=subprocess.PIPE, text=True) for kind in kinds]
        while any(writer.poll() is None for writer in writers):
            try:
                model = Sequential.load(path)
            except FileNotFoundError:
                time.sleep(0.01)            # until a writer has made the file
                continue
            except ValueError as error:
                assert str(error).startswith("load: ")
                sentences += 1
                continue
            models += 1
            if model.random_state != 3:
                assert (model.theta == model.random_state).all()
            assert model.predict(np.ones((1, 3))).shape == (1, 1)
        said = [writer.communicate()[1] for writer in writers]
        assert [writer.returncode for writer in writers] == [0] * len(writers), said
        names = sorted(os.listdir(folder))
    return [models, sentences, names]


@pytest.mark.skipif(os.name != "posix", reason="Windows does not replace a file that a reader has open")
def test_readers_beside_writers():
    for (models, sentences, names), kinds in zip(
            (ended.result() for ended in run_all(read_while, [(["save", "save"], 1), (["fit", "fit"], 1)])),
            ("save", "fit")):
        assert models > 0 and sentences == 0, (models, sentences)
        # which of the older epochs there are depends on which fit was the last to write one
        assert names[0] == "m" and set(names[1:]) <= (set() if kinds == "save" else {"m-000001", "m-000002"}), names


def changed_while_read(how, seed):
    """A file that is written over in place, piece by piece, while it is loaded."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path, found = Path(folder, "m"), []
        contents = []
        for units in (30, 40):
            model = Sequential([layers.Dense(units), layers.Dense(1)], random_state=0).build(3)
            model.save(path)
            contents.append(path.read_bytes())
        for _ in range(100):
            one, other = contents if rng.random() < 0.5 else contents[::-1]
            at = int(rng.integers(0, len(one)))
            if how == "cut":
                path.write_bytes(one[:at])
            elif how == "mixed":
                path.write_bytes(other[:at] + one[at:])
            elif how == "members":
                members = [dict(zipped_members(content)) for content in (one, other)]
                path.write_bytes(zipped([(name, members[int(rng.integers(2))][name]) for name in members[0]]))
            else:
                place = int(rng.integers(0, len(one)))
                path.write_bytes(one[:place] + bytes([one[place] ^ int(rng.integers(1, 256))]) + one[place + 1:])
            source = Changing(path, one, rng) if how == "while" else path
            try:
                model = Sequential.load(source)
                assert np.isfinite(model.predict(np.ones((1, 3)))).all()
                found.append("a model")
            except ValueError as error:
                assert str(error).startswith("load: "), error
                found.append("a sentence")
        return [found.count("a model"), found.count("a sentence")]


class Changing(io.BytesIO):
    """A file whose bytes change between two reads of it."""

    def __init__(self, path, content, rng):
        super().__init__(content)
        self.rng = rng

    def read(self, size=-1):
        if size:
            here, place = self.tell(), int(self.rng.integers(0, len(self.getvalue())))
            self.seek(place)
            self.write(bytes([int(self.rng.integers(256))]))
            if self.rng.random() < 0.05:
                self.truncate(int(self.rng.integers(1, len(self.getvalue()) + 1)))
            self.seek(here)
        return super().read(size)


def zipped_members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def test_files_that_change():
    kinds = ["cut", "mixed", "members", "bytes", "while"]
    for kind, ended in zip(kinds, run_all(changed_while_read, [(kind, 1) for kind in kinds])):
        models, sentences = ended.result()
        assert models + sentences == 100 and sentences > (10 if kind in ("members", "while") else 70), kind
