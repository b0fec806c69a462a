"""NumPy arrays that a model keeps. What forward writes into them a file does not see: who else has an array, and until
when, is not known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fxonnx.errors import CaptureRefused, raise_all
from fxonnx.location import Location

_LARGE = 2**20  # bytes; an array of more is data, and not compared


@dataclass(frozen=True, slots=True)
class ArraySnapshot:
    """An array, what was in it, and a name for it."""

    owner: np.ndarray
    before: np.ndarray
    name: str

    @staticmethod
    def of(owner: np.ndarray, name: str) -> ArraySnapshot:
        """What it holds now; of one that is large or cannot be written to nothing is kept."""
        is_kept = owner.flags.writeable and owner.nbytes <= _LARGE
        return ArraySnapshot(owner, owner.copy() if is_kept else owner, name)

    def has_changed(self) -> bool:
        """Whether it holds something else."""
        return self.before is not self.owner and self.before.tobytes() != self.owner.tobytes()

    def restore(self) -> None:
        """Put it back; what is as it was is not touched."""
        if self.has_changed():
            np.copyto(self.owner, self.before)


def is_borrowed(tensor: torch.Tensor) -> bool:
    """Whether a tensor lies in memory that is not torch's."""
    return not tensor.untyped_storage().resizable()


def lies_in(tensor: torch.Tensor, arrays: Sequence[np.ndarray]) -> bool:
    """Whether a tensor may share memory with one of these arrays."""
    start = tensor.untyped_storage().data_ptr()
    end = start + tensor.untyped_storage().nbytes()
    spans = (np.lib.array_utils.byte_bounds(each) for each in arrays)
    return any(low < end and start < high for low, high in spans)


def refuse_borrowed(locations: Iterable[Location]) -> None:
    """Raise CaptureRefused for what writes into the memory of NumPy's, at these places."""
    raise_all(
        [
            CaptureRefused(
                "forward writes into the memory of a NumPy array",
                cause="whether the array is there at the next call cannot be told",
                cure="copy it, torch.tensor(array), or keep it in a buffer",
                location=location,
            )
            for location in locations
        ]
    )
