"""Lines of the user's own functions in torch's stack traces.

torch keeps, of the stack at a call, the frames of functions that are called forward, and of those that
`torch.fx.traceback.annotate_fn` has seen. It sees here what the model can call by name: methods of its classes,
functions beside them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import FunctionType, MethodType
from typing import Any

from torch import nn
from torch.fx.traceback import annotate_fn

from fxonnx.capture.locate import is_users
from fxonnx.capture.state.snapshot import namespace_of


def annotate_frames(model: Any) -> None:
    """Let torch note the lines of the model's functions. Takes a millisecond for a model of a hundred classes."""
    for function in set(_functions(model)):
        if is_users(function.__code__.co_filename):
            annotate_fn({})(function)


def _functions(model: Any) -> Iterator[FunctionType]:
    if isinstance(model, nn.Module):
        classes = {base for kind in {type(module) for module in model.modules()} for base in kind.__mro__}
        classes = {kind for kind in classes if not kind.__module__.startswith("torch.")}
        for kind in classes:
            yield from _among(vars(kind).values())
        modules = {sys.modules.get(kind.__module__) for kind in classes}  # a class made by exec may have none
        for module in modules - {None}:
            yield from _among(vars(module).values())
        return
    function = inspect.unwrap(getattr(model, "__func__", model))
    if isinstance(function, FunctionType):
        yield from _among([function, *_enclosed(function), *function.__globals__.values()])
    else:
        yield from _among(vars(type(model)).values())


def _enclosed(function: FunctionType) -> Iterator[Any]:
    """What a function takes from the functions around it."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a variable that has no value yet
            yield cell.cell_contents


def _among(values: Iterable[Any]) -> Iterator[FunctionType]:
    """The functions among attributes, methods and properties taken for what they are made of."""
    for value in list(values):
        kind = type(value)  # the object is not asked for attributes: one that is loaded when it is used stays as it is
        inner = value.__func__ if kind in (staticmethod, classmethod, MethodType) else value
        inner = value.fget if kind is property else inner
        function = (namespace_of(inner) or {}).get("__wrapped__", inner)
        if type(function) is FunctionType:
            yield function
