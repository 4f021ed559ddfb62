"""Frozen parts of drawn networks: the same bits, whether their outputs are kept or not."""
import copy

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="the extra 'oracle' brings hypothesis, which draws the networks")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import networks as strategies
from oracle.problems import make_batch, make_model
from states import check_same

from ldl_cy import Sequential, layers
from ldl_cy.training import trunk_outputs
from ldl_cy.training.trunk import count_frozen

KINDS = ["dense_networks", "conv1d_networks", "conv2d_networks", "recurrent_networks", "mixed_networks",
         "normalized_networks", "branching_networks", "bidirectional_networks", "token_networks"]


def frozen(layer):
    layer = copy.copy(layer)
    layer.trainable = False
    return layer


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_networks(kind, monkeypatch):
    counts = []

    @settings(max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(problem=strategies.problems(getattr(strategies, kind)()), rows=st.integers(1, 90),
           chunk=st.integers(1, 9000), size=st.integers(1, 40), known=st.booleans())
    def check(problem, rows, chunk, size, known):
        if kind == "token_networks":
            problem["ids"] = 11
        stack = [layer for layer in problem["stack"] if not isinstance(layer, layers.Dropout)]
        cut = 1 + problem["seed"] % (len(stack) - 1) if len(stack) > 1 else 0
        problem.update(n=rows, stack=[*map(frozen, stack[:cut]), *stack[cut:]], loss="squared_error")
        for dtype in ("float32", "float64"):
            start = make_model(problem, dtype)
            X, y, weights = make_batch(problem, start.output_shape)
            n_steps = start.network.graph.steps[0] if not start.network.graph.length_fault else 0
            lengths = np.random.default_rng(rows).integers(1, n_steps + 1, rows) if known and n_steps else None
            monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", chunk)
            found = []
            for cached, n_threads in ((True, 1), (False, 2), ("auto", 2)):
                model = Sequential(problem["stack"], dtype, problem["seed"]).build(problem["shape"])
                model.network.restore(start.network.snapshot())
                history = model.fit(X, y, loss="squared_error", sample_weight=weights, lengths=lengths, epochs=2,
                                    batch_size=size, cache_features=cached, n_threads=n_threads)
                found.append((model, history.history))
            counts.append(count_frozen(start.network))
            check_same(found[0][0], found[1][0])
            check_same(found[0][0], found[2][0])
            assert found[0][1] == found[1][1] == found[2][1]

    check()
    assert sum(map(bool, counts)) >= 10
