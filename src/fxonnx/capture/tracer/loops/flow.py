"""What flows through the loops of several tapes: of each argument of a body where it comes from, in every iteration
and at every length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from fxonnx.capture.graph.checks import Said, said_by_all
from fxonnx.capture.tracer.loops.fit import Fit, settled_at
from fxonnx.capture.tracer.loops.lists import Row, is_made, rows_of
from fxonnx.capture.tracer.loops.measures import told
from fxonnx.capture.tracer.loops.measures.measured import Axis, Measured, Ref, Running, Sized, Total
from fxonnx.capture.tracer.loops.periods import Irregular, NotRolled, Period, Straight
from fxonnx.capture.tracer.loops.steps import Leaf, Many, Outside, Step
from fxonnx.ir.dims import Dim, Expr, evaluate, substitute, symbols_of

ITERATION = "_iteration"  # in a dim

# ── where an argument comes from ────────────────────────────────────────


class Value(NamedTuple):
    """A step outside of loops, or one of its results."""

    step: int
    result: int | None = None


class Made(NamedTuple):
    """What a step of a loop's body returned in one iteration, counted from the first, or from the last back (-1)."""

    loop: int
    step: int
    result: int | None
    iteration: int


class Here(NamedTuple):
    """In a body: what an earlier step of the same iteration returned."""

    step: int
    result: int | None


class Carried(NamedTuple):
    """In a body: what a step returned `distance` iterations ago; before there was one, the initial values, the first
    of which is for the first iteration. `steady` are the axes along which data says one size of all of them."""

    step: int
    result: int | None
    distance: int
    initial: tuple[Any, ...]
    steady: tuple[int, ...] = ()


class Element(NamedTuple):
    """In a body: what a step of an earlier loop returned in iteration `first + stride * iteration`; `sizes` are those
    that data said there, None for others."""

    loop: int
    step: int
    result: int | None
    first: Dim
    stride: int
    sizes: tuple[Sized | None, ...] = ()


class Counted(NamedTuple):
    """In a body: a number that grows by `step` with each iteration."""

    first: Dim | float
    step: Dim | float


class Along(NamedTuple):
    """In a body: a number that is computed of the iteration, for which ITERATION stands in the dim: how many elements
    of min(8 * t + 8, n) are behind those of min(8 * t, n)."""

    dim: Dim


class Parts(NamedTuple):
    """A list of tensors."""

    parts: tuple[Any, ...]


class Grown(NamedTuple):
    """In a body: what a step returned in all iterations so far, up to the one `distance` iterations ago."""

    step: int
    result: int | None
    distance: int


Source: TypeAlias = (
    "Value | Made | Row | Here | Carried | Element | Counted | Along | Parts | Grown | Sized | Running | Total"
    " | Outside | Dim | float | Said"
)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call to be made again: a step of the first tape, with a source for each of its leaves. `sizes` are those of
    what it returns: in a body in every iteration, None for one that comes from data; outside of loops where it is one
    of the parts of a tensor."""

    step: Step
    sources: tuple[Source, ...]
    sizes: tuple[tuple[Counted | None, ...], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A body and how often it runs."""

    body: tuple[Call, ...]
    trips: Dim

    @property
    def asks(self) -> bool:
        """Whether data ends it: each turn asks last whether it goes on."""
        return any(each.step.is_question for each in self.body)


Recipe: TypeAlias = "list[Call | Loop]"


def with_dims(part: Any, known: Mapping[str, Dim]) -> Any:
    """A part of a recipe, in whose dims these are put for symbols."""
    if not known:
        return part
    match part:
        case Expr():
            return substitute(part, known)
        case Call():
            sources, sizes = with_dims((part.sources, part.sizes), known)
            return replace(part, sources=sources, sizes=sizes)
        case Loop():
            return Loop(with_dims(part.body, known), substitute(part.trips, known))
        case tuple():
            parts = (with_dims(each, known) for each in part)
            return part._make(parts) if hasattr(part, "_make") else tuple(parts)
    return part


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """The steps of one run, and the sizes of its dims."""

    steps: Sequence[Step]
    sizes: Mapping[str, int]
    _values: dict[Dim, int] = field(default_factory=dict)

    def sizes_of(self, step: Step) -> list[int]:
        """The sizes of what a step returned, one after the other; -1 for those that come from data."""
        return [-1 if isinstance(dim, Measured) else self._value(dim) for each in step.sizes for dim in each]

    def _value(self, dim: Dim) -> int:
        found = self._values.get(dim)
        return self._values.setdefault(dim, evaluate(dim, self.sizes)) if found is None else found


def recipe(tapes: Sequence[Tape], segments: Sequence[Straight | Period], fit: Fit) -> Recipe:
    """The steps outside of loops, and the loops, in order. Raises NotRolled, and Irregular."""
    return list(Flow(tapes, segments, fit).items())


@dataclass(slots=True, eq=False)
class Flow:
    """Knows each step of each tape by what it is outside of loops, or in which iteration of which body."""

    tapes: Sequence[Tape]
    segments: Sequence[Straight | Period]
    fit: Fit
    places: list[list[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.places = [self._places(tape) for tape in range(len(self.tapes))]

    def _places(self, tape: int) -> list[Any]:
        places: list[Any] = []
        straight = loop = 0
        for each in self.segments:
            if isinstance(each, Straight):
                places += [(straight + at,) for at in range(each.length)]
                straight += each.length
            else:
                places += [(loop, step, at) for at in range(each.trips[tape]) for step in range(each.length)]
                loop += 1
        return places

    def items(self) -> Iterator[Call | Loop]:
        """In order."""
        number = 0
        for each in self.segments:
            if isinstance(each, Straight):
                for at in range(each.length):
                    yield self._straight([start + at for start in each.starts])
            else:
                yield self._loop(number, each)
                number += 1

    # ── outside of loops ──

    def _straight(self, positions: Sequence[int]) -> Call:
        steps = [tape.steps[at] for tape, at in zip(self.tapes, positions, strict=True)]
        sources = tuple(self.outer(leaves) for leaves in zip(*(each.leaves for each in steps), strict=True))
        sizes = self._of_part([each.sizes[0] for each in steps]) if steps[0].is_part else None
        return Call(steps[0], sources, (sizes,) if sizes is not None else ())

    def _of_part(self, sizes: Sequence[Sequence[Any]]) -> tuple[Counted, ...] | None:
        """The sizes of a part of a tensor, as all lengths say them: the last of k chunks has n - (k - 1) * c."""
        if any(isinstance(each, Measured) for row in sizes for each in row):
            return None
        said = [self.fit(each) for each in zip(*sizes, strict=True)]
        found = tuple(Counted(each, 0) for each in said if each is not None)
        return found if len(found) == len(said) else None

    def outer(self, leaves: Sequence[Leaf]) -> Source:
        """What a leaf is at all lengths."""
        if isinstance(leaves[0], Many):
            return Parts(tuple(self._parts([list(each.parts) for each in leaves])))  # type: ignore[union-attr]
        if isinstance(leaves[0], (Ref, Outside)):
            return self.value(leaves)
        if any(isinstance(each, Measured) for each in leaves):
            return told.outside(self, leaves)
        if isinstance(leaves[0], Said):
            return said_by_all(leaves)  # type: ignore[arg-type]
        if isinstance(leaves[0], float):
            if any(leaf != leaves[0] for leaf in leaves):
                raise NotRolled(f"a number is {leaves[0]} at one length and another at others")
            return leaves[0]
        return self.number(leaves)

    def number(self, numbers: Sequence[Any]) -> Dim:
        """What a number is at all lengths. Raises NotRolled."""
        found = self.fit(numbers)
        if found is None:
            raise NotRolled(
                f"a size is {', '.join(map(str, numbers))} at lengths {', '.join(map(str, self.fit.lengths))}"
            )
        return found

    def value(self, leaves: Sequence[Any]) -> Source:
        """What tensors, or results, of each tape are."""
        return self._one([self.named(tape, leaf) for tape, leaf in enumerate(leaves)])

    def _one(self, named: Sequence[Any]) -> Source:
        """What the tapes name each in its own way."""
        first = named[0]
        if all(each == first for each in named):
            return first if isinstance(first, Outside) else Made(*first) if len(first) == 4 else Value(*first)
        if not all(is_made(each) and each[:3] == first[:3] for each in named):
            raise NotRolled("an argument is something else at another length")
        loop, step, result, _ = first
        back = {each[3] - self.trips(loop, tape) for tape, each in enumerate(named)}
        if len(back) > 1:
            raise NotRolled("an argument comes from another iteration at another length")
        return Made(loop, step, result, back.pop())

    def named(self, tape: int, leaf: Any) -> Any:
        """(step, result) outside, (loop, step, result, iteration) inside, an Outside as it is."""
        if isinstance(leaf, Outside):
            return leaf
        place = self.places[tape][leaf.step]
        return (place[0], leaf.result) if len(place) == 1 else (place[0], place[1], leaf.result, place[2])

    def trips(self, loop: int, tape: int) -> int:
        """How often a loop runs on a tape."""
        periods = [each for each in self.segments if isinstance(each, Period)]
        return periods[loop].trips[tape]

    # ── lists ──

    def _parts(self, lists: Sequence[list[Any]]) -> Iterator[Source]:
        rows = [list(rows_of([self.named(tape, each) for each in items])) for tape, items in enumerate(lists)]
        if len({len(each) for each in rows}) > 1:
            raise NotRolled("a list of tensors has other parts at another length")
        for column in zip(*rows, strict=True):
            yield self._row(column)

    def _row(self, column: Sequence[Any]) -> Source:
        first = column[0]
        rows = [each for each in column if isinstance(each, Row)]
        if not rows:
            return self._one(column)
        if len(rows) < len(column) or any((*each[:3], each.stride) != (*first[:3], first.stride) for each in rows):
            raise NotRolled("a list of tensors has other parts at another length")
        return first._replace(
            first=self.number([each.first for each in rows]), length=self.number([each.length for each in rows])
        )

    # ── inside ──

    def _loop(self, loop: int, period: Period) -> Loop:
        body = tuple(self._body_step(loop, period, step) for step in range(period.length))
        return Loop(body, self.number(period.trips))

    def _body_step(self, loop: int, period: Period, step: int) -> Call:
        rounds = [
            [tape.steps[start + at * period.length + step] for at in range(trips)]
            for tape, start, trips in zip(self.tapes, period.starts, period.trips, strict=True)
        ]
        self._check_sizes(loop, rounds)
        sources = (
            self.inner(loop, [[each.leaves[leaf] for each in steps] for steps in rounds])
            for leaf in range(len(rounds[0][0].leaves))
        )
        return Call(rounds[0][0], tuple(sources), self._grown([[each.sizes for each in steps] for steps in rounds]))

    def _grown(self, sizes: Sequence[Sequence[Any]]) -> tuple[tuple[Counted | None, ...], ...]:
        """The sizes of what a step of a body returns, in every iteration."""
        return tuple(
            tuple(self._dim([[each[at][axis] for each in row] for row in sizes]) for axis in range(len(first)))
            for at, first in enumerate(sizes[0][0])
        )

    def _dim(self, dims: Sequence[Sequence[Any]]) -> Counted | None:
        """One size. Where the iterations say the same of it, as of the chunks of ceil(n / k), that is it; else it is as
        said at these lengths: min(8, n) is 8 where all have 8 and more, which is held where that matters."""
        if any(isinstance(each, Measured) for row in dims for each in row):
            return None
        alike = self.fit([row[1] for row in dims]) if all(row[1] == row[2] for row in dims) else None
        if alike is not None:
            return Counted(alike, 0)
        lengths = [{self.fit.name: length} for length in self.fit.lengths]
        said = [
            [settled_at(substitute(dim, length), tape.sizes) for dim in row]
            for row, length, tape in zip(dims, lengths, self.tapes, strict=True)
        ]
        step = self.number([row[2] - row[1] for row in said])
        return Counted(self.number([row[1] for row in said]) - step, step)

    def _check_sizes(self, loop: int, rounds: Sequence[Sequence[Step]]) -> None:
        """Raise Irregular where the sizes that the first or the last iteration returns are not those of the rest, or do
        not grow as they do; NotRolled where more do not."""
        for tape, steps in zip(self.tapes, rounds, strict=True):
            sizes = list(map(tape.sizes_of, steps))
            growth = _growth(sizes)
            wanted = [[a + at * b for a, b in zip(sizes[1], growth, strict=True)] for at in range(-1, len(sizes) - 1)]
            regular = [a == b for a, b in zip(sizes, wanted, strict=True)]
            _edges(loop, regular, "the sizes of a tensor do not grow by the same numbers in each iteration")

    def inner(self, loop: int, leaves: Sequence[Sequence[Leaf]]) -> Source:
        """What a leaf of a body is in every iteration, at all lengths."""
        kind = type(leaves[0][0])
        if kind is Many:
            return self._inner_parts(loop, leaves)
        if kind in (Ref, Outside):
            return self.inner_value(loop, leaves)
        if any(isinstance(each, Measured) for row in leaves for each in row):
            return told.inside(self, loop, leaves)
        if kind is Said:
            return self.outer([each for row in leaves for each in row])
        if kind is float:
            for row in leaves:
                _edges(loop, [each == row[1] for each in row], "a number is another one in each iteration")
            return self.outer([each[1] for each in leaves])
        return self.counted(loop, leaves)

    def _inner_parts(self, loop: int, leaves: Sequence[Sequence[Any]]) -> Source:
        if all(each == row[1] for row in leaves for each in row[1:-1]):
            for row in leaves:
                _edges(loop, [each == row[1] for each in row], "a list of tensors is another one in each iteration")
            return Parts(tuple(self._parts([list(row[1].parts) for row in leaves])))
        if len(leaves[0][1].parts) != len(leaves[0][2].parts):
            return self._growing(loop, leaves)
        count = len(leaves[0][1].parts)
        for row in leaves:
            _edges(loop, [len(each.parts) == count for each in row], "a list of tensors grows by other numbers")
        columns = ([[each.parts[at] for each in row] for row in leaves] for at in range(count))
        return Parts(tuple(self.inner_value(loop, column) for column in columns))

    def _growing(self, loop: int, leaves: Sequence[Sequence[Any]]) -> Source:
        """A list to which each iteration adds what a step of it returns, behind what was there before the loop."""
        lists = [[[self.named(tape, part) for part in each.parts] for each in row] for tape, row in enumerate(leaves)]
        steady = lists[0][-2]
        added = [each for each in steady if is_made(each) and each[0] == loop]
        distance = len(lists[0]) - 1 - len(added)
        if not added or distance not in (0, 1):
            raise NotRolled("a list of tensors grows in another way than by one in each iteration")
        _, step, result, _ = added[0]
        outside = []
        for row, named in zip(leaves, lists, strict=True):
            before = len(named[-2]) - (len(named) - 1 - distance)
            rows = ([(loop, step, result, number) for number in range(at + 1 - distance)] for at in range(len(named)))
            regular = [each == named[-2][:before] + made for each, made in zip(named, rows, strict=True)]
            _edges(loop, regular, "a list of tensors grows in another way in each iteration")
            outside.append(list(row[-2].parts[:before]))
        return Parts((*self._parts(outside), Grown(step, result, distance)))

    def counted(self, loop: int, leaves: Sequence[Sequence[Any]]) -> Source:
        """A number that grows by the same in each iteration, or that is computed of it."""
        steps = [row[2] - row[1] for row in leaves]
        for row, step in zip(leaves, steps, strict=True):
            regular = [each == row[1] + (at - 1) * step for at, each in enumerate(row)]
            if not all(regular) and (along := self._along(leaves)) is not None:
                return along
            _edges(loop, regular, "a size does not grow by the same number in each iteration")
        first, step = self.number([row[0] for row in leaves]), self.number(steps)
        return first if step == 0 else Counted(first, step)

    def _along(self, leaves: Sequence[Sequence[Dim]]) -> Along | None:
        """What a number is of the iteration, as the second to the fourth say it and all others have it."""
        said = [Fit(ITERATION, (1, 2, 3))(row[1:4]) for row in leaves]
        for dim, row, tape in zip(said, leaves, self.tapes, strict=True):
            if dim is None or not symbols_of([dim, *row]) <= {ITERATION, *tape.sizes}:
                return None
            values = [evaluate(each, tape.sizes) for each in row]
            if any(evaluate(dim, {**tape.sizes, ITERATION: at}) != each for at, each in enumerate(values)):
                return None
        found = self.fit([dim for dim in said if dim is not None])
        return None if found is None else Along(found)

    def inner_value(self, loop: int, leaves: Sequence[Sequence[Any]]) -> Source:
        """Where a tensor, or a result, comes from in every iteration."""
        named = [[self.named(tape, each) for each in row] for tape, row in enumerate(leaves)]
        steady = named[0][-2]  # neither the first iteration nor the last
        if not is_made(steady):
            for row in named:
                _edges(loop, [each == row[-2] for each in row], "an argument is another one in each iteration")
            return self.outer([row[-2] for row in leaves])
        if steady[0] == loop:
            return self._of_this_loop(loop, named, leaves)
        stride = steady[3] - named[0][-3][3] if is_made(named[0][-3]) else 0
        for row in named:
            wanted = [(*steady[:3], row[-2][3] + stride * (at - len(row) + 2)) for at in range(len(row))]
            _edges(loop, [a == b for a, b in zip(row, wanted, strict=True)], "an argument is another one each time")
        if stride == 0:
            return self.outer([row[-2] for row in leaves])
        other, step, result, _ = steady
        first = self.number([row[0][3] for row in named])
        return Element(other, step, result, first, stride, self._from_data(loop, leaves))

    def _from_data(self, loop: int, leaves: Sequence[Sequence[Any]]) -> tuple[Sized | None, ...]:
        """Of the sizes of a tensor that another one is in each iteration, what data says."""
        rows = [[self._sizes_of(tape, each) for each in row] for tape, row in enumerate(leaves)]
        sizes = ([[each[axis] for each in row] for row in rows] for axis in range(len(rows[0][0])))
        return tuple(
            told.inside(self, loop, each) if isinstance(each[0][1], Measured) else None for each in sizes
        )

    def _of_this_loop(self, loop: int, named: Sequence[Sequence[Any]], leaves: Sequence[Sequence[Any]]) -> Source:
        steady = named[0][-2]
        distance = len(named[0]) - 2 - steady[3]
        if distance < 0:
            raise NotRolled("an argument comes from a later iteration")
        for row in named:
            wanted = [(*steady[:3], at - distance) for at in range(distance, len(row))]
            regular = [a == b for a, b in zip(row[distance:], wanted, strict=True)]
            if not all(regular):
                _edges(loop, [True] * distance + regular, "an argument comes from another iteration each time")
        if distance == 0:
            return Here(*steady[1:3])
        initial = tuple(self.outer([row[at] for row in leaves]) for at in range(distance))
        if any(_reads(each, loop) for each in initial):
            raise Irregular(loop, first=True)
        _, step, result, _ = steady
        return Carried(step, result, distance, initial, self._steady(leaves))

    def _steady(self, leaves: Sequence[Sequence[Any]]) -> tuple[int, ...]:
        """The axes along which data says a size, and the same in all iterations."""
        rows = [[self._sizes_of(tape, each) for each in row] for tape, row in enumerate(leaves)]
        axes = (at for at, size in enumerate(rows[0][-1]) if isinstance(size, Measured))
        parts = ((at, slice(at, at + 1)) for at in axes)  # of no sizes nothing
        return tuple(at for at, part in parts if all(each[part] == row[-1][part] for row in rows for each in row))

    def _sizes_of(self, tape: int, leaf: Any) -> tuple[Any, ...]:
        """The sizes of a tensor that a step returned; none of what is outside, or of a number."""
        if isinstance(leaf, Outside) or isinstance(leaf.result, Axis):
            return ()
        return self.tapes[tape].steps[leaf.step].sizes[leaf.result or 0]


def _reads(source: Any, loop: int) -> bool:
    return isinstance(source, Made) and source.loop == loop


def _growth(sizes: Sequence[Sequence[int]]) -> list[int]:
    return [b - a for a, b in zip(sizes[1], sizes[2], strict=True)]


def _edges(loop: int, regular: Sequence[bool], otherwise: str) -> None:
    """Raise Irregular where only the first or last iteration is no regular one, NotRolled where more are."""
    if all(regular):
        return
    if all(regular[1:]):
        raise Irregular(loop, first=True)
    if all(regular[:-1]):
        raise Irregular(loop, first=False)
    raise NotRolled(otherwise)
