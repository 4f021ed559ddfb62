"""The estimators over chunks of dask arrays and frames: those of ldl_cy, with a client."""
from __future__ import annotations

import copy
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import dask
import numpy as np
from distributed import Client, default_client
from sklearn.base import clone, is_classifier
from sklearn.metrics import accuracy_score, r2_score

from ldl_cy import estimators
from ldl_cy.callbacks import CallbackList
from ldl_cy.dask.chunk import Chunk
from ldl_cy.dask.chunks import Chunks
from ldl_cy.dask.fit import ChunkFit, count_steps
from ldl_cy.dask.predictions import ByChunks, outputs
from ldl_cy.estimators.base import BaseNetwork
from ldl_cy.estimators.class_weights import weights_of_classes
from ldl_cy.estimators.data import Rows, read_weights
from ldl_cy.estimators.sequences import lengths_of
from ldl_cy.estimators.solvers import make_optimizer, takes_full_batch
from ldl_cy.messages import shown

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks

DOC = """{local} over the chunks of dask arrays and dataframes.

Parameters
----------
client : distributed.Client, default=None
    None is the default client at the time. It is not pickled.

others : those of {local}
    early_stopping and categorical_features must have their defaults; cache_features is not used. With n_threads=None
    each chunk of a full-batch solver takes one thread, and a stochastic solver those of its worker.

Attributes
----------
client_ : distributed.Client
    The client that is used.

others : those of {local}

Notes
-----
Full-batch solvers, 'ridge' among them, add up sums that the workers compute of their chunks: rows stay where they are,
and the weights are sent once for each point at which sums are asked for. The sums are added in a fixed tree over the
chunks, so that a fit has the same bits for any number of workers; it differs from that of {local} by the order
of sums. GD must have a line search.

Stochastic solvers train on one worker, to which the chunks are sent in order, one after another. Batches do not reach
across chunks, and rows are shuffled within each chunk, in another order in each epoch: rows that are sorted, by class
for instance, should be shuffled before. A fit has the same bits for any number of workers.

Callbacks, the progress bar and what `verbose` prints are the client's, after each epoch. Ctrl-C ends a fit as it ends
that of {local}. Tasks are named ldl_cy-... in the dashboard.

`predict`, `transform` and others return dask arrays for dask arrays and dataframes, computed when they are asked for.
"""
T = TypeVar("T")


class DaskNetwork(BaseNetwork):
    """Base class of the estimators over chunks; the other base is that of the local estimator."""

    client: Any
    class_weight: Any
    categorical_features: Any = None
    predict: Any = ByChunks()
    predict_proba: Any = ByChunks()
    predict_log_proba: Any = ByChunks()
    decision_function: Any = ByChunks()

    _local: ClassVar[Any]
    _chunks: Chunks

    @property
    def client_(self) -> Any:
        """The client: ``client`` or, if that is None, the default one; ValueError if there is none."""
        return default_client() if self.client is None else self.client

    def to_local(self) -> Any:
        """The estimator without a client, with a copy of what was fitted."""
        local = self._local.__new__(self._local)
        local.__setstate__({name: value for name, value in copy.deepcopy(self.__getstate__()).items()
                            if name != "client"})
        return local

    def __getstate__(self) -> Any:
        return {name: None if name == "client" else value for name, value in super().__getstate__().items()
                if name != "_chunks"}

    def __sklearn_clone__(self) -> Self:
        parameters = self.get_params(deep=False)
        copied = type(self)(**{name: value if name == "client" else clone(value, safe=False)
                               for name, value in parameters.items()})
        for name in vars(self).keys() & {"_metadata_request", "_sklearn_output_config", "_skl_callbacks"}:
            setattr(copied, name, copy.deepcopy(getattr(self, name)))
        return copied

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:      # type: ignore[override]
        """Fit the network to the rows of dask arrays or dataframes.

        Parameters
        ----------
        X : dask array of shape (n_samples, n_features) or of more axes, or dask dataframe
            In chunks of rows, of known or unknown sizes; chunks of columns are joined.

        y : dask array, series or dataframe of shape (n_samples,) or (n_samples, n_outputs)
            The class labels, or the target values. An array is cut as X is, if the sizes of chunks are known.

        sample_weight : dask array or series of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            A bad parameter, or data that do not fit each other or the fitted network. Before the first complete epoch,
            any error leaves the estimator as it was.
        """
        self._validate_params()
        name = type(self).__name__
        for parameter, value in (("early_stopping", False), ("categorical_features", None)):
            if getattr(self, parameter) not in (value, None):
                raise ValueError(f"{name}: {parameter} must be {value}, got {shown(getattr(self, parameter))}: rows "
                                 f"of other chunks would be needed. {self._local.__name__} has it.")
        if takes_full_batch(self.solver) and make_optimizer(self, lambda: self.learning_rate_init).method is None:
            raise ValueError(f"{name}: solver must search for the length of its steps, if each takes all rows, as "
                             f"'lbfgs' or GD(line_search=True) do, got {shown(self.solver)}.")
        try:
            self._chunks = Chunks(self.client_, name, X, y, sample_weight, is_classifier(self))
            return self._fit(*self._chunks.stand_in(), None)
        finally:
            self.__dict__.pop("_chunks", None)

    @property
    def partial_fit(self) -> Any:
        """An AttributeError: a chunk is one for ``partial_fit`` of the local estimator."""
        raise AttributeError(f"{type(self).__name__} has no partial_fit; that of to_local() takes one chunk.")

    def _train(
        self, rows: Rows, held: Rows | None, callbacks: CallbackList, incremental: bool, ranks: Ranks | None,
    ) -> None:
        """Train on the chunks, of which ``rows`` are samples: the first has the weight of all."""
        chunks, reader = self._chunks, copy.copy(self)
        given = getattr(self, "class_weight", None)
        reader.callbacks = None
        reader.class_weight = None if given is None else weights_of_classes(given, chunks.counts)
        chunks.read(type(self)._read_chunk, reader)
        size = self._batch_size(chunks.n, None)
        rows = rows._replace(weight=np.append(chunks.weight, np.zeros(rows.n - 1)))
        self._run(rows, None, callbacks, n=chunks.n, weight=chunks.weight, size=size,
                  n_batches=1 if isinstance(size, str) else count_steps(chunks.sizes, size),
                  kind=partial(ChunkFit, chunks, bool(self.shuffle)))

    def _read_chunk(self, X: Any, y: Any, sample_weight: Any = None) -> Chunk:
        """A chunk's rows, checked as those of a fit are."""
        X, y = self._read_fit(X, y, reset=False, classes="known")
        weight: Any = None
        factors = self._class_weights(y, None)
        if sample_weight is not None:       # rows without any weight are refused, but not those of one chunk
            weight = read_weights(np.zeros((X.shape[0] + 1, 1)), np.append(sample_weight, 1))
            weight = weight[:-1]
        if factors is not None:
            weight = factors if weight is None else weight * factors
        return Chunk(Rows(self._as_samples(X), self._as_targets(self._encode(y)), weight, lengths_of(X)))

    def transform(self, X: Any) -> Any:
        """See the local estimator; a dask array for a dask array or dataframe."""
        return outputs(self, "transform", X) if dask.is_dask_collection(X) else super().transform(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The local estimator's score, of dask arrays or dataframes too: their labels and predictions are computed.

        Parameters
        ----------
        X, y, sample_weight : see ``fit``

        Returns
        -------
        score : float
            Accuracy, or R².
        """
        if not dask.is_dask_collection(X):
            return super().score(X, y, sample_weight)
        # one by one: arrays and frames are not computed together
        guess, y, sample_weight = (dask.compute(given, scheduler=self.client)[0]
                                   for given in (self.predict(X), y, sample_weight))
        return float((accuracy_score if is_classifier(self) else r2_score)(y, guess, sample_weight=sample_weight))


def over_chunks(cls: type[T]) -> type[T]:
    """Class decorator: the local estimator's constructor with ``client``, and the docstring."""
    local: Any = cls.__bases__[1]
    own = inspect.signature(local.__init__)
    client = inspect.Parameter("client", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Client | None")
    signature = own.replace(parameters=[*own.parameters.values(), client])

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        self._keep(given.arguments)

    made: Any = cls
    __init__.__signature__ = signature      # type: ignore[attr-defined]
    made.__init__, made._local, made.__doc__ = __init__, local, DOC.format(local=local.__name__)
    made._parameter_constraints = {**local._parameter_constraints, "client": [Client, None]}
    return cls


@over_chunks
class DaskMLPClassifier(DaskNetwork, estimators.MLPClassifier):
    """See ``over_chunks``."""


@over_chunks
class DaskMLPRegressor(DaskNetwork, estimators.MLPRegressor):
    """See ``over_chunks``."""


@over_chunks
class DaskCNNClassifier(DaskNetwork, estimators.CNNClassifier):
    """See ``over_chunks``."""


@over_chunks
class DaskCNNRegressor(DaskNetwork, estimators.CNNRegressor):
    """See ``over_chunks``."""


@over_chunks
class DaskRNNClassifier(DaskNetwork, estimators.RNNClassifier):
    """See ``over_chunks``."""


@over_chunks
class DaskRNNRegressor(DaskNetwork, estimators.RNNRegressor):
    """See ``over_chunks``."""


@over_chunks
class DaskNeuralNetClassifier(DaskNetwork, estimators.NeuralNetClassifier):
    """See ``over_chunks``."""


@over_chunks
class DaskNeuralNetRegressor(DaskNetwork, estimators.NeuralNetRegressor):
    """See ``over_chunks``."""
