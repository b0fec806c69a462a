"""What Python still knows where a decision is asked: the frames up to the model's call, each at its instruction, with
the variables that it may read from there on, and those that its unfinished expressions are made of.

Two runs that are in one state but for what is in their tensors go on alike. The state is a key that can be compared,
and the tensors in it in order.
"""

from __future__ import annotations

import dis
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import lru_cache
from types import BuiltinFunctionType, CellType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

from fxonnx.capture.graph.views import storage
from fxonnx.capture.tracer.decisions.unfinished import waiting_names
from fxonnx.capture.tracer.python.arrays import Array

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), torch.dtype, torch.device, torch.layout)
_KNOWN_BY_IDENTITY = (type, nn.Module, ModuleType, Enum, torch._ops.OpOverload)
_SEQUENCES = (list, tuple, deque)
_ITERABLES: tuple[Iterable[Any], ...] = ([], (), range(0), {}, {}.items(), {}.values(), reversed([]))
_ITERATORS: tuple[type, ...] = (*(type(iter(each)) for each in _ITERABLES), enumerate, zip, map, filter)
_DEEPEST = 20
_FROM_DATA = re.compile(r"\b[uv]\d+(_below)?\b")
_OURS = "fxonnx."  # what capturing itself keeps


class Unknown(Exception):
    """Python holds something of which it cannot be told whether it is another."""


def state_of(
    frames: Iterator[FrameType],
    is_on_tape: Callable[[torch.Tensor], bool],
    asked: Callable[[FrameType], Iterable[int]],
    left: Any,
) -> tuple[Any, list[torch.Tensor]]:
    """The state of these frames, innermost first, as a key, and the tensors of the tape that they may read; `asked`
    says by which instructions of a frame decisions were asked for until now, and `left` is what else has changed.

    Raises Unknown.
    """
    reading = _Reading(is_on_tape)
    key = tuple((each.f_code, each.f_lasti, reading(_variables(each, asked(each)), 0)) for each in frames)
    return (key, reading(left, 0), _modes()), reading.tensors


def _modes() -> tuple[Any, ...]:
    """What calls of torch go by besides their arguments."""
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")
    return torch.get_default_dtype(), torch.is_grad_enabled(), autocast


def contents_of(value: Any) -> Any:
    """A value as a key, in which tensors are known by identity. Raises Unknown."""
    return _Reading(lambda tensor: False)(value, 0)


def _variables(frame: FrameType, asked: Iterable[int]) -> dict[str, Any]:
    """The local variables on which hangs what a frame does next."""
    waiting = waiting_names(frame.f_code, frame.f_lasti, asked)
    if waiting is None:
        raise Unknown
    return live_variables(frame) | {name: value for name, value in frame.f_locals.items() if name in waiting}


def live_variables(frame: FrameType) -> dict[str, Any]:
    """The local variables that a frame may read after what it does now."""
    live = _live_names(frame.f_code, frame.f_lasti)
    return {name: value for name, value in frame.f_locals.items() if live is None or name in live}


@lru_cache(maxsize=256)
def _live_names(code: CodeType, at: int) -> frozenset[str] | None:
    """The names that are read after an instruction before they are written; None for all, where an exception may go
    anywhere."""
    if getattr(code, "co_exceptiontable", b""):
        return None
    instructions = [each for each in dis.get_instructions(code) if each.opname != "CACHE"]
    places = {each.offset: index for index, each in enumerate(instructions)}
    live = [frozenset[str]() for _ in range(len(instructions) + 1)]
    changed = True
    while changed:
        changed = False
        for index in range(len(instructions) - 1, -1, -1):
            after = frozenset[str]().union(*(live[each] for each in _next(instructions[index], index, places)))
            before = _before(instructions[index], after)
            changed |= before != live[index]
            live[index] = before
    asking = max(index for index, each in enumerate(instructions) if each.offset <= at)
    following = _next(instructions[asking], asking, places)
    return frozenset[str]().union(*(live[each] for each in following), code.co_cellvars, code.co_freevars)


def _next(instruction: dis.Instruction, index: int, places: dict[int, int]) -> list[int]:
    """Where an instruction may go on."""
    name = instruction.opname
    if name.startswith(("RETURN_", "RAISE_", "RERAISE")):
        return []
    jumps = [places[instruction.argval]] if "JUMP" in name or name in ("FOR_ITER", "SEND") else []
    is_last = name.startswith("JUMP_") and "IF" not in name
    return jumps if is_last else [index + 1, *jumps]


def _before(instruction: dis.Instruction, after: frozenset[str]) -> frozenset[str]:
    """What is live before an instruction."""
    name, value = instruction.opname, instruction.argval
    names = frozenset(value if isinstance(value, tuple) else (value,)) if "_FAST" in name else frozenset()
    if name.startswith("LOAD_FAST"):
        return after | names
    return after - names if name in ("STORE_FAST", "DELETE_FAST") else after | names


class _Reading:
    """Values as keys; each tensor by its place among those that were met."""

    def __init__(self, is_on_tape: Callable[[torch.Tensor], bool]) -> None:
        self._is_on_tape = is_on_tape
        self.tensors: list[torch.Tensor] = []
        self._met: dict[int, int] = {}
        self._kept: list[Any] = []
        self._names: dict[str, int] = {}  # symbols from data, in the order in which they are met
        self._memories: dict[Any, int] = {}  # of tensors, in the order in which they are met

    def __call__(self, value: Any, depth: int) -> Any:
        if isinstance(value, _PLAIN):
            return type(value), repr(value) if isinstance(value, (float, complex)) else value
        if isinstance(value, _KNOWN_BY_IDENTITY):
            return "one", id(value)
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return "size", self._said(value)
        if isinstance(value, Array):
            return "numbers", self(value.tensor, depth)
        if type(value).__module__.startswith(_OURS):
            return "ours"
        if id(value) in self._met:
            return "again", self._met[id(value)]
        if depth > _DEEPEST:
            raise Unknown
        self._met[id(value)] = len(self._met)
        self._kept.append(value)
        return type(value), self._inside(value, depth + 1)

    def _inside(self, value: Any, depth: int) -> Any:
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, _ITERATORS):
            return self(value.__reduce__(), depth)
        if isinstance(value, (range, slice)):
            return self((value.start, value.stop, value.step), depth)
        if isinstance(value, FunctionType):
            held = [*map(_contents, value.__closure__ or ()), value.__defaults__, value.__kwdefaults__]
            return value.__code__, tuple(self(each, depth) for each in held)
        if isinstance(value, (MethodType, BuiltinFunctionType)):
            return value.__name__, self(value.__self__, depth)
        items: Any = ()
        if isinstance(value, dict):
            items = tuple((self(key, depth), self(each, depth)) for key, each in value.items())
        elif isinstance(value, _SEQUENCES):
            items = tuple(self(each, depth) for each in value)
        elif isinstance(value, (set, frozenset)):
            items = frozenset(self(each, depth) for each in value)
        elif getattr(value, "__dict__", None) is None:
            raise Unknown
        attributes = getattr(value, "__dict__", None)
        return items, self(attributes, depth) if attributes else None

    def _tensor(self, tensor: torch.Tensor) -> Any:
        if not self._is_on_tape(tensor):
            return id(tensor)
        self.tensors.append(tensor)
        if tensor.layout is not torch.strided:
            return tensor.dtype, None
        layout = (*tensor.shape, *tensor.stride(), tensor.storage_offset())
        memory = self._memories.setdefault(storage(tensor), len(self._memories))  # what is written to one, others see
        return tensor.dtype, tuple(map(self._said, layout)), memory

    def _said(self, number: Any) -> str:
        """A number of sizes, whatever its symbols from data are called in this run."""

        def name(found: re.Match[str]) -> str:
            return f"u{self._names.setdefault(found[0], len(self._names))}"

        return _FROM_DATA.sub(name, str(number.node if hasattr(number, "node") else number))


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # nothing was written to it yet


__all__ = ["Unknown", "contents_of", "live_variables", "state_of"]
