"""Comparisons of sizes: true in this run or not, known for all sizes or not, noted when something acts on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.node import CONSTANT, Node
from fxonnx.ir.dims import Dim, Expr


class BoolNode(Node):
    """A comparison that nobody has acted on yet: (relation, left, right), or "and", "or", "not" of others."""

    __slots__ = ("tree",)

    pytype = bool

    def __init__(self, tree: tuple[Any, ...], hint: bool, guard_log: GuardLog) -> None:
        super().__init__(hint, guard_log)
        self.tree = tree

    def __str__(self) -> str:
        return f"{self.tree[0]}({', '.join(map(str, self.tree[1:]))})"

    @property
    def expr(self) -> BoolNode:
        """What torch hands to `shape_env`."""
        return self

    @property
    def shape_env(self) -> GuardLog:
        """Whom torch's guards ask."""
        return self.guard_log

    def text(self) -> str:
        """`f"{n > 4}"`"""
        return str(self.guard_bool())

    def is_constant(self) -> bool:
        """Whether it is a plain truth: torch asks of each that it makes, and takes the answer of `guard_bool` then."""
        return self.tree[0] == CONSTANT or self.guard_log.decides

    def maybe_as_bool(self) -> bool | None:
        """The truth, where it is the same for all sizes."""
        return self.statically_known()

    def statically_known(self) -> bool | None:
        """What it is for all sizes alike, or None."""
        match self.tree:
            case ("number", value):
                return bool(value)
            case ("data", _) | (_, Node(), Node()) if self.tree[0] not in ("and", "or"):
                return None
            case ("not", part):
                return None if (found := part.statically_known()) is None else not found
            case ("and" | "or" as word, left, right):
                parts = left.statically_known(), right.statically_known()
                absorbing = word == "or"
                return absorbing if absorbing in parts else None if None in parts else not absorbing
        return self.guard_log.statically_known(*self.tree)

    @property
    def comes_from_data(self) -> bool:
        """Whether a size or a number that comes from data is in it."""
        return any(
            part.comes_from_data if isinstance(part, Node) else self.guard_log.data.are_in(part)
            for part in self.tree[1:]
            if not isinstance(part, bool)
        )

    def guard_bool(self, file: str = "", line: int = 0) -> bool:
        """The answer of this run, which is noted where it is not the same for all sizes."""
        match self.tree:
            case ("not", part):
                return not part.guard_bool()
            case ("and" | "or" as word, left, right) if self.guard_log.follows or self.statically_known() is None:
                return right.guard_bool() if left.guard_bool() is (word == "and") else word == "or"
        known = self.statically_known()
        if known is None and self.comes_from_data:
            return self.guard_log.by_data(self)
        if len(self.tree) < 3 or isinstance(self.tree[1], BoolNode):
            return bool(known)
        relation, left, right = self.tree
        if isinstance(left, Node):
            return self.guard_log.by_float(self, (right if left.is_constant() else left).any_dim())
        if known is None and not self.guard_log.op and self.guard_log.is_opaque(left, right):
            return self.guard_log.by_float(self, left - right)
        self.guard_log.answer(relation, left - right, bool(self.hint if known is None else known))
        if known is None:
            self.guard_log.add(relation, left, right, bool(self.hint))
            return bool(self.hint)
        self.guard_log.add_zero_one(relation, left, right)
        return known  # of what comes from data not the run's answer: what has been checked

    bool_ = guard_bool  # `if n > 4:`, `bool(n > 4)`

    def is_checked_when_called(self) -> bool:
        """Whether a call has to be asked: it comes from data, or is of numbers that no dim says."""
        if self.statically_known() is not None:
            return False
        return self.comes_from_data or self._is_of_floats() or self.guard_log.is_opaque(*self.dims())

    def _is_of_floats(self) -> bool:
        """Whether floats are compared that are no quotients of dims."""
        return any(
            part._is_of_floats() if isinstance(part, BoolNode) else isinstance(part, Node) for part in self.tree[1:]
        )

    def dims(self) -> Iterator[Dim]:
        """The dims that are compared."""
        for part in self.tree[1:]:
            if isinstance(part, BoolNode):
                yield from part.dims()
            elif isinstance(part, int | Expr):
                yield part

    def expect_true(self, file: str = "", line: int = 0) -> bool:
        """`torch._check(n > 4)`, and that there is a row to index: of what comes from data, or is a number that no dim
        says, what a call is checked for. What an op asks of the latter is noted."""
        is_checked = self.comes_from_data or (self.hint and not self.guard_log.op)
        return self.guard_log.check(self) if is_checked and self.is_checked_when_called() else self.guard_bool()

    def guard_size_oblivious(self, file: str = "", line: int = 0) -> bool:
        """Of a size that comes from data, what it is for most."""
        return self.guard_or_false(file, line) if self.comes_from_data else self.guard_bool()

    def statically_known_true(self, file: str, line: int) -> bool:
        """Whether it holds for all sizes."""
        return self.statically_known() is True

    def guard_or_false(self, file: str, line: int) -> bool:
        """Whether it holds for all sizes; whether a size that may be 1 is 1 is a decision."""
        return self.guard_bool() if self.asks_for_one() else self.statically_known() is True

    def guard_or_true(self, file: str, line: int) -> bool:
        """Whether it fails for no size we know of; whether a size that may be 1 is 1 is a decision."""
        return self.guard_bool() if self.asks_for_one() else self.statically_known() is not False

    def asks_for_one(self) -> bool:
        """Whether this asks if a size that is computed of others is 1, or one of two: such an axis is squeezed, or
        broadcasts."""
        match self.tree:
            case ("==" | "!=", size, 1) | ("==" | "!=", 1, size):
                is_told = not self.guard_log.is_opaque(size) or self._is_one_in_the_run()
                return is_told and self.statically_known() is None
            case ("and" | "or", left, right):
                parts = [each for each in (left, right) if each.statically_known() is None]
                return bool(parts) and all(each.asks_for_one() for each in parts)
        return False

    def _is_one_in_the_run(self) -> bool:
        """Whether a size that no dim says is 1 in this run: so is told where torch asks for a plain truth, and the two
        answers go together. What comes from data is not asked, and squeezes find out in the file."""
        is_asked = not self.comes_from_data and not self.guard_log.op.startswith("aten.squeeze")
        return is_asked and bool(self.hint) is (self.tree[0] == "==")

    def guard_int(self, file: str, line: int) -> int:
        """`int(n > 4)`"""
        return int(self.guard_bool())

    int_ = bool_

    def _made(self, word: str, other: BoolNode, hint: bool) -> BoolNode:
        return BoolNode((word, self, other), hint, self.guard_log)

    def and_(self, other: BoolNode) -> BoolNode:
        """a and b"""
        return self._made("and", other, self.hint and other.hint)

    def or_(self, other: BoolNode) -> BoolNode:
        """a or b"""
        return self._made("or", other, self.hint or other.hint)

    sym_and = bitwise_and = and_
    sym_or = bitwise_or = or_

    def sym_not(self) -> BoolNode:
        """not a"""
        return BoolNode(("not", self), not self.hint, self.guard_log)

    def sym_ite(self, yes: Node, no: Node) -> Node:
        """torch.sym_ite: the branch of this run."""
        return yes if self.guard_bool() else no

    def eq(self, other: BoolNode) -> BoolNode:
        """a == b of truths."""
        value = self.guard_bool() == other.guard_bool()
        return BoolNode((CONSTANT, value), value, self.guard_log)
