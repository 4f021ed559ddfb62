"""Strategies that draw networks: (kind, input shape, layers without the output layer)."""
from __future__ import annotations

import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ldl_cy import layers as L

SMOOTH = ["identity", "elu", "gelu", "silu", "softplus", "tanh", "logistic", "softmax", "mish", "gelu_tanh"]
# A value within rounding of a kink may take either slope: in float32 such a network is not compared.
KINKED = ["relu", "leaky_relu", "selu", "hard_sigmoid", "hard_silu", "relu6"]


def kinked(layer):
    """Has the layer, or one within it, a kink?"""
    if hasattr(layer, "paths"):
        return any(kinked(inner) for path in layer.paths for inner in path)
    layer = getattr(layer, "layer", layer)                  # of a Bidirectional
    names = {getattr(layer, "activation", None)} & set(KINKED)
    return bool(names) or type(layer).__name__.startswith(("MaxPool", "GlobalMaxPool", "PReLU"))


def activations():
    return st.one_of(st.none(), st.sampled_from(SMOOTH), st.sampled_from(KINKED))


def shape_after(shape, stack):
    for layer in stack:
        shape = layer.compute_output_shape(shape)
    return shape


@st.composite
def dense_layers(draw):
    kind = draw(st.sampled_from(["dense", "dense", "activation", "dropout", "noise", "prelu"]))
    if kind == "activation":
        name = draw(st.sampled_from(SMOOTH + KINKED))
        slope = draw(st.sampled_from([0.0, 0.01, 0.3]))
        return L.Activation(name, slope) if name == "leaky_relu" else L.Activation(name)
    if kind == "dropout":
        return L.Dropout(draw(st.sampled_from([0.1, 0.5])))
    if kind == "noise":
        return L.GaussianNoise(draw(st.sampled_from([0.0, 0.5])))
    if kind == "prelu":
        return L.PReLU(draw(st.sampled_from([None, 1])), "uniform")
    return L.Dense(draw(st.integers(1, 20)), draw(activations()), use_bias=draw(st.booleans()))


def windows(draw, n, *, dilated):
    """(size, stride, dilation) of windows that fit on an axis of n cells without padding."""
    size = draw(st.integers(1, min(n, 4)))
    dilation = draw(st.integers(1, 3)) if dilated and size > 1 else 1
    while (size - 1) * dilation + 1 > n:
        dilation -= 1
    return size, draw(st.integers(1, 3)), dilation


def sides(draw, axes, most):
    """Padding before and after each axis, at most ``most`` along it."""
    drawn = tuple((draw(st.integers(0, m)), draw(st.integers(0, m))) for m in most)
    return drawn[0] if axes == 1 else drawn


@st.composite
def convolutions(draw, shape):
    axes = len(shape) - 1
    sizes, strides, dilations = zip(*(windows(draw, n, dilated=True) for n in shape[:-1]))
    paddings = ["valid", "same", 1, draw(st.integers(0, 3)), sides(draw, axes, [3] * axes)]
    paddings += ["causal"] if axes == 1 else [(0, 1), (2, 1)]
    groups = draw(st.sampled_from([g for g in range(1, shape[-1] + 1) if shape[-1] % g == 0]))
    filters = groups * draw(st.integers(1, 4))
    options = {"padding": draw(st.sampled_from(paddings)), "groups": groups,
               "activation": draw(activations()), "use_bias": draw(st.booleans())}
    if axes == 1:
        return L.Conv1D(filters, sizes[0], strides[0], dilation_rate=dilations[0], **options)
    if draw(st.booleans()):
        options["algorithm"] = "direct"
    return L.Conv2D(filters, sizes, strides, dilation_rate=dilations, **options)


@st.composite
def poolings(draw, shape):
    axes = len(shape) - 1
    name = draw(st.sampled_from(["MaxPool", "AvgPool"]))
    sizes, strides, _ = zip(*(windows(draw, n, dilated=False) for n in shape[:-1]))
    most = [size - 1 for size in sizes]
    padding = draw(st.sampled_from(["valid", "same", draw(st.integers(0, min(most))), sides(draw, axes, most)]))
    if axes == 1:
        sizes, strides = sizes[0], strides[0]
    return getattr(L, f"{name}{axes}D")(sizes, draw(st.sampled_from([None, strides])), padding)


@st.composite
def zeros_around(draw, shape):
    axes = len(shape) - 1
    padding = draw(st.sampled_from([0, 1, 2, sides(draw, axes, [2] * axes)] + ([(0, 1)] if axes == 2 else [])))
    return getattr(L, f"ZeroPadding{axes}D")(padding)


@st.composite
def repetitions(draw, shape):
    axes = len(shape) - 1
    if axes == 1:
        return L.UpSampling1D(draw(st.integers(1, 3)))
    return L.UpSampling2D(draw(st.one_of(st.integers(1, 2), st.tuples(st.integers(1, 3), st.integers(1, 3)))))


@st.composite
def augmentations(draw, shape):
    """Layers of images that are the identity but in training; of sequences, noise."""
    kind = draw(st.sampled_from(["flip", "translation", "noise"])) if len(shape) == 3 else "noise"
    if kind == "noise":
        return L.GaussianNoise(0.3)
    if kind == "flip":
        return L.RandomFlip(draw(st.sampled_from(["horizontal", "vertical", "horizontal_and_vertical"])))
    return L.RandomTranslation(draw(st.sampled_from([0.0, 0.2, (-0.5, 0.5)])), draw(st.sampled_from([0.3, (0, 1)])))


@st.composite
def permutations(draw, shape):
    return L.Permute(draw(st.permutations(range(1, len(shape) + 1))))


@st.composite
def slopes(draw, shape):
    """A PReLU that shares its slopes along some of the axes."""
    return L.PReLU(draw(st.sets(st.integers(1, len(shape))).map(sorted)), "uniform")


@st.composite
def end_of_images(draw, shape):
    """Layers from a map to a vector, or none: Dense then works on each place."""
    axes = len(shape) - 1
    how = draw(st.sampled_from(["flatten", "flatten", "mean", "max", "reshape", "none"]))
    if how == "flatten":
        return [L.Flatten()]
    if how == "reshape":
        return [L.Reshape((-1, shape[-1]) if draw(st.booleans()) else -1)]
    return [] if how == "none" else [getattr(L, f"Global{'Avg' if how == 'mean' else 'Max'}Pool{axes}D")()]


@st.composite
def convolutional_parts(draw, shape, most=3):
    stack = []
    for _ in range(draw(st.integers(1, most))):
        now = shape_after(shape, stack)
        stack.append(draw(st.one_of(convolutions(now), convolutions(now), poolings(now), slopes(now),
                                    zeros_around(now), permutations(now), repetitions(now), augmentations(now))))
    return stack


@st.composite
def recurrent_layers(draw, return_sequences):
    cell = draw(st.sampled_from(["RNN", "LSTM", "GRU"]))
    options = {"return_sequences": return_sequences, "go_backwards": draw(st.booleans()),
               "use_bias": draw(st.sampled_from([True, True, False]))}
    if cell == "RNN":
        options["activation"] = draw(st.sampled_from(["tanh", "tanh", "relu"]))
    return getattr(L, cell)(draw(st.integers(1, 9)), **options)


@st.composite
def recurrent_parts(draw):
    stack = [draw(recurrent_layers(True)) for _ in range(draw(st.integers(0, 2)))]
    return [*stack, draw(recurrent_layers(draw(st.booleans())))]


@st.composite
def dense_networks(draw):
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=2)))
    return shape, draw(st.lists(dense_layers(), min_size=0, max_size=4))


@st.composite
def conv2d_networks(draw):
    shape = (draw(st.integers(2, 11)), draw(st.integers(2, 11)), draw(st.sampled_from([1, 2, 3, 4, 6])))
    stack = draw(convolutional_parts(shape))
    stack += draw(end_of_images(shape_after(shape, stack)))
    return shape, stack + draw(st.lists(dense_layers(), max_size=1))


@st.composite
def conv1d_networks(draw):
    shape = (draw(st.integers(2, 24)), draw(st.sampled_from([1, 2, 3, 4, 6])))
    stack = draw(convolutional_parts(shape))
    stack += draw(end_of_images(shape_after(shape, stack)))
    return shape, stack + draw(st.lists(dense_layers(), max_size=1))


@st.composite
def recurrent_networks(draw):
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 6)))
    return shape, draw(recurrent_parts()) + draw(st.lists(dense_layers(), max_size=1))


@st.composite
def leaky_networks(draw):
    """Of RNNs whose states leak, which no other library has as one layer."""
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 6)))
    sequences = [True] * draw(st.integers(0, 1)) + [draw(st.booleans())]
    stack = [L.RNN(draw(st.integers(1, 9)), draw(activations()), each, draw(st.booleans()),
                   leak=draw(st.sampled_from([0.05, 0.3, 0.9])), use_bias=draw(st.booleans())) for each in sequences]
    return shape, stack + draw(st.lists(dense_layers(), max_size=1))


@st.composite
def mixed_networks(draw):
    """Convolution and pooling, then recurrence over what is left of the first axis."""
    if draw(st.booleans()):
        shape = (draw(st.integers(4, 20)), draw(st.integers(1, 4)))
        stack = draw(convolutional_parts(shape, 2))
    else:
        shape = (draw(st.integers(4, 8)), draw(st.integers(2, 6)), draw(st.integers(1, 3)))
        stack = draw(convolutional_parts(shape, 2))
        steps = shape_after(shape, stack)[0]
        stack.append(L.Reshape((steps, -1)))
    return shape, stack + draw(recurrent_parts()) + draw(st.lists(dense_layers(), max_size=1))


@st.composite
def norms(draw, shape):
    """LayerNorm of two numbers or more: a single one leaves the bias, whose rounding a BatchNorm would normalize."""
    kind = draw(st.sampled_from(["batch", "batch", "layer", "layer", "given"]))
    axes = draw(st.sets(st.integers(1, len(shape)), min_size=1).map(sorted)) if draw(st.booleans()) else -1
    if kind == "layer" and math.prod(shape) > 1:
        if math.prod(shape[axis - 1] for axis in ([len(shape)] if axes == -1 else axes)) == 1:
            axes = tuple(range(1, len(shape) + 1))
        return L.LayerNorm(draw(st.sampled_from([1e-5, 1e-2])), axes)
    if kind == "given":             # other numbers come with the model's weights
        return L.Normalization(0.5, 2.0, draw(st.sampled_from([None, axes])))
    return L.BatchNorm(draw(st.sampled_from([0.0, 0.9])), draw(st.sampled_from([1e-5, 1e-2])))


@st.composite
def normalized_networks(draw):
    """Dense or convolutional layers, each followed by a norm or not."""
    if draw(st.booleans()):
        shape = tuple(draw(st.lists(st.integers(2, 9), min_size=1, max_size=2)))
        parts, end = draw(st.lists(dense_layers(), min_size=1, max_size=3)), []
    else:
        shape = (draw(st.integers(3, 9)), draw(st.integers(3, 9)), draw(st.integers(1, 4)))
        parts = draw(convolutional_parts(shape, 2))
        end = draw(end_of_images(shape_after(shape, parts)))
    stack = [draw(norms(shape))] if draw(st.booleans()) else []
    for part in parts:
        stack.append(part)
        stack.append(draw(norms(shape_after(shape, stack))))
    return shape, stack + end


@st.composite
def branches(draw, shape, depth):
    """A branch whose paths keep all axes but the last, one path in another where depth allows.

    Of a Multiply one path may have the length 1 along some axes.
    """
    axes = len(shape) - 1
    kind = draw(st.sampled_from([L.Add, L.Concatenate, L.Multiply]))
    wide = draw(st.integers(1, 6))

    def path():
        if axes == 0:
            stack = draw(st.lists(dense_layers(), max_size=2))
        else:
            conv = L.Conv1D if axes == 1 else L.Conv2D
            stack = [conv(draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 3])), padding="same",
                          activation=draw(activations())) for _ in range(draw(st.integers(0, 2)))]
            if axes == 2 and draw(st.booleans()):
                stack.append(L.AvgPool2D(3, 1, "same"))
        if depth and draw(st.booleans()):
            stack.append(draw(branches(stack_shape(shape, stack), depth - 1)))
        return stack if kind is L.Concatenate else [*stack, L.Dense(wide)]

    paths = [path() for _ in range(draw(st.integers(2, 3)))]
    if kind is L.Multiply and draw(st.booleans()):
        short = tuple(draw(st.sampled_from([1, size])) for size in (*shape[:-1], wide))
        paths.append([L.Flatten(), L.Dense(math.prod(short), draw(activations())), L.Reshape(short)])
    return kind(*draw(st.permutations(paths)))


def stack_shape(shape, stack):
    """The shape after layers, branches among them."""
    from ldl_cy import Sequential

    return Sequential(stack).build(shape).output_shape if stack else shape


@st.composite
def branching_networks(draw):
    shape = draw(st.sampled_from([(5,), (1,), (7, 3), (4, 5, 2)]))
    stack = [draw(branches(shape, 1))]
    if len(shape) > 1 and draw(st.booleans()):
        stack.append(L.Flatten())
    return shape, stack


@st.composite
def bidirectional_networks(draw):
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 5)))
    stack = []
    sequences = [True] * draw(st.integers(0, 1)) + [draw(st.booleans())]
    for return_sequences in sequences:
        cell = draw(st.sampled_from([L.RNN, L.LSTM, L.GRU]))
        inner = cell(draw(st.integers(1, 9)), return_sequences=return_sequences)
        stack.append(L.Bidirectional(inner, draw(st.sampled_from(["concat", "sum"]))))
    return shape, stack


@st.composite
def token_networks(draw):
    shape = (draw(st.integers(1, 9)),)
    stack = [L.Embedding(11, draw(st.integers(1, 6)))]
    end = draw(st.sampled_from(["flatten", "mean", "recurrent"]))
    if end == "recurrent":
        return shape, stack + draw(recurrent_parts())
    return shape, [*stack, L.Flatten() if end == "flatten" else L.GlobalAvgPool1D()]


@st.composite
def category_networks(draw):
    """Rows of ids 0 .. 10, of which some columns are categories; of the smallest of them 10 is none."""
    shape = (draw(st.integers(1, 6)),)
    places = draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, unique=True))
    sizes = [draw(st.integers(10, 13)) for _ in places]
    layer = L.CategoryEmbedding(places, sizes, draw(st.sampled_from([None, [draw(st.integers(1, 9)) for _ in places]])))
    return shape, [layer, *draw(st.lists(dense_layers(), max_size=2))]


@st.composite
def problems(draw, networks):
    """A network with an output layer, a loss, and the seed of its weights and its batch."""
    shape, stack = draw(networks)
    loss = draw(st.sampled_from(["squared_error", "codes", "probabilities", "binary_log_loss"]))
    k = draw(st.integers(2, 6) if loss in ("codes", "probabilities") else st.integers(1, 5))
    smoothing = draw(st.sampled_from([0.0, 0.0, 0.1])) if loss in ("codes", "probabilities") else 0.0
    return {
        "shape": shape, "stack": [*stack, L.Dense(k)], "loss": loss, "smoothing": smoothing, "k": k,
        "n": draw(st.integers(1, 9)), "weighted": draw(st.booleans()), "seed": draw(st.integers(0, 2**16))}


def drawn(strategy, count):
    """Problems with networks from a strategy: the same ones in every run."""
    def decorate(test):
        test = given(problem=problems(strategy))(test)
        return settings(max_examples=count, derandomize=True, deadline=None, database=None,
                        suppress_health_check=list(HealthCheck))(test)
    return decorate
