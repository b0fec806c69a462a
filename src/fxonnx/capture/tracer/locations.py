"""Where the model is while it runs: the module that is being called, by torch's global module hooks, and the user's
line, by one walk up the stack."""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import CodeType, FrameType
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from fxonnx.capture.assertions import said_by
from fxonnx.capture.call.exported import NodeByNode
from fxonnx.capture.call.inputs import Flat
from fxonnx.capture.locate import _LIBRARIES, _OURS, _TORCH_MODULES, WRAPPER, is_users, strip, user_line
from fxonnx.location import Location

_END = Flat.forward.__code__
_NODE = NodeByNode.run_node.__code__
_NOWHERE = {"": ("", "")}
_SIZES = torch.__file__  # where torch defines SymInt, and what its numbers are compared with
_NO_FILE = "<string>"  # as what torch compiles of the guards of an ExportedProgram: it has no lines to show
Line: TypeAlias = "tuple[CodeType, int]"


class Locations:
    """Follows one run of a model. Cheap: a push and a pop for each module, one walk for each call."""

    def __init__(self, flat: Flat) -> None:
        self._paths = {id(module): path for path, module in flat.named_modules()}
        self._thread = threading.get_ident()
        self._stacks: dict[int, dict[str, tuple[str, str]]] = {}
        self._open: list[dict[str, tuple[str, str]]] = []

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Hooks for as long as the model runs. They are global: calls in other threads pass by."""
        with ExitStack() as hooks:
            hooks.callback(register_module_forward_pre_hook(self._enter).remove)
            hooks.callback(register_module_forward_hook(self._leave, always_call=True).remove)
            yield

    def _enter(self, module: nn.Module, args: Any) -> None:
        if threading.get_ident() == self._thread:
            self._open.append(self._stack(module))

    def _leave(self, module: nn.Module, args: Any, result: Any) -> None:
        if threading.get_ident() == self._thread and self._open:
            self._open.pop()

    def _stack(self, module: nn.Module) -> dict[str, tuple[str, str]]:
        """What fx calls a module stack, with its innermost entry only; made once for each module."""
        known = self._stacks.get(id(module))
        if known is None:
            outer = next(iter(self._open[-1].values()))[0] if self._open else ""
            kind = f"{type(module).__module__}.{type(module).__qualname__}"
            known = self._stacks[id(module)] = {"": (self._paths.get(id(module), outer), kind)}
        return known

    def meta(self) -> dict[str, Any]:
        """The place of the call that is being made, as fx nodes keep it."""
        return self._meta(_users_line(sys._getframe(2)))

    def _meta(self, found: Line | fx.Node | None) -> dict[str, Any]:
        if isinstance(found, fx.Node):
            return _meta_of(found)
        meta: dict[str, Any] = {"nn_module_stack": self._open[-1]} if self._open else {}
        if found is not None:
            meta["stack_trace"] = _text(*found)
        return meta

    def __call__(self) -> Location:
        """The same as a location."""
        meta = self._meta(_users_line(sys._getframe(1)))
        module, kind = next(iter(meta.get("nn_module_stack", _NOWHERE).values()))
        line = user_line(meta.get("stack_trace", ""))
        return Location(strip(module), kind.rpartition(".")[2] if module else "", *line)


def asking_frames() -> Iterator[FrameType]:
    """The frames of the model's call, from the innermost outwards, without those of capturing, and of torch's classes
    of sizes: `n < m` is a call of theirs, another one each time."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not _END:
        if not frame.f_code.co_filename.startswith((_OURS, _SIZES)):
            yield frame
        frame = frame.f_back


def said() -> str:
    """What the innermost call in the user's code says where it raises; of a graph that is run node by node, the op."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_users(frame.f_code.co_filename):
        if frame.f_code is _NODE:
            return str(frame.f_locals["n"].target)
        frame = frame.f_back
    return said_by(frame)


def _users_line(frame: FrameType | None) -> Line | fx.Node | None:
    """The innermost line that is not torch's own; in a model made of torch's modules only, torch's innermost line; in a
    graph that is run node by node, the node."""
    innermost = None
    while frame is not None and frame.f_code is not _END:
        if frame.f_code is _NODE:
            return frame.f_locals["n"]
        owner = _owner(frame.f_code)
        if owner == "user":
            return frame.f_code, frame.f_lineno
        if owner == "module" and innermost is None:
            innermost = frame.f_code, frame.f_lineno
        frame = frame.f_back
    return innermost


def _meta_of(node: fx.Node) -> dict[str, Any]:
    """The place of a node as nodes keep it, its module below the one that is the model."""
    meta = {key: node.meta[key] for key in ("stack_trace",) if node.meta.get(key)}
    path, kind = next(reversed((node.meta.get("nn_module_stack") or _NOWHERE).values()))
    return {**meta, "nn_module_stack": {"": (f"{WRAPPER}.{path}" if path else WRAPPER, kind)}}


@cache
def _owner(code: CodeType) -> str:
    file = code.co_filename
    if file == _NO_FILE:
        return "library"
    if not file.startswith(_LIBRARIES):
        return "user"
    return "module" if file.startswith(_TORCH_MODULES) else "library"


@cache
def _text(code: CodeType, line: int) -> str:
    """One frame, as a printed stack trace has it."""
    file = code.co_filename
    return f'File "{file}", line {line}, in {code.co_name}\n    {linecache.getline(file, line).strip()}\n'
