"""Embedding, a table with a vector for each token id."""
from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ldl_cy.checks import check_blas_size, check_int, without_repeats
from ldl_cy.initializers import get as get_initializer
from ldl_cy.layers.base import Built, Layer, Parameter, Shape

CHECKED_AT_A_TIME = 1 << 20             # ids: a memmap is not loaded as a whole


class Embedding(Layer):
    """Look up a vector for each token id: y = table[id].

    Ids are numbers of the model's dtype. In a model's first layer they are checked; ids that come from another
    layer are rounded, and an id out of range is read as 0.

    Parameters
    ----------
    input_dim : int >= 1
        The number of ids, 0 .. input_dim - 1; in float32 at most 2^24.
    output_dim : int >= 1
        Length of the vectors.
    embeddings_initializer : str or initializer, default="uniform"
    name, trainable : see ``Layer``

    Shape
    -----
    Input (...), ids; output (..., output_dim): a sequence (time,) becomes (time, output_dim).

    Attributes
    ----------
    table : (input_dim, output_dim)

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in a first layer also ids that are not whole numbers
        0 .. input_dim - 1.

    References
    ----------
    Bengio, Ducharme, Vincent, Jauvin, "A neural probabilistic language model", JMLR 3 (2003).
    """

    def __init__(
        self, input_dim: int, output_dim: int, *, embeddings_initializer: Any = "uniform",
        name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.input_dim = check_int("Embedding", "input_dim", input_dim)
        self.output_dim = check_int("Embedding", "output_dim", output_dim)
        self.embeddings_initializer = embeddings_initializer
        get_initializer("Embedding", "embeddings_initializer", embeddings_initializer)

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.embedding import embedding

        check_blas_size("Embedding", "input_dim", self.input_dim)
        check_blas_size("Embedding", "output_dim", self.output_dim)
        kernel = partial(embedding, tokens=math.prod(input_shape), n_ids=self.input_dim, k=self.output_dim)
        return Built((*input_shape, self.output_dim), kernel, (
            Parameter("table", (self.input_dim, self.output_dim), self.embeddings_initializer, decays=True),),
            check_input=self.check_input)

    def check_input(self, X: np.ndarray) -> None:
        """Refuse rows that have anything but ids."""
        if isinstance(X, np.ndarray):
            X = without_repeats(X)
        rows = max(1, CHECKED_AT_A_TIME // max(1, X.shape[1]))
        for start in range(0, len(X), rows):
            part = np.asarray(X[start:start + rows])
            good = (part >= 0) & (part < self.input_dim) & (part == np.floor(part))
            if not good.all():
                bad = float(part[~good][0])
                raise ValueError(f"Embedding: token ids must be whole numbers 0 .. {self.input_dim - 1}, "
                                 f"got {int(bad) if bad.is_integer() else bad}.")
