"""``save_weights`` and ``load_weights``: the same bits, names, what is refused, and files that are none."""
import io
import json
import os
import struct
import threading
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from ldl_cy import Sequential, layers
from ldl_cy.interop.safetensors import from_safetensors
from ldl_cy.weights import Mismatch, WeightsReport

safetensors_numpy = pytest.importorskip("safetensors.numpy", reason="the extra 'test' brings safetensors")

L = layers


def made(dtype="float32", seed=0, units=3):
    stack = [L.Conv2D(2, 3, activation="relu"), L.BatchNorm(), L.Flatten(), L.Add([L.Dense(units)], [L.Dense(units)]),
             L.Dense(1, name="head")]
    return Sequential(stack, dtype, seed).build((5, 4, 2))


def numbers(model):
    return model.theta.tobytes(), model.network.statistics.tobytes()


def arrays(model):
    return {name: np.array(array) for views in (model.parameters, model.state) for name, array in views.items()}


def refused(model, error, start, source, **options):
    """The message; the model keeps its bits."""
    before = numbers(model)
    with pytest.raises(error) as raised:
        model.load_weights(source, **options)
    assert numbers(model) == before
    assert str(raised.value).startswith(start), str(raised.value)
    return str(raised.value)


# -- round trips ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits(dtype, tmp_path):
    model, other = made(dtype), made(dtype, 1)
    X = np.random.default_rng(0).standard_normal((9, 5, 4, 2))
    model.fit(X, X[:, 0, 0, :1], loss="squared_error", epochs=2)
    model.save_weights(tmp_path / "w.safetensors")
    assert numbers(other) != numbers(model)
    report = other.load_weights(tmp_path / "w.safetensors")
    assert numbers(other) == numbers(model)
    assert other.theta is other.network.theta
    assert report == (list(arrays(model)), [], [], [])
    assert repr(report) == str(report) == f"{len(arrays(model))} loaded"
    assert other.predict(X).tobytes() == model.predict(X).tobytes()


def test_arrays_without_axes(tmp_path):
    """Normalization by one number for all has its running statistics in arrays of the shape ()."""
    model, other = (Sequential([L.Normalization(mean, 2.0, axis=None), L.Dense(2)]).build(3) for mean in (0.5, 1.5))
    model.save_weights(tmp_path / "w")
    assert other.load_weights(tmp_path / "w").loaded == list(arrays(model))
    assert numbers(other) == numbers(model)
    assert from_safetensors(tmp_path / "w").network.statistics.tolist() == [0.5, 2.0]


def test_what_a_file_holds(tmp_path):
    """Read by the package itself: names, dtype, numbers and the description of the network."""
    safe_open = pytest.importorskip("safetensors", reason="the extra 'test' brings safetensors").safe_open
    model = made()
    model.save_weights(str(tmp_path / "w"))
    with safe_open(tmp_path / "w", "np") as file:
        assert file.metadata()["format"] == "ldl_cy"
        described = json.loads(file.metadata()["model"])
        found = {name: file.get_tensor(name) for name in file.keys()}   # noqa: SIM118
    assert described["input_shape"] == [5, 4, 2] and described["dtype"] == "float32"
    assert [each["class"] for each in described["layers"]] == ["Conv2D", "BatchNorm", "Flatten", "Add", "Dense"]
    assert found.keys() == arrays(model).keys()
    for name, array in arrays(model).items():
        assert found[name].dtype == array.dtype and found[name].tobytes() == array.tobytes()


def test_settings_without_a_name_leave_the_description_out(tmp_path):
    model = Sequential([L.Dense(2, kernel_initializer=lambda shape, stream: np.ones(shape))]).build(3)
    model.save_weights(tmp_path / "w")
    content = (tmp_path / "w").read_bytes()
    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"] == {"format": "ldl_cy"}
    assert model.load_weights(tmp_path / "w").loaded == ["dense_0.kernel", "dense_0.bias"]


def test_file_objects(tmp_path):
    model, other = made(), made(seed=1)
    buffer = io.BytesIO(b"before")
    buffer.seek(6)
    model.save_weights(buffer)
    buffer.seek(6)
    other.load_weights(buffer)
    assert numbers(other) == numbers(model) and not buffer.closed
    with open(tmp_path / "raw", "wb", buffering=0) as file:
        model.save_weights(file)
    again = made(seed=2)
    with open(tmp_path / "raw", "rb") as file:
        again.load_weights(file)
    assert numbers(again) == numbers(model)
    for text in (io.StringIO(), open(tmp_path / "text", "w")):      # noqa: SIM115
        with text, pytest.raises(TypeError, match=r"^save_weights: the file must be a binary one"):
            model.save_weights(text)
    with open(tmp_path / "raw") as file:
        refused(model, TypeError, "load_weights: the file must be a binary one", file)


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
def test_a_pipe_that_is_open():
    model, other = made(), made(seed=1)
    buffer = io.BytesIO()
    model.save_weights(buffer)
    end, start = os.pipe()
    with open(end, "rb") as reading, open(start, "wb") as writing:
        thread = threading.Thread(target=lambda: (writing.write(buffer.getvalue()), writing.close()))
        thread.start()
        other.load_weights(reading)
        thread.join()
    assert numbers(other) == numbers(model)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    model = made()
    model.save_weights(tmp_path / "w")
    before = (tmp_path / "w").read_bytes()
    with pytest.raises(ValueError, match=r"^save_weights: path must be a file, got the folder"):
        model.save_weights(tmp_path)
    with pytest.raises(ValueError, match=r"^Sequential: the model must be built first"):
        Sequential([L.Dense(1)]).save_weights(tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4", ">f8"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mappings_of_any_float(kind, dtype):
    model = made(dtype)
    given = {name: np.asfortranarray(array.astype(kind)) for name, array in arrays(made(seed=1)).items()}
    model.load_weights(given)
    for name, array in arrays(model).items():
        assert np.array_equal(array, given[name].astype(dtype))


def test_tensors():
    """Of anything that has torch's methods."""
    def tensor(array, dtype):
        return SimpleNamespace(shape=array.shape, dtype=dtype, device=SimpleNamespace(type="cpu"), detach=None,
                               numpy=lambda force: array)

    model, other = made(), made(seed=1)
    model.load_weights({name: tensor(array, "torch.float32") for name, array in arrays(other).items()})
    assert numbers(model) == numbers(other)
    given = {name: tensor(array, "torch.bfloat16") for name, array in arrays(other).items()}
    refused(made(), ValueError, "load_weights: conv2d_0.kernel must be an array of float16, float32 or float64, got "
            "bfloat16.", given)


def test_arrays_of_the_model_itself():
    model = Sequential([L.Dense(3, use_bias=False), L.Dense(3, use_bias=False)], random_state=0).build(3)
    first, second = (np.array(array) for array in model.parameters.values())
    given = dict(zip(model.parameters, reversed(model.parameters.values())))
    model.load_weights(given)
    assert np.array_equal(model.parameters["dense_0.kernel"], second)
    assert np.array_equal(model.parameters["dense_1.kernel"], first)


def test_training_is_counted_on():
    model = made()
    X = np.ones((4, 5, 4, 2))
    model.fit(X, np.ones((4, 1)), loss="squared_error", optimizer="adam", epochs=2)
    slots = model.training_state.optimizer.slots.copy()
    model.load_weights(arrays(made(seed=1)))
    assert model.epoch == 2 and model.training_state.optimizer.slots.tobytes() == slots.tobytes() and slots.any()


# -- names and shapes -----------------------------------------------------------------------------------------


def test_strict_lists_everything():
    given = arrays(made(seed=1, units=4))
    del given["conv2d_0.bias"], given["batch_norm_1.mean"]
    given |= {"other.kernel": np.ones(3), "counter": np.ones(3, int)}
    model = made()
    text = refused(model, ValueError, "load_weights: names and shapes must be those of the model: ", given)
    for part in ("2 missing: conv2d_0.bias, batch_norm_1.mean;", "2 unexpected: other.kernel, counter;",
                 "head.kernel (3, 1), got (4, 1)", "add_3.0.dense_0.kernel (12, 3), got (12, 4)"):
        assert part in text
    before = arrays(model)
    report = model.load_weights(given, strict=False)
    assert isinstance(report, WeightsReport)
    assert report.loaded == ["conv2d_0.kernel", "batch_norm_1.gamma", "batch_norm_1.beta", "head.bias",
                             "batch_norm_1.variance"]
    assert report.missing == ["conv2d_0.bias", "batch_norm_1.mean"]
    assert report.unexpected == ["other.kernel", "counter"]
    assert Mismatch("head.kernel", (3, 1), (4, 1)) in report.mismatched and len(report.mismatched) == 5
    for name, array in arrays(model).items():
        assert np.array_equal(array, given[name] if name in report.loaded else before[name])


def test_long_lists_are_cut():
    given = {f"{'x' * 1000}{i}": np.ones(1) for i in range(1000)}
    text = refused(made(), ValueError, "load_weights: names and shapes", given)
    assert "and 980 more" in text and len(text) < 6000
    assert len(repr(made().load_weights(given, strict=False))) < 6000


@pytest.mark.parametrize("rename", [
    {"net.a": "conv2d_0", "net.b.": "batch_norm_1.", "net": "", "net.": ""},
    lambda name: name.removeprefix("net.").replace("a.", "conv2d_0.").replace("b.", "batch_norm_1.")])
def test_rename(rename):
    other, model = made(seed=1), made()
    given = {"net." + name.replace("conv2d_0", "a").replace("batch_norm_1", "b"): array
             for name, array in arrays(other).items()}
    model.load_weights(given, rename=rename)
    assert numbers(model) == numbers(other)


def test_a_prefix_is_whole_words():
    names = [f"conv_{i}" for i in (1, 10)]
    model = Sequential([L.Dense(2, name=name) for name in names]).build(2)
    report = model.load_weights(arrays(model), strict=False, rename={"conv_1": "other"})
    assert report.unexpected == ["other.kernel", "other.bias"]
    assert report.loaded == ["conv_10.kernel", "conv_10.bias"]


@pytest.mark.parametrize("strict", [True, False])
def test_names_that_are_refused(strict):
    given = arrays(made(seed=1))
    text = refused(made(), ValueError, "load_weights: rename must give different names, got one for ", given,
                   rename=lambda name: "one", strict=strict)
    assert "conv2d_0.kernel and conv2d_0.bias" in text
    refused(made(), TypeError, "load_weights: rename must return a str, got 3", given, rename=lambda n: 3,
            strict=strict)
    refused(made(), TypeError, "load_weights: rename must have strings", given, rename={"a": 3}, strict=strict)
    refused(made(), TypeError, "load_weights: rename must be None", given, rename=3, strict=strict)
    refused(made(), TypeError, "load_weights: names must be strings, got 3", {3: np.ones(1)}, strict=strict)
    refused(made(), TypeError, "load_weights: source must be", 3, strict=strict)
    refused(made(), TypeError, "Sequential: strict must be", given, strict="no")
    with pytest.raises(ZeroDivisionError):
        made().load_weights(given, rename=lambda name: 1 // 0)
    with pytest.raises(ValueError, match=r"^Sequential: the model must be built first"):
        Sequential([L.Dense(1)]).load_weights(given, strict=strict)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("value", "error", "part"), [
    (np.nan, ValueError, "must be finite, got NaN"), (-np.inf, ValueError, "must be finite, got infinity"),
    (1e300, ValueError, "must fit into float32"), (3, ValueError, "float16, float32 or float64, got int64"),
    (True, ValueError, "float16, float32 or float64, got bool"), (1j, ValueError, "got complex128"),
    ("a", ValueError, "got str"), (None, ValueError, "got object")])
def test_numbers_that_are_refused(value, error, part, strict):
    given = arrays(made(seed=1))
    given["head.kernel"] = np.full((3, 1), value)
    assert part in refused(made(), error, "load_weights: head.kernel must ", given, strict=strict)


def test_a_list_is_an_array_and_masked_values_are_refused():
    model = Sequential([L.Dense(2, use_bias=False)]).build(1)
    model.load_weights({"dense_0.kernel": [[1.0, 2.0]]})
    assert model.theta.tolist() == [1, 2]
    refused(model, ValueError, "load_weights: dense_0.kernel must have no masked values",
            {"dense_0.kernel": np.ma.array([[1.0, 2.0]], mask=[[True, False]])})


def test_during_a_fit(tmp_path):
    model = made()
    model.save_weights(tmp_path / "w")
    said = []

    def load(model, logs):
        with pytest.raises(RuntimeError, match="another fit of this model is running") as raised:
            model.load_weights(tmp_path / "w")
        said.append(raised)
        model.save_weights(tmp_path / "during")

    model.fit(np.ones((4, 5, 4, 2)), np.ones((4, 1)), loss="squared_error", epochs=1, callbacks=[load])
    assert said and made(seed=3).load_weights(tmp_path / "during").missing == []


# -- files --------------------------------------------------------------------------------------------------------


def written(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def place(first, last, shape, dtype="F32", **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last], **more}


KERNEL = {"dense_0.kernel": place(0, 24, [3, 2])}
FILES = {
    "empty": b"", "short": b"\1\0\0", "only a length": struct.pack("<Q", 100), "no header": written(b""),
    "length of 2^63": written(KERNEL, bytes(24), 1 << 63), "length of 2^64 - 1": written(KERNEL, bytes(24), 2**64 - 1),
    "length beyond the file": written(KERNEL, bytes(24), 500), "a zip": b"PK\3\4" + bytes(100),
    "no JSON": written(b"{nothing}"), "no UTF-8": written(b'{"\xff": 3}'), "a list": written([1, 2]),
    "a number": written(b"3"), "a long number": written(b"1" * 6000), "deep": written(b"[" * 100_000),
    "deep dicts": written(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "a name twice": written(b'{"a": %b, "a": %b}' % ((json.dumps(place(0, 24, [3, 2])).encode(),) * 2), bytes(24)),
    "a key twice": written(b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)),
    "truncated": written(KERNEL, bytes(23)), "too long": written(KERNEL, bytes(25)),
    "a size beyond the file": written({"dense_0.kernel": place(0, 1 << 40, [1 << 38])}, bytes(24)),
    "a huge shape": written({"dense_0.kernel": place(0, 24, [1 << 62, 1 << 62])}, bytes(24)),
    "overlapping": written({"a": place(0, 24, [3, 2]), "b": place(12, 36, [3, 2])}, bytes(36)),
    "a hole": written({"a": place(0, 4, [1]), "b": place(8, 12, [1])}, bytes(12)),
    "ends before it begins": written({"a": place(4, 0, [1])}, bytes(4)),
    "another size": written({"a": place(0, 24, [3, 3])}, bytes(24)),
    "negative": written({"a": place(0, 4, [-1, -1])}, bytes(4)),
    "fractions": written({"a": place(0, 4, [1.0])}, bytes(4)), "bools": written({"a": place(0, 4, [True])}, bytes(4)),
    "three offsets": written({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, bytes(8)),
    "many axes": written({"a": place(0, 4, [1] * 65)}, bytes(4)),
    "more keys": written({"a": place(0, 4, [1], more=1)}, bytes(4)),
    "no dtype": written({"a": place(0, 4, [1], None)}, bytes(4)),
    "a description that is none": written({"a": 3}), "offsets of 2^70": written({"a": place(0, 2**70, [2**68])}),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_files_that_are_none(name, strict, tmp_path):
    model = Sequential([L.Dense(2, use_bias=False)]).build(3)
    path = tmp_path / "w.safetensors"
    path.write_bytes(FILES[name])
    text = refused(model, ValueError, f"load_weights: {path} is not a readable safetensors file: ", path, strict=strict)
    assert len(text) < 2000
    refused(model, ValueError, "load_weights: <_io.BytesIO", io.BytesIO(FILES[name]), strict=strict)


@pytest.mark.parametrize("name", FILES)
def test_memory_is_bounded_by_the_file(name, tmp_path):
    model = Sequential([L.Dense(2, use_bias=False)]).build(3)
    path = tmp_path / "w"
    path.write_bytes(FILES[name])
    refused(model, ValueError, "load_weights: ", path)
    tracemalloc.start()
    refused(model, ValueError, "load_weights: ", path)
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest < (1 << 20) + 100 * len(FILES[name])


@pytest.mark.parametrize("dtype", ["BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "F4", "C64", "new"])
@pytest.mark.parametrize("strict", [True, False])
def test_dtypes_of_files_that_are_refused(dtype, strict, tmp_path):
    """By name, before anything is read; an array that is not wanted may be of any."""
    model = Sequential([L.Dense(2, use_bias=False)]).build(3)
    path = tmp_path / "w"
    path.write_bytes(written({"dense_0.kernel": place(0, 12, [3, 2], dtype)}, bytes(12)))
    text = refused(model, ValueError, "load_weights: dense_0.kernel must be an array of float16, ", path, strict=strict)
    assert text.endswith(f"got {dtype}.")
    path.write_bytes(written({"x": place(0, 12, [3, 2], dtype), "dense_0.kernel": place(12, 36, [3, 2])}, bytes(36)))
    assert model.load_weights(path, strict=False).unexpected == ["x"]
    assert not model.theta.any()


def test_half_precision_and_no_axes(tmp_path):
    path = tmp_path / "w"
    model = Sequential([L.Dense(2, use_bias=False)]).build(3)
    safetensors_numpy.save_file({"dense_0.kernel": np.arange(6, dtype=np.float16).reshape(3, 2),
                                 "scale": np.array(3.0), "none": np.zeros((0, 3))}, path)
    assert sorted(model.load_weights(path, strict=False).unexpected) == ["none", "scale"]
    assert model.theta.tolist() == list(range(6))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_of_files_that_are_refused(value, tmp_path):
    model = made()
    other = made(seed=1)
    other.network.statistics[-1] = value
    other.save_weights(tmp_path / "w")
    refused(model, ValueError, "load_weights: batch_norm_1.variance must be finite", tmp_path / "w", strict=False)


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices as POSIX has them")
def test_no_regular_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null", "/dev/zero"):
        refused(made(), ValueError, "load_weights: path must be a file, got ", path)
        with pytest.raises(ValueError, match=r"^save_weights: path must be a file, got "):
            made().save_weights(path)
    refused(made(), ValueError, "load_weights: path must be a file, got the folder", tmp_path)
    with pytest.raises(FileNotFoundError):
        made().load_weights(tmp_path / "missing")



class Tensor:
    """What looks like a tensor of torch that has no numbers."""

    dtype = np.dtype("float32")

    def __init__(self, shape, error):
        self.shape, self.error = shape, error

    @property
    def device(self):
        raise self.error

    def detach(self):
        return self


@pytest.mark.parametrize("error", [RuntimeError("one of the moon."), TypeError("one of the moon"),
                                   NotImplementedError("one of the moon")])
def test_tensors_that_cannot_be_read(error):
    model = made()
    given = {**arrays(model), "head.bias": Tensor((1,), error)}
    message = "load_weights: head.bias must be a dense tensor with numbers, got one of the moon."
    assert refused(model, ValueError, message, given) == message
    given["head.bias"] = Tensor(None, error)
    refused(model, ValueError, "load_weights: head.bias must be a dense tensor with numbers, got ", given)
