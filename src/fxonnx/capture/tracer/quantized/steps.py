"""The steps of a quantized tensor, and the tensor of floats on them that stands for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
        most = min(info.max, 2**31 - 2**7)  # the last of float32 that int32 holds
        return (self.scale, self.zero, *axis, info.min, most, self.dtype)

    def integers(self, x: torch.Tensor) -> torch.Tensor:
        """The integers of floats."""
        found: torch.Tensor = self._op("quantize")(x, *self.numbers)
        return found

    def floats(self, q: torch.Tensor) -> torch.Tensor:
        """The floats of integers."""
        found: torch.Tensor = self._op("dequantize")(q, *self.numbers)
        return found

    def same_as(self, other: Steps) -> bool:
        """Whether these are surely the steps of `other`: equal numbers, or the same tensors."""
        return len(self.numbers) == len(other.numbers) and all(map(_same, self.numbers, other.numbers))

    def scaled(self, factor: float) -> Steps:
        """The steps on which the same integers are so many times as much, or those from the other end are; of 0 those
        of nothing."""
        if factor == 0:
            return Steps(1.0, 0, self.dtype)
        info = torch.iinfo(self.dtype)
        zero = self.zero if factor > 0 else info.max + info.min - self.zero
        return replace(self, scale=abs(factor) * self.scale, zero=zero)

    def shifted(self, added: float) -> tuple[Steps, float]:
        """The steps for a number more, and that number in whole steps of these: wider ones where 0 would lie beyond
        the integers."""
        info, count = torch.iinfo(self.dtype), round(added / self.scale)
        zero = self.zero - count
        nearest = min(max(zero, info.min), info.max)
        farthest = info.max if zero < info.min else info.min
        wider = 1.0 if zero == nearest else abs(farthest - zero) / (info.max - info.min)
        return replace(self, scale=wider * self.scale, zero=nearest), count * self.scale

    def _op(self, verb: str) -> Any:
        ops = decomposed()
        if self.axis is not None:
            return getattr(ops, f"{verb}_per_channel").default
        packet = getattr(ops, f"{verb}_per_tensor")
        return packet.tensor if isinstance(self.scale, torch.Tensor) else packet.default


def _same(a: Any, b: Any) -> bool:
    return a is b or (not isinstance(a, torch.Tensor) and not isinstance(b, torch.Tensor) and bool(a == b))


@cache
def decomposed() -> Any:
    """torch.ops.quantized_decomposed, which is there once torch has loaded it."""
    import torch.ao.quantization.fx._decomposed

    return torch.ops.quantized_decomposed
