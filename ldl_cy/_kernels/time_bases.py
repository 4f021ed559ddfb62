"""Bases in which convolution over time costs fewer multiplications, and which one a layer uses.

With windows of r steps, m steps of the output depend on n = m + r - 1 of the input. Multiplied as polynomials, by their
values at n points, they cost n multiplications in place of m r (Toom 1963, Cook 1966; Winograd, "Arithmetic complexity
of computations", SIAM 1980). At real points rounding errors grow with n; at the n-th roots of unity, which is the
discrete Fourier transform, they hardly do, but numbers are complex: 3 (n / 2 - 1) + 2 real multiplications.

Relative root-mean-square errors in float32, of 64 channels, standard normal: 4e-7 with 6 points, 7e-7 with 8, 2e-6 with
10, 4e-6 with 12; of the DFT 2e-7. They grow with the square root of the number of channels that are summed.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

# 0, these and their negatives, and, of an even number of points, infinity: of all with small numerators and
# denominators those with the smallest error, which come as pairs p, 1 / p (Barabasz et al., "Error analysis and
# improving the accuracy of Winograd convolution", ACM TOMS 46, 2020).
PAIRS = {
    2: (Fraction(2, 3), Fraction(3, 2)),
    3: (Fraction(1, 2), Fraction(1), Fraction(2)),
    4: (Fraction(3, 8), Fraction(3, 4), Fraction(4, 3), Fraction(8, 3)),
}
# Channels, or filters, up to which the error stays below 2.7e-6, by the number of pairs.
MOST_CHANNELS = {2: 4096, 3: 1024, 4: 160}
LEAST_DFT, MOST_DFT = 16, 1024  # steps of a tile
# Steps of the longest windows of each kind of basis. By values at points, "winograd", the gradient of longer ones is
# less exact, and the DFT, "fft", is faster.
LONGEST_WINDOWS = {"winograd": 7, "fft": MOST_DFT - 1}
LEAST_BLOCK_BYTES, MOST_BLOCK_BYTES = 5 * 2**17, 2**20
# See cost, where it was measured: an L2 cache of 1.25 MB.
CACHED_WEIGHTS_BYTES = 5 * 2**18    # transformed weights of more bytes are read from beyond the L2 cache;
READ_AGAIN = 36                     # reading one of them takes as long as this many multiplications
SAVING = 1.2                    # "auto" wants at least this factor of fewer operations

Matrix = list[list[Fraction]]


@dataclass(frozen=True)
class Basis:
    """Tiles of n steps of the input and m of the output, for windows of r steps; by values at points or by the DFT."""

    n: int
    m: int
    by_dft: bool

    @property
    def r(self) -> int:
        return self.n - self.m + 1

    @property
    def slabs(self) -> int:
        return 3 * (self.n // 2 - 1) + 2 if self.by_dft else self.n

    @property
    def tiles(self) -> int:
        """How many are transformed together."""
        return 2 if self.by_dft else 1

    def units(self, steps: int, dilation: int) -> int:
        """Transforms of a sequence with that many steps of output; with dilation d it is d sequences side by side."""
        tiles = min(dilation, steps) * math.ceil(math.ceil(steps / dilation) / self.m)
        return math.ceil(tiles / self.tiles)


def matrices(basis: Basis) -> tuple[Matrix, Matrix, Matrix]:
    """B^T (n, n), A (n, m) and G (n, r) of values at points: rows of 0, p, -p, .., infinity."""
    n, m, r = basis.n, basis.m, basis.r
    points = [Fraction(0)]
    for p in PAIRS[(n - 1) // 2]:
        points += [p, -p]
    B, A, G = [], [], []
    for i, p in enumerate(points):
        others = points[:i] + points[i + 1:]
        scale = math.prod((p - q for q in others), start=Fraction(1))
        B.append(product(others) + [Fraction(0)] * (n - len(points)))
        A.append([p**j for j in range(m)])
        G.append([p**j / scale for j in range(r)])
    if n % 2 == 0:
        B.append(product(points))
        A.append([Fraction(j == m - 1) for j in range(m)])
        G.append([Fraction(j == r - 1) for j in range(r)])
    return B, A, G


def product(points: list[Fraction]) -> list[Fraction]:
    """The coefficients of prod_q (x - q), that of x^0 first."""
    found = [Fraction(1)]
    for q in points:
        found = [a - q * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)])]
    return found


def in_order(matrix: Matrix) -> list[float]:
    """A matrix of values as vec/basis.h reads it: two columns at a time, those of 0, each p and infinity."""
    n, k = len(matrix), len(matrix[0])
    none = [Fraction(0)] * (k + 1)
    pairs = [[*row, Fraction(0)] for row in matrix[1:n - 1:2]]
    rows = [*pairs, *[none] * (max(PAIRS) - len(pairs)), [*matrix[n - 1], Fraction(0)] if n % 2 == 0 else none]
    return [float(number) for j in range(0, k, 2)
            for number in (matrix[0][j], *(row[j] for row in rows), *(row[j + 1] for row in rows))]


def turns(n: int) -> list[float]:
    """cos and -sin of 2 pi j / n, from an eighth of the circle, where they are exact to the last digit."""
    def cosine(j: int) -> float:
        j = min(j % n, -j % n)
        if 4 * j > n:
            return -cosine(n // 2 - j)
        return math.cos(2 * math.pi * j / n) if 8 * j <= n else math.sin(2 * math.pi * (n / 4 - j) / n)

    return [f(j) for j in range(n) for f in (cosine, lambda j: -cosine(j - n // 4))]


def places(n: int) -> list[int]:
    """Where butterflies of four, at the end maybe of two, leave the k-th number of a transform in place."""
    def place(k: int, length: int) -> int:
        if length <= 2:
            return k
        return k % 4 * (length // 4) + place(k // 4, length // 4)

    return [place(k, n) for k in range(n)]


def bases(r: int, channels: int, kinds: tuple[str, ...]) -> Iterator[Basis]:
    """The bases for windows of r steps and a number of channels, or filters if there are more.

    ``kinds`` are of LONGEST_WINDOWS. If "winograd" is the only one, the bases with the fewest points are among them
    whatever the number of channels.
    """
    if "winograd" in kinds and 1 < r <= LONGEST_WINDOWS["winograd"]:
        least = max(min(PAIRS), r // 2)
        for pairs, most in MOST_CHANNELS.items():
            if channels <= most or (pairs == least and "fft" not in kinds):
                yield from (Basis(n, n - r + 1, False) for n in (2 * pairs + 1, 2 * pairs + 2) if n > r)
    if "fft" in kinds and r > 1:
        n = LEAST_DFT
        while n <= MOST_DFT:
            if n > r:
                yield Basis(n, n - r + 1, True)
            n *= 2


def block_size(basis: Basis, c: int, f: int, itemsize: int, units: int) -> int:
    """Units of a block, for rows of ``units`` units: whole rows if these are short, and equal parts of one if long.

    The transformed tiles, of input and output, stay in the L2 cache between transform and product: as many bytes as the
    transformed weights have, which each block reads again, but within limits.
    """
    unit = basis.slabs * basis.tiles * (c + f) * itemsize
    room = min(MOST_BLOCK_BYTES, max(LEAST_BLOCK_BYTES, basis.slabs * c * f * itemsize))
    most = max(16 // basis.tiles, room // unit)
    if units <= most:
        return max(2, most // units * units)
    return math.ceil(units / math.ceil(units / most))


def cost(basis: Basis, c: int, f: int, steps: int, dilation: int) -> float:
    """Multiplications of a pass over one sequence; the transforms are counted by the time that they take.

    Measured on one core of an Intel Xeon (AVX-512): a number of a tile takes as long as 16 multiplications of a
    product, both ways together, and 25 by the DFT, 45 where a transform does not fit into the L1 cache.
    """
    n, units = basis.n, basis.units(steps, dilation)
    transform = (25 if n <= 64 else 45) * n if basis.by_dft else 16 * n
    products = float(basis.slabs * c * f)
    if 4 * products > CACHED_WEIGHTS_BYTES:
        # each block reads all of the weights from further away
        products *= 1 + READ_AGAIN / (block_size(basis, c, f, 4, units) * basis.tiles)
    return units * basis.tiles * (products + transform * (c + f))


def choose(algorithm: str, r: int, c: int, f: int, steps: int, dilation: int) -> Basis | None:
    """The basis for windows of r steps, ``steps`` of output; None where the plain kernel is as fast."""
    found = min(bases(r, max(c, f), tuple(LONGEST_WINDOWS) if algorithm == "auto" else (algorithm,)), default=None,
                key=lambda basis: cost(basis, c, f, steps, dilation))
    if found is None or (algorithm == "auto" and SAVING * cost(found, c, f, steps, dilation) > steps * r * c * f):
        return None
    return found
