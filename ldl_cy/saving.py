"""Saves, the part of a model that is about files and pickles."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from ldl_cy import serialize, weights
from ldl_cy._engine.process import Exclusive
from ldl_cy.checks import check_bool

if TYPE_CHECKING:
    from ldl_cy.layers.base import Layer
    from ldl_cy.network import Network
    from ldl_cy.state import TrainingState


class Saves:
    """Base class of ``Sequential``: model files, weights in files, and pickles, which hold the same."""

    dtype: str
    _seed: int
    # layers, network and training state belong together: they are replaced as one, since other threads read them
    _built: tuple[tuple[Layer, ...], Network | None, TrainingState]

    @property
    @abstractmethod
    def layers(self) -> tuple[Layer, ...]:
        """The layers."""

    @property
    @abstractmethod
    def network(self) -> Network:
        """What is built; ValueError before ``build``."""

    def save(self, path: str | Path | BinaryIO) -> None:
        """Write the model and its training state to a path, atomically, or to a binary file object, which is not.

        Raises
        ------
        TypeError, ValueError
            A setting or a callback's state cannot be written; a path or a file object that is not one.
        OSError
            The file cannot be written, e.g. since the disk is full; an old file at the path is left as it was.
        """
        serialize.save(self._saved(), path)

    @classmethod
    def load(cls, path: str | Path | BinaryIO, custom: Mapping[str, Any] | None = None) -> Self:
        """Read a model that was written by ``save``; no code from the file is run.

        Parameters
        ----------
        path : str, path or binary file object, which is read to its end
        custom : dict of names to classes of layers and functions that are not ldl_cy's, default=None

        Raises
        ------
        ValueError
            The file is not a model, is damaged, or needs a class or function that is not in ``custom``.
        """
        loaded = cls.__new__(cls)
        loaded._restore(serialize.load(path, dict(custom or {})))
        return loaded

    def save_weights(self, path: str | Path | BinaryIO) -> None:
        """Write parameters and running statistics to a safetensors file, atomically, or to a binary file object.

        Arrays have the names of ``parameters`` and ``state``. The metadata are "format", which is "ldl_cy", and
        "model", the layers, dtype and input shape in JSON, unless a setting is a function without a name.

        Parameters
        ----------
        path : str, path or binary file object

        Raises
        ------
        TypeError, ValueError
            The model is not built, or has too many arrays for a header of 16 MiB; a path or a file object that is not
            one.
        OSError
            The file cannot be written; an old file at the path is left as it was.
        ImportError
            The package safetensors is not installed: ``pip install "ldl_cy[io]"``.
        """
        weights.save(self.network, self.layers, path)

    def load_weights(
        self, source: Any, *, strict: bool = True, rename: Mapping[str, str] | Callable[[str], str] | None = None,
    ) -> weights.WeightsReport:
        """Replace weights and running statistics by arrays of the same names, all of them or, on an error, none.

        As with ``theta = ...``, the counts of epochs and steps and the optimizer's state are kept. Reading a file needs
        NumPy alone.

        Parameters
        ----------
        source : path or binary file object of a safetensors file, or mapping of names to arrays or torch's tensors
            Arrays of float16, float32 or float64.
        strict : bool, default=True
            False skips names that only one side has, and arrays of other shapes.
        rename : dict of old to new prefixes, or function of a name, default=None
            From names in the source to names in the model. A prefix ends at a dot: "conv" is none of "conv2d.kernel".
            Of several prefixes the longest applies.

        Returns
        -------
        report : NamedTuple with the lists ``loaded, missing, unexpected, mismatched``

        Raises
        ------
        ValueError, TypeError
            The model is not built. The source is neither a mapping nor a safetensors file; two of its names become
            one; with ``strict``, names and shapes that differ, up to 20 of each kind listed; numbers to be loaded that
            are no floats, not finite, or too large for the dtype.
        OSError
            The file cannot be read.
        RuntimeError
            A fit of the model is running.

        Examples
        --------
        >>> import numpy as np
        >>> from ldl_cy import Sequential, layers
        >>> model = Sequential([layers.Dense(2, name="first"), layers.Dense(1)]).build(3)
        >>> arrays = {"encoder.kernel": np.ones((3, 2)), "encoder.bias": np.zeros(2), "decoder.bias": np.zeros(1)}
        >>> report = model.load_weights(arrays, strict=False, rename={"encoder": "first"})
        >>> report
        2 loaded; 2 missing: dense_1.kernel, dense_1.bias; 1 unexpected: decoder.bias
        >>> report.missing
        ['dense_1.kernel', 'dense_1.bias']
        """
        with Exclusive([self], "of this model"):
            return weights.load(self.network, source, check_bool("Sequential", "strict", strict), rename)

    def _saved(self) -> serialize.Saved:
        layers, network, state = self._built
        return serialize.Saved(layers, self.dtype, self._seed, network, state)

    def _restore(self, saved: serialize.Saved) -> None:
        self.dtype, self._seed = saved.dtype, saved.seed
        self._built = saved.layers, saved.network, saved.state

    def __getstate__(self) -> dict[str, Any]:
        return serialize.to_dict(self._saved())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._restore(serialize.from_dict(state))
