"""Recurrent layers: RNN (Elman), LSTM and GRU."""
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ldl_cy.checks import check_blas_size, check_bool, check_input_rank, check_int, check_real
from ldl_cy.initializers import get as get_initializer
from ldl_cy.layers.activation import check_activation
from ldl_cy.layers.base import Applied, Built, Layer, Parameter, Shape


@dataclass(frozen=True)
class UnitForgetBias:
    """Ones for an LSTM's forget gates, the second quarter of the bias; the rest is drawn by ``initializer``."""

    initializer: Any

    def __call__(self, shape: Shape, rng: Any) -> np.ndarray:
        bias = np.array(get_initializer("LSTM", "bias_initializer", self.initializer)(shape, rng))
        units = shape[0] // 4
        bias[units:2 * units] = 1
        return bias


class Recurrent(Layer):
    """Base class of RNN, LSTM and GRU: their arguments and the shapes of their parameters."""

    cell: ClassVar[str]         # its name in the kernel
    gates: ClassVar[int]        # blocks of ``units`` columns in the kernels

    def __init__(
        self, units: int, return_sequences: bool = False, go_backwards: bool = False, *,
        use_bias: bool = True, kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal", bias_initializer: Any = "zeros",
        name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        owner = type(self).__name__
        self.units = check_int(owner, "units", units)
        self.return_sequences = check_bool(owner, "return_sequences", return_sequences)
        self.go_backwards = check_bool(owner, "go_backwards", go_backwards)
        self.use_bias = check_bool(owner, "use_bias", use_bias)
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer
        for argument in ("kernel_initializer", "recurrent_initializer", "bias_initializer"):
            get_initializer(owner, argument, getattr(self, argument))

    def biases(self) -> tuple[Parameter, ...]:
        """The parameters with ``use_bias``."""
        return (Parameter("bias", (self.gates * self.units,), self.bias_initializer),)

    def kernel_options(self) -> dict[str, Any]:
        """Further arguments of the kernel, for this cell only."""
        return {}

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.recurrent import recurrent

        owner = type(self).__name__
        check_input_rank(owner, input_shape, 2, "(time, features)")
        n_steps, n_in = input_shape
        width = self.gates * self.units
        check_blas_size(owner, "features * units", n_in * width)
        check_blas_size(owner, "units * units", self.units * width)
        parameters = (
            Parameter("kernel", (n_in, width), self.kernel_initializer, decays=True),
            Parameter("recurrent_kernel", (self.units, width), self.recurrent_initializer, decays=True),
            *(self.biases() if self.use_bias else ()))
        kernel = partial(
            recurrent, cell=self.cell, n_steps=n_steps, n_in=n_in, units=self.units,
            return_sequences=self.return_sequences, go_backwards=self.go_backwards,
            use_bias=self.use_bias, **self.kernel_options())
        return Built((n_steps, self.units) if self.return_sequences else (self.units,), kernel, parameters)


class RNN(Recurrent):
    """Simple recurrent layer: h_t = f(x_t W + h_{t-1} U + b), with h_0 = 0.

    With a leak l < 1 its units are leaky integrators: h_t = (1 - l) h_{t-1} + l f(x_t W + h_{t-1} U + b).

    Parameters
    ----------
    units : int >= 1
        Length of the state h.
    activation : str, default="tanh"
        Name of an activation (see ``Activation``); None is the identity.
    return_sequences : bool, default=False
        Return the state after every step, not only after the last one.
    go_backwards : bool, default=False
        Process the steps from the last to the first. A returned sequence is in the order of
        processing: its first state is the one after the last step of the input.
    leak : float in (0, 1], default=1.0
        Share of the new value in each state: about 1/leak steps are remembered.
    use_bias : bool, default=True
    kernel_initializer, recurrent_initializer, bias_initializer : str or initializer, \
default="glorot_uniform", "orthogonal", "zeros"
    name, trainable : see ``Layer``

    Shape
    -----
    Input (time, features), output (units,), or (time, units) with ``return_sequences``. With lengths
    only the valid steps of a sequence are processed: the last state is the one after its last valid step,
    later states are zeros, and ``go_backwards`` starts at the last valid step.

    Attributes
    ----------
    kernel : (features, units), W
    recurrent_kernel : (units, units), U
    bias : (units,), b, with ``use_bias``

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input that is not (time, features).

    References
    ----------
    Elman, "Finding structure in time", Cognitive Science 14 (1990). Leak: Jaeger, Lukosevicius, Popovici, Siewert,
    "Optimization and applications of echo state networks with leaky-integrator neurons", Neural Networks 20 (2007).
    """

    cell = "rnn"
    gates = 1
    leak: float = 1.0           # of layers in older pickles

    def __init__(
        self, units: int, activation: str | None = "tanh", return_sequences: bool = False,
        go_backwards: bool = False, *, leak: float = 1.0, use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros", name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(
            units, return_sequences, go_backwards, use_bias=use_bias, kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer, name=name,
            trainable=trainable)
        self.activation = activation
        self.leak = check_real(type(self).__name__, "leak", leak, 0, 1, low_open=True)
        check_activation(type(self).__name__, activation)

    def kernel_options(self) -> dict[str, Any]:
        return {"activation": check_activation(type(self).__name__, self.activation), "leak": self.leak}

    def output_activations(self, before: Applied, name: str) -> Applied:
        """None where states leak: they are means of activated numbers."""
        return super().output_activations(before, name) if self.leak == 1 else {}


SimpleRNN = RNN


class LSTM(Recurrent):
    """Long short-term memory, with forget gates and without peepholes.

    z = x_t W + h_{t-1} U + b has four parts z_i, z_f, z_g, z_o, and with h_0 = c_0 = 0

    i = σ(z_i),  f = σ(z_f),  g = tanh(z_g),  o = σ(z_o),  c_t = f ∘ c_{t-1} + i ∘ g,  h_t = o ∘ tanh(c_t).

    Parameters
    ----------
    units : int >= 1
        Length of the states h and c.
    return_sequences : bool, default=False
        Return the state after every step, not only after the last one.
    go_backwards : bool, default=False
        Process the steps from the last to the first. A returned sequence is in the order of
        processing: its first state is the one after the last step of the input.
    use_bias : bool, default=True
    kernel_initializer, recurrent_initializer, bias_initializer : str or initializer, \
default="glorot_uniform", "orthogonal", "zeros"
        The bias of the forget gates is initialized to 1 whatever ``bias_initializer`` is, so that the
        cells remember from the start.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (time, features), output (units,), or (time, units) with ``return_sequences``. With lengths
    only the valid steps of a sequence are processed: the last state is the one after its last valid step,
    later states are zeros, and ``go_backwards`` starts at the last valid step.

    Attributes
    ----------
    kernel : (features, 4 units), W, columns in the order i, f, g, o
    recurrent_kernel : (units, 4 units), U
    bias : (4 units,), b, with ``use_bias``

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input that is not (time, features).

    References
    ----------
    Hochreiter, Schmidhuber, "Long short-term memory", Neural Computation 9 (1997). Forget gates: Gers,
    Schmidhuber, Cummins, "Learning to forget", Neural Computation 12 (2000). Their bias: Jozefowicz,
    Zaremba, Sutskever, ICML 2015.
    """

    cell = "lstm"
    gates = 4

    def biases(self) -> tuple[Parameter, ...]:
        return (Parameter("bias", (4 * self.units,), UnitForgetBias(self.bias_initializer)),)


class GRU(Recurrent):
    """Gated recurrent unit, with the reset gate applied after the recurrent product, as in cuDNN.

    With h_0 = 0 and W, U, b in three parts for r, z, n:

    r = σ(x_t W_r + b_r + h_{t-1} U_r),  z = σ(x_t W_z + b_z + h_{t-1} U_z),
    n = tanh(x_t W_n + b_n + r ∘ (h_{t-1} U_n + c_n)),  h_t = (1 - z) ∘ n + z ∘ h_{t-1}.

    Parameters
    ----------
    units : int >= 1
        Length of the state h.
    return_sequences : bool, default=False
        Return the state after every step, not only after the last one.
    go_backwards : bool, default=False
        Process the steps from the last to the first. A returned sequence is in the order of
        processing: its first state is the one after the last step of the input.
    use_bias : bool, default=True
        Add b and c_n.
    kernel_initializer, recurrent_initializer, bias_initializer : str or initializer, \
default="glorot_uniform", "orthogonal", "zeros"
    name, trainable : see ``Layer``

    Shape
    -----
    Input (time, features), output (units,), or (time, units) with ``return_sequences``. With lengths
    only the valid steps of a sequence are processed: the last state is the one after its last valid step,
    later states are zeros, and ``go_backwards`` starts at the last valid step.

    Attributes
    ----------
    kernel : (features, 3 units), W, columns in the order r, z, n
    recurrent_kernel : (units, 3 units), U
    bias : (3 units,), b, with ``use_bias``
    recurrent_bias : (units,), c_n, with ``use_bias``

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input that is not (time, features).

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation", EMNLP 2014. The variant with c_n is that of cuDNN: Appleyard, Kocisky, Blunsom,
    "Optimizing performance of recurrent neural networks on GPUs", arXiv:1604.01946.
    """

    cell = "gru"
    gates = 3

    def biases(self) -> tuple[Parameter, ...]:
        return (*super().biases(), Parameter("recurrent_bias", (self.units,), self.bias_initializer))
