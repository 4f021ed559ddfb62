"""Bidirectional: a recurrent layer that reads a sequence in both directions."""
from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ldl_cy.checks import check_choice
from ldl_cy.layers.base import Applied, Layer
from ldl_cy.layers.recurrent import Recurrent
from ldl_cy.messages import shown

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph


class Bidirectional(Layer):
    """Two recurrent layers with separate weights, which read a sequence in opposite directions.

    Parameters
    ----------
    layer : RNN, LSTM or GRU
        Settings of both; the second layer reads the other direction. The layer's own name is not used.
    merge_mode : "concat" or "sum", default="concat"
        Concatenate the two outputs along the last axis, or add them.
    name : see ``Layer``
    trainable : bool, default=True
        False freezes the weights of both layers.

    Shape
    -----
    Input (time, features). Output (2 units,), or (units,) for "sum": the two last states. With the layer's
    ``return_sequences`` (time, 2 units) or (time, units): both states at each step, in the order of the
    input. With lengths each sequence is reversed within its own length; states beyond it are zeros.

    Attributes
    ----------
    forward.kernel, forward.recurrent_kernel, … : parameters of the layer
    backward.kernel, backward.recurrent_kernel, … : parameters of the layer that reads the other direction

    Raises
    ------
    TypeError, ValueError
        A layer that is not recurrent, an unknown ``merge_mode``; when the model is built, an input that is
        not (time, features).

    Notes
    -----
    A trace also has the outputs of both layers, in their own order of processing.

    References
    ----------
    Schuster, Paliwal, "Bidirectional recurrent neural networks", IEEE Transactions on Signal Processing
    45 (1997).

    Examples
    --------
    >>> from ldl_cy import Sequential, layers
    >>> tagger = Sequential([layers.Bidirectional(layers.LSTM(8, return_sequences=True)), layers.Dense(3)])
    >>> tagger.build((20, 5)).output_shape
    (20, 3)
    """

    def __init__(
        self, layer: Recurrent, merge_mode: str = "concat", *, name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        if not isinstance(layer, Recurrent):
            raise TypeError(f"Bidirectional: layer must be an RNN, LSTM or GRU, got {shown(layer)}.")
        self.layer = layer
        self.merge_mode = check_choice("Bidirectional", "merge_mode", merge_mode, ("concat", "sum"))

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the recurrent layer, unless its two outputs are added."""
        return self.layer.output_activations(before, name) if self.merge_mode == "concat" else {}

    def with_trainable(self, trainable: bool) -> Self:
        """A copy whose two layers are trainable or frozen."""
        return self._copy(layer=self.layer.with_trainable(trainable), trainable=trainable)

    def connect(self, graph: Graph, x: int, name: str) -> int:
        from ldl_cy._kernels.reverse import reverse

        mirrored = self.layer.from_config(
            {**self.layer.get_config(), "go_backwards": not self.layer.go_backwards})
        values = []
        with graph.within(self):
            for layer, direction in ((self.layer, "forward"), (mirrored, "backward")):
                value = layer.connect(graph, x, f"{name}.{direction}")
                if layer.go_backwards and layer.return_sequences:
                    n_steps, width = graph.shapes[value]
                    kernel = reverse(graph.dtype, n_steps=n_steps, width=width)
                    value = graph.add_kernel(kernel, value, (n_steps, width))
                values.append(value)
        y = graph.concatenate(values) if self.merge_mode == "concat" else graph.add(*values)
        graph.outputs[name] = y
        return y
