"""Bodies run eagerly: the same functions of `op`, over onnxscript's eager opset and tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnxscript.tensor import Tensor
from onnxscript.values import Opset


class EagerOpset:
    """onnxscript's opset, whose operators take any list of ints where the recording one does: an empty one, a tuple."""

    def __init__(self, version: int = 23) -> None:
        self._opset = Opset("", version)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operator = getattr(self._opset, name)
        return lambda *inputs, **attributes: operator(*map(_given, inputs), **attributes)


def _given(item: Any) -> Any:
    if isinstance(item, (list, tuple)):
        return list(item) or np.array([], np.int64)
    return item


def eager(body: Callable[..., Any], *arguments: Any, opset: int = 23, **named: Any) -> Any:
    """What a body returns for arrays, as arrays."""
    op = EagerOpset(opset)
    result = body(op, *map(_tensors, arguments), **{name: _tensors(item) for name, item in named.items()})
    return tuple(map(_array, result)) if isinstance(result, (list, tuple)) else _array(result)


def _tensors(item: Any) -> Any:
    if isinstance(item, list):
        return [_tensors(element) for element in item]
    return Tensor(item) if isinstance(item, np.ndarray) else item


def _array(item: Any) -> Any:
    return item.value if isinstance(item, Tensor) else item
