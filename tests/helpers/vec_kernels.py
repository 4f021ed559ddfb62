"""The vector kernels called from Python, one by one: through ctypes, so that no door to them has to be compiled.

``ldl_cy._engine.vec.table`` points to the kernels of the instruction set in use, a struct of function pointers that
``_engine/vec/vec.h`` declares: FIELDS repeats it. What each kernel computes is said there. The functions below take
NumPy arrays of one dtype, float32 or float64, and None for NULL.
"""
import ctypes

import numpy as np

from ldl_cy._engine import vec
from ldl_cy._engine.vec import (
    ACTIVATIONS,
    RULES,
    check_rule,
    instruction_set,
    instruction_sets,
    use_instruction_set,
)
from ldl_cy._kernels.dense import dense

__all__ = ["ACTIVATIONS", "LOSSES", "RULES", "activation", "activation_both", "activation_grad", "add_",
           "add_column_sums_", "apply_dropout", "exponential", "fewest_slots", "fill_rows_", "gru_step",
           "gru_step_back", "instruction_set", "instruction_sets", "keeps_z", "largest", "logarithm", "loss",
           "lstm_step", "lstm_step_back", "scale_", "sum_of_squares", "transpose_", "uniform_draws", "update_",
           "use_instruction_set"]

LOSSES = ("squared_error", "log_loss_codes", "log_loss_probs", "binary_log_loss")

# The table for one dtype, in the order of vec.h. What each function takes, and after > returns: p a pointer,
# n a ptrdiff_t, i an int, u a uint64_t, d a double, T a number of the dtype.
FIELDS = {
    "activate": "iTnnpp", "activate_grad": "iTnnppp", "activate_both": "inppp", "exp": "npp", "log": "npp",
    "fill_rows": "nnppn", "add_column_sums": "nnpp", "transpose": "nnpnpn", "add": "npp", "scale": "nTp",
    "axpy": "nTpp",
    "sum_squares": "np>d", "max_abs": "np>d", "dropout": "nuudpp", "squared_error": "nnpppTp>d",
    "log_loss_codes": "nnpppTpT>d", "log_loss_probs": "nnpppTpT>d", "binary_log_loss": "nnpppTp>d",
    "lstm_forward": "nnppppp", "lstm_backward": "nnppppp", "gru_forward": "nnpppp", "gru_backward": "nnpppp",
    **{f"rules[{i}]": "npppnp" for i in range(len(RULES))},
}
C_TYPES = {"p": ctypes.c_void_p, "n": ctypes.c_ssize_t, "i": ctypes.c_int, "u": ctypes.c_uint64, "d": ctypes.c_double}


def address_of_table():
    """Where vec keeps its pointer to the table: Cython exports C variables as capsules, for cimport."""
    capsule = vec.__pyx_capi__["table"]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return pointer(capsule, name(capsule))


TABLE = address_of_table()


def call(name, dtype, *arguments):
    """A function of the table in use, with arrays or None where it takes pointers."""
    table = ctypes.c_void_p.from_address(TABLE).value
    wide = np.dtype(dtype) == np.float64
    # behind the name of the instruction set come the fields for float32, then those for float64
    place = 1 + wide * len(FIELDS) + list(FIELDS).index(name)
    pointer = ctypes.c_void_p.from_address(table + place * ctypes.sizeof(ctypes.c_void_p)).value
    takes, _, returns = FIELDS[name].partition(">")
    types = {**C_TYPES, "T": ctypes.c_double if wide else ctypes.c_float}
    function = ctypes.CFUNCTYPE(types[returns] if returns else None, *[types[t] for t in takes])(pointer)
    return function(*[a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments])


def check(shape, dtype, *arrays):
    """Refuse what a kernel would read or write past its end."""
    for x in arrays:
        assert x is None or (x.shape == tuple(shape) and x.dtype == dtype and x.flags.c_contiguous), x


def distance(x):
    """Numbers from row to row of a matrix whose rows are contiguous."""
    assert not x.size or x.strides[1] == x.itemsize
    return x.strides[0] // x.itemsize


def keeps_z(name):
    """Whether an activation's gradient is computed from z rather than from f(z): Dense then keeps z for it."""
    return dense("float32", steps=1, n_in=1, n_out=1, activation=name).cache_size > 0


def activation(name, z, slope=1.0, out=None):
    out = np.empty_like(z, order="C") if out is None else out
    check(z.shape, z.dtype, z, out)
    k = max(z.shape[-1], 1)
    call("activate", z.dtype, ACTIVATIONS.index(name), slope, z.size // k, k, z, out)
    return out


def activation_grad(name, a, dy, slope=1.0, out=None):
    out = np.empty_like(dy, order="C") if out is None else out
    check(a.shape, a.dtype, a, dy, out)
    k = max(a.shape[-1], 1)
    call("activate_grad", a.dtype, ACTIVATIONS.index(name), slope, a.size // k, k, a, dy, out)
    return out


def activation_both(name, z, out=None):
    """(f(z), f'(z))"""
    out, slope = np.empty_like(z) if out is None else out, np.empty_like(z)
    check(z.shape, z.dtype, z, out, slope)
    call("activate_both", z.dtype, ACTIVATIONS.index(name), z.size, z, out, slope)
    return out, slope


def elementwise(name, x, out, *arguments):
    out = np.empty_like(x) if out is None else out
    check(x.shape, x.dtype, x, out)
    call(name, x.dtype, x.size, *arguments, x, out)
    return out


def exponential(x, out=None):
    return elementwise("exp", x, out)


def logarithm(x, out=None):
    return elementwise("log", x, out)


def apply_dropout(x, key, first, rate, out=None):
    return elementwise("dropout", x, out, key, first, rate)


def uniform_draws(key, first, n):
    """Numbers first .. first + n - 1 of a stream, uniform on [0, 1): SplitMix64, see vec/rng.h."""
    def mix(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31
    return [(mix((key + (first + i + 1) * 0x9E3779B97F4A7C15) % 2**64) >> 11) / 2**53 for i in range(n)]


def loss(name, y, t, w=None, scale=1.0, smoothing=0.0, dy=None):
    rows, k = y.shape
    codes = name == "log_loss_codes"
    check(y.shape, y.dtype, y, dy)
    check((rows,) if codes else y.shape, y.dtype, t)
    check((rows,), y.dtype, w)
    option = [smoothing] if name in ("log_loss_codes", "log_loss_probs") else []
    return call(name, y.dtype, rows, k, y, t, w, scale, dy, *option)


def lstm_step(z, c_prev, c, tc, h):
    n, u = h.shape
    check((n, 4 * u), h.dtype, z)
    check(h.shape, h.dtype, c_prev, c, tc, h)
    call("lstm_forward", h.dtype, n, u, z, c_prev, c, tc, h)


def lstm_step_back(z, c_prev, tc, dh, dc):
    n, u = dh.shape
    check((n, 4 * u), dh.dtype, z)
    check(dh.shape, dh.dtype, c_prev, tc, dh, dc)
    call("lstm_backward", dh.dtype, n, u, z, c_prev, tc, dh, dc)


def gru_step(a, q, h_prev, h):
    n, u = h.shape
    check((n, 3 * u), h.dtype, a)
    check(h.shape, h.dtype, q, h_prev, h)
    call("gru_forward", h.dtype, n, u, a, q, h_prev, h)


def gru_step_back(a, q, h_prev, dh):
    n, u = dh.shape
    check((n, 3 * u), dh.dtype, a)
    check(dh.shape, dh.dtype, q, h_prev, dh)
    call("gru_backward", dh.dtype, n, u, a, q, h_prev, dh)


def fill_rows_(y, b=None):
    check(y.shape[1:], y.dtype, b)
    call("fill_rows", y.dtype, *y.shape, b, y, distance(y))


def add_column_sums_(x, total):
    check(x.shape, x.dtype, x)
    check(x.shape[1:], x.dtype, total)
    call("add_column_sums", x.dtype, *x.shape, x, total)


def transpose_(a, b):
    assert b.shape == a.shape[::-1] and a.dtype == b.dtype
    call("transpose", a.dtype, *a.shape, a, distance(a), b, distance(b))


def add_(x, y, alpha=None):
    check(x.shape, x.dtype, x, y)
    call("add", x.dtype, x.size, x, y) if alpha is None else call("axpy", x.dtype, x.size, alpha, x, y)


def scale_(y, alpha):
    check(y.shape, y.dtype, y)
    call("scale", y.dtype, y.size, alpha, y)


def sum_of_squares(x):
    check(x.shape, x.dtype, x)
    return call("sum_squares", x.dtype, x.size, x)


def largest(x):
    check(x.shape, x.dtype, x)
    return call("max_abs", x.dtype, x.size, x)


def fewest_slots(rule, coef):
    """How many vectors of state a rule has with a row of coefficients."""
    for count in range(9):
        try:
            check_rule("fewest_slots", RULES.index(rule), count, np.array(coef, float)[None])
        except ValueError:
            continue
        return count
    raise AssertionError(rule)


def update_(rule, theta, g, slots, coef):
    """One step of a rule: slots (n_slots, n) or None, coef float64, as in vec.h."""
    check(theta.shape, theta.dtype, theta, g)
    check_rule("update_", RULES.index(rule), 0 if slots is None else len(slots), coef[None])
    if slots is not None:
        check((len(slots), *theta.shape), theta.dtype, slots)
    check(coef.shape, np.float64, coef)
    call(f"rules[{RULES.index(rule)}]", theta.dtype, theta.size, theta, g, slots, theta.size, coef)
