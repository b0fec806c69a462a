"""Memory layouts, asked of plain sizes and strides: the answers that torch wants of a tensor with symbolic sizes.

They hold for all sizes of 2 and more if they hold for distinct large ones, and decide nothing about values.
"""

from __future__ import annotations

from collections.abc import Sequence

Numbers = Sequence[int]
_LAST_2D, _LAST_3D = (1, 3, 2, 0), (1, 4, 3, 2, 0)


def is_contiguous(sizes: Numbers, strides: Numbers) -> bool:
    """Whether elements lie in the order of the axes."""
    return _follows(range(len(sizes) - 1, -1, -1), sizes, strides)


def is_channels_last_contiguous_2d(sizes: Numbers, strides: Numbers) -> bool:
    """Whether an image's elements lie channels last, without gaps."""
    return len(sizes) == 4 and _follows(_LAST_2D, sizes, strides)


def is_channels_last_contiguous_3d(sizes: Numbers, strides: Numbers) -> bool:
    """The same of a volume."""
    return len(sizes) == 5 and _follows(_LAST_3D, sizes, strides)


def is_channels_last_strides_2d(sizes: Numbers, strides: Numbers) -> bool:
    """Whether an image's strides are in the order of channels last, gaps or not."""
    return len(sizes) == 4 and _ascends(_LAST_2D, sizes, strides)


def is_channels_last_strides_3d(sizes: Numbers, strides: Numbers) -> bool:
    """The same of a volume."""
    return len(sizes) == 5 and _ascends(_LAST_3D, sizes, strides)


def is_non_overlapping_and_dense(sizes: Numbers, strides: Numbers) -> bool:
    """Whether elements fill their memory, in whatever order of axes."""
    order = sorted((axis for axis in range(len(sizes)) if sizes[axis] != 1), key=lambda axis: strides[axis])
    return _follows(order, sizes, strides)


def _follows(order: Sequence[int], sizes: Numbers, strides: Numbers) -> bool:
    expected = 1
    for axis in order:
        if sizes[axis] == 0:
            return True
        if sizes[axis] != 1 and strides[axis] != expected:
            return False
        expected *= sizes[axis]
    return True


def _ascends(order: Sequence[int], sizes: Numbers, strides: Numbers) -> bool:
    """torch's c10::is_channels_last_strides_2d: a tie of the batch's stride with the channels' is no."""
    least = 0
    for axis in order:
        if sizes[axis] == 0 or strides[axis] < least or (axis == 0 and least == strides[1]):
            return False
        least = strides[axis] * max(sizes[axis], 1)
    return strides[1] != 0


LAYOUTS = (
    is_contiguous,
    is_channels_last_contiguous_2d,
    is_channels_last_contiguous_3d,
    is_channels_last_strides_2d,
    is_channels_last_strides_3d,
    is_non_overlapping_and_dense,
)
