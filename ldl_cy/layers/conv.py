"""Conv1D and Conv2D, the convolutional layers."""
from __future__ import annotations

from functools import partial
from typing import Any

from ldl_cy.checks import check_blas_size, check_bool, check_choice, check_int
from ldl_cy.initializers import get as get_initializer
from ldl_cy.layers.activation import check_activation
from ldl_cy.layers.base import Built, Layer, Parameter, Shape
from ldl_cy.layers.windows import (
    Padding,
    check_padding,
    check_sizes,
    image_shape,
    keeps_steps,
    lay_windows,
    pair,
)
from ldl_cy.messages import shown

# "auto" is Winograd from this many channels and filters on, if it saves at least this factor of multiplications.
WINOGRAD_CHANNELS = 16
WINOGRAD_SAVING = 1.7


class _Conv(Layer):
    """Base class of the convolutions; a window has ``axes`` axes."""

    axes: int
    paddings: tuple[str, ...] = ("valid", "same")

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: Padding = "valid",
        dilation_rate: Any = 1, groups: int = 1, activation: str | None = None, *, use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
        name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        owner = type(self).__name__
        self.filters = check_int(owner, "filters", filters)
        self.kernel_size = check_sizes(owner, "kernel_size", kernel_size, self.axes)
        self.strides = check_sizes(owner, "strides", strides, self.axes)
        self.padding = check_padding(owner, padding, self.axes, self.paddings)
        self.dilation_rate = check_sizes(owner, "dilation_rate", dilation_rate, self.axes)
        self.groups = check_int(owner, "groups", groups)
        if self.filters % self.groups:
            raise ValueError(
                f"{owner}: filters must be a multiple of groups {self.groups}, got {self.filters}.")
        self.activation = activation
        check_activation(owner, activation)
        self.use_bias = check_bool(owner, "use_bias", use_bias)
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        get_initializer(owner, "kernel_initializer", kernel_initializer)
        get_initializer(owner, "bias_initializer", bias_initializer)

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.conv import conv
        from ldl_cy._kernels.conv_batch_inner import MANY_CHANNELS, choose_conv
        from ldl_cy._kernels.depthwise import depthwise

        owner, filters = type(self).__name__, self.filters
        image = image_shape(owner, input_shape, self.axes)
        c_in = image[2]
        if c_in % self.groups:
            raise ValueError(
                f"{owner}: the input's channels must be a multiple of groups {self.groups}, got {c_in}.")
        windows = lay_windows(owner, "kernel_size", image, self.axes, self.kernel_size, self.strides,
                              self.dilation_rate, self.padding)
        size = windows["kernel"][2 - self.axes:]
        shape = (*size, c_in // self.groups, filters)
        weights = Parameter("kernel", shape, self.kernel_initializer, decays=True)
        check_blas_size(owner, "the size of the kernel", weights.size)
        # the leading dimension of a product that reads pixels at these strides
        check_blas_size(owner, "strides * channels", windows["strides"][1] * c_in)
        parameters: tuple[Parameter, ...] = (weights,)
        if self.use_bias:
            parameters += (Parameter("bias", (filters,), self.bias_initializer),)
        settings = dict(
            windows, dilation=pair(self.dilation_rate, self.axes), use_bias=self.use_bias,
            activation=check_activation(owner, self.activation))
        if self._winograd(c_in, windows["output"]):
            from ldl_cy._kernels.winograd import winograd

            kernel = partial(winograd, image=image, padding=windows["padding"], output=windows["output"],
                             filters=filters, activation=settings["activation"], use_bias=self.use_bias)
        elif (basis := self._basis(c_in, windows)) is not None:
            from ldl_cy._kernels.conv_time import conv_time

            kernel = partial(conv_time, basis=basis, steps=image[1], channels=c_in, left=windows["padding"][1],
                             output=windows["output"][1], dilation=self.dilation_rate, filters=filters,
                             activation=settings["activation"], use_bias=self.use_bias)
        elif self.groups == c_in == filters > 1:
            kernel = partial(depthwise, **settings)
        elif (getattr(self, "algorithm", "auto") == "auto" and self.groups == 1 and c_in < MANY_CHANNELS
                and settings["strides"] == settings["dilation"] == (1, 1)):
            kernel = partial(choose_conv, **settings, filters=filters)
        else:
            kernel = partial(conv, **settings, filters=filters, groups=self.groups)
        return Built((*windows["output"][2 - self.axes:], filters), kernel, parameters,
                     keeps_steps=keeps_steps(windows, self.axes))

    def _winograd(self, c_in: int, output: Any) -> bool:
        """Whether to use Winograd's algorithm; ``output`` is the number of pixels along both axes."""
        return False

    def _basis(self, c_in: int, windows: dict[str, Any]) -> Any:
        """The basis in which a convolution over time is computed; None is for kernels that read its windows."""
        return None


class Conv1D(_Conv):
    """Convolution along the time axis of sequences: y = f(windows of x times W + b).

    Parameters
    ----------
    filters : int >= 1
        Length of the output's last axis.
    kernel_size : int >= 1
        Steps that a window covers.
    strides : int >= 1, default=1
        Steps from one window to the next.
    padding : {"valid", "same", "causal"}, int >= 0 or a pair (before, after), default="valid"
        Zeros around the sequence. "valid": none. "same": as many as give ceil(steps / strides) output steps,
        with the odd one at the end. "causal": only before, so that no output depends on later steps (beyond
        rounding, see algorithm). An int: that many at both ends. A pair of ints >= 0: that many before the sequence and
        after it.
    dilation_rate : int >= 1, default=1
        Steps from one cell of a window to the next.
    groups : int >= 1, default=1
        Channels and filters are split into this many independent convolutions; with as many groups as
        channels this is a depthwise convolution.
    activation : str, default=None
        Name of an activation (see ``Activation``); None is the identity.
    algorithm : {"auto", "direct", "winograd", "fft"}, default="auto"
        "direct" multiplies the kernel with the windows. "winograd", for windows of 2 to 7 steps, multiplies values of
        polynomials at real points, and "fft", for windows of 2 to 1,023 steps, discrete Fourier transforms of pieces
        of the sequence, both at stride 1 without groups: 2 to 3 times fewer multiplications for short windows, 10
        times fewer for long ones. The relative root-mean-square error in float32 is 2e-7 with "direct" and "fft",
        and 4e-7 to 3e-6 with "winograd", where it grows with the number of channels. Both add up 5 to 1,024 steps of
        the input at a time: an output's rounding error is relative to the largest of these numbers, also to later ones
        with padding="causal", and one that is not finite makes all outputs of its piece NaN. "auto" chooses by the
        number of operations, and neither of the two for fewer than 16 channels or filters.
    use_bias : bool, default=True
    kernel_initializer, bias_initializer : str or initializer, default="glorot_uniform", "zeros"
    name, trainable : see ``Layer``

    Shape
    -----
    Input (steps, c_in), output (steps_out, filters).

    Attributes
    ----------
    kernel : (kernel_size, c_in / groups, filters)
    bias : (filters,), with ``use_bias``

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range, filters that are not a multiple of groups; in ``build`` an
        input that is not (steps, c_in), is too short, or whose channels are not a multiple of groups.

    References
    ----------
    Chellapilla, Puri, Simard, "High performance convolutional neural networks for document processing",
    IWFHR 2006 (panels). Yu and Koltun, "Multi-scale context aggregation by dilated convolutions", ICLR 2016.
    van den Oord et al., "WaveNet", arXiv:1609.03499 (causal). Winograd, "Arithmetic complexity of computations", SIAM
    1980; Mathieu, Henaff, LeCun, "Fast training of convolutional networks through FFTs", ICLR 2014.
    """

    axes = 1
    paddings = ("valid", "same", "causal")
    algorithm = "auto"              # of objects in pickles that are older than this argument

    def __init__(
        self, filters: int, kernel_size: int, strides: int = 1, padding: Padding = "valid", dilation_rate: int = 1,
        groups: int = 1, activation: str | None = None, *, algorithm: str = "auto", use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
        name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, dilation_rate, groups, activation, use_bias=use_bias,
            kernel_initializer=kernel_initializer, bias_initializer=bias_initializer, name=name,
            trainable=trainable)
        from ldl_cy._kernels.time_bases import LONGEST_WINDOWS

        self.algorithm = check_choice("Conv1D", "algorithm", algorithm, ("auto", "direct", "winograd", "fft"))
        longest = LONGEST_WINDOWS.get(algorithm)
        if longest and not (2 <= self.kernel_size <= longest and self.strides == self.groups == 1):
            raise ValueError(
                f"Conv1D: algorithm={algorithm!r} needs kernel_size 2 to {longest}, strides 1 and groups 1, "
                f"got kernel_size={shown(kernel_size)}, strides={shown(strides)}, groups={shown(groups)}.")

    def _basis(self, c_in: int, windows: dict[str, Any]) -> Any:
        from ldl_cy._kernels.time_bases import choose

        if self.algorithm == "direct" or self.strides > 1 or self.groups > 1 or (
                self.algorithm == "auto" and min(c_in, self.filters) < WINOGRAD_CHANNELS):
            return None
        return choose(self.algorithm, self.kernel_size, c_in, self.filters, windows["output"][1], self.dilation_rate)


class Conv2D(_Conv):
    """Convolution of images: y = f(windows of x times W + b).

    Parameters
    ----------
    filters : int >= 1
        Length of the output's last axis.
    kernel_size : int >= 1 or a pair (height, width)
        Pixels that a window covers.
    strides : int >= 1 or a pair, default=1
        Pixels from one window to the next.
    padding : {"valid", "same"}, int >= 0, a pair of them or of pairs, default="valid"
        Zeros around the image. "valid": none. "same": as many as give ceil(n / strides) output pixels along an
        axis of n, with the odd one at the end. An int: that many on both sides of each axis. A pair: the same along
        the height and the width. ((top, bottom), (left, right)): each side its own.
    dilation_rate : int >= 1 or a pair, default=1
        Pixels from one cell of a window to the next.
    groups : int >= 1, default=1
        Channels and filters are split into this many independent convolutions; with as many groups as
        channels this is a depthwise convolution.
    activation : str, default=None
        Name of an activation (see ``Activation``); None is the identity.
    algorithm : {"auto", "direct", "winograd"}, default="auto"
        "direct" multiplies the kernel with the windows. "winograd", for 3x3 windows at stride 1, is minimal
        filtering, with up to four times fewer multiplications; its relative root-mean-square error in float32
        is about 1e-6, that of "direct" 2e-7. It computes tiles of outputs: an infinite number of the input makes
        outputs of its whole tile NaN or infinite. "auto" chooses what is fastest.
    use_bias : bool, default=True
    kernel_initializer, bias_initializer : str or initializer, default="glorot_uniform", "zeros"
    name, trainable : see ``Layer``

    Shape
    -----
    Input (height, width, c_in), output (height_out, width_out, filters).

    Attributes
    ----------
    kernel : (kernel height, kernel width, c_in / groups, filters)
    bias : (filters,), with ``use_bias``

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range, filters that are not a multiple of groups, "winograd" for other
        windows; in ``build`` an input that is not (height, width, c_in), is too small, or whose channels are
        not a multiple of groups.

    References
    ----------
    Chellapilla, Puri, Simard, "High performance convolutional neural networks for document processing",
    IWFHR 2006 (panels). Yu and Koltun, "Multi-scale context aggregation by dilated convolutions", ICLR 2016.
    Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks",
    NeurIPS 2012 (groups). Chollet, "Xception", CVPR 2017 (depthwise). Lavin and Gray, "Fast algorithms for
    convolutional neural networks", CVPR 2016 (Winograd).
    """

    axes = 2

    def __init__(
        self, filters: int, kernel_size: int | tuple[int, int], strides: int | tuple[int, int] = 1,
        padding: Padding = "valid", dilation_rate: int | tuple[int, int] = 1, groups: int = 1,
        activation: str | None = None, *, algorithm: str = "auto", use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
        name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, dilation_rate, groups, activation, use_bias=use_bias,
            kernel_initializer=kernel_initializer, bias_initializer=bias_initializer, name=name,
            trainable=trainable)
        self.algorithm = check_choice("Conv2D", "algorithm", algorithm, ("auto", "direct", "winograd"))
        if algorithm == "winograd" and not self._is_3x3():
            raise ValueError(
                "Conv2D: algorithm='winograd' needs kernel_size 3, strides 1, dilation_rate 1 and groups 1, got "
                f"kernel_size={shown(kernel_size)}, strides={shown(strides)}, dilation_rate={shown(dilation_rate)}, "
                f"groups={shown(groups)}.")

    def _is_3x3(self) -> bool:
        return (pair(self.kernel_size, 2) == (3, 3) and pair(self.strides, 2) == pair(self.dilation_rate, 2) == (1, 1)
                and self.groups == 1)

    def _winograd(self, c_in: int, output: Any) -> bool:
        from ldl_cy._kernels.winograd import saving

        if self.algorithm != "auto":
            return self.algorithm == "winograd"
        # transforms cost as much as the products of a few channels, and parts of tiles outside the output are wasted
        return self._is_3x3() and min(c_in, self.filters) >= WINOGRAD_CHANNELS and saving(*output) >= WINOGRAD_SAVING
