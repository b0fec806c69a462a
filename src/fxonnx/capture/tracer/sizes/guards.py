"""What the model and torch decide by sizes while they run: what holds for all sizes costs nothing, what holds for the
traced ones only is noted with the line that asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar
from weakref import WeakMethod

from fxonnx.capture.assertions import asked_to_check
from fxonnx.capture.assumption import OPPOSITE, RELATIONS, Guard
from fxonnx.capture.constraints import describe
from fxonnx.capture.tracer.sizes.data import DataSymbols, Rounded
from fxonnx.capture.tracer.sizes.lookups import tells_by_what_it_finds
from fxonnx.capture.tracer.sizes.text import Key
from fxonnx.errors import CaptureRefused, DataDependentControlFlow, Error, FrozenDimension
from fxonnx.ir.dims import Bounds, Dim, Expr, certain, evaluate, symbol, symbols_of
from fxonnx.location import Location

Plain = TypeVar("Plain", bool, int, float)
_TRIED = (4, 5, 6, 7, 8, 9, 10, 12, 101, 120, 1000, 10007)
_IN_PARTS = frozenset({
    "aten.split.Tensor", "aten.chunk.default", "aten.unsafe_split.Tensor", "aten.unsafe_chunk.default",
})  # fmt: skip
"""Ops of which a size says how many results there are: 3 chunks of n are 3 for nearly all n."""
_BOTH_WAYS = (
    "choose with torch.where(condition, a, b), or branch with torch.cond(condition, f, g, operands); what always holds "
    "say with torch._check(condition)"
)
_WITHOUT_THE_NUMBER = (
    "in place of range(n), loop over all that there may be and keep what comes of the first n with "
    "torch.where(i < n, after, before), or loop with torch's while_loop; in place of items[n], take rows of a tensor"
)
_FEW = 4  # numbers that a size may be, each of which is a way: range(n % 2)
_LEAST = 2  # sizes of 0 and 1 broadcast and end: they are held for the same as the rest, as torch.export does


@dataclass(frozen=True, slots=True)
class Specialization:
    """A dim of which something made a plain number."""

    dim: Dim
    location: Location
    op: str
    as_text: bool = False
    value: Any = None  # the number, where a run went on with it

    def error(self, labels: Mapping[str, str]) -> Error:
        """The error for it. `labels` say where a symbol is found: "x, axis 0"."""
        if self.as_text:
            return FrozenDimension(
                f"{describe(self.dim, labels)} freezes",
                cause="this line goes on with the size as text",
                cure="text of a size is free where it is only said: as an argument of print() or of a logger, or in "
                "raise; or leave the dim static",
                location=self.location,
            )
        if self.op.startswith("aten.size."):
            return FrozenDimension(
                f"{describe(self.dim, labels)} freezes",
                cause="code of torch's own in C++, of TorchScript or of a transform such as torch.vmap, takes the size "
                "for a plain number, and other sizes do not tell what it makes of it",
                cure="compile the module in Python, not what torch.jit made of it; compute on the whole axis, not in "
                "torch.vmap; or leave the dim static",
                location=self.location,
            )
        asks = f"{self.op} needs" if self.op else "this line makes"
        return FrozenDimension(
            f"{describe(self.dim, labels)} freezes",
            cause=f"{asks} a plain number of the size",
            cure="compute with the size itself, x.shape[0] // 2, not with int(), len(), range() or numpy on it; "
            "or leave the dim static",
            location=self.location,
        )


class Specialized(Exception):
    """Something makes a plain number of a dim. Callers make a FrozenDimension of it."""

    def __init__(self, specialization: Specialization) -> None:
        super().__init__(f"{specialization.dim} becomes a constant")
        self.specialization = specialization


@dataclass(slots=True, eq=False)
class GuardLog:
    """The notes of one trace. `lows` and `highs` are the sizes that were asked for, by name of the dim."""

    lows: dict[str, int]
    highs: Mapping[str, int]
    hints: Mapping[str, int]  # the sizes in this run
    locate: Callable[[], Location]
    at_once: bool = False  # whether comparisons in the model's own Python are decided where they are made
    takes_plain: bool = False  # whether a plain number that is wanted of a dim is given, and noted, or refused
    counts: bool = False  # whether plain numbers stay sizes, so that floats keep how they are computed of them
    in_model: bool = False  # whether the model runs
    op: str = ""  # what runs now; empty in the model's own Python
    entries: dict[tuple[str, Dim], Guard] = field(default_factory=dict)
    # comparisons in the model's Python that come out so for sizes from 2 up, and otherwise where one size is 1
    zero_one: dict[tuple[str, Dim], Guard | None] = field(default_factory=dict)
    specializations: list[Specialization] = field(default_factory=list)
    plain: list[Specialization] = field(default_factory=list)  # what was given
    is_by_numbers: bool = False  # whether plain numbers from data are decided
    beyond: list[Dim] = field(default_factory=list)  # such numbers that are none of those decided
    wanted: list[Dim] = field(default_factory=list)  # what comes from data and was refused as a plain number
    ranges: list[Dim] = field(default_factory=list)  # how often Python goes through each
    keys: set[Key] = field(default_factory=set)  # what sizes may have been looked up among, or their text
    hashed: set[Dim] = field(default_factory=set)  # what was a key itself: {n, m} has one element where they are alike
    # a number that dims cannot say -> the symbol that stands for it; and a dim that it comes from, by that symbol
    opaque: dict[Any, Dim] = field(default_factory=dict)
    origins: dict[Dim, Dim] = field(default_factory=dict)
    rounded: dict[str, Rounded] = field(default_factory=dict)  # the name of such a symbol -> what it is
    sizes: set[Dim] = field(default_factory=set)  # what tensors have: never negative
    answers_of_way: int = 0  # how many answers another way of the model may give otherwise
    data: DataSymbols = field(init=False)
    # held weakly: sizes of fake tensors know this log, through memory that Python's collector does not see
    decide: WeakMethod[Callable[[Any], bool]] | None = None  # answers what the model's Python asks of what is data
    must_hold: WeakMethod[Callable[[Any, str], None]] | None = None  # keeps what a call is checked for
    keep_answer: WeakMethod[Callable[[str, Dim, bool], None]] | None = None  # where iterations are counted
    asked: list[Guard] | None = None  # what an op has asked of what comes from data
    truths: list[Location] = field(default_factory=list)  # where floats of iterations were compared
    refused: list[BaseException] = field(default_factory=list)  # for code that swallows exceptions
    _numbers: Iterator[int] = field(default_factory=count)
    _known: dict[tuple[str, Dim], bool | None] = field(default_factory=dict)
    _learned: dict[tuple[str, Dim], bool | None] = field(default_factory=dict)
    _told: set[tuple[str, Dim]] = field(default_factory=set)  # comparisons that the sizes of tensors answer
    _stepped: set[Dim] = field(default_factory=set)  # numbers that grow slowly with a size
    _agreed: set[Dim] = field(default_factory=set)  # differences that a check says are none
    _bounds: Bounds = field(init=False)
    _lows_from_one: dict[str, int] = field(init=False)
    _bounds_from_one: Bounds = field(init=False)

    def __post_init__(self) -> None:
        highs = self.highs = dict(self.highs)
        self._lows_from_one = {name: low if low > _LEAST else 1 for name, low in self.lows.items()}
        self.data = DataSymbols(self.hints, (self.lows, self._lows_from_one), highs, rounded=self.rounded)
        self._bound()

    def _bound(self) -> None:
        self._bounds = Bounds(self.lows, self.highs, _LEAST)
        self._bounds_from_one = Bounds(self._lows_from_one, self.highs, 1)

    @property
    def decides(self) -> bool:
        """Whether a comparison that is made now is a plain truth."""
        return self.at_once and self.in_model and not self.op

    def statically_known(self, relation: str, left: Dim, right: Dim) -> bool | None:
        """What a comparison is for all sizes alike, or None."""
        difference = left - right
        if isinstance(difference, int):
            return RELATIONS[relation](difference, 0)
        key = relation, difference
        self.answers_of_way += difference in self._agreed or key in self._learned or key in self._told
        if difference in self._agreed:
            return RELATIONS[relation](0, 0)
        if key not in self._known:
            self._known[key] = self._for_all(relation, difference)
        return self._known[key]

    def known_from_one(self, relation: str, left: Dim, right: Dim) -> bool | None:
        """What a comparison is for all sizes from 1 up alike, or None: min(2, n) stays what it is. Nothing checks that
        a size is 2 or more where only the size of a result depends on it."""
        difference = left - right
        return certain(relation, *self._bounds_from_one.interval(difference))

    def _for_all(self, relation: str, difference: Dim) -> bool | None:
        low, high = self._interval(difference)
        known = certain(relation, low, high)
        low = max(low, 0) if difference in self.sizes else low
        high = min(high, 0) if -difference in self.sizes else high
        if known is None and (known := certain(relation, low, high)) is not None:
            self._told.add((relation, difference))
            self.answers_of_way += 1
        return known

    def _interval(self, difference: Any) -> tuple[float, float]:
        low, high = self._bounds.interval(difference)
        if self.data.are_in(difference):
            least, most = self.data.ends(difference)
            low, high = max(low, self._bounds.interval(least)[0]), min(high, self._bounds.interval(most)[1])
        return low, high

    def add(self, relation: str, left: Dim, right: Dim, holds: bool) -> None:
        """Keep a comparison that came out as it did for the traced sizes."""
        said = relation if holds else OPPOSITE[relation]
        key = said, left - right
        if key not in self.entries or (self.entries[key].inside and not self.op):
            self.keep(Guard(left, said, right, self.locate(), inside=bool(self.op)))

    def keep(self, guard: Guard) -> None:
        """Keep what must hold."""
        self.entries[guard.relation, guard.left - guard.right] = guard

    def require(self, left: Dim, right: Dim) -> None:
        """Keep that an op refuses a size that is less than another one."""
        known = self.entries.get((">=", left - right))
        if known is None or (known.inside and not known.required):
            self.keep(Guard(left, ">=", right, self.locate(), inside=True, required=True))

    @contextmanager
    def nested(self) -> Iterator[dict[tuple[str, Dim], Guard]]:
        """What is noted inside, by itself; it joins the rest at the end, as it is by then."""
        rest, self.entries = self.entries, (fresh := dict[tuple[str, Dim], Guard]())
        try:
            yield fresh
        finally:
            self.entries = rest
            for key, each in fresh.items():
                if key not in rest or (rest[key].inside and not each.inside):
                    rest[key] = each

    def add_zero_one(self, relation: str, left: Dim, right: Dim) -> None:
        """Keep a comparison in the model's own Python that is the same for all sizes from 2 up, and not for 1."""
        if self.op:
            return
        key = relation, left - right
        if key not in self.zero_one:
            self.zero_one[key] = self._zero_one_guard(*key, left, right)

    def _zero_one_guard(self, relation: str, difference: Dim, left: Dim, right: Dim) -> Guard | None:
        if isinstance(difference, int) or not difference.symbols <= self.hints.keys():
            return None
        holds = RELATIONS[relation](evaluate(difference, self.hints), 0)
        for name in difference.symbols:
            with suppress(ZeroDivisionError):
                if RELATIONS[relation](evaluate(difference, {**self.hints, name: 1}), 0) is not holds:
                    return Guard(left, relation if holds else OPPOSITE[relation], right, self.locate())
        return None

    def decides_numbers(self, dim: Dim) -> bool:
        """Whether a plain number that is wanted of a dim is one of a few, on a way of its own each."""
        return self.is_by_numbers and not self.op and self.data.are_in(dim)

    def specialize(self, dim: Dim, *, as_text: bool = False) -> Exception:
        """The exception for a dim that becomes a plain number; kept too, for code that swallows exceptions."""
        if self.data.are_in(dim):
            self.wanted.append(dim)
            return self.refusal_of_data(f"what {dim} is", _WITHOUT_THE_NUMBER)
        specialization = Specialization(self._origin(dim), self.locate(), self.op, as_text)
        self.specializations.append(specialization)
        return Specialized(specialization)

    def as_plain(self, dim: Dim, value: Plain, *, as_text: bool = False) -> Plain:
        """A plain number that comes from a dim: noted, where this run takes such. Raises Specialized where not."""
        if not self.takes_plain or not self.data.are_given(dim):
            raise self.specialize(dim, as_text=as_text)
        self.look_up(dim)
        self.plain.append(Specialization(self._origin(dim), self.locate(), self.op, as_text, value))
        return value

    def as_truth(self, dim: Dim, truth: bool) -> bool:
        """A truth about a number that comes from a dim and that no dim says: other sizes may answer otherwise, which
        runs at some cannot rule out. Raises Specialized; where this run counts the iterations of loops it is noted."""
        if not self.counts:
            raise self.specialize(dim)
        self.truths.append(self.locate())
        return truth

    @property
    def follows(self) -> bool:
        """Whether what the model's own Python asks now may be of the number of an iteration."""
        return self.counts and self.in_model and not self.op

    def look_up(self, dim: Dim) -> None:
        """Python goes on with the number of an iteration: see `tells_by_what_it_finds`."""
        if self.follows and isinstance(dim, int) and not tells_by_what_it_finds():
            self.as_truth(dim, True)

    def answer(self, relation: str, difference: Dim, truth: bool) -> None:
        """Have the tape keep what the model was answered, where it may be of the number of an iteration."""
        keep = self.keep_answer() if self.follows and self.keep_answer is not None else None
        if keep is not None:
            keep(relation, difference, truth)

    def divided(self, dividend: Dim, divisor: Dim, quotient: Dim) -> None:
        """Keep that a number is divided so, rounded down: 0 <= dividend - divisor * quotient < divisor."""
        if not self.follows or not isinstance(dividend, int) or not isinstance(divisor, int):
            return
        rest, sign = dividend - divisor * quotient, 1 if divisor > 0 else -1
        self.answer(">=", sign * rest, True)
        self.answer("<", sign * (rest - divisor), True)

    def guard_int(self, dim: Dim, hint: int) -> int:
        """The plain number that is wanted of a dim: its value, where that is the same for all sizes tried, which is
        noted, or says how many parts there are, and is so for other sizes too: a decision. Else see `as_plain`, as
        for what comes from data, which no call is held to."""
        if isinstance(dim, int):
            return dim
        low, high = self._bounds.interval(dim)
        if low == high == hint:
            self.add_zero_one("==", dim, hint)
            return hint
        names = sorted(dim.symbols)
        if self.op and not self.data.are_in(dim) and all(
            evaluate(dim, {name: size + at for at, name in enumerate(names)}) == hint for size in _TRIED
        ):
            self.add("==", dim, hint, True)
            return hint
        parts = Guard(dim, "==", hint, self.locate())
        is_choice = self.op in _IN_PARTS or high - low < _FEW or dim in self._stepped
        if is_choice and parts.symbols <= self.hints.keys() and parts.leaves_free(self.hints):
            self.keep(parts)
            return hint
        return self.as_plain(dim, hint)

    def keep_count(self, dim: Dim, count: int) -> None:
        """Keep how often Python goes through a range in a run that goes on with plain numbers. Runs at other sizes that
        go as often leave the same calls, and say nothing of sizes at which it goes more often."""
        if self.takes_plain and not self.data.are_in(dim):
            self.ranges.append(dim)
            self.keep(Guard(dim, "==" if count else "<=", count, self.locate()))

    def is_agreed_non_negative(self, dim: Dim, hint: float) -> bool:
        """Whether a dim is 0 or more: of sizes that are fixed when the model is called, where it is so in this run."""
        known = self.statically_known(">=", dim, 0)
        if known is None and hint >= 0 and not self.op and symbols_of([dim]) <= self.hints.keys():
            self.add(">=", dim, 0, True)
            return True
        return known is True

    def stepped(self, dim: Dim) -> Dim:
        """The dim, noted as one that is the same for many sizes: which it is is a decision where a number is wanted."""
        self._stepped.add(dim)
        return dim

    def opaque_symbol(self, number: tuple[str, str], origin: Dim, unrounded: Any) -> Dim:
        """A dim for a whole number that no dim can say, the same one wherever it stands: a symbol, or where it may be
        negative the difference of two. It comes from `origin`, and is the float `unrounded`, rounded in a way that has
        a name."""
        if number not in self.opaque:
            parts = {self._fresh(): 1} if unrounded.is_non_negative() else {self._fresh(): 1, self._fresh(): -1}
            dim = sum((sign * symbol(name) for name, sign in parts.items()), start=0)
            for name, sign in parts.items():
                self.know_rounded(name, Rounded(dim, number[0], unrounded, sign if len(parts) > 1 else 0), origin)
        return self.opaque[number]

    def know_rounded(self, name: str, rounded: Rounded, origin: Dim) -> None:
        """Let a symbol stand for a rounded float, or for a part of it."""
        self.opaque[rounded.rounding, str(rounded.number)] = rounded.dim
        self.origins[symbol(name)], self.rounded[name] = origin, rounded
        self.lows[name] = self._lows_from_one[name] = 0

    def _fresh(self) -> str:
        return next(name for number in self._numbers if (name := f"size{number}") not in self.rounded)

    def learn_positive(self, shape: Iterable[Any]) -> None:
        """Let sizes that no dim says be 1 or more: those of images that an op resizes, which refuses 0."""
        names = [dim.name for dim in shape if isinstance(dim, Expr) and dim.name in self.rounded]
        if new := {name: 1 for name in names if name is not None and self.lows[name] < 1}:
            self.lows.update(new)
            self._lows_from_one.update(new)
            self._known = dict(self._learned)
            self._bound()

    def is_opaque(self, *dims: Dim) -> bool:
        """Whether a number that no dim can say is among these."""
        return not symbols_of(dims) <= self.hints.keys()

    def _origin(self, dim: Dim) -> Dim:
        """The dim that a number comes from, or itself."""
        names = symbols_of([dim])
        return next((origin for opaque, origin in self.origins.items() if symbols_of([opaque]) & names), dim)

    # ── what comes from data ──

    def begin_way(self, data: DataSymbols) -> None:
        """Forget what the run before has learned: another way of the model begins, with no symbols yet, whose tensors
        need not have the sizes that were those of the way before."""
        self.data = data
        self.beyond.clear()
        for known in (self.sizes, self._agreed, self._learned, self._known, self._told):
            known.clear()
        self.lows.update(dict.fromkeys(self.rounded, 0))
        self._lows_from_one.update(dict.fromkeys(self.rounded, 0))
        self._bound()

    def by_data(self, condition: Any) -> bool:
        """The answer to a question about sizes or numbers that come from data, which not all calls answer alike.

        Raises DataDependentControlFlow where nobody decides, and CaptureRefused where an op asks outside of `asking`.
        """
        self.answers_of_way += 1
        if not self.op and (checked := asked_to_check()) is not None:
            wanted, text = checked
            self.check(condition if wanted else condition.sym_not(), text)
            return wanted
        decide = None if self.decide is None or self.op else self.decide()
        if decide is not None:
            return decide(condition)
        match condition.tree:
            case (relation, int() | Expr() as left, int() | Expr() as right) if self.asked is not None:
                said = relation if condition.hint else OPPOSITE[relation]
                self.asked.append(Guard(left, said, right, self.locate(), inside=True))
                return bool(condition.hint)
        raise self.refusal_of_data(f"whether {condition}")

    @contextmanager
    def asking(self) -> Iterator[list[Guard]]:
        """What an op asks inside of what comes from data, answered by the values of this run."""
        before, self.asked = self.asked, []
        try:
            yield self.asked
        finally:
            self.asked = before

    def by_float(self, condition: Any, difference: Dim) -> bool:
        """The answer to a question about a number that no dim says: a check of the model's is one of every call, and
        else both ways are taken."""
        self.answers_of_way += 1
        checked, truth = asked_to_check(), bool(condition.hint)
        if checked is not None and checked[0] is truth and self.must_hold is not None:
            self._hold(condition if truth else condition.sym_not(), checked[1])
            return truth
        decide = None if self.decide is None or self.takes_plain else self.decide()
        return self.as_truth(difference, truth) if decide is None else decide(condition)

    def value(self, dim: Dim) -> int:
        """A dim's value in the run."""
        return self.data.value(dim)

    def check(self, condition: Any, text: str = "") -> bool:
        """Have every call checked for what is asked, which is taken to hold from here on, while a run records."""
        if self.must_hold is not None:
            self._hold(condition, text)
            self._learn(condition.tree)
        return True

    def _hold(self, condition: Any, text: str) -> None:
        record = self.must_hold() if self.must_hold is not None else None
        if record is not None:
            record(condition, text)

    def _learn(self, comparison: tuple[Any, ...]) -> None:
        match comparison:
            case ("and", left, right):
                self._learn(left.tree)
                self._learn(right.tree)
            case ("not", part) if len(part.tree) == 3 and part.tree[0] in OPPOSITE:
                self._learn((OPPOSITE[part.tree[0]], *part.tree[1:]))
            case (relation, int() | Expr() as left, int() | Expr() as right) if relation in RELATIONS:
                self.learn(relation, left, right)

    def learn(self, relation: str, left: Dim, right: Dim) -> None:
        """Let a comparison of what comes from data be known to hold."""
        self.data.learn(relation, left - right)
        self._learned[relation, left - right] = True
        self._known = dict(self._learned)
        self._bound()
        self._agreed.update({left - right, right - left} if relation == "==" else ())

    def refusal_of_data(self, question: str, cure: str = _BOTH_WAYS) -> Error:
        """The error for a question that data answers; kept too."""
        error: Error = DataDependentControlFlow(
            "the model decides in Python by a size or a number that comes from data",
            cause=f"it asks {question}, which is known only when the model runs, and one graph cannot hold both ways",
            cure=cure,
            location=self.locate(),
        )
        if self.op:
            error = CaptureRefused(
                "an op needs to know a size or a number that comes from data",
                cause=f"{self.op} asks {question}, which is known only when the model runs",
                cure="say what holds with torch._check(condition) before that line, or use a mask for a selection",
                location=self.locate(),
            )
        self.refused.append(error)
        return error

    # ── what torch's guards call on a node's shape_env ──

    def evaluate_sym_node(self, node: Any, size_oblivious: bool = False, fallback_value: bool | None = None) -> bool:
        """`guard_or_false(…)`, `guard_or_true(…)`: the way that is right for all sizes, unless one is certain."""
        known: bool | None = node.statically_known()
        if known is not None:
            return known
        if self._is_agreed(node.tree):
            return True
        if node.asks_for_one():
            return bool(node.guard_bool())
        return bool(node.guard_bool()) if fallback_value is None else fallback_value

    def _is_agreed(self, comparison: tuple[Any, ...]) -> bool:
        """Whether two sizes have been found to agree before: torch relies on what it has checked."""
        match comparison:
            case ("==", int() | Expr() as left, int() | Expr() as right):
                found = ("==", left - right), ("==", right - left)
                return not self.entries.keys().isdisjoint(found) or left - right in self._agreed
        return False

    def _maybe_evaluate_static(self, expression: Any) -> bool | None:
        """`statically_known_true(…)`."""
        known: bool | None = expression.statically_known()
        return known


__all__ = ["GuardLog", "Specialization", "Specialized"]
