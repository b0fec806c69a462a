"""torch's default dtype, where it is not float32: a graph does not know it, so that calls say it.

torch.zeros(n)                 zeros(n, dtype=float64)
ids / 2       ids of int64     ids.to(float64) / 2
torch.where(mask, 0.5, 1)      torch.where(mask, full(0.5, dtype=float64), full(1, dtype=float64))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

aten = torch.ops.aten
Call = Callable[[Any, Any, Any], Any]
_WHOLE = frozenset({
    torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32,
    torch.int64,
})  # fmt: skip


def takes_default(func: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether a call on whole numbers returns floats because that is the default dtype, and it is not float32."""
    default = torch.get_default_dtype()
    if default is torch.float32 or not isinstance(result, torch.Tensor) or result.dtype is not default:
        return False
    leaves = [*args, *kwargs.values()]
    tensors = [each for leaf in leaves for each in (leaf if isinstance(leaf, (list, tuple)) else (leaf,))]
    dtypes = [each.dtype for each in tensors if isinstance(each, torch.Tensor)]
    is_said = any(isinstance(each, torch.dtype) for each in leaves)
    return bool(dtypes) and not is_said and not _is_factory(func) and set(dtypes) <= _WHOLE


def said_in_full(call: Call, func: Any, args: Any, kwargs: Any) -> Any:
    """What such a call returns, made of calls that say the dtype."""
    dtype = torch.get_default_dtype()

    def as_float(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(map(as_float, value))
        return call(aten._to_copy.default, (value,), {"dtype": dtype}) if isinstance(value, torch.Tensor) else value

    def as_tensor(value: Any) -> Any:
        is_tensor = isinstance(value, torch.Tensor)
        return as_float(value) if is_tensor else call(aten.full.default, ((), value), {"dtype": dtype})

    if func.overloadpacket is aten.where:
        return call(aten.where.self, (args[0], *map(as_tensor, args[1:])), {})
    return call(func, tuple(map(as_float, args)), {name: as_float(value) for name, value in kwargs.items()})


@cache
def _is_factory(func: Any) -> bool:
    """Whether a call makes a tensor of a dtype and a device, as `torch.zeros_like` does."""
    return any(each.name == "pin_memory" for each in func._schema.arguments)


def dtype_of_factory(func: Any, kwargs: dict[str, Any], result: Any) -> dict[str, torch.dtype]:
    """The dtype of a tensor that is made of the default one, where it is not float32."""
    if torch.get_default_dtype() is torch.float32 or not isinstance(result, torch.Tensor):
        return {}
    makes = result.is_floating_point() and kwargs.get("dtype") is None and _is_factory(func)
    return {"dtype": result.dtype} if makes else {}
