"""The steps of a quantized tensor, and the tensor of floats on them that stands for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

_STORED = {torch.quint8: torch.uint8, torch.qint8: torch.int8, torch.qint32: torch.int32}


@dataclass(frozen=True, slots=True)
class Steps:
    """(q − zero) · scale for integers of a dtype: numbers or tensors, those of each slice where there is an axis."""

    scale: Any
    zero: Any
    dtype: torch.dtype
    axis: int | None = None

    @staticmethod
    def of(scale: Any, zero: Any, quantized: torch.dtype, axis: int | None = None) -> Steps:
        """The steps of a tensor of a quantized dtype, as torch.quint8."""
        return Steps(scale, zero, _STORED[quantized], axis)

    @property
    def numbers(self) -> tuple[Any, ...]:
        """The arguments of quantized_decomposed after the tensor."""
        info = torch.iinfo(self.dtype)
        axis = () if self.axis is None else (self.axis,)
        return (self.scale, self.zero, *axis, info.min, info.max, self.dtype)

    def integers(self, x: torch.Tensor) -> torch.Tensor:
        """The integers of floats."""
        found: torch.Tensor = self._op("quantize")(x, *self.numbers)
        return found

    def floats(self, q: torch.Tensor) -> torch.Tensor:
        """The floats of integers."""
        found: torch.Tensor = self._op("dequantize")(q, *self.numbers)
        return found

    def _op(self, verb: str) -> Any:
        ops = decomposed()
        if self.axis is not None:
            return getattr(ops, f"{verb}_per_channel").default
        packet = getattr(ops, f"{verb}_per_tensor")
        return packet.tensor if isinstance(self.scale, torch.Tensor) else packet.default


@cache
def decomposed() -> Any:
    """torch.ops.quantized_decomposed, which is there once torch has loaded it."""
    import torch.ao.quantization.fx._decomposed

    return torch.ops.quantized_decomposed
