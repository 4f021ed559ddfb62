"""State dicts of torch in NumPy alone, without torch: names, layouts, what fits in one way, and what is refused.

What torch itself computes with them is compared in tests/oracle/test_interop_torch.py.
"""
import io
import subprocess
import sys
import threading

import numpy as np
import pytest
from cases import PUBLIC, example

from ldl_cy import Sequential, interop
from ldl_cy import layers as L
from ldl_cy.interop import load_torch, to_torch, torch_state_dict


def made(stack, shape, dtype="float32", seed=0):
    model = Sequential(stack, dtype, seed).build(shape)
    rng = np.random.default_rng(seed)
    model.theta = rng.standard_normal(model.n_parameters)
    for values in model.state.values():
        values[...] = rng.uniform(0.5, 2, values.shape)
    return model


def bits(model):
    return model.theta.tobytes(), model.network.statistics.tobytes()


def refused(model, state_dict, error=ValueError):
    """The message; the model keeps its bits."""
    before = bits(model)
    with pytest.raises(error) as raised:
        load_torch(model, state_dict)
    assert bits(model) == before and str(raised.value).startswith("load_torch: "), str(raised.value)
    return str(raised.value)


def renamed(state_dict, **names):
    """The same entries under other modules' names."""
    return {f"{names.get(name.split('.')[0], name.split('.')[0])}.{name.partition('.')[2]}": array
            for name, array in state_dict.items()}


# -- names and layouts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_behind_a_flatten(dtype):
    """Dense reads (h, w, c) in C order here and (c, h, w) there."""
    model = made([L.Conv2D(4, 2, use_bias=False), L.Flatten(), L.Dense(3)], (5, 4, 2), dtype)
    arrays = torch_state_dict(model)
    assert {name: array.shape for name, array in arrays.items()} == {
        "conv2d_0.weight": (4, 2, 2, 2), "dense_2.weight": (3, 48), "dense_2.bias": (3,)}
    assert {array.dtype.name for array in arrays.values()} == {dtype}
    kernel = model.parameters["conv2d_0.kernel"]
    assert arrays["conv2d_0.weight"][3, 1, 0, 1] == kernel[0, 1, 1, 3]
    maps = Sequential(model.layers[:1], dtype).build((5, 4, 2))
    maps.theta = kernel.ravel()
    x = np.random.default_rng(1).standard_normal((6, 5, 4, 2)).astype(dtype)
    flat = maps.predict(x).transpose(0, 3, 1, 2).reshape(6, -1)
    np.testing.assert_allclose(flat @ arrays["dense_2.weight"].T + arrays["dense_2.bias"], model.predict(x),
                               rtol=2e-5, atol=2e-5)


def test_features_of_flattened_maps():
    """Norms, slopes and Dense behind a Flatten, and behind flattened maps side by side."""
    paths = ([L.Conv2D(3, 1), L.Flatten()], [L.Dropout(0.5), L.Flatten(), L.Activation("relu")])
    stack = [L.Conv2D(2, 2), L.Concatenate(*paths), L.BatchNorm(), L.PReLU(), L.LayerNorm(), L.Dense(2)]
    model = made(stack, (3, 4, 1))
    arrays = torch_state_dict(model)
    order = np.concatenate([np.arange(18).reshape(2, 3, 3).transpose(2, 0, 1).ravel(),
                            18 + np.arange(12).reshape(2, 3, 2).transpose(2, 0, 1).ravel()])
    for name, own in (("batch_norm_2.weight", "batch_norm_2.gamma"), ("prelu_3.weight", "prelu_3.alpha"),
                      ("layer_norm_4.bias", "layer_norm_4.beta")):
        assert np.array_equal(arrays[name], model.parameters[own][order])
    assert np.array_equal(arrays["batch_norm_2.running_var"], model.state["batch_norm_2.variance"][order])
    assert np.array_equal(arrays["dense_5.weight"], model.parameters["dense_5.kernel"].T[:, order])
    assert arrays["batch_norm_2.num_batches_tracked"].dtype == np.int64


def test_gates():
    """LSTM: the same order, b_hh = 0. GRU: b_hh of n is the recurrent bias."""
    model = made([L.LSTM(3, return_sequences=True), L.Bidirectional(L.GRU(2))], (5, 4))
    arrays, p = torch_state_dict(model), model.parameters
    assert np.array_equal(arrays["lstm_0.weight_ih_l0"], p["lstm_0.kernel"].T)
    assert np.array_equal(arrays["lstm_0.weight_hh_l0"], p["lstm_0.recurrent_kernel"].T)
    assert np.array_equal(arrays["lstm_0.bias_ih_l0"], p["lstm_0.bias"]) and not arrays["lstm_0.bias_hh_l0"].any()
    back = "bidirectional_1.backward."
    assert np.array_equal(arrays["bidirectional_1.weight_hh_l0_reverse"], p[back + "recurrent_kernel"].T)
    assert np.array_equal(arrays["bidirectional_1.bias_hh_l0_reverse"], [0, 0, 0, 0, *p[back + "recurrent_bias"]])


def test_biases_are_added():
    model = made([L.GRU(2, return_sequences=True), L.LSTM(2)], (5, 4), "float64")
    arrays = torch_state_dict(model)
    rng = np.random.default_rng(2)
    for name in ("gru_0", "lstm_1"):
        arrays[f"{name}.bias_hh_l0"] = rng.standard_normal(len(arrays[f"{name}.bias_hh_l0"]))
    load_torch(model, arrays)
    gru = arrays["gru_0.bias_ih_l0"] + np.r_[arrays["gru_0.bias_hh_l0"][:4], 0, 0]
    assert np.array_equal(model.parameters["gru_0.bias"], gru)
    assert np.array_equal(model.parameters["gru_0.recurrent_bias"], arrays["gru_0.bias_hh_l0"][4:])
    assert np.array_equal(model.parameters["lstm_1.bias"], arrays["lstm_1.bias_ih_l0"] + arrays["lstm_1.bias_hh_l0"])


NETWORKS = {
    "convolutions": ([L.Conv2D(4, 3, 2, "same", activation="relu"), L.BatchNorm(), L.MaxPool2D(2, padding="same"),
                      L.Add([L.Conv2D(4, 1), L.LayerNorm()], []), L.LayerNorm(axis=(1, 2)), L.PReLU((1, 2)), L.PReLU(1),
                      L.Flatten(), L.Dense(2)], (7, 5, 3)),
    "signals": ([L.Conv1D(4, 3, padding="causal"), L.AvgPool1D(2), L.LSTM(3, return_sequences=True),
                 L.Bidirectional(L.GRU(2), "sum"), L.Dense(1)], (12, 2)),
    "tokens": ([L.Embedding(9, 4), L.Multiply([L.RNN(4, return_sequences=True)], []), L.GlobalMaxPool1D()], (6,)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_come_back(name, dtype):
    stack, shape = NETWORKS[name]
    model, other = made(stack, shape, dtype), made(stack, shape, dtype, 1)
    model.theta[-1] = -0.0
    report = load_torch(other, torch_state_dict(model))
    assert bits(other) == bits(model)
    assert report.loaded == [*model.parameters, *model.state] and not any(report[1:])


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "Custom"])
def test_every_layer(name):
    """The example of each in helpers/cases.py, in a branch beside a path of its own shape."""
    case = example(name)
    shape = Sequential([case.layer]).build(case.input_shape).output_shape
    head = [L.Flatten(), L.Dense(2)]
    stack = [L.Concatenate([case.layer, *head], [case.layer, *head]), L.Dense(len(shape))]
    model, other = made(stack, case.input_shape), made(stack, case.input_shape, seed=1)
    arrays = torch_state_dict(model)
    assert len(arrays) >= len(model.parameters)
    load_torch(other, arrays)
    assert bits(other) == bits(model)


def test_copies():
    model = made([L.Dense(2)], (3,))
    torch_state_dict(model)["dense_0.bias"][:] = 7
    assert not (model.parameters["dense_0.bias"] == 7).any()


def test_names_of_modules_that_a_layer_needs_besides():
    """A layer with the name that its neighbour's activation would have."""
    pytest.importorskip("torch", reason="ci/oracle installs PyTorch, which makes the modules")
    model = made([L.Dense(2, "tanh", name="a"), L.Dense(2, name="a_activation")], (3,))
    assert [name for name, _ in to_torch(model).named_children()] == ["a", "a_activation_", "a_activation"]
    with pytest.raises(ValueError, match=r"^to_torch: a layer's name must not be an attribute of nn.Sequential, got"):
        to_torch(made([L.Dense(2, name="train")], (3,)))


# -- state dicts of others ---------------------------------------------------------------------------------------


def test_by_order():
    stack = [L.Dense(4), L.BatchNorm(), L.Dense(4), L.BatchNorm(), L.Dense(4)]
    model, other = made(stack, (4,)), made(stack, (4,), seed=1)
    load_torch(other, renamed(torch_state_dict(model), dense_0="z", batch_norm_1="b", dense_2="encoder", dense_4="a"))
    assert bits(other) == bits(model)


def test_by_kind_and_shape():
    """In any order, where each is the only one of its kind and shape, or numbers tell."""
    stack = [L.Dense(4, name="fc1"), L.BatchNorm(name="bn1"), L.Dense(4, name="fc2"), L.BatchNorm(name="bn2"),
             L.Dense(5, name="out")]
    model, other = made(stack, (4,)), made(stack, (4,), seed=1)
    arrays = {f"net.{name}": array for name, array in torch_state_dict(model).items()}
    order = [name for kind in ("out", "bn2", "bn1", "fc2", "fc1") for name in arrays if f".{kind}." in name]
    load_torch(other, {name: arrays[name] for name in order})
    assert bits(other) == bits(model)


def test_numbers_of_modules_are_numbers():
    stack = [L.Dense(2, use_bias=False) for _ in range(12)]
    model, other = made(stack, (2,)), made(stack, (2,), seed=1)
    arrays = {f"layers.{i}.weight": array for i, array in enumerate(torch_state_dict(model).values())}
    load_torch(other, {name: arrays[name] for name in sorted(arrays)} | {"layers.0.weight": arrays["layers.0.weight"]})
    assert bits(other) != bits(model)                   # a mapping has an order, which counts
    buffer = io.BytesIO(pytest.importorskip("safetensors.numpy", reason="the extra 'test' brings safetensors").save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}))
    load_torch(other, buffer)                           # a file has none
    assert bits(other) == bits(model)


def test_two_layers_and_both_directions():
    """One module of torch, two layers here."""
    stack = [L.Bidirectional(L.LSTM(3, return_sequences=True)), L.Bidirectional(L.LSTM(3, return_sequences=True))]
    model, other = made(stack, (5, 6)), made(stack, (5, 6), seed=1)
    arrays = torch_state_dict(model)
    both = {name.replace("bidirectional_0", "rnn"): array for name, array in arrays.items() if "_0." in name}
    both |= {name.replace("bidirectional_1", "rnn").replace("_l0", "_l1"): array for name, array in arrays.items()
             if "_1." in name}
    load_torch(other, both)
    assert bits(other) == bits(model)


def test_ambiguous_names_are_listed(tmp_path):
    stack = [L.Dense(4), L.Dense(4), L.Dense(3)]
    model = made(stack, (4,))
    arrays = renamed(torch_state_dict(model), dense_0="encoder", dense_1="decoder", dense_2="head")
    load_torch(model, arrays)                           # in order
    by_name = {name: arrays[name] for name in sorted(arrays, reverse=True)}
    text = refused(made(stack, (4,), seed=1), by_name)
    for part in ("Of the model: dense_0 (bias (4,), weight (4, 4)); dense_1 (bias (4,), weight (4, 4)). ",
                 "Of the state dict: encoder (bias (4,), weight (4, 4)); decoder (bias (4,), weight (4, 4))."):
        assert part in text
    assert "head" not in text
    pytest.importorskip("safetensors.numpy", reason="the extra 'test' brings safetensors").save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, tmp_path / "w")
    assert "encoder" in refused(made(stack, (4,), seed=1), tmp_path / "w")


def test_what_is_left_over_is_listed():
    model = made([L.Dense(4), L.Dense(3)], (4,))
    arrays = torch_state_dict(model)
    text = refused(model, {**arrays, "more.weight": np.ones((2, 2))})
    assert "Of the model: nothing more." in text and "more (weight (2, 2))" in text and "dense" not in text
    text = refused(model, {name: array for name, array in arrays.items() if name != "dense_1.bias"})
    assert "Of the model: dense_1 (bias (3,), weight (3, 4))." in text
    assert "Of the state dict: dense_1 (weight (3, 4))." in text


def test_shapes_are_strict():
    model = made([L.Dense(4), L.Dense(3)], (4,))
    arrays = torch_state_dict(model) | {"dense_1.weight": np.ones((4, 3), "float32")}
    assert refused(model, arrays) == (
        "load_torch: the shapes must be those of the model: dense_1.weight (3, 4), got (4, 3).")


@pytest.mark.parametrize(("value", "part"), [
    (np.nan, "dense_0.bias must be finite, got NaN"), (np.inf, "dense_0.bias must be finite"),
    (1e300, "dense_0.bias of dense_0.weight, dense_0.bias must fit into float32"),
    (1, "dense_0.bias must be an array of float16, float32 or float64, got int64")])
def test_numbers_that_are_refused(value, part):
    model = made([L.Dense(4)], (4,))
    assert part in refused(model, torch_state_dict(model) | {"dense_0.bias": np.full(4, value)})


def test_a_sum_that_overflows():
    model = made([L.LSTM(1)], (4, 1))
    arrays = {key: array.astype(float) for key, array in torch_state_dict(model).items()}
    arrays["lstm_0.bias_ih_l0"][:] = arrays["lstm_0.bias_hh_l0"][:] = 3e38
    assert "must fit into float32" in refused(model, arrays)
    arrays["lstm_0.bias_ih_l0"][:] = arrays["lstm_0.bias_hh_l0"][:] = 1.7e308
    assert "must be finite" in refused(model, arrays)


def test_what_is_no_state_dict(tmp_path):
    model = made([L.Dense(4)], (4,))
    refused(model, 3, TypeError)
    refused(model, {3: np.ones(1)}, TypeError)
    (tmp_path / "w.pt").write_bytes(b"PK\3\4" + bytes(100))
    assert "is not a readable safetensors file" in refused(model, tmp_path / "w.pt")
    with pytest.raises(FileNotFoundError):
        load_torch(model, tmp_path / "missing")
    with pytest.raises(TypeError, match=r"^load_torch: model must be a Sequential, got dict"):
        load_torch({}, {})
    with pytest.raises(ValueError, match=r"^Sequential: the model must be built first"):
        load_torch(Sequential([L.Dense(1)]), {})


def test_during_a_fit():
    model = made([L.Dense(2)], (3,))
    arrays, said = torch_state_dict(model), []

    def load(model, logs):
        for attempt in (lambda: load_torch(model, arrays), lambda: said.append("loaded")):
            try:
                attempt()
            except RuntimeError as error:
                said.append(str(error))
        other = threading.Thread(target=lambda: said.append(sorted(torch_state_dict(model))))
        other.start()
        other.join()

    model.fit(np.ones((4, 3)), np.ones((4, 2)), loss="squared_error", epochs=1, callbacks=[load])
    assert "another fit of this model is running" in said[0] and said[1:] == ["loaded", sorted(arrays)]


def test_everything_without_a_counterpart_is_named():
    custom = L.Custom(lambda p, x: x, lambda p, x, y, dy: (dy, {}), lambda shape: shape, name="mine")
    model = Sequential([L.Dense(2), custom, L.Add([L.LSTM(2, return_sequences=True)], [L.Bidirectional(
        L.RNN(1, "elu", return_sequences=True))]), L.RNN(2, None, True), L.RNN(2, leak=0.5)]).build((4, 2))
    with pytest.raises(ValueError, match=r"^torch_state_dict: \w+ '") as raised:
        torch_state_dict(model)
    for part in ("Custom 'mine' has no counterpart",
                 "RNN 'rnn_3' must have activation 'tanh' or 'relu', got None",
                 "RNN 'rnn_4' must have leak 1, got 0.5",
                 "Bidirectional 'add_2.1.bidirectional_0' must have activation 'tanh' or 'relu', got 'elu'"):
        assert part in str(raised.value)
    assert "LSTM" not in str(raised.value)

    class MyDense(L.Dense):
        """May compute anything."""

    with pytest.raises(ValueError, match="MyDense 'my_dense_0' has no counterpart"):
        torch_state_dict(Sequential([MyDense(2)]).build(3))


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for attempt in (lambda: to_torch(made([L.Dense(1)], (2,))), lambda: interop.from_torch(None, (2,))):
        with pytest.raises(ImportError, match=r"^(to|from)_torch: needs the package torch, which is not installed: "
                                              r"pip install torch\."):
            attempt()


def test_torch_is_imported_when_it_is_needed(tmp_path):
    code = ("import sys; from ldl_cy import interop; interop.load_torch, interop.from_torch; "
            "sys.exit('torch' in sys.modules)")
    # away from the source folder, which would be imported instead of the installed package
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0
