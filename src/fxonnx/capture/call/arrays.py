"""Arrays of numpy in the place of tensors: a call of arrays gives arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import torch

from fxonnx.errors import CallMismatch

# Dtypes that torch and numpy do not exchange: their bits travel as integers.
_BITS = {np.dtype(ml_dtypes.bfloat16): (np.int16, torch.bfloat16)}
_ARRAYS = {torch.bfloat16: (torch.int16, ml_dtypes.bfloat16)}


def are_arrays(leaves: Sequence[object]) -> bool:
    """Whether a call brings arrays, and no tensor."""
    return set(map(type, leaves)) == {np.ndarray}


def as_tensors(names: Sequence[str], leaves: Sequence[Any], written: Sequence[int] = ()) -> list[Any]:
    """The leaves of a call with arrays as tensors over their memory; other leaves as they are.

    An array that torch cannot look at where it lies, read-only or turned round, is copied. Raises CallMismatch for an
    array of what torch has no dtype for, and for a copied one, by its index, that the model writes into.
    """
    return [
        _as_tensor(name, leaf, index in written) if isinstance(leaf, np.ndarray) else leaf
        for index, (name, leaf) in enumerate(zip(names, leaves, strict=True))
    ]


def _as_tensor(name: str, array: np.ndarray, is_written: bool) -> torch.Tensor:
    try:
        return torch.from_numpy(array if array.flags.writeable else _copied(name, array, is_written))
    except TypeError as error:
        return _by_bits(name, array, str(error))
    except ValueError:  # it runs backwards, or not in whole elements
        return torch.from_numpy(_copied(name, array, is_written))


def _copied(name: str, array: np.ndarray, is_written: bool) -> np.ndarray:
    if is_written:
        raise CallMismatch(
            f"input {name} is an array that cannot be written into where it lies",
            cause="the model writes into it, and it is read-only or runs backwards",
            cure=f"pass {name}.copy()",
        )
    return array.copy()


def _by_bits(name: str, array: np.ndarray, reason: str) -> torch.Tensor:
    """An array of a dtype that torch has and numpy has not by itself."""
    if array.dtype not in _BITS:
        raise CallMismatch(
            f"input {name} is an array of {array.dtype}, which torch has no tensors of", cause=reason,
            cure=f"pass {name}.astype(…), with the dtype of the example",
        )  # fmt: skip
    bits, dtype = _BITS[array.dtype]
    return _as_tensor(name, array.view(bits), is_written=False).view(dtype)


def as_array(value: Any) -> Any:
    """A tensor of a result as an array over its memory; another value as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.dtype not in _ARRAYS:
        return value.numpy()
    bits, dtype = _ARRAYS[value.dtype]
    return value.view(bits).numpy().view(dtype)
