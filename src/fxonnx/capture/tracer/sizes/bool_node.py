"""Comparisons of sizes: true in this run or not, known for all sizes or not, noted when something acts on them."""

from __future__ import annotations

from typing import Any

from fxonnx.capture.tracer.sizes.guards import Decisions
from fxonnx.capture.tracer.sizes.node import CONSTANT, Node


class Truth(Node):
    """A comparison that nobody has acted on yet: (relation, left, right), or "and", "or", "not" of others."""

    __slots__ = ("tree",)

    pytype = bool

    def __init__(self, tree: tuple[Any, ...], hint: bool, decisions: Decisions) -> None:
        super().__init__(hint, decisions)
        self.tree = tree

    def __str__(self) -> str:
        return f"{self.tree[0]}({', '.join(map(str, self.tree[1:]))})"

    @property
    def expr(self) -> Truth:
        """What torch hands to `shape_env`."""
        return self

    @property
    def shape_env(self) -> Decisions:
        """Whom torch's guards ask."""
        return self.decisions

    def text(self) -> str:
        """`f"{n > 4}"`"""
        return str(self.decide())

    def is_constant(self) -> bool:
        """Whether it is a plain truth."""
        return self.tree[0] == CONSTANT

    def maybe_as_bool(self) -> bool | None:
        """The truth, where it is the same for all sizes."""
        return self.known()

    def known(self) -> bool | None:
        """What it is for all sizes alike, or None."""
        match self.tree:
            case ("number", value):
                return bool(value)
            case ("not", part):
                return None if (found := part.known()) is None else not found
            case ("and" | "or" as word, left, right):
                parts = left.known(), right.known()
                absorbing = word == "or"
                return absorbing if absorbing in parts else None if None in parts else not absorbing
        return self.decisions.known(*self.tree)

    def decide(self) -> bool:
        """The answer of this run, which is noted where it is not the same for all sizes."""
        match self.tree:
            case ("not", part):
                return not part.decide()
            case ("and" | "or" as word, left, right) if self.known() is None:
                return right.decide() if left.decide() is (word == "and") else word == "or"
        known = self.known()
        if len(self.tree) < 3 or isinstance(self.tree[1], Truth):
            return bool(known)
        relation, left, right = self.tree
        if known is None and not self.decisions.op and self.decisions.is_opaque(left, right):
            raise self.decisions.lose(left - right)
        if known is None:
            self.decisions.note(relation, left, right, bool(self.hint))
        else:
            self.decisions.doubt(relation, left, right)
        return bool(self.hint)

    def guard_bool(self, file: str, line: int) -> bool:
        """`if n > 4:`"""
        return self.decide()

    def bool_(self) -> bool:
        """`bool(n > 4)`"""
        return self.decide()

    def expect_true(self, file: str, line: int) -> bool:
        """`torch._check(n > 4)`"""
        return self.decide()

    guard_size_oblivious = expect_true

    def statically_known_true(self, file: str, line: int) -> bool:
        """Whether it holds for all sizes."""
        return self.known() is True

    guard_or_false = statically_known_true

    def guard_or_true(self, file: str, line: int) -> bool:
        """Whether it fails for no size we know of."""
        return self.known() is not False

    def guard_int(self, file: str, line: int) -> int:
        """`int(n > 4)`"""
        return int(self.decide())

    int_ = bool_

    def _made(self, word: str, other: Truth, hint: bool) -> Truth:
        return Truth((word, self, other), hint, self.decisions)

    def and_(self, other: Truth) -> Truth:
        """a and b"""
        return self._made("and", other, self.hint and other.hint)

    def or_(self, other: Truth) -> Truth:
        """a or b"""
        return self._made("or", other, self.hint or other.hint)

    sym_and = bitwise_and = and_
    sym_or = bitwise_or = or_

    def sym_not(self) -> Truth:
        """not a"""
        return Truth(("not", self), not self.hint, self.decisions)

    def sym_ite(self, yes: Node, no: Node) -> Node:
        """torch.sym_ite: the branch of this run."""
        return yes if self.decide() else no

    def eq(self, other: Truth) -> Truth:
        """a == b of truths."""
        value = self.decide() == other.decide()
        return Truth((CONSTANT, value), value, self.decisions)
