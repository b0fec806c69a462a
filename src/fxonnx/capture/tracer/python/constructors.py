"""torch's constructors by type, torch.LongTensor(keep): they read numbers one by one, past all modes. Where some of
those are followed, torch.tensor makes the tensor, which keeps them. torch.Tensor stays itself: torch._dynamo, which may
be imported meanwhile, knows it by what its methods are."""

from __future__ import annotations

from typing import Any

import torch

from fxonnx.capture.tracer.python.arrays import Array
from fxonnx.capture.tracer.python.repeated import Repeated
from fxonnx.capture.tracer.python.types import Numbers


def is_followed(args: tuple[Any, ...]) -> bool:
    """Whether a constructor is given numbers, not sizes, some of which are known when the model runs only."""
    return len(args) == 1 and not isinstance(args[0], (torch.Size, torch.Tensor, torch.SymInt)) and _has_one(args[0])


def _has_one(value: Any) -> bool:
    if isinstance(value, Repeated):
        return True
    if isinstance(value, (list, tuple)):
        return any(map(_has_one, value))
    return isinstance(value, (Array, Numbers, torch.Tensor, torch.SymInt, torch.SymFloat))


class _Typed(type):
    """A class that is taken for the `original`, one of torch's types of tensors."""

    original: Any

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if is_followed(args):
            return torch.tensor(args[0], dtype=cls.original.dtype)
        return cls.original(*args, **options)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.original, name)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.original

    def __hash__(cls) -> int:
        return hash(cls.original)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.original)

    def __repr__(cls) -> str:
        return repr(cls.original)


_NAMES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
TYPES: dict[str, Any] = {
    name: _Typed(name, (), {"original": getattr(torch, name)}) for name in (f"{each}Tensor" for each in _NAMES)
}
"""name of a type of torch's -> what stands for it"""


def plain_kind(value: Any) -> Any:
    """torch's own type where a value stands for it."""
    return value.original if isinstance(value, _Typed) else value
