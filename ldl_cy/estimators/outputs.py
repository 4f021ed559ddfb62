"""NetworkOutputs, the part of an estimator that reads rows and passes them through its fitted network."""
from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ldl_cy.estimators.data import Accepts, Shape, network_order, read
from ldl_cy.estimators.sequences import Sequences, lengths_of
from ldl_cy.estimators.typed import DType
from ldl_cy.inference import predict
from ldl_cy.models import Sequential
from ldl_cy.network import Network
from ldl_cy.sparse import is_sparse


class NetworkOutputs:
    """Base class of all estimators; a family says which kinds of rows it reads."""

    dtype: DType
    n_threads: int | None
    input_format: str = "channels_last"     # a parameter of families that read samples of several axes

    model_: Sequential
    _row_shape: Shape
    _sample_shape: Shape

    _reads_nd = True                # arrays of three and four axes
    _reads_sparse = False
    _reads_lists = False            # sequences of different lengths: lists, and arrays that end with NaN
    _reads_bytes = True             # uint8 as it is, for networks that compute in float32

    def _accepts(self, *, reset: bool) -> Accepts:
        """The input that a fitted estimator accepts or, with ``reset``, one that is about to be fitted."""
        dtype = self.dtype if reset else self.model_.dtype
        dtypes: list[Any] = [np.float64, np.float32] if dtype is None else [np.dtype(dtype)]
        if self._reads_bytes and np.float32 in dtypes:
            dtypes.append(np.uint8)
        row_shape, sample_shape = (None, self._declared_shape()) if reset else (self._row_shape, self._sample_shape)
        return Accepts(dtypes, self._reads_sparse, self._reads_nd, self._reads_lists, row_shape, sample_shape,
                       self._channels_first)

    @property
    def _channels_first(self) -> bool:
        return self.input_format == "channels_first"

    def _declared_shape(self) -> Shape | None:
        """What is known of the network's input shape before a fit."""
        return None

    def _as_samples(self, X: Any) -> Any:
        if isinstance(X, Sequences):
            return X.padded(self._sample_shape[0])
        return X if is_sparse(X) else network_order(X, self._sample_shape, self._channels_first)

    def _outputs(self, samples: Any, lengths: np.ndarray | None, n_threads: int | None) -> np.ndarray:
        """The raw output of the network's last layer, (n_samples, n_outputs)."""
        if lengths is None:
            return self.model_.predict(samples, n_threads=n_threads)
        return predict(self._network_for(samples, lengths), samples, lengths, None, n_threads)

    def _network_for(self, samples: Any, lengths: np.ndarray | None) -> Network:
        """The network, adapted to the number of steps of the samples if it was built for others."""
        network = self.model_.network
        # recurrent weights do not depend on the number of steps
        return network if lengths is None else network.with_steps(samples.shape[1])

    def _raw(self, X: Any) -> np.ndarray:
        """The raw output of the network's last layer, (n_samples, n_outputs)."""
        fitted = self.__dict__
        model = fitted.get("model_")
        if (model is not None and "feature_names_in_" not in fitted and "category_encoder_" not in fitted
                and not self._channels_first):
            # arrays that validate_data would return unchanged, in a hundredth of the time
            predictor = model.network.fast_path.predictor
            raw = None if predictor is None else predictor.predict_flat(X, self.n_threads)
            if raw is not None:
                return raw
        check_is_fitted(self)
        X = read(self, self._accepts(reset=False), X)
        return self._outputs(self._as_samples(X), lengths_of(X), self.n_threads)
