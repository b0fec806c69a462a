"""What two ways return, leaf by leaf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch
from torch import fx

from fxonnx.capture.call.inputs import Returned
from fxonnx.capture.call.tree import SLOT, Branch, Constant, Path, Slot, Tree, segment
from fxonnx.capture.locate import Locator
from fxonnx.capture.tracer.paths.way import Way
from fxonnx.errors import DataDependentControlFlow
from fxonnx.location import Location

_NUMBERS: dict[type, type] = {
    bool: bool, torch.SymBool: bool, np.bool_: bool,
    int: int, torch.SymInt: int, np.int64: int,
    float: float, torch.SymFloat: float, np.float64: float,
}  # fmt: skip


@dataclass(slots=True, eq=False)
class ResultPairs:
    """The leaves of both results in pairs, and the structure around them; plain numbers that differ are leaves."""

    returned: Returned
    pairs: list[tuple[Any, Any]]

    @staticmethod
    def of(yes: Way, no: Way, location: Location) -> ResultPairs:
        """Those of two ways. Raises DataDependentControlFlow where they return other structures, or leave others."""
        one, other = yes.returned, no.returned
        walk = _Walk(iter(yes.results), iter(no.results), location)
        tree = walk(one.tree, other.tree, ())
        if one.effects.edits != other.effects.edits:
            raise _refused("change other parts of the arguments", "", location)
        count = len(walk.pairs)
        after = walk(one.effects.tree, other.effects.tree, ())
        if after != one.effects.tree:
            raise _refused("leave other numbers in the arguments", "", location)
        return ResultPairs(Returned(tree, walk.paths[:count], one.effects), walk.pairs)


@dataclass(slots=True, eq=False)
class _Walk:
    ones: Iterator[Any]
    others: Iterator[Any]
    location: Location
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)

    def __call__(self, one: Tree, other: Tree, path: Path) -> Tree:
        """The structure of both."""
        if isinstance(one, Branch) and isinstance(other, Branch):
            if one.type is not other.type or one.keys != other.keys or one.about != other.about:
                self._refuse(one, other, path)
            inner = zip(one.keys, one.parts, other.parts, strict=True)
            parts = tuple(self(a, b, (*path, segment(one.type, key))) for key, a, b in inner)
            return Branch(one.type, one.keys, parts, one.about, one.rebuild)
        if isinstance(one, Slot) or isinstance(other, Slot):
            return self._leaf(one, other, path)
        return one if one == other else self._leaf(one, other, path)

    def _leaf(self, one: Tree, other: Tree, path: Path) -> Tree:
        """Two values, or two numbers: each is known to its way, or found at the call."""
        pair = self._value(one, self.ones), self._value(other, self.others)
        kind, are_given = number_type(pair[0]), isinstance(one, Slot) and isinstance(other, Slot)
        if not are_given and (kind is None or kind is not number_type(pair[1])):
            self._refuse(one, other, path)
        self.pairs.append(pair)
        self.paths.append(path)
        return SLOT

    def _value(self, leaf: Tree, values: Iterator[Any]) -> Any:
        """The node or the plain number at a leaf of one way; None for what is neither."""
        if isinstance(leaf, Slot):
            return next(values)
        return leaf.value if isinstance(leaf, Constant) else None

    def _refuse(self, one: Tree, other: Tree, path: Path) -> NoReturn:
        where = f" at {'.'.join(path)}" if path else ""
        raise _refused(f"return other structures{where}", f"{_said(one)} and {_said(other)}", self.location)


def number_type(value: Any) -> type | None:
    """Python's type of a number: one that is known, one of sizes or of data, or one that two ways have given already.
    None for anything else."""
    return _NUMBERS.get(type(value.meta.get("val") if isinstance(value, fx.Node) else value))


def refuse_unlike(one: Any, other: Any, location: Location) -> NoReturn:
    """Raise DataDependentControlFlow for values of two ways that no value can stand for."""
    places = [place for each in (one, other) if isinstance(each, fx.Node) and (place := Locator()(each))]
    raise _refused("give other kinds of values", f"{_kind(one)} and {_kind(other)}", location, *places)


def _refused(what: str, cause: str, *places: Location) -> DataDependentControlFlow:
    return DataDependentControlFlow(
        f"the two ways of a decision {what}",
        cause=f"{cause or 'what one leaves the other does not'}: in one graph both have to be alike",
        cure="return tensors of one dtype and shape from both ways, in containers of one structure",
        location=list(dict.fromkeys(place for place in places if place)),
    )


def _said(tree: Tree) -> str:
    match tree:
        case Slot():
            return "a tensor"
        case Constant(value=value):
            return repr(value)
        case Branch(type=kind, keys=keys):
            return f"a {kind.__name__} of {len(keys)}"
    return "a part met before"


def _kind(value: Any) -> str:
    fake = value.meta.get("val") if isinstance(value, fx.Node) else value
    if not isinstance(fake, torch.Tensor):
        return str(fake)
    return f"{fake.dtype} of [{', '.join(str(each) for each in fake.shape)}]"
