"""Strides between the matrices of a transform: Winograd's and those of convolution over time."""

UNIT = 16                       # numbers; matrices begin on a cache line, whichever the dtype


def round_up(size: int) -> int:
    """The least multiple of UNIT that is not below size."""
    return (size + UNIT - 1) // UNIT * UNIT


def matrix_stride(size: int) -> int:
    """Numbers from one matrix of ``size`` numbers to the next.

    One unit more than needed: a stride that is a power of two would put all matrices into one set of the cache.
    """
    return round_up(size) + UNIT
