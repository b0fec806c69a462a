"""What torch assumed about sizes while it traced: which assumptions pin a dim, which ones a caller must keep, and
which line made them.

Here, and only here, torch's ShapeEnv is read: `guards`, `replacements` and `source_to_var` of torch 2.13.
"""

from __future__ import annotations

import linecache
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from random import Random
from typing import Any

import torch
from torch import fx

from fxonnx.capture.assumption import Assumption
from fxonnx.capture.export.sizes import Sizes
from fxonnx.capture.locate import is_users
from fxonnx.ir.dims import symbols_of
from fxonnx.location import Location

_RELATIONS = {
    "Equality": "==", "Unequality": "!=", "StrictLessThan": "<", "LessThan": "<=", "StrictGreaterThan": ">",
    "GreaterThan": ">=",
}  # fmt: skip
_MULTIPLES = (2, 3, 4, 5, 6, 8, 12, 60)
# Comparisons of these files choose a memory layout or check what the runtime checks again.
_BOOKKEEPING = (
    "_ops.py",
    "_prims_common",
    "_refs",
    "_prims",
    "_subclasses",
    "_decomp",
    "_meta_registrations",
    "_inductor",
    "fx/experimental",
    "_higher_order_ops",
)


def assumptions(
    nodes: Sequence[fx.Node], sizes: Sizes, example: Mapping[str, int], places: Mapping[str, Location]
) -> tuple[list[Assumption], list[Assumption]]:
    """(those that pin a dim, those a caller must keep).

    Comparisons that hold for all sizes tried, or between sizes of data, are neither. By most of its own comparisons
    torch chooses a memory layout, which decides nothing about values. An equality it relies on from there on, and
    writes sizes by it (n as 3 * (n // 3)), so that a caller must keep it whoever asked. `places` are `decisions`.
    """
    pinning: list[Assumption] = []
    kept: list[Assumption] = []
    environment = shape_env(nodes)
    for guard in environment.guards if environment is not None else ():
        expression, location = environment.replace(guard.expr), places.get(str(guard.expr), Location())
        each = _read(expression, location, sizes)
        if each is None or not each.symbols:
            continue
        if not each.symbols <= example.keys():
            if not _is_bookkeeping(guard.sloc.framework_loc):
                pinning += _inexact(each, expression, sizes, example)
            continue
        if each.relation == "==" and not _varies(each, example):
            pinning.append(each)
        elif (each.relation == "==" or not _is_bookkeeping(guard.sloc.framework_loc)) and not all(
            each.holds(trial) for trial in _trials(each, example)
        ):
            kept.append(each)
    return pinning, _telling(kept)


def _telling(kept: Sequence[Assumption]) -> list[Assumption]:
    """Without the equalities that hold wherever those before them do: torch's own steps from one to the next."""
    told: list[Assumption] = []
    for each in sorted(kept, key=lambda each: each.relation == "=="):
        near = [other for other in told if other.symbols & each.symbols]
        names = each.symbols.union(*(other.symbols for other in near))
        if each.relation != "==" or any(
            not each.holds(trial) and all(other.holds(trial) for other in near) for trial in _combinations(names)
        ):
            told.append(each)
    return told


def _combinations(names: frozenset[str]) -> Iterator[Mapping[str, int]]:
    """All sizes up to the 24th, for two dims; for more, every such size of one beside arbitrary ones of the others."""
    ordered = sorted(names)
    if len(ordered) <= 2:
        yield from (dict(zip(ordered, sizes, strict=True)) for sizes in product(range(2, 25), repeat=len(ordered)))
        return
    draw = Random(0)
    for name in ordered:
        for size in range(2, 25):
            yield {**{other: draw.randrange(2, 25) for other in ordered}, name: size}


def decides(kept: Sequence[Assumption], sizes: Mapping[str, int]) -> bool:
    """Whether the model would decide otherwise for these sizes."""
    return any(each.symbols <= sizes.keys() and not each.holds(sizes) for each in kept)


def _read(guard: Any, location: Location, sizes: Sizes) -> Assumption | None:
    relation = _RELATIONS.get(type(guard).__name__)
    if relation is None:
        return None
    left, right = (sizes.expression(side) for side in guard.args)
    return Assumption(left, relation, right, location)


def _inexact(each: Assumption, expression: Any, sizes: Sizes, example: Mapping[str, int]) -> list[Assumption]:
    """A comparison of floats made of the inputs' sizes, as the pin that it is for us; none where data is in it."""
    dims = [sizes.expression(each) for each in expression.free_symbols]
    if not dims or not symbols_of(dims) <= example.keys():
        return []
    return [Assumption(sum(dims), each.relation, 0, each.location, str(expression))]


def _is_bookkeeping(frame: Any) -> bool:
    file = str(getattr(frame, "filename", "")).replace("\\", "/")
    return any(f"torch/{name}" in file for name in _BOOKKEEPING)


def _varies(each: Assumption, example: Mapping[str, int]) -> bool:
    """Whether an equality leaves every one of its dims some larger size, alone or together with the others."""
    together = any(each.holds(_scaled(example, each.symbols, multiple)) for multiple in _MULTIPLES)
    return together or all(
        any(each.holds(_scaled(example, {name}, multiple)) for multiple in _MULTIPLES) for name in each.symbols
    )


def _trials(each: Assumption, example: Mapping[str, int]) -> Iterator[Mapping[str, int]]:
    for name in each.symbols:
        yield from ({**example, name: size} for size in (2, 3, 7, example[name] * 2, example[name] * 3, 10007))
    yield from (_scaled(example, each.symbols, multiple) for multiple in _MULTIPLES)


def _scaled(example: Mapping[str, int], names: Any, multiple: int) -> dict[str, int]:
    return {name: size * multiple if name in names else size for name, size in example.items()}


def shape_env(nodes: Sequence[fx.Node]) -> Any:
    """torch's record of symbolic sizes behind a graph's fake tensors, or None where all is static."""
    values = (node.meta.get("val") for node in nodes)
    return next(
        (
            value.fake_mode.shape_env
            for value in values
            if isinstance(value, torch.Tensor) and hasattr(value, "fake_mode")
        ),
        None,
    )


def symbol_of(environment: Any, leaf: int, axis: int) -> str | None:
    """The symbol that torch gave a dim of an input before it froze. Sources read `L['leaves'][0].size()[1]`."""
    suffix = f"[{leaf}].size()[{axis}]"
    for source, symbol in environment.source_to_var.items():
        if (source if isinstance(source, str) else source.name).endswith(suffix):
            return str(symbol)
    return None


@contextmanager
def decisions() -> Iterator[dict[str, Location]]:
    """Collect, while tracing, the user's line for each decision about sizes: "s0" for a symbol that gets a value, else
    the comparison.

    torch logs a decision in the moment it takes it, so that the line is on the stack of the log call.
    """
    found: dict[str, Location] = {}
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")

    def note(record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and record.args and isinstance(record.msg, str):
            if record.msg.startswith("set_replacement"):
                found.setdefault(str(record.args[0]), _caller())
            elif "guard added" in record.msg:
                found.setdefault(str(record.args[1]), _caller())
        return False

    level = logger.level
    logger.addFilter(note)
    logger.setLevel(logging.INFO)
    try:
        yield found
    finally:
        logger.setLevel(level)
        logger.removeFilter(note)


def _caller() -> Location:
    """The innermost frame of the user's on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if is_users(file):
            return Location(
                file=file,
                line=frame.f_lineno,
                function=frame.f_code.co_name,
                code=linecache.getline(file, frame.f_lineno).strip(),
            )
        frame = frame.f_back  # type: ignore[assignment]
    return Location()
