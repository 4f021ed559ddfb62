"""The BLAS door against NumPy: transposes, leading dimensions, vectors for matrices, empty sizes."""
import itertools

import numpy as np
import pytest
from buffers import Guarded

from ldl_cy._engine import blas

DTYPES = ["float64", "float32"]


def close(a, b, dtype):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 if dtype == "float64" else 2e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pad", [0, 3])
@pytest.mark.parametrize(("ta", "tb"), list(itertools.product([False, True], repeat=2)))
def test_gemm(ta, tb, pad, dtype):
    rng = np.random.default_rng(0)
    for m, n, k in itertools.product([0, 1, 2, 17], [0, 1, 5, 16], [0, 1, 3, 33]):
        for alpha, beta in ((1, 0), (1, 1), (-0.5, 2)):
            guarded = Guarded(dtype)
            A, B, C = (guarded.rows(rng.standard_normal(shape), pad) for shape in (
                (k, m) if ta else (m, k), (n, k) if tb else (k, n), (m, n)))
            expected = alpha * ((A.T if ta else A) @ (B.T if tb else B)) + beta * C
            blas.products(ta, tb, alpha, A, B, beta, C)
            close(C, expected, dtype)
            guarded.check()


@pytest.mark.parametrize("dtype", DTYPES)
def test_gemm_with_beta_0_overwrites_nan(dtype):
    A, B = np.ones((3, 4), dtype), np.ones((4, 5), dtype)
    for m, n, k in ((3, 5, 4), (1, 5, 4), (3, 1, 4), (3, 5, 0)):
        C = np.full((m, n), np.nan, dtype)
        blas.products(False, False, 1, A[:m, :k], B[:k, :n], 0, C)
        np.testing.assert_array_equal(C, k)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("trans", [False, True])
def test_gemv(trans, dtype):
    rng = np.random.default_rng(1)
    for m, n, stride in itertools.product([0, 1, 7], [0, 1, 19], [1, 2]):
        A = Guarded(dtype).rows(rng.standard_normal((m, n)), 2)
        x = rng.standard_normal((m if trans else n) * stride).astype(dtype)[::stride]
        y = rng.standard_normal((n if trans else m) * stride).astype(dtype)[::stride]
        for beta in (0, 1, 0.5):
            expected = 2 * ((A.T if trans else A) @ x) + beta * y
            found = y.copy() if stride == 1 else y
            if stride != 1 and beta != 0.5:
                continue
            blas.matrix_vector(trans, 2, A, x, beta, found)
            close(found, expected, dtype)
