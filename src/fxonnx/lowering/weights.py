"""Weights by reference: a torch tensor as the IR's `Data`, never copied until it is written or bound."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import torch

from fxonnx import dtypes, errors
from fxonnx.dtypes import DType
from fxonnx.ir.data import Data

# Dtypes that torch will not hand to numpy; their bits travel as integers and are viewed as what they are on the other
# side.
_VIEWED = {
    torch.bfloat16: (torch.int16, ml_dtypes.bfloat16),
    torch.float8_e4m3fn: (torch.int8, ml_dtypes.float8_e4m3fn),
    torch.float8_e4m3fnuz: (torch.int8, ml_dtypes.float8_e4m3fnuz),
    torch.float8_e5m2: (torch.int8, ml_dtypes.float8_e5m2),
    torch.float8_e5m2fnuz: (torch.int8, ml_dtypes.float8_e5m2fnuz),
    torch.float8_e8m0fnu: (torch.int8, ml_dtypes.float8_e8m0fnu),
}


def _address(tensor: torch.Tensor) -> int:
    """Where the elements lie; 0 for a tensor without memory, fake or on the meta device."""
    try:
        return tensor.data_ptr()
    except RuntimeError:
        return 0


@dataclass(frozen=True, slots=True, eq=False)
class TorchData(Data):
    """A torch tensor as constant content; complex tensors appear real with a last axis of 2."""

    tensor: torch.Tensor

    @property
    def dtype(self) -> DType:
        """The element type."""
        return dtypes.to_real(dtypes.dtype(self.tensor.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        """The static shape."""
        return (*self.tensor.shape, 2) if self.tensor.is_complex() else tuple(self.tensor.shape)

    @property
    def identity(self) -> Hashable:
        """Two tensors over the same elements of the same storage are one weight."""
        tensor = self.tensor
        return (_address(tensor) or id(tensor), tensor.dtype, tuple(tensor.shape), tensor.stride())

    def buffer(self) -> Any:
        """The tensor, detached and contiguous (the same memory when it already is).

        Raises CannotWrite for one that has no contents.
        """
        tensor = self.tensor.detach()
        if tensor.numel() and not _address(tensor):
            raise errors.CannotWrite(
                f"a weight of shape {list(tensor.shape)} has no contents",
                cause="the model was made without memory for its weights, on the meta device or of fake tensors",
                cure="load the weights before compiling: model.to_empty(device='cpu'), model.load_state_dict(…)",
            )
        tensor = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
        return tensor.resolve_neg().contiguous()

    def array(self) -> np.ndarray:
        """The tensor's memory as numpy, viewed as the ml_dtypes type where numpy has none of its own."""
        tensor = self.buffer().cpu()
        if tensor.dtype not in _VIEWED:
            return tensor.numpy()
        bits, viewed = _VIEWED[tensor.dtype]
        return tensor.view(bits).numpy().view(viewed)
