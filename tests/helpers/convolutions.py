"""Convolution straight from its definition, and cases of the contract for Conv1D and Conv2D."""
import numpy as np
from contract import LayerCase
from references import activate

from ldl_cy.layers import Conv1D


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
    return two(padding)


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
        y = activate(layer.activation or "identity", z)
        return y[:, 0] if isinstance(layer, Conv1D) else y
    return LayerCase(name, layer, input_shape, reference, n=n)
