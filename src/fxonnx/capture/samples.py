"""A few elements of each of many tensors, read where they lie and all in one go."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import numpy as np
import torch

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_SAMPLED = 8  # elements of a tensor
_NONE = np.empty(0, np.uint8)


class Samples:
    """Some elements of each tensor, as bits: those of a contiguous one far apart, else the corners; none of one that
    is not at hand.

    They are entries of one array over all memory from the first to the last of them, of which nothing else is ever
    read: to ask one array costs as much as to ask each tensor for hers.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._owners = [_sample(tensor) for tensor in tensors]  # alive as long as their memory is read
        places = [_addresses(sample) for sample in self._owners]
        start = min((int(each.min()) for each in places if len(each)), default=0)
        distances = np.concatenate([*(each - start for each in places), np.empty(0, np.int64)])
        sizes = [sample.itemsize for sample in self._owners]
        unit = math.gcd(8, *sizes, int(np.bitwise_or.reduce(distances, initial=0)))
        words = [
            ((each - start) // unit)[:, None] + np.arange(sample.itemsize // unit)
            for each, sample in zip(places, self._owners, strict=True)
        ]
        self._ends = np.cumsum([each.size * unit for each in words]).tolist()
        self._indices = np.concatenate([*(each.reshape(-1) for each in words), np.empty(0, np.int64)])
        self._memory = _memory(start, unit, int(self._indices.max(initial=-1)) + 1)

    def now(self) -> bytes:
        """All that is sampled, as it is now."""
        return self._memory[self._indices].tobytes()

    def apart(self, bits: bytes) -> list[bytes]:
        """What `now` gave, by tensor."""
        return [bits[start:end] for start, end in zip([0, *self._ends], self._ends, strict=False)]


def _sample(tensor: torch.Tensor) -> np.ndarray:
    """A view of some elements."""
    bits = _BITS.get(tensor.element_size())
    if bits is None or not tensor.is_cpu or not tensor.numel() or tensor.is_conj() or tensor.is_neg():
        return _NONE
    values = tensor.detach()
    if values.is_contiguous():
        few = values.view(-1)[:: -(-values.numel() // _SAMPLED)]
    else:
        few = values[tuple(slice(None, None, max(size - 1, 1)) for size in values.shape)]  # the corners
    return np.from_dlpack(few.view(bits))


def _addresses(sample: np.ndarray) -> np.ndarray:
    """Where each element lies."""
    offsets = np.zeros(sample.shape, np.int64)
    for axis, (size, stride) in enumerate(zip(sample.shape, sample.strides, strict=True)):
        offsets += (np.arange(size) * stride).reshape(-1, *[1] * (sample.ndim - axis - 1))
    return sample.__array_interface__["data"][0] + offsets.reshape(-1)


def _memory(start: int, unit: int, count: int) -> np.ndarray:
    """Memory from an address on, in words of so many bytes, only to be read: most of it belongs to others, and who
    finds the array, and puts back what a model writes to arrays, would write to it."""
    if not count:
        return _NONE
    word = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}[unit]
    memory = np.ctypeslib.as_array((word * count).from_address(start))
    memory.flags.writeable = False
    return memory
