"""What from_keras refuses by name: layers, settings and graphs without a counterpart."""
import numpy as np
import pytest
from keras_files import called, conv, dense, entry, functional, input_layer, load, one, recurrent, sequential

pytest.importorskip("h5py", reason="the extra 'test' brings h5py, which reads .keras files")


def draw(*shape):
    return np.zeros(shape, "float32")


def refused_layers():
    lstm = recurrent("LSTM", "l", 2)
    return [
        ((3,), entry("Lambda", "l", function={"class_name": "__lambda__"}), "Lambda 'l' has no counterpart"),
        ((3,), entry("Dense", "l", "my.layers", units=2), "Dense 'l' has no counterpart"),
        ((3,), dense("d", 2, lora_rank=4), "Dense 'd' must have no lora_rank, got 4"),
        ((3,), dense("d", 2, activation="exponential"), "Dense 'd' must have one of the activations .*'exponential'"),
        ((3,), dense("d", 0), "Dense 'd': Dense: units must be an int >= 1, got 0"),
        ((3,), dense("d", "2"), "Dense 'd': Dense: units must be an int >= 1, got '2'"),
        ((3,), dense("d", 2, dtype="float16"), "Dense 'd' must have one of the dtypes .*got 'float16'"),
        ((3,), dense("d", 2, dtype={"class_name": "QuantizedDTypePolicy", "config": {}}), "one of the dtypes"),
        ((5, 5, 3), conv("Conv2D", "c", 2, (3, 3), data_format="channels_first"),
         "Conv2D 'c' must have data_format 'channels_last'.*got 'channels_first'"),
        ((5, 5, 3), entry("Conv2DTranspose", "c"), "Conv2DTranspose 'c' has no counterpart"),
        ((5, 3), recurrent("GRU", "g", 2, reset_after=False), "GRU 'g' must have reset_after True, got False"),
        ((5, 3), recurrent("LSTM", "l", 2, stateful=True), "LSTM 'l' must have stateful False, got True"),
        ((5, 3), recurrent("LSTM", "l", 2, recurrent_activation="hard_sigmoid"), "recurrent_activation 'sigmoid'"),
        ((5, 3), recurrent("SimpleRNN", "s", 2, activation="leaky_relu"), "SimpleRNN 's' must have one of the activ"),
        ((5, 3), entry("Bidirectional", "b", merge_mode="mul", layer=lstm, backward_layer=recurrent(
            "LSTM", "m", 2, go_backwards=True)), "Bidirectional 'b' must have merge_mode 'concat' or 'sum', got 'mul'"),
        ((5, 3), entry("Bidirectional", "b", layer=lstm, backward_layer=lstm), "differ in go_backwards alone"),
        ((5, 3), entry("Bidirectional", "b", layer=dense("d", 2), backward_layer=lstm), "SimpleRNN, LSTM or GRU in it"),
        ((5, 3), entry("Bidirectional", "b", layer={**lstm, "module": "my"}, backward_layer=lstm),
         "Bidirectional 'b' must have a layer of Keras' own in it, got LSTM 'l'"),
        ((3,), {**dense("d", 2), "module": None}, "Dense 'd' has no counterpart"),
        ((5,), entry("Embedding", "e", input_dim=5, output_dim=2, mask_zero=True), "mask_zero False, got True"),
        ((4, 3), entry("BatchNormalization", "n", axis=1), "BatchNormalization 'n' must have axis -1, the last, got 1"),
        ((4, 3), entry("LayerNormalization", "n", rms_scaling=True), "rms_scaling False, got True"),
        ((3,), entry("ReLU", "r", max_value=4.0), "ReLU 'r' must have max_value None or 6, got 4.0"),
        ((3,), entry("ReLU", "r", threshold=1.0), "ReLU 'r' must have threshold 0, got 1.0"),
        ((3,), entry("ELU", "r", alpha=2.0), "ELU 'r' must have alpha 1, got 2.0"),
        ((4, 3), entry("Softmax", "r", axis=1), "Softmax 'r' must have axis -1, the last, got 1"),
        ((3,), entry("Rescaling", "r", scale=-1.0, offset=0.0), "Rescaling 'r' must have a scale > 0, got -1.0"),
        ((3,), entry("Rescaling", "r", scale="x", offset=0.0), "Rescaling 'r': scale must be an array of numbers"),
        ((3,), entry("Normalization", "r", invert=True), "Normalization 'r' must have invert False, got True"),
        ((3,), entry("Conv2DTranspose", "u"), "Conv2DTranspose 'u' has no counterpart"),
        ((3, 3, 1), entry("UpSampling2D", "u", size=[2, 2], interpolation="bilinear"),
         "UpSampling2D 'u' must have interpolation 'nearest', got 'bilinear'"),
        ((3,), {"class_name": "Dense", "config": []}, "each layer must have a class_name and a config"),
        ((3,), 3, "each layer must have a class_name and a config, got 3"),
    ]


@pytest.mark.parametrize("shape, layer, text", refused_layers(), ids=[text[:40] for _, _, text in refused_layers()])
def test_refused_layers(tmp_path, shape, layer, text):
    with pytest.raises(ValueError, match=rf"from_keras: .*model.keras: .*{text}"):
        one(tmp_path, layer, shape)


def test_all_faults_are_listed(tmp_path):
    bad = [entry("Lambda", f"f{i}") for i in range(25)]
    with pytest.raises(ValueError, match=r"Lambda 'f0' has no counterpart; .*Lambda 'f19' .* and 6 more\.$"):
        load(tmp_path, sequential(input_layer((3,)), *bad, recurrent("GRU", "g", 3, reset_after=False)))


def graphs():
    d, add, x = dense("d", 3), entry("Add", "add"), input_layer((3,), "x")
    twice = called(d, "x")
    twice["inbound_nodes"] = twice["inbound_nodes"] * 2
    ops = "keras.src.ops.numpy"
    return {
        "Dense 'd' must be called once, got 2 calls": [x, twice],
        "the model must have one input, got InputLayer 'y' too": [x, input_layer((3,), "y"), called(d, "x")],
        "Dense 'd' must have one input, got 2": [x, called(d, "x", "x", several=True)],
        "Add 'd' must have at least two inputs, got 1": [x, called(entry("Add", "d"), "x", several=True)],
        "Average 'd' has no counterpart": [x, called(entry("Average", "d"), "x", "x", several=True)],
        "Dense 'd' must be called without training, got True": [x, called(d, "x", kwargs={"training": True})],
        "Dense 'd' must be called with outputs of layers, got 'y'": [x, {
            **called(d, "x"), "inbound_nodes": [{"args": ["y"], "kwargs": {}}]}],
        "Dense 'd' must be called with tensors as Keras 3 writes them": [
            x, {**d, "inbound_nodes": [[["x", 0, 0, {}]]]}],
        "Dense 'd' must have its calls in inbound_nodes": [x, d],
        "no cycles, got one at": [x, called(d, "add"), called(add, "d", "x", several=True)],
        "computed from the input": [x, called(d, "nowhere")],
        "names of layers must differ, got Dense 'd' twice": [x, called(d, "x"), called(d, "x")],
        "Add 'd' must have inputs of one shape, got (3,) and (2,)": [
            x, called(dense("e", 2), "x"), called(entry("Add", "d"), "x", "e", several=True)],
        "Concatenate 'd' must have axis -1, the last, got 0": [
            x, called(entry("Concatenate", "d", axis=0), "x", "x", several=True)],
        "Multiply 'd' must have inputs whose axes are equal or 1": [
            x, called(dense("e", 2), "x"), called(entry("Multiply", "d"), "x", "e", several=True)],
        "Subtract 'd' must be called with outputs of layers, got 1": [x, called(entry("Subtract", "d", ops), 1, "x")],
        "Subtract 'd' must have one input, got 2": [x, called(entry("Subtract", "d", ops), "x", "x")],
        "Multiply 'd' must have a scale > 0, got 0": [x, called(entry("Multiply", "d", ops), "x", 0)],
        "Divide 'd': float division by zero": [x, called(entry("Divide", "d", ops), "x", 0)],
        "Matmul 'd' has no counterpart": [x, called(entry("Matmul", "d", ops), "x", "x")],
    }


@pytest.mark.parametrize("text", graphs())
def test_refused_graphs(tmp_path, text):
    groups = {"layers/dense": [draw(3, 2), draw(2)]}
    with pytest.raises(ValueError) as caught:
        load(tmp_path, functional(*graphs()[text], start="x", end="d"), groups)
    assert str(caught.value).startswith("from_keras: ") and text in str(caught.value)
