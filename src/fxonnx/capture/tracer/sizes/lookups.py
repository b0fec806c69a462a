"""Plain numbers of iterations, which a run whose loops are rolled up cannot follow: where they look up tensors, what is
found tells; anything else may be another thing at greater lengths.

outputs[t - 1]     states[t] = h     a tensor is where it comes from
schedule[t]        bin(t)            nobody knows what further iterations find
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import torch
from torch import nn

from fxonnx.capture.locate import is_users
from fxonnx.capture.syntax import around

_DOORS = (
    "torch/__init__.py", "experimental/sym_node.py", "modules/container.py", "tracer/torch_private.py",
    "python/iterations.py", "python/keys.py",
)  # fmt: skip


def tells_by_what_it_finds() -> bool:
    """Whether the number that Python asks for now is of no consequence but for a tensor that it finds, or is none of
    the model's own questions."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_users(frame.f_code.co_filename):
        file = frame.f_code.co_filename
        if "/sizes/" not in file and not file.endswith(_DOORS):
            return True
        frame = frame.f_back
    match around(frame)[-1:] if frame is not None else ():
        case [ast.Subscript(ctx=ast.Store() | ast.Del())]:
            return True
        case [ast.Subscript(value=value)] if frame is not None:
            return _holds_tensors(_value(value, frame))
    return False


def _value(node: ast.expr, frame: FrameType) -> Any:
    """What a name, or an attribute of one, is in a frame; None for what is computed."""
    match node:
        case ast.Name(id=name):
            return frame.f_locals.get(name, frame.f_globals.get(name))
        case ast.Attribute(value=owner, attr=name):
            return getattr(_value(owner, frame), name, None)
    return None


def _holds_tensors(value: Any) -> bool:
    """Whether nothing but tensors, modules and places for them are in a collection."""
    parts = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, (torch.Tensor, nn.Module)) or value is None:
        return value is not None
    return isinstance(value, (list, tuple, Mapping)) and all(each is None or _holds_tensors(each) for each in parts)
