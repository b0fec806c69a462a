"""torch functions with arguments that its schemas call plain numbers, and that models compute of sizes: windows, pools,
`one_hot`, `unfold`, slopes and factors; or that torch composes of plain numbers. Where a size is among those they are
said by functions that take sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fxonnx.capture.tracer.sized_operators.bodies import where_sizes
from fxonnx.capture.tracer.sized_operators.composed import COMPOSED
from fxonnx.capture.tracer.sized_operators.pools import POOLS
from fxonnx.capture.tracer.sized_operators.resizing import RESIZING
from fxonnx.capture.tracer.sized_operators.scalars import SCALARS
from fxonnx.capture.tracer.sized_operators.windows import WINDOWS

SIZED_OPERATORS: dict[Any, Callable[[Any, Any, Any], Any]] = {
    function: where_sizes(body) for function, body in (WINDOWS | POOLS | RESIZING | COMPOSED | SCALARS).items()
}
"""function -> (function, args, kwargs) -> its result"""
