"""Resize by whole scales to the nearest number: UpSampling1D and UpSampling2D, there and back."""
import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra 'test' brings onnx, which makes and runs the graphs")

from onnx_graphs import graph
from onnx_reference import run

from ldl_cy import Sequential, interop
from ldl_cy import layers as L

SHAPES = {"sequence": (3, 5), "image": (3, 4, 5)}
EXACT = [("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")]


def resize(*scales, **settings):
    settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", **settings}
    return [("Resize", "x  scales", "y", settings)], {"scales": np.array(scales, "f4")}


def numbers(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype("f4")


@pytest.mark.parametrize(("coordinates", "rounding"), EXACT)
@pytest.mark.parametrize("scales", [(1, 1, 2), (1, 1, 3), (1, 1, 1), (1, 1, 2, 2), (1, 1, 1, 3), (1, 1, 5, 2)], ids=str)
def test_channels_first(scales, coordinates, rounding):
    shape = SHAPES["sequence" if len(scales) == 3 else "image"]
    lines, constants = resize(*scales, coordinate_transformation_mode=coordinates, nearest_mode=rounding)
    proto, x = graph(lines, shape, constants), numbers(2, *shape)
    model = interop.from_onnx(proto)
    kinds = [] if max(scales) == 1 else [L.UpSampling1D if len(scales) == 3 else L.UpSampling2D]
    assert [type(layer) for layer in model.layers if not isinstance(layer, (L.Permute, L.Activation))] == kinds
    expected, = run(proto, x=x)
    if kinds:
        x, expected = np.moveaxis(x, 1, -1), np.moveaxis(expected, 1, -1)
    np.testing.assert_array_equal(model.predict(np.ascontiguousarray(x)), expected)


def test_channels_last_and_some_axes():
    lines, constants = resize(2, 3, axes=[1, -2])
    proto, x = graph(lines, (4, 5, 3), constants), numbers(2, 4, 5, 3)
    model = interop.from_onnx(proto)
    assert model.layers == (L.UpSampling2D((2, 3)),)
    np.testing.assert_array_equal(model.predict(x), x.repeat(2, 1).repeat(3, 2))


@pytest.mark.parametrize("case", [
    resize(1, 1, 1.5), resize(1, 1, 0.5), resize(1, 1, 257), resize(2, 1, 2), resize(1, 2, 2),
    resize(1, 1, 2, mode="linear"), resize(1, 1, 2, coordinate_transformation_mode="align_corners"),
    resize(1, 1, 2, nearest_mode="ceil"), resize(1, 1, 2, coordinate_transformation_mode="half_pixel"),
    ([("Resize", "x   sizes", "y", {})], {"sizes": np.array([1, 3, 10])})], ids=lambda case: str(case[0][0][3]))
def test_refused(case):
    with pytest.raises(ValueError, match=r"^from_onnx: .*'Resize_0'.*must repeat the nearest number of sequences or"):
        interop.from_onnx(graph(case[0], SHAPES["sequence"], case[1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_between_convolutions_no_axes_are_moved(dtype):
    stack = [L.Conv2D(3, 3, activation="relu"), L.UpSampling2D((2, 1)), L.Conv2D(2, 2), L.UpSampling2D()]
    model = Sequential(stack, dtype, random_state=0).build((6, 5, 2))
    proto = interop.to_onnx(model)
    assert [node.op_type for node in proto.graph.node] == ["Transpose", "Conv", "Relu", "Resize", "Conv", "Resize",
                                                           "Transpose"]
    again, x = interop.from_onnx(proto), numbers(2, 6, 5, 2).astype(dtype)
    np.testing.assert_allclose(again.predict(x), model.predict(x), rtol=1e-6, atol=1e-6)
    assert [layer for layer in again.layers if isinstance(layer, L.UpSampling2D)] == [stack[1], L.UpSampling2D((2, 2))]
