"""ONNX models run by onnx's reference evaluator, with what it lacks of the specification.

Its recurrent nodes ignore lengths, its RNN knows two activations, its Erf is exact to 1e-8, its MaxPool mistakes
paddings, and older ones know no second direction: those below are written from https://onnx.ai/onnx/operators alone.
"""
from __future__ import annotations

import math

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun


def logistic(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "Affine": lambda x, alpha, beta: alpha * x + beta, "Relu": lambda x, alpha, beta: np.maximum(x, 0),
    "Tanh": lambda x, alpha, beta: np.tanh(x), "Sigmoid": lambda x, alpha, beta: logistic(x),
    "LeakyRelu": lambda x, alpha, beta: np.where(x < 0, alpha * x, x),
    "Elu": lambda x, alpha, beta: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x),
    "Softplus": lambda x, alpha, beta: np.logaddexp(0, x),
    "HardSigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1)}


class Cell(OpRun):
    """A recurrent node; each row of X (steps, n, features) is run alone, to the end of its sequence."""

    def _run(self, X, W, R, B=None, sequence_lens=None, *_, direction=None, hidden_size=None, **settings):
        steps, n, _ = X.shape
        backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
        Y = np.zeros((steps, len(backwards), n, hidden_size), X.dtype)
        last = np.zeros((len(backwards), n, hidden_size), X.dtype)
        for d, back in enumerate(backwards):
            bias = np.zeros(2 * len(W[d]), X.dtype) if B is None else B[d]
            for i in range(n):
                order = range(steps if sequence_lens is None else sequence_lens[i])
                state = np.zeros((2, hidden_size), X.dtype)
                for t in reversed(order) if back else order:
                    state = self.step(X[t, i] @ W[d].T, state, R[d], *np.split(bias, 2), d, settings)
                    Y[t, d, i] = state[0]
                last[d, i] = state[0]
        return (Y, last)[:len(self.onnx_node.output)]


class RNN(Cell):
    op_domain = ""

    def step(self, x, state, R, bias, state_bias, d, settings):
        alpha, beta = ((settings.get(f"activation_{key}") or [0, 0])[d] for key in ("alpha", "beta"))
        h = ACTIVATIONS[settings["activations"][d]](x + state[0] @ R.T + bias + state_bias, alpha, beta)
        return np.stack([h, h])


class LSTM(Cell):
    op_domain = ""

    def step(self, x, state, R, bias, state_bias, d, settings):
        i, o, f, c = np.split(x + state[0] @ R.T + bias + state_bias, 4)
        cell = logistic(f) * state[1] + logistic(i) * np.tanh(c)
        return np.stack([logistic(o) * np.tanh(cell), cell])


class GRU(Cell):
    op_domain = ""

    def step(self, x, state, R, bias, state_bias, d, settings):
        assert settings["linear_before_reset"] == 1
        z, r, h = np.split(x + bias, 3)
        of_z, of_r, of_h = np.split(state[0] @ R.T + state_bias, 3)
        z, h = logistic(z + of_z), np.tanh(h + logistic(r + of_r) * of_h)
        h = (1 - z) * h + z * state[0]
        return np.stack([h, h])


class Erf(OpRun):
    op_domain = ""

    def _run(self, x):
        return (np.vectorize(math.erf, otypes=[x.dtype])(x),)


class ReverseSequence(OpRun):
    op_domain = ""

    def _run(self, x, sequence_lens, batch_axis=None, time_axis=None):
        assert (time_axis, batch_axis) == (0, 1)
        y = x.copy()
        for i, n in enumerate(sequence_lens):
            y[:n, i] = x[:n, i][::-1]
        return (y,)


class MaxPool(OpRun):
    op_domain = ""

    def _run(self, x, kernel_shape=None, pads=None, strides=None, **_):
        axes = len(kernel_shape)
        padded = np.pad(x, ((0, 0), (0, 0), *zip(pads[:axes], pads[axes:])), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel_shape, tuple(range(2, 2 + axes)))
        steps = (slice(None), slice(None), *(slice(None, None, step) for step in strides))
        return (windows[steps].max(tuple(range(2 + axes, 2 + 2 * axes))),)


def check_shapes(model):
    """The shapes of the outputs follow from those of the inputs."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True)
    shapes = [[[dim.dim_value or dim.dim_param for dim in output.type.tensor_type.shape.dim]
               for output in each.graph.output] for each in (inferred, model)]
    for found, declared in zip(*shapes):
        # of some nodes the number of rows is not inferred, and has a name of its own
        assert found[1:] == declared[1:] and (found[0] == "n" or found[0].startswith("unk__")), shapes


def run(model, **inputs):
    """The outputs of a model that the checker accepts."""
    onnx.checker.check_model(model, full_check=True)
    if model.producer_name == "ldl_cy":
        check_shapes(model)
    with np.errstate(over="ignore", invalid="ignore"):      # its Sigmoid computes exp(x) / (1 + exp(x)) of any x
        return ReferenceEvaluator(model, new_ops=[RNN, LSTM, GRU, ReverseSequence, Erf, MaxPool]).run(None, inputs)
