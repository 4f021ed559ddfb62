"""JAX, compiled by XLA: all steps of a repetition in one ``lax.scan`` over the batches, or one call for each step.

One thread is one core: XLA computes on one thread (see ``runner.environment``), and the worker binds itself to a core
before JAX is imported. Batches and the input of a prediction are JAX's arrays before the clock starts, in the order of
axes in which layers read them.
"""
from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import layers as described
from benchmarks.common import input_data, training_data
from benchmarks.jax_layers import Pass
from benchmarks.row import LEARNING_RATE
from benchmarks.weights import draw

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def place(X, row):
    """Rows as JAX's array; sequences for recurrent layers as (time, n, features)."""
    if row.tokens:
        X = X.astype(np.int32)
    return jnp.asarray(np.swapaxes(X, 0, 1) if row.recurrent else X)


def begin(row, dtype):
    """(weights, running statistics) of the row's network."""
    running = [(jnp.zeros(shape[-1], dtype), jnp.ones(shape[-1], dtype))
               for layer, shape, _ in described.walk(row.network, row.shape) if isinstance(layer, described.BatchNorm)]
    return jax.tree.map(jnp.asarray, draw(row, dtype)), running


def loss(weights, running, x, targets, row, unroll):
    """(the mean loss of a batch, running statistics after it)."""
    forward = Pass(weights, running, True, unroll)
    out = forward.stack(row.network, x)
    if row.loss == "squared_error":
        return jnp.square(out - targets).mean(), forward.updated
    chosen = jnp.take_along_axis(jax.nn.log_softmax(out), targets[:, None], 1)
    return -chosen.mean(), forward.updated


def step(state, batch, row, unroll):
    """One step of SGD or Adam, as the body of a scan: (weights, running statistics, moments, number) twice."""
    weights, running, moments, t = state
    gradient, running = jax.grad(loss, has_aux=True)(weights, running, *batch, row, unroll)
    t = t + 1
    if row.optimizer == "adam":
        # Kingma and Ba 2015, with the corrections of both moments in the step size
        rate = LEARNING_RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        first, second = moments
        first = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, first, gradient)
        second = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, second, gradient)
        weights = jax.tree.map(lambda w, m, v: w - (rate * m / (jnp.sqrt(v) + EPSILON)).astype(w.dtype),
                               weights, first, second)
        moments = first, second
    else:
        weights = jax.tree.map(lambda w, g: w - LEARNING_RATE * g, weights, gradient)
    return (weights, running, moments, t), None


def predictor(row, setting):
    """The compiled function of weights, running statistics and input."""
    return jax.jit(lambda weights, running, x: Pass(weights, running, False, setting.get("unroll", 1)).stack(
        row.network, x))


def outputs(row, dtype, setting):
    """The network's outputs for the rows of a prediction, (n, outputs)."""
    jax.config.update("jax_enable_x64", dtype == "float64")
    return np.asarray(predictor(row, setting)(*begin(row, dtype), place(input_data(row, "inference", dtype), row)))


def prepare(row, part, dtype, threads, setting):
    """A function that does some steps, or predicts some times."""
    jax.config.update("jax_enable_x64", dtype == "float64")
    weights, running = begin(row, dtype)
    if part != "train":
        x = place(input_data(row, part, dtype), row)
        predict = predictor(row, setting)

        def run(count):
            for _ in range(count):
                predict(weights, running, x).block_until_ready()
            return count

        return run
    X, y = training_data(row, dtype)
    batches = []
    for a in range(0, len(X), row.batch):
        own = slice(a, a + row.batch)
        targets = y[own] if row.loss == "squared_error" else y[own].astype(np.int32)
        batches.append((place(X[own], row), jnp.asarray(targets[:, None] if row.outputs == 1 else targets)))
    zeros = partial(jax.tree.map, jnp.zeros_like)
    moments = (zeros(weights), zeros(weights)) if row.optimizer == "adam" else ()
    body = partial(step, row=row, unroll=setting.get("unroll", 1))
    return (scanned if setting["steps"] == "scan" else called)(
        body, (weights, running, moments, jnp.zeros((), dtype)), batches)


def scanned(body, state, batches):
    """All steps of a call are one program: a loop of epochs around a scan over the batches."""
    data = jax.tree.map(lambda *parts: jnp.stack(parts), *batches)
    program = jax.jit(
        lambda state, data, epochs: lax.fori_loop(0, epochs, lambda _, s: lax.scan(body, s, data)[0], state),
        donate_argnums=0)

    def run(count):
        nonlocal state
        epochs = -(-count // len(batches))
        state = jax.block_until_ready(program(state, data, epochs))
        return epochs * len(batches)

    return run


def called(body, state, batches):
    """Each step is a call of a program."""
    program = jax.jit(body, donate_argnums=0)

    def run(count):
        nonlocal state
        done = 0
        while done < count:
            for batch in batches:
                state, _ = program(state, batch)
            done += len(batches)
        jax.block_until_ready(state)
        return done

    return run
