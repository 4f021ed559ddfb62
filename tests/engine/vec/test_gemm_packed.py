"""Products with packed matrices beside NumPy's in float64: all edges of tiles, and nothing is written beside them."""
import itertools

import numpy as np
import pytest
from buffers import Guarded
from numpy.testing import assert_array_equal
from vectors import same_bits

from ldl_cy._engine import gemm_packed

# around each number of rows and of vectors that a tile may have, for any instruction set
ROWS = [0, 1, 2, 3, 5, 6, 7, 8, 11, 13, 17]
COLUMNS = [0, 1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 24, 31, 33, 47, 63, 64, 65, 100, 130]
DEPTHS = [0, 1, 2, 3, 4, 5, 31]
DEEP = [127, 128, 129, 255, 256, 257, 300, 513]
STARTS = ["zeros", "row", "matrix", "itself"]


class Product:
    """Operands of C = op(A) op(B) + S, each with a gap between its rows, and what C must be."""

    def __init__(self, rng, dtype, m, n, k, *, ta=False, tb=False, start="zeros", gap=0):
        self.guarded, self.dtype, self.ta, self.tb = Guarded(dtype), dtype, ta, tb
        self.A = self.guarded.rows(rng.standard_normal((k, m) if ta else (m, k)), gap)
        self.B = self.guarded.rows(rng.standard_normal((n, k) if tb else (k, n)), gap)
        self.C = self.guarded.rows(rng.standard_normal((m, n)), gap)
        self.S = {
            "zeros": None, "row": self.guarded(rng.standard_normal(n)), "itself": self.C,
            "matrix": self.guarded.rows(rng.standard_normal((m, n)), gap and gap + 1)}[start]
        a, b = ((x.T if t else x).astype(float) for x, t in ((self.A, ta), (self.B, tb)))
        s = 0.0 if self.S is None else self.S.astype(float)
        self.expected = a @ b + s
        # a sum of k + 1 terms in any order (Higham, Accuracy and Stability of Numerical Algorithms, 2002, 3.1)
        self.bound = (k + 1) * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b) + np.abs(s))
        if start != "itself":
            self.C[...] = np.nan

    def packed(self):
        k, n = self.B.shape[::-1] if self.tb else self.B.shape
        packed = self.guarded.empty(gemm_packed.size_packed(k, n))
        gemm_packed.pack_matrix(self.tb, self.B, packed)
        return packed

    def multiply(self):
        gemm_packed.product(self.ta, self.A, self.packed(), self.S, self.C)
        return self

    def by_panels(self):
        panel = self.guarded.empty(gemm_packed.PANEL_NUMBERS)
        gemm_packed.product_by_panels(self.ta, self.tb, self.A, self.B, self.S, self.C, panel)
        return self

    def check(self):
        assert (np.abs(self.C - self.expected) <= self.bound).all(), (self.A.shape, self.B.shape)
        self.guarded.check()


@pytest.mark.parametrize("start", STARTS)
def test_every_edge_of_a_tile(start, dtype, rng):
    for i, (m, n, k) in enumerate(itertools.product(ROWS, COLUMNS, DEPTHS)):
        Product(rng, dtype, m, n, k, ta=i % 2, tb=i // 2 % 2, start=start, gap=i % 3).multiply().check()


@pytest.mark.parametrize("start", STARTS)
def test_by_panels(start, dtype, rng):
    for i, (m, n, k) in enumerate(itertools.product([0, 1, 2, 7, 19], [0, 1, 10, 63, 64, 65, 150], [0, 1, 5, 131])):
        for ta, tb in itertools.product([False, True], repeat=2):
            Product(rng, dtype, m, n, k, ta=ta, tb=tb, start=start, gap=i % 3).by_panels().check()


@pytest.mark.parametrize("way", [Product.multiply, Product.by_panels])
def test_depths_of_several_panels(way, dtype, rng):
    for i, (k, start) in enumerate(itertools.product(DEEP, STARTS)):
        for m, n in ((1, 70), (7, 10), (13, 64)):
            way(Product(rng, dtype, m, n, k, ta=i % 2, tb=i // 2 % 2, start=start)).check()


@pytest.mark.parametrize("way", [Product.multiply, Product.by_panels])
@pytest.mark.parametrize(("m", "n", "k"), [
    (32, 64, 20), (32, 64, 64), (32, 2, 64), (200, 100, 64), (200, 10, 100), (129, 512, 784), (784, 130, 128),
    (260, 12, 300), (481, 20, 128), (250, 66, 256)])
def test_sizes_of_layers(m, n, k, way, dtype, rng):
    for ta, tb in itertools.product([False, True], repeat=2):
        way(Product(rng, dtype, m, n, k, ta=ta, tb=tb, start="row")).check()


def test_both_ways_of_packing_are_the_same(dtype, rng):
    for k, n in itertools.product([1, 5, 16, 33], COLUMNS[1:]):
        B = rng.standard_normal((k, n)).astype(dtype)
        one, other = (np.zeros(gemm_packed.size_packed(k, n), dtype) for _ in range(2))
        gemm_packed.pack_matrix(False, B, one)
        gemm_packed.pack_matrix(True, np.ascontiguousarray(B.T), other)
        assert_array_equal(one, other)


def test_the_same_bits_at_any_row_and_column(isa, dtype, rng):
    """A number's sum does not depend on where its row and its column are; m = 1 is a sum of its own."""
    if not gemm_packed.has_kernels(np.dtype(dtype).name):
        pytest.skip("here BLAS makes the products, whose sums may depend on a row's place")
    for m, n, k in ((29, 70, 37), (13, 150, 300), (140, 10, 20)):
        whole = Product(rng, dtype, m, n, k, start="row").multiply()
        for i, rows, j, columns in ((0, 2, 0, 1), (1, 7, 3, 5), (3, 10, 0, 70), (5, 8, n - 9, 9), (m - 3, 3, 1, n - 1)):
            part = Product(rng, dtype, rows, min(columns, n - j), k, start="row")
            part.A[...] = whole.A[i:i + rows]
            part.B[...], part.S[...] = whole.B[:, j:j + columns], whole.S[j:j + columns]
            assert same_bits(part.multiply().C, whole.C[i:i + rows, j:j + columns])
        # and A where it is or transposed
        other = np.empty_like(whole.C)
        gemm_packed.product(True, np.ascontiguousarray(whole.A.T), whole.packed(), whole.S, other)
        assert same_bits(other, whole.C)


def test_nan_and_infinity_stay_in_their_rows(dtype, rng):
    """Columns that fill up a vector are no part of any result."""
    for n in (1, 10, 33):
        product = Product(rng, dtype, 9, n, 20)
        product.A[3, 5], product.A[4, 6] = np.nan, np.inf
        product.multiply()
        assert np.isnan(product.C[3]).all()
        assert np.isinf(product.C[4]).all()
        assert np.isfinite(np.delete(product.C, [3, 4], axis=0)).all()
        product.guarded.check()
