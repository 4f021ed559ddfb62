"""What the tests of the vector kernels share: sizes, errors in units of the last place."""
import numpy as np
from numpy.testing import assert_array_equal

DTYPES = (np.float32, np.float64)
# 16 lanes, chunks of 128, tiles of 12 and 24 columns: around each of them
SIZES = (0, 1, 2, 7, 15, 16, 17, 31, 33, 100, 128, 150)
WIDE = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps
EXTREMES = {
    np.float32: [0.0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39, 1e-20, -1e-20, 3e38, -3e38],
    np.float64: [0.0, -0.0, 5e-324, -5e-324, 1e-310, -1e-310, 1e-200, -1e-200, 1e308, -1e308],
}
TINY = {np.float32: 1e-44, np.float64: 1e-322}


def wide(x):
    """x in a precision in which a reference can be computed."""
    return np.asarray(x, dtype=np.float64 if x.dtype == np.float32 else np.longdouble)


def assert_ulp(got, reference, bound, name=""):
    """|got - reference| <= bound units in the last place of the dtype, subnormal ones included."""
    dtype = got.dtype.type
    with np.errstate(over="ignore", under="ignore"):
        rounded = np.asarray(reference, dtype=dtype)
    assert_array_equal(np.isnan(got), np.isnan(rounded), err_msg=name)
    assert_array_equal(np.isinf(got), np.isinf(rounded), err_msg=name)
    finite = np.isfinite(rounded)
    got, reference, rounded = got[finite], reference[finite], rounded[finite]
    ulp = np.maximum(np.spacing(np.abs(rounded)), np.finfo(dtype).smallest_subnormal)
    # where the reference is a power of two, the units below are half of that
    error = np.abs(wide(got) - reference) / wide(ulp)
    if error.size:
        worst = error.argmax()
        slack = 0 if dtype is np.float32 or WIDE else 1
        assert error[worst] <= bound + slack, (name, rounded[worst], float(error[worst]))


def same_bits(a, b):
    """Equal, with NaN equal to NaN."""
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=True) and (
        np.array_equal(np.signbit(a), np.signbit(b)) or np.isnan(a).any())


def points(dtype, rng, span):
    """Numbers over the range of a function, near zero, and outside of the range."""
    x = [np.linspace(-span, span, 4001), np.linspace(-1, 1, 3001), rng.normal(0, 3, 4001),
         np.geomspace(1e-30, 1, 500), -np.geomspace(1e-30, 1, 500), [np.nan, np.inf, -np.inf],
         EXTREMES[dtype]]
    with np.errstate(under="ignore"):
        return np.concatenate(x).astype(dtype)


def ref_logistic(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)
