"""Estimators over the chunks of dask arrays and frames. Needs dask and distributed: pip install "ldl_cy[dask]".

    estimators.py   the eight classes: those of ldl_cy with ``client=None``, ``client_`` and ``to_local()``
    collections.py  arrays and frames as aligned chunks of rows
    chunk.py        what workers do: look at a chunk, read it, prepare it for sums, train on one after another
    chunks.py       all chunks, as the client has them
    sums.py         sums over all chunks
    fit.py          the fit that is made of sums, or of epochs on a worker
    predictions.py  predictions chunk by chunk, when they are asked for
"""
from ldl_cy.packages import import_package

for _name in ("distributed", "dask.array"):
    import_package("ldl_cy.dask", _name, "dask")

from ldl_cy.dask.estimators import (  # noqa: E402
    DaskCNNClassifier,
    DaskCNNRegressor,
    DaskMLPClassifier,
    DaskMLPRegressor,
    DaskNeuralNetClassifier,
    DaskNeuralNetRegressor,
    DaskRNNClassifier,
    DaskRNNRegressor,
)

__all__ = [
    "DaskCNNClassifier", "DaskCNNRegressor", "DaskMLPClassifier", "DaskMLPRegressor", "DaskNeuralNetClassifier",
    "DaskNeuralNetRegressor", "DaskRNNClassifier", "DaskRNNRegressor"]
