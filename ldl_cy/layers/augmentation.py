"""RandomFlip, RandomTranslation and GaussianNoise: rows that are changed at random in training."""
from __future__ import annotations

import math
from functools import partial
from typing import Any

from ldl_cy.checks import check_choice, check_real
from ldl_cy.layers.base import Applied, Built, Layer, Shape
from ldl_cy.layers.windows import LONGEST_AXIS, image_shape
from ldl_cy.messages import shown

# mode: (are rows, are columns put in the opposite order)
MODES = {"horizontal": (False, True), "vertical": (True, False), "horizontal_and_vertical": (True, True)}
Factor = float | tuple[float, float]


class RandomFlip(Layer):
    """Images are mirrored at random in training; the identity in inference.

    Parameters
    ----------
    mode : "horizontal", "vertical" or "horizontal_and_vertical", default="horizontal"
        Left to right, upside down, or each of both. An image is flipped with probability 1/2, along each axis
        independently.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (height, width, channels), output the same. Lengths, of the first axis, have no meaning after a vertical flip.

    Raises
    ------
    TypeError, ValueError
        An unknown mode; in ``build`` an input of another rank.

    Notes
    -----
    What is flipped is a function of the model's seed, the epoch, the step, the layer, and the row's place in the batch.
    The default of Keras is "horizontal_and_vertical".

    References
    ----------
    Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NIPS 2012.

    Examples
    --------
    >>> from ldl_cy import Sequential, layers
    >>> model = Sequential([layers.RandomFlip(), layers.Conv2D(8, 3, activation="relu"), layers.Flatten()])
    >>> model.build((8, 8, 3)).output_shape
    (288,)
    """

    def __init__(self, mode: str = "horizontal", *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.mode = check_choice("RandomFlip", "mode", mode, MODES)

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input."""
        return before

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.augmentation import random_images

        image, flips = image_shape("RandomFlip", input_shape, 2), MODES[self.mode]
        return Built(image, partial(random_images, image=image, flips=flips), keeps_steps=not flips[0])


def check_factor(name: str, value: Any) -> Factor:
    """A number from 0 to 1, or a pair of numbers from -1 to 1 in ascending order; a list is returned as a tuple."""
    owner, several = "RandomTranslation", isinstance(value, (tuple, list))
    try:
        given = tuple(check_real(owner, name, one, -1 if several else 0, 1) for one in (value if several else (value,)))
        if several and (len(given) != 2 or given[0] > given[1]):
            raise ValueError
    except (TypeError, ValueError) as error:
        raise type(error)(f"{owner}: {name} must be a number >= 0 and <= 1 or a pair (low, high) of numbers from -1 to "
                          f"1, got {shown(value)}.") from None
    return given if several else given[0]               # type: ignore[return-value]


def pixels(name: str, factor: Factor, size: int) -> tuple[int, int]:
    """The least and the greatest shift in whole pixels along an axis of this length; a ValueError if there is none."""
    low, high = factor if isinstance(factor, tuple) else (-factor, factor)
    # 0.29 of 100 pixels is 28.999999999999996
    least, most = math.ceil(low * size - 1e-6), math.floor(high * size + 1e-6)
    if least > most:
        raise ValueError(f"RandomTranslation: {name} must have a whole number of pixels between its ends, got "
                         f"{shown(factor)} for an axis of {size}.")
    return least, most


class RandomTranslation(Layer):
    """Images are shifted at random in training, by whole pixels; zeros come in. The identity in inference.

    Parameters
    ----------
    height_factor : float in [0, 1], or a pair (low, high) of numbers in [-1, 1]
        Shifts downwards as shares of the height; a float f is the same as (-f, f). All whole numbers of pixels within
        them are equally likely: 0.1 of an image of 28 rows is -2, -1, 0, 1 or 2.
    width_factor : float in [0, 1], or a pair (low, high) of numbers in [-1, 1]
        Shifts to the right as shares of the width.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (height, width, channels), output the same. Lengths, of the first axis, have no meaning after a shift of it.

    Raises
    ------
    TypeError, ValueError
        Factors that are no such numbers; in ``build`` an input of another rank, and factors between which there is no
        whole number of pixels.

    Notes
    -----
    The shift is a function of the model's seed, the epoch, the step, the layer, and the row's place in the batch. Keras
    shifts by fractions of pixels too, and by default reflects the image at its border.

    References
    ----------
    Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NIPS 2012.

    Examples
    --------
    >>> from ldl_cy import Sequential, layers
    >>> model = Sequential([layers.RandomTranslation(0.1, 0.1), layers.Conv2D(8, 3), layers.GlobalAvgPool2D()])
    >>> model.build((28, 28, 1)).output_shape
    (8,)
    """

    def __init__(
        self, height_factor: Factor, width_factor: Factor, *, name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.height_factor = check_factor("height_factor", height_factor)
        self.width_factor = check_factor("width_factor", width_factor)

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input."""
        return before

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.augmentation import random_images

        image = image_shape("RandomTranslation", input_shape, 2)
        if max(image[:2]) > LONGEST_AXIS:
            raise ValueError(f"RandomTranslation: the input's height and width must be at most {LONGEST_AXIS}, got "
                             f"{max(image[:2])}.")
        down = pixels("height_factor", self.height_factor, image[0])
        right = pixels("width_factor", self.width_factor, image[1])
        return Built(image, partial(random_images, image=image, down=down, right=right), keeps_steps=down == (0, 0))


class GaussianNoise(Layer):
    """Normal random numbers are added to the inputs in training, y = x + stddev e; the identity in inference.

    Parameters
    ----------
    stddev : float >= 0
        The standard deviation of what is added; its mean is 0.
    name, trainable : see ``Layer``

    Shape
    -----
    Output as input, any shape.

    Raises
    ------
    TypeError, ValueError
        A standard deviation that is not a number >= 0.

    Notes
    -----
    The noise is a function of the model's seed, the epoch, the step, the layer, and the place of the number in the
    batch; float32 and float64 draw the same.

    References
    ----------
    Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7 (1995).
    Vincent, Larochelle, Bengio, Manzagol, "Extracting and composing robust features with denoising autoencoders",
    ICML 2008.
    """

    def __init__(self, stddev: float, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.stddev = check_real("GaussianNoise", "stddev", stddev, 0)

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input, which inference returns."""
        return before

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.augmentation import gaussian_noise

        return Built(tuple(input_shape), partial(gaussian_noise, size=math.prod(input_shape), stddev=self.stddev))
