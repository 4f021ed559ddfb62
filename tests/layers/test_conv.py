"""Conv1D and Conv2D against sums over windows in NumPy."""
import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase
from references import ACTIVATIONS

from ldl_cy.layers import Conv1D, Conv2D


def pads(n, k, stride, dilation, padding):
    """Zeros (before, after) an axis."""
    span = dilation * (k - 1)
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return span, 0
    if padding == "same":
        total = max(0, (int(np.ceil(n / stride)) - 1) * stride + span + 1 - n)
        return total // 2, total - total // 2
    return padding, padding


def two(value):
    return value if isinstance(value, tuple) else (value, value)


def convolved(x, kernel, bias, strides, padding, dilation, groups):
    """One output pixel and filter after another, straight from the definition."""
    (kh, kw, cg, f), (sh, sw), (dh, dw) = kernel.shape, two(strides), two(dilation)
    py, px = two(padding)
    x = np.pad(x, [(0, 0), pads(x.shape[1], kh, sh, dh, py), pads(x.shape[2], kw, sw, dw, px), (0, 0)])
    oh, ow = (x.shape[1] - dh * (kh - 1) - 1) // sh + 1, (x.shape[2] - dw * (kw - 1) - 1) // sw + 1
    y = np.empty((len(x), oh, ow, f))
    for i in range(oh):
        for j in range(ow):
            window = x[:, i * sh:i * sh + dh * (kh - 1) + 1:dh, j * sw:j * sw + dw * (kw - 1) + 1:dw]
            for o in range(f):
                g = o // (f // groups)
                y[:, i, j, o] = np.sum(window[..., g * cg:(g + 1) * cg] * kernel[..., o], (1, 2, 3)) + bias[o]
    return y


def case(name, layer, input_shape, n=2):
    def reference(p, x):
        kernel, strides, padding, dilation = p["kernel"], layer.strides, layer.padding, layer.dilation_rate
        if isinstance(layer, Conv1D):
            x, kernel = x[:, None], kernel[None]
            strides, padding, dilation = (1, strides), (0, padding), (1, dilation)
        z = convolved(x, kernel, p.get("bias", np.zeros(layer.filters)), strides, padding, dilation,
                      layer.groups)
        y = ACTIVATIONS[layer.activation or "identity"](z)
        return y[:, 0] if isinstance(layer, Conv1D) else y
    return LayerCase(name, layer, input_shape, reference, n=n)


CASES = [
    case("plain", Conv2D(4, 3), (5, 6, 3)),
    case("one channel", Conv2D(3, 3, padding="same"), (6, 5, 1), n=3),
    case("one channel, many filters", Conv2D(17, 3, padding="same", activation="relu"), (5, 6, 1)),
    case("16 channels", Conv2D(3, 3, padding="same"), (4, 5, 16)),
    case("17 channels", Conv2D(16, 2, padding=1, activation="tanh"), (3, 4, 17)),
    case("16 to 16", Conv2D(16, (3, 2), padding="same"), (3, 3, 16)),
    case("no bias", Conv2D(4, 2, use_bias=False), (4, 3, 2)),
    case("no bias, one channel", Conv2D(4, 2, use_bias=False), (4, 3, 1)),
    case("5x5", Conv2D(6, 5, activation="tanh"), (7, 8, 1)),
    case("5x5 of 6", Conv2D(5, 5, activation="relu"), (6, 6, 6)),
    case("stride 2", Conv2D(3, 3, 2), (7, 8, 2)),
    case("stride 2, same, even", Conv2D(3, 3, 2, "same"), (6, 8, 3)),
    case("stride 2, same, odd", Conv2D(17, 3, 2, "same"), (5, 7, 2)),
    case("strides 3 and 2", Conv2D(3, (2, 3), (3, 2), 2), (5, 4, 17)),
    case("stride beyond the kernel", Conv2D(4, 1, 2), (5, 4, 3)),
    case("stride 3, one channel", Conv2D(4, 2, 3, 1), (7, 6, 1)),
    case("stride 1 by 2, 16 channels", Conv2D(3, 2, (1, 2), "same"), (3, 5, 16)),
    case("pads of two kinds", Conv2D(3, 3, padding=(2, 0)), (3, 5, 2)),
    case("pad beyond the kernel", Conv2D(3, 2, padding=3), (2, 3, 2)),
    case("pad beyond the kernel, 16 channels", Conv2D(2, 2, padding=2), (2, 2, 16)),
    case("dilation", Conv2D(3, 3, dilation_rate=2), (6, 7, 2)),
    case("dilation, same, 16 channels", Conv2D(3, (2, 3), padding="same", dilation_rate=(3, 2)), (4, 5, 16)),
    case("dilation and stride", Conv2D(3, 2, 2, 1, (2, 3)), (6, 7, 3)),
    case("kernel beyond the map", Conv2D(3, 5, padding=2), (2, 3, 2)),
    case("kernel beyond the map, same", Conv2D(3, (7, 4), padding="same"), (3, 2, 16)),
    case("groups", Conv2D(6, 3, padding="same", groups=2), (4, 5, 4)),
    case("groups of 16", Conv2D(4, 2, groups=2, activation="silu"), (3, 4, 32)),
    case("groups, stride, dilation", Conv2D(6, 2, 2, "same", 2, 3), (5, 6, 6)),
    case("groups of one pixel", Conv2D(6, 1, groups=3), (3, 2, 6)),
    case("depthwise", Conv2D(5, 3, padding="same", groups=5, activation="relu"), (4, 5, 5)),
    case("depthwise 17, stride 2", Conv2D(17, 3, 2, 1, groups=17), (5, 4, 17)),
    case("depthwise, dilation, no bias", Conv2D(4, 2, 1, "same", 2, 4, use_bias=False), (5, 4, 4)),
    case("depthwise, two filters a channel", Conv2D(6, 3, groups=3), (4, 5, 3)),
    case("1x1", Conv2D(4, 1, activation="relu"), (3, 4, 3)),
    case("1x1, 17 to 16", Conv2D(16, 1), (3, 2, 17)),
    case("1x1, padded", Conv2D(4, 1, padding=1), (3, 2, 3)),
    case("1x1 image", Conv2D(4, 3, padding="same"), (1, 1, 3)),
    case("one of everything", Conv2D(1, 1), (1, 1, 1)),
    case("wide", Conv2D(3, (1, 3), padding="same"), (1, 9, 2)),
    case("batch of 1", Conv2D(3, 2), (4, 4, 2), n=1),
    case("several panels", Conv2D(6, 3, padding="same", activation="gelu"), (11, 9, 3), n=5),
    case("several panels, one channel", Conv2D(2, 2, activation="gelu"), (17, 12, 1), n=3),
    *[case(f"2D {name}", Conv2D(3, 2, activation=name), (3, 4, 2)) for name in ACTIVATIONS],
    case("1D", Conv1D(4, 3), (7, 3)),
    case("1D same", Conv1D(4, 4, 2, "same", activation="gelu"), (7, 3)),
    case("1D causal", Conv1D(4, 3, padding="causal"), (6, 2)),
    case("1D causal, dilation, stride", Conv1D(3, 3, 2, "causal", 2), (7, 17)),
    case("1D int", Conv1D(4, 3, padding=2, activation="softmax"), (5, 16)),
    case("1D one channel", Conv1D(4, 5, padding="same"), (8, 1)),
    case("1D depthwise", Conv1D(3, 2, groups=3), (5, 3)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)
