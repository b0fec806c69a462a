"""What the nodes behind a trace's SymInts, SymFloats and SymBools answer alike, after torch's own SymNode."""

from __future__ import annotations

import builtins
import math
import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.text import is_said, keys_around
from fxonnx.ir.dims import Dim

CONSTANT = "number"  # the root of a tree that is a plain value
PLAIN = "plain"  # the root of one that became a plain value, over the dim that it comes from
DATA = "data"  # the root of one that is read from a tensor, over the symbol that stands for it


@dataclass(frozen=True, slots=True)
class Kinds:
    """The classes of nodes for int, float and bool, which make each other."""

    int_node: type
    float_node: type
    bool_node: type


class Node:
    """What all nodes answer alike. `hint` is the value in this run."""

    __slots__ = ("guard_log", "hint")

    shape_env: Any = None
    constant: Any = None
    pytype: type = int
    kinds: ClassVar[Kinds]  # set where all of them are known

    def __init__(self, hint: Any, guard_log: GuardLog) -> None:
        self.hint, self.guard_log = hint, guard_log

    @property
    def _hint(self) -> Any:
        return self.hint

    def has_hint(self) -> bool:
        """torch: whether the value in this run is known; what data says is not."""
        return not self.comes_from_data

    @property
    def comes_from_data(self) -> bool:
        """Whether a size or a number that comes from data is in it."""
        return False

    def is_int(self) -> bool:
        """torch: whether this stands for an int."""
        return self.pytype is int

    def is_float(self) -> bool:
        """torch: whether this stands for a float."""
        return self.pytype is float

    def is_bool(self) -> bool:
        """torch: whether this stands for a bool."""
        return self.pytype is bool

    def is_nested_int(self) -> bool:
        """torch: jagged tensors' own sizes; never ours."""
        return False

    def nested_int(self) -> None:
        """torch: see `is_nested_int`."""

    def is_constant(self) -> bool:
        """torch: whether this is a plain number after all."""
        return False

    def is_symbolic(self) -> bool:
        """torch: the opposite."""
        return not self.is_constant()

    def maybe_as_int(self) -> int | None:
        """torch: the plain number, where it is one."""
        return None

    def maybe_as_float(self) -> float | None:
        """torch: the plain number, where it is one."""
        return None

    def maybe_as_bool(self) -> bool | None:
        """torch: the plain truth, where it is one."""
        return None

    def clone(self) -> Node:
        """torch: nodes never change."""
        return self

    def str(self) -> builtins.str:
        """torch: how a SymInt prints."""
        return self.text()

    _graph_repr = str

    def text(self) -> builtins.str:
        """Text for the model. Raises Specialized where it goes on with it."""
        if self.guard_log.in_model and not self.is_constant() and not self.guard_log.op and not is_said():
            if self.is_float():  # which sizes have this text nobody can try
                raise self.guard_log.specialize(self.any_dim(), as_text=True)
            self.guard_log.keys |= keys_around(sys._getframe(1))
            return builtins.str(self.guard_log.as_plain(self.any_dim(), self.hint, as_text=True))
        return builtins.str(self)

    def any_dim(self) -> Dim:
        """A dim that this comes from."""
        raise NotImplementedError

    def wrap_int(self, value: int) -> Any:
        """torch: a constant among the symbolic."""
        return self.kinds.int_node(value, value, self.guard_log)

    def wrap_float(self, value: float) -> Any:
        """torch: a constant among the symbolic."""
        exact = Fraction(value) if math.isfinite(value) else None
        return self.kinds.float_node((CONSTANT, value), value, self.guard_log, exact)

    def wrap_bool(self, value: bool) -> Any:
        """torch: a constant among the symbolic."""
        return self.kinds.bool_node((CONSTANT, value), value, self.guard_log)
