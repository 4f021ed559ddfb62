"""Plots of networks, with the interface of scikit-learn's displays: ``Display.from_estimator(fitted)``."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ldl_cy.messages import shown
from ldl_cy.models import Sequential

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ldl_cy.callbacks import History


def _new_axes(owner: str) -> Axes:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{owner}: plotting needs matplotlib (pip install matplotlib).") from error
    return plt.subplots()[1]


def _last_step(estimator: Any) -> Any:
    """The last step of a Pipeline, or the estimator itself."""
    steps = getattr(estimator, "steps", None)
    return steps[-1][1] if steps else estimator


def _network(owner: str, estimator: Any) -> Sequential:
    """The network of a fitted estimator or of the last step of a Pipeline; a Sequential is returned as it is."""
    estimator = _last_step(estimator)
    model = getattr(estimator, "model_", estimator)
    if not isinstance(model, Sequential) or model.input_shape is None:
        raise ValueError(f"{owner}: estimator must be a fitted estimator of ldl_cy or a built Sequential, "
                         f"got {type(estimator).__name__}.")
    return model


class LossCurveDisplay:
    """Loss by epoch, with the scores on validation rows if there are any.

    Use ``from_estimator`` or ``from_history`` to create one.

    Parameters
    ----------
    curves : dict of str to sequence of float
        Losses by epoch; the keys are the labels.
    scores : sequence of float, default=None
        Scores by epoch, drawn on a second axis at the right.
    name : str, default=None
        The title.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        One per curve, then one for the scores.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ldl_cy import MLPClassifier
    >>> from ldl_cy.plotting import LossCurveDisplay
    >>> clf = MLPClassifier(learning_rate_init=0.01, random_state=0).fit(*load_iris(return_X_y=True))
    >>> display = LossCurveDisplay.from_estimator(clf)  # doctest: +SKIP
    """

    def __init__(
        self, curves: dict[str, Sequence[float]], scores: Sequence[float] | None = None, name: str | None = None,
    ) -> None:
        self.curves, self.scores, self.name = curves, scores, name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Axes | None = None, **kwargs: Any,
    ) -> Self:
        """Plot the loss curve of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator of ldl_cy, or a Pipeline that ends in one
        name : str, default=None
            The title; None is the name of the class.
        ax : matplotlib Axes, default=None
        **kwargs : passed on to ``plot``

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        ValueError
            The estimator has no ``loss_curve_``.
        """
        estimator = _last_step(estimator)
        if not hasattr(estimator, "loss_curve_"):
            raise ValueError(f"LossCurveDisplay: estimator must be fitted and have a loss_curve_, "
                             f"got {type(estimator).__name__}.")
        scores, val_loss = (getattr(estimator, name, None) for name in ("validation_scores_", "validation_loss_curve_"))
        curves = {"loss": estimator.loss_curve_, **({} if val_loss is None else {"val_loss": val_loss})}
        display = cls(curves, scores, name or type(estimator).__name__)
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_history(
        cls, history: History, *, name: str | None = None, ax: Axes | None = None, **kwargs: Any,
    ) -> Self:
        """Plot the history that ``Sequential.fit`` returned: "loss" and, with validation data, "val_loss".

        Parameters
        ----------
        history : History
        name, ax, **kwargs : as in ``from_estimator``

        Returns
        -------
        LossCurveDisplay
        """
        return cls(dict(history.history), name=name).plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, *, log_scale: bool = False, **kwargs: Any) -> Self:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        log_scale : bool, default=False
            Whether the axis of the losses is logarithmic.
        **kwargs : passed on to matplotlib's ``plot``

        Returns
        -------
        LossCurveDisplay
        """
        ax = _new_axes("LossCurveDisplay") if ax is None else ax
        self.lines_ = []
        for label, values in self.curves.items():
            self.lines_ += ax.plot(range(1, len(values) + 1), values, **{"label": label, **kwargs})
        ax.set(xlabel="Epoch", ylabel="Loss", title=self.name or "")
        if log_scale:
            ax.set_yscale("log")
        if self.scores is not None and len(self.scores):
            right = ax.twinx()
            self.lines_ += right.plot(range(1, len(self.scores) + 1), self.scores, color="C2", label="validation score")
            right.set_ylabel("Validation score")
        if len(self.lines_) > 1:
            ax.legend(handles=self.lines_)
        self.ax_, self.figure_ = ax, ax.figure
        return self


class FilterDisplay:
    """The filters of a layer as one image, side by side on one grey scale with 0 in the middle.

    Use ``from_estimator`` to create one.

    Parameters
    ----------
    filters : (n, height, width) array
    name : str, default=None
        The title.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage
    """

    def __init__(self, filters: np.ndarray, name: str | None = None) -> None:
        if filters.ndim != 3:
            raise ValueError(f"FilterDisplay: filters must have the shape (n, height, width), got {filters.shape}.")
        self.filters, self.name = filters, name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, layer: str | None = None, channel: int | None = None,
        image_shape: tuple[int, int] | None = None, name: str | None = None, ax: Axes | None = None, **kwargs: Any,
    ) -> Self:
        """Plot the filters of a layer of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator of ldl_cy, a Pipeline that ends in one, or a built Sequential
        layer : str, default=None
            A layer's name, such as "conv2d_0"; None is the first layer with a kernel.
        channel : int, default=None
            The channel of a convolution's filters; None is the mean over channels.
        image_shape : (int, int), default=None
            The shape of the image that a Dense layer's inputs are; None is a square if their number is one.
        name : str, default=None
            The title; None is the name of the layer.
        ax : matplotlib Axes, default=None
        **kwargs : passed on to ``plot``

        Returns
        -------
        FilterDisplay

        Raises
        ------
        ValueError
            There is no such layer, channel or image.
        """
        kernels = {key.removesuffix(".kernel"): value
                   for key, value in _network("FilterDisplay", estimator).parameters.items() if key.endswith(".kernel")}
        layer = next(iter(kernels), None) if layer is None else layer
        if layer not in kernels:
            known = ", ".join(map(repr, kernels)) or "none"
            raise ValueError(f"FilterDisplay: layer must be one of {known}, got {shown(layer)}.")
        return cls(_as_images(kernels[layer], channel, image_shape), name or layer).plot(ax=ax, **kwargs)

    def plot(
        self, ax: Axes | None = None, *, n_columns: int | None = None, cmap: str = "gray", **kwargs: Any,
    ) -> Self:
        """Plot the filters.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        n_columns : int >= 1, default=None
            Filters per row; None arranges them in a square.
        cmap : str, default="gray"
        **kwargs : passed on to matplotlib's ``imshow``

        Returns
        -------
        FilterDisplay
        """
        ax = _new_axes("FilterDisplay") if ax is None else ax
        n, height, width = self.filters.shape
        columns = n_columns or math.ceil(math.sqrt(n))
        rows = -(-n // columns)
        # one empty pixel between filters
        picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
        for i, one in enumerate(self.filters):
            top, left = i // columns * (height + 1), i % columns * (width + 1)
            picture[top:top + height, left:left + width] = one
        bound = float(np.abs(self.filters).max()) or 1.0
        self.image_ = ax.imshow(picture, **{"cmap": cmap, "vmin": -bound, "vmax": bound, **kwargs})
        ax.set_axis_off()
        ax.set_title(self.name or "")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _as_images(kernel: np.ndarray, channel: int | None, image_shape: tuple[int, int] | None) -> np.ndarray:
    """(n, height, width) from a kernel (kh, kw, c, n), (k, c, n) or (inputs, n)."""
    if kernel.ndim == 2:
        inputs, n = kernel.shape
        side = math.isqrt(inputs)
        square = (side, side) if side * side == inputs else (1, inputs)
        shape = square if image_shape is None else tuple(image_shape)
        if math.prod(shape) != inputs:
            raise ValueError(f"FilterDisplay: image_shape must hold {inputs} numbers, got {image_shape}.")
        return kernel.T.reshape(n, *shape)
    channels = kernel.shape[-2]
    if channel is not None and not 0 <= channel < channels:
        raise ValueError(f"FilterDisplay: channel must be in 0 .. {channels - 1}, got {channel}.")
    flat = kernel.mean(axis=-2) if channel is None else kernel[..., channel, :]
    if flat.ndim == 2:              # of a 1-D convolution: one row
        flat = flat[None]
    return np.moveaxis(flat, -1, 0)
