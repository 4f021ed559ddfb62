"""Independent NumPy formulas that several test files compare with."""
import numpy as np
from scipy.special import erf, expit

ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: 1.0507009873554805 * np.where(
        z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0))),
    "gelu": lambda z: 0.5 * z * (1 + erf(z / np.sqrt(2))),
    "silu": lambda z: z * expit(z),
    "softplus": lambda z: np.logaddexp(0, z),
    "tanh": np.tanh,
    "logistic": expit,
    "softmax": lambda z: np.exp(z - z.max(-1, keepdims=True))
    / np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True),
    "mish": lambda z: z * np.tanh(np.logaddexp(0, z)),
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
}


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
