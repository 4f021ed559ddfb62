"""NetworkFeatures, the part of an estimator that makes it a transformer: what its output layer reads."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ldl_cy.estimators.data import read
from ldl_cy.estimators.outputs import NetworkOutputs
from ldl_cy.estimators.sequences import lengths_of
from ldl_cy.inference import predict
from ldl_cy.sparse import is_sparse


class NetworkFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NetworkOutputs):
    """The outputs of the last hidden layer as features, by scikit-learn's methods for transformers.

    ``fit_transform``, ``set_output`` and ``get_feature_names_out`` are scikit-learn's: features have the name of the
    class in lower case and a number, as in ``mlpclassifier0``.
    """

    @property
    def _n_features_out(self) -> int:
        """The number of features; an AttributeError before a fit."""
        model = vars(self).get("model_")
        if model is None:
            raise AttributeError(f"This {type(self).__name__} instance is not fitted yet.")
        network, hidden = model.network, self._feature_layers()
        return math.prod(network.split(hidden)[0].output_shape if hidden else network.input_shape)

    def _feature_layers(self) -> int:
        """How many of the first layers of the fitted network make the features: all but the output layer."""
        return len(self.model_.network.layers) - 1

    def transform(self, X: Any) -> np.ndarray:
        """What the output layer reads: the outputs of the last hidden layer, without dropout.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data, as ``predict`` takes them.

        Returns
        -------
        features : ndarray of shape (n_samples, n_hidden)
            Flattened, in the dtype in which the network computes. Without hidden layers X itself, also if it is sparse.
        """
        check_is_fitted(self)
        X = read(self, self._accepts(reset=False), X)
        samples, lengths = self._as_samples(X), lengths_of(X)
        network, hidden = self._network_for(samples, lengths), self._feature_layers()
        if hidden:
            samples = predict(network.split(hidden)[0], samples, lengths, None, self.n_threads)
        return samples if is_sparse(samples) else samples.reshape(len(samples), -1).astype(network.dtype, copy=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = (
            ["float64", "float32"] if self.dtype is None else [np.dtype(self.dtype).name])
        return tags
