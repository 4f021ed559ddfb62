"""Networks of thousands of layers: their cost grows with the number of layers, not with its square."""
import time

import numpy as np
import pytest

from ldl_cy import Sequential, layers
from ldl_cy._engine.first_fit import first_fit

SECONDS = 40                    # of a processor; 4 are needed, and the chain took 80 when costs were quadratic
rng = np.random.default_rng(0)


def chain(n):
    return [layers.Dense(2) if i % 2 else layers.Activation("tanh") for i in range(n)]


@pytest.mark.parametrize("stack", [
    chain(8000),
    [layers.Concatenate(*[layers.Dense(1, "tanh") for _ in range(3000)]), layers.Dense(2)],
    [layers.Add(*[layers.Dense(2) for _ in range(3000)])],
    [layers.LayerNorm() if i % 2 else layers.Add(chain(8), [layers.BatchNorm(), layers.Dropout(0.1)], [])
     for i in range(1400)],
], ids=["chain", "paths of a concatenation", "paths of a sum", "blocks"])
def test_thousands_of_layers(stack, tmp_path, capsys):
    X = rng.standard_normal((3, 2)).astype("f")
    before = time.process_time()
    model = Sequential(stack, random_state=0).build(2)
    y = model.predict(X)
    model.fit(X, y, loss="squared_error", epochs=1)
    model.trace(X)
    model.summary()
    model.save(tmp_path / "m")
    assert Sequential.load(tmp_path / "m").predict(X).shape == y.shape
    assert time.process_time() - before < SECONDS
    assert capsys.readouterr().out.count("\n") > 4


def lowest(sizes, begins, ends):
    """The same offsets, a number at a time."""
    found = []
    for i, size in enumerate(sizes):
        others = [(found[j], found[j] + sizes[j]) for j in range(i) if begins[j] <= ends[i] and begins[i] <= ends[j]]
        candidates = sorted({0, *(high for _, high in others)})
        found.append(next(start for start in candidates
                          if all(start + size <= low or start >= high for low, high in others)))
    return found


def test_first_fit():
    for n in (0, 1, 2, 5, 40, 90):
        for spread in (3, 30):
            sizes = sorted((16 * rng.integers(1, 9, n)).tolist(), reverse=True)
            begins = rng.integers(0, n + 1, n)
            ends = begins + rng.integers(0, spread, n)
            assert first_fit(sizes, begins, ends).tolist() == lowest(sizes, begins.tolist(), ends.tolist())
