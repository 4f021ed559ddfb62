"""Files that are not what ``save`` wrote: a sentence, no crash, no memory for what they claim, no code of theirs."""
import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from states import check_same, state_of

from ldl_cy import Sequential, layers, optimizers

NET = [layers.Dense(3, "tanh", name="first"), layers.BatchNorm(), layers.Dense(1)]
rng = np.random.default_rng(0)
X = rng.standard_normal((20, 2))
MOST = 32 << 20                 # bytes that a file of a few kB may take


@pytest.fixture(scope="module")
def model():
    model = Sequential(NET, random_state=1)
    model.fit(X, X[:, :1], loss="squared_error", optimizer=optimizers.Adam(ema=0.9), epochs=2)
    return model


@pytest.fixture
def members(model, tmp_path):
    model.save(tmp_path / "m")
    with zipfile.ZipFile(tmp_path / "m") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refused(path, **options):
    """The sentence with which a file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^load: ") as error:
            Sequential.load(path, **options)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
    return str(error.value)


# -- bytes ----------------------------------------------------------------------------------------------------


def test_cut_anywhere(model, tmp_path):
    path = tmp_path / "m"
    model.save(path)
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 37), *range(len(whole) - 40, len(whole))}:
        path.write_bytes(whole[:length])
        refused(path)


def test_a_byte_changed_anywhere(model, tmp_path):
    """It is noticed, or it is of no importance, as a date is."""
    path = tmp_path / "m"
    model.save(path)
    whole, accepted = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ rng.integers(1, 256)]) + whole[place + 1:])
        try:
            found = Sequential.load(path)
        except ValueError as error:
            assert str(error).startswith("load: ")
        else:
            check_same(found, model)
            accepted += 1
    assert accepted < len(whole) / 10


def test_noise(tmp_path):
    for i in range(50):
        (tmp_path / "m").write_bytes(b"PK\3\4"[:i % 5] + rng.bytes(50 * i))
        refused(tmp_path / "m")


# -- the description ------------------------------------------------------------------------------------------


def described(members, **changes):
    return members | {"model.json": json.dumps(json.loads(members["model.json"]) | changes).encode()}


def dense(**changes):
    config = {"units": 1, "activation": None, **changes}
    return {"class": "Dense", "config": config}


NESTED = json.loads("[" * 300 + "]" * 300)


@pytest.mark.parametrize(("changes", "message"), [
    ({"format": 2}, "model.json must describe a model of format 1, got 2"),
    ({"format": True, "layers": 3}, ""),
    ({"dtype": "float16"}, "dtype must be one of"),
    ({"dtype": "float64"}, "theta must be (19,) of float64, got (19,) of float32"),
    ({"random_state": -1}, "random_state must be an int >= 0, got -1"),
    ({"random_state": 1.5}, "random_state must be an int >= 0, got 1.5"),
    ({"epoch": -1}, "epoch must be an int >= 0, got -1"), ({"epoch": 1.5}, "epoch must be an int >= 0, got 1.5"),
    ({"epoch": float("nan")}, "epoch must be an int >= 0, got nan"), ({"epoch": "2"}, ""), ({"epoch": None}, ""),
    ({"epoch": True}, "epoch must be an int >= 0, got True"), ({"epoch": 10**30}, "epoch must be an int <= "),
    ({"step": -1}, "step must be an int >= 0"), ({"optimizer_steps": -1}, "optimizer_steps must be an int >= 0"),
    ({"optimizer_epochs": [1]}, ""), ({"step": 10**400}, "step must be an int < 2^128"),
    ({"optimizer": 3}, "optimizer must be a name, and memory names with numbers, got 3"),
    ({"optimizer": ""}, "slots must be 0 vectors for no optimizer, got 3"),
    ({"optimizer": "Adam"}, "slots must be 2 vectors for Adam, got 3"),
    ({"optimizer": "SGD"}, "slots must be 0 or 1 vectors for SGD, got 3"),
    ({"optimizer": "LBFGS+ema"}, "slots must be 1 vectors for LBFGS+ema, got 3"),
    ({"memory": None}, "memory names with numbers"), ({"memory": [1.0]}, "memory names with numbers"),
    ({"memory": {"loss": 1.0}}, "memory must hold what Adam+ema keeps, got 'loss'"),
    ({"memory": {"__class__": 1.0}}, "memory must hold what Adam+ema keeps, got '__class__'"),
    ({"memory": {"averaged": float("nan")}}, "memory['averaged'] must be a number >= 0, got nan"),
    ({"memory": {"rate_factor": float("inf")}}, "memory['rate_factor'] must be a number >= 0, got inf"),
    ({"memory": {"rate_factor": -0.5}}, "memory['rate_factor'] must be a number >= 0, got -0.5"),
    ({"memory": {"rate_factor": "0.5"}}, "memory['rate_factor'] must be a number >= 0, got '0.5'"),
    ({"memory": {"rate_factor": True}}, "memory['rate_factor'] must be a number >= 0, got True"),
    ({"memory": {"plateau_wait loss": -1}}, "memory['plateau_wait loss'] must be a number >= 0, got -1"),
    ({"memory": {"plateau_best loss": [1]}}, "memory['plateau_best loss'] must be a number, got [1]"),
    ({"memory": {"rate_factor": 10**400}}, ""),
    ({"input_shape": [3]}, "theta must be (22,) of float32, got (19,) of float32"),
    ({"input_shape": 2}, ""), ({"input_shape": []}, ""), ({"input_shape": [2.0]}, ""), ({"input_shape": [-2]}, ""),
    ({"input_shape": [0]}, ""), ({"input_shape": ["2"]}, ""), ({"input_shape": {"a": 2}}, ""),
    ({"input_shape": [10**8]}, "theta must be ("), ({"input_shape": [10**9, 10**9]}, "must have at most 2^48 numbers"),
    ({"input_shape": [10**30]}, ""),
    ({"layers": []}, "layers must hold at least one layer"), ({"layers": {}}, ""), ({"layers": 3}, ""),
    ({"layers": ["Dense"]}, "layers must be a list of layers, got 'Dense'"), ({"layers": [NESTED]}, ""),
    ({"layers": [dense()]}, "theta must be (3,) of float32, got (19,) of float32"),
    ({"layers": [dense(units=10**9)]}, "theta must be (3000000000,) of float32"),
    ({"layers": [dense(units=10**30)]}, ""), ({"layers": [dense(units=-1)]}, "units must be"),
    ({"layers": [dense(units=1.5)]}, "units must be"), ({"layers": [dense(units=float("nan"))]}, "units must be"),
    ({"layers": [dense(units=None)]}, "units must be"), ({"layers": [dense(colour=1)]}, "colour"),
    ({"layers": [dense(activation={"class": "Dense", "config": {}})]}, ""),
    ({"layers": [dense(kernel_initializer={"function": "system"})]}, "the file needs the function 'system'"),
    ({"layers": [dense(kernel_initializer={"function": "Dense"})]}, ""),
    ({"layers": [{"class": "Popen", "config": {}}]}, "the file needs the class 'Popen'"),
    ({"layers": [{"class": ["Dense"], "config": {}}]}, ""), ({"layers": [{"class": "Dense", "config": [1]}]}, ""),
    ({"layers": [{"class": "Dense"}]}, ""), ({"layers": [{}]}, "the file needs the function None"),
    ({"layers": [{"class": "Layer", "config": {}}]}, ""),
    ({"layers": [{"class": "Reshape", "config": {"target_shape": {"tuple": [10**12]}}}]}, ""),
    ({"layers": [{"class": "Embedding", "config": {"input_dim": 10**9, "output_dim": 10**6}}]}, ""),
])
def test_descriptions(changes, message, members, tmp_path):
    assert message in refused(write(tmp_path / "m", described(members, **changes)))


@pytest.mark.parametrize("name", ["epoch", "step", "optimizer", "memory", "input_shape", "layers", "dtype"])
def test_something_is_missing(name, members, tmp_path):
    changed = json.loads(members["model.json"])
    changed.pop(name)
    refused(write(tmp_path / "m", members | {"model.json": json.dumps(changed).encode()}))


@pytest.mark.parametrize("text", [
    b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"[" * 100000, b'{"format": 1}', b"1" * 5000,
    b" " * (1 << 24) + b"{}"])
def test_no_description(text, members, tmp_path):
    refused(write(tmp_path / "m", members | {"model.json": text}))


def test_what_each_optimizer_keeps(tmp_path):
    """All that is written can be read, and nothing of another's."""
    for optimizer in optimizers.OPTIMIZERS:
        model = Sequential([layers.Dense(2, "tanh"), layers.Dense(1)], random_state=1)
        for given in [optimizer, *([optimizers.GD(line_search=True), optimizers.GD(0.01, 1e-9, "loss"),
                                    optimizers.LevenbergMarquardt(bayesian=True)] if optimizer == "gd" else [])]:
            model.fit(X, X[:, :1], loss="squared_error", optimizer=given, epochs=3)
            model.save(tmp_path / "m")
            check_same(Sequential.load(tmp_path / "m"), model)


def test_a_users_optimizer(tmp_path):
    class Mine(optimizers.ConjugateGradient):
        n_slots, slot_counts = 5, (5,)
        state_scalars = {**optimizers.ConjugateGradient.state_scalars, "mine": -np.inf}     # noqa: RUF012

        def iterate(self, problem, theta, slots, memory):
            memory["mine"] = -1.0
            yield from super().iterate(problem, theta, slots, memory)

    model = Sequential([layers.Dense(1)], random_state=1)
    model.fit(X, X[:, :1], loss="squared_error", optimizer=Mine(), epochs=1)
    model.save(tmp_path / "m")
    check_same(Sequential.load(tmp_path / "m"), model)


# -- arrays ---------------------------------------------------------------------------------------------------


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def header(shape, descr="<f4", data=b"", text=None):
    """A .npy file that says what it likes."""
    text = text or f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    line = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + data


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["theta", "state", "slots"])
@pytest.mark.parametrize("content", [
    b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00",
    header((19,)), header((19,), data=bytes(75)), header((19,), data=bytes(77)),
    header((10**12,)), header((2**62, 4)), header((-19,), data=bytes(76)), header((-1, -19), data=bytes(76)),
    header((19.0,), data=bytes(76)), header((19,), "|O", bytes(152)), header((19,), "<i4", bytes(76)),
    header((19,), ">f4", bytes(76)), header((19,), "<f8", bytes(152)), header((19,), "<c8", bytes(152)),
    header((19,), [("a", "<f4")], bytes(76)), header((19,), [("a", "|O")], bytes(76)), header((19,), "|V4", bytes(76)),
    header((), data=bytes(4)), header((1,) * 70, data=bytes(4)), header((0,)), header((0, 10**15)),
    header((), text="__import__('os').mkdir('trace')"), header((), text="(" * 60), header((), text="{}"),
    npy(np.zeros(19, "<f4"), version=(2, 0)), npy(np.zeros((1, 19), "<f4")), npy(np.zeros(18, "<f4")),
    npy(np.zeros((4, 19), "<f4")), npy(np.zeros((3, 20), "<f4")), npy(np.float32(1)),
])
def test_arrays(name, content, members, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(write(tmp_path / "m", members | {f"{name}.npy": content}))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["theta", "state", "slots"])
def test_pickles_are_not_opened(name, members, tmp_path):
    trap = np.array([Trap(tmp_path / "trace")] * 19, object)
    for content in (npy(trap, allow_pickle=True), pickle.dumps(trap), header((19,), "|O", pickle.dumps(trap))):
        refused(write(tmp_path / "m", members | {f"{name}.npy": content}))
        assert not (tmp_path / "trace").exists()
    pickle.loads(pickle.dumps(trap[:1]))
    assert (tmp_path / "trace").exists()            # as it would have been


def test_columns_first_is_read(model, members, tmp_path):
    """Another order of the same numbers is the same array."""
    slots = np.asfortranarray(model.training_state.optimizer.slots)
    check_same(Sequential.load(write(tmp_path / "m", members | {"slots.npy": npy(slots)})), model)


@pytest.mark.parametrize("name", ["model.json", "theta.npy", "state.npy", "slots.npy"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_nothing_is_decompressed(name, compression, members, tmp_path):
    pytest.importorskip("lzma", reason="this Python was built without lzma, which compresses the file")
    (tmp_path / "m").unlink(missing_ok=True)
    path = write(tmp_path / "m", members | {name: members[name] + bytes(50 << 20)}, compression)
    assert path.stat().st_size < 1 << 20
    assert "must be stored uncompressed, with sizes within the file" in refused(path)


@pytest.mark.parametrize("which", [0, 1], ids=["in the file", "in memory"])
def test_a_member_with_two_sizes(which, members, tmp_path):
    """zipfile would take memory for the larger one."""
    path = write(tmp_path / "m", members)
    content = path.read_bytes()
    sizes = [len(members["theta.npy"])] * 2
    listed = content.rindex(struct.pack("<II", *sizes))
    sizes[which] = 1 << 30
    path.write_bytes(content[:listed] + struct.pack("<II", *sizes) + content[listed + 8:])
    assert "must be stored uncompressed, with sizes within the file" in refused(path)


@pytest.mark.parametrize("claimed", [1 << 20, 1 << 31, (1 << 32) - 2])
def test_members_that_claim_to_be_longer(claimed, members, tmp_path):
    path = write(tmp_path / "m", members | {"theta.npy": header((claimed // 4,))})
    content = path.read_bytes()
    size = struct.pack("<I", len(header((claimed // 4,))))
    assert content.count(size + size) == 2          # in the member's head and in the list at the end
    path.write_bytes(content.replace(size + size, struct.pack("<II", claimed, claimed)))
    refused(path)


@pytest.mark.parametrize("name", ["model.json", "theta.npy", "state.npy", "slots.npy"])
def test_a_member_is_missing(name, members, tmp_path):
    assert name in refused(write(tmp_path / "m", {key: value for key, value in members.items() if key != name}))


def test_more_members_do_not_matter(model, members, tmp_path):
    check_same(Sequential.load(write(tmp_path / "m", members | {"../notes.txt": b"mine"})), model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


# -- what the caller brings -----------------------------------------------------------------------------------


def test_functions_of_the_caller_are_not_called(members, tmp_path):
    """A file says which functions a layer has, not with what they are called."""
    called = []

    def mine(**settings):
        called.append(settings)
        return layers.Dense(1)

    changed = described(members, layers=[{"class": "mine", "config": {"target": "everything"}}])
    assert "the file needs the class 'mine'" in refused(write(tmp_path / "m", changed), custom={"mine": mine})
    assert not called


def test_a_failed_load_leaves_no_files_open(members, tmp_path, recwarn):
    path = write(tmp_path / "m", described(members, epoch=-1))
    before = state_of(Sequential(NET, random_state=1).build(2))
    refused(path)
    path.unlink()
    assert state_of(Sequential(NET, random_state=1).build(2)) == before
    assert not [warning for warning in recwarn if warning.category is ResourceWarning]
