"""Sizes of 0 and 1, which captures leave out: they are made for 2 and more, where nothing broadcasts and nothing is
empty.

So that they need not be refused, nor taken on trust, the model is captured once more when such a size is first asked
for, at exactly that size: where the same graph comes out, the one with dynamic dims holds. Where another one does, a
program of its own is captured for it, in which the other dims are dynamic.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Protocol, TypeAlias

import torch

from fxonnx.capture.assumption import Assumption, settled
from fxonnx.capture.call.dynamic import Axis
from fxonnx.capture.call.example import empty_like
from fxonnx.capture.equivalence.captured_graph import CapturedGraph
from fxonnx.capture.equivalence.same_graph import Difference, compare
from fxonnx.capture.failures import Translating
from fxonnx.capture.program import Program
from fxonnx.capture.surroundings import training_mode
from fxonnx.errors import CallMismatch, Error
from fxonnx.ir.dims import Dim, Expr, at_sizes, evaluate


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A capture with some dims at `fixed` sizes, and what it decides by the sizes of the others; `otherwise` is one of
    other calls for the same numbers, if there is one."""

    graph: CapturedGraph
    fixed: Mapping[str, int]
    assumptions: Sequence[Assumption] = ()
    otherwise: Callable[[], Recording | None] = lambda: None

    def assumed_by(self, general: CapturedGraph) -> Sequence[Assumption]:
        """What the general capture has to ask of the other sizes. Raises Difference where it is another graph."""
        try:
            compare(general, self.graph, self.fixed)
        except Difference:
            other = self.otherwise()
            if other is None:
                raise
            return other.assumed_by(general)
        return self.assumptions


class Record(Protocol):
    """Captures a model once more."""

    def __call__(self, leaves: Sequence[torch.Tensor], fixed: Mapping[str, int]) -> Recording:
        """The capture for inputs like these, with these dims at fixed sizes; or more of them, where only all can be."""


class CaptureVariant(Protocol):
    """Captures a model as a program, with some dims at fixed sizes."""

    def __call__(self, leaves: Sequence[torch.Tensor], fixed: Mapping[str, int]) -> Program:
        """The program for inputs like these, in which the other dims vary. Raises Error."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """Of example inputs what a capture needs to be repeated, not the tensors; and the autocast that is on around it."""

    sketches: tuple[torch.Tensor, ...]  # on the meta device
    devices: tuple[torch.device, ...]
    autocast: tuple[bool, torch.dtype]

    @staticmethod
    def of(leaves: Sequence[torch.Tensor]) -> Kinds:
        """For these inputs, now."""
        sketches = tuple(torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta") for x in leaves)
        autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        return Kinds(sketches, tuple(x.device for x in leaves), autocast)


@dataclass(frozen=True, slots=True)
class LoopLimit:
    """The greatest size for which a loop over it goes on as it was seen to, and up to which it may be unrolled."""

    most: int
    unrolled: int


_MOST_WAYS = 64
Answer: TypeAlias = "CallMismatch | Program | Sequence[Assumption]"


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A program for other sizes, with some fixed; or why the model cannot be captured for them."""

    fixed: Mapping[str, int]
    program: Program | str

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether it is right for these sizes."""
        if any(sizes.get(name) != size for name, size in self.fixed.items()):
            return False
        return isinstance(self.program, str) or self.program.admits(sizes)


@dataclass(slots=True, eq=False)
class ZeroOneCheck:
    """Answers, once for each combination of sizes below 2, whether a program holds for it, or which one does.

    `record` and `variant` capture the model in its training `mode`; `axes` are the dims of the inputs, `sizes` those
    that the program was captured at, by name, 2 or more; `assumed` is what it takes for granted of those, `limits` are
    those of loops that are rolled up over them. With one of `never_empty` at 0 it does not run.
    """

    record: Record
    variant: CaptureVariant
    model: Any
    mode: str
    axes: Mapping[Axis, Dim]
    sizes: Mapping[str, int]
    kinds: Kinds
    assumed: Sequence[Assumption] = ()
    limits: Mapping[str, LoopLimit] = field(default_factory=dict)
    never_empty: Collection[Dim] = ()
    general: CapturedGraph | None = None
    answers: dict[tuple[tuple[str, int], ...], Answer] = field(default_factory=dict)
    ways: list[Way] = field(default_factory=list)  # for sizes that the program does not hold for
    lock: Lock = field(default_factory=Lock)  # capturing is no friend of threads

    def __call__(self, sizes: Mapping[str, int]) -> Program | None:
        """The program of their own that these sizes need (those of 0 or 1 count), or None where the captured one holds.

        Raises CallMismatch where there is none.
        """
        answer = self.ask(sizes)
        if isinstance(answer, CallMismatch):
            found = self.beyond(sizes, ())
            if not isinstance(found, Program):
                raise answer
            return found
        if isinstance(answer, Program):
            return answer
        for each in answer:
            if not each.holds(sizes):
                return self._beyond_small(each, sizes)
        return None

    def ask(self, sizes: Mapping[str, int]) -> Answer:
        """What is known of those sizes that are 0 or 1, or is found out now."""
        key = tuple(sorted((name, size) for name, size in sizes.items() if size < 2 and name in self.sizes))
        with self.lock:
            if key and key not in self.answers:
                self.answers[key] = self._ask(dict(key))
        return self.answers.get(key, ())

    def ask_ones(self, *, leading: bool = False, admitted: bool = False) -> None:
        """Ask about sizes of 1, each dim's alone and all together, or that of the leading dims, a batch, alone; or of
        these about those that the program `admitted` where it decided by sizes. What is known is in `known` and
        `others`."""
        first = {dim.name for (_, axis), dim in self.axes.items() if axis == 0 and isinstance(dim, Expr)}
        names = [name for name in self.sizes if name in first or not leading or len(self.sizes) == 1]
        for small in (*({name: 1} for name in names), *([] if leading else [dict.fromkeys(names, 1)])):
            sizes = {**self.sizes, **small}
            if admitted and not all(each.holds(sizes) for each in self.assumed):
                continue
            with suppress(CallMismatch):
                self(sizes)

    def _beyond_small(self, broken: Assumption, sizes: Mapping[str, int]) -> Program:
        found = self.beyond(sizes, broken.symbols)
        if not isinstance(found, Program):
            raise _outside(broken, sizes, found)
        return found

    def beyond(self, sizes: Mapping[str, int], concerned: Collection[str]) -> Program | str:
        """The program for sizes that the captured one does not hold for, as it decides by the dims that are concerned;
        or why there is none. There are as many as calls take ways, up to a limit."""
        for name, limit in self.limits.items():
            if sizes.get(name, 0) > max(limit.most, limit.unrolled):
                return f"unrolled, its loop over {name} would be too long a program"
        with self.lock:
            known = next((way for way in self.ways if way.holds(sizes)), None)
            if known is None and len(self.ways) < _MOST_WAYS:
                known = self._captured_way(sizes, concerned)
                self.ways.append(known)
        return f"calls took {_MOST_WAYS} ways before" if known is None else known.program

    def _captured_way(self, sizes: Mapping[str, int], concerned: Collection[str]) -> Way:
        """A way that these sizes take: with as few of them fixed as can be, those that decide, the small ones or all;
        else none. What a capture decides the other way than these sizes is fixed as well in the next one."""
        own = {name: size for name, size in sizes.items() if name in self.sizes}
        small = {name: size for name, size in own.items() if size < 2}
        decisive = {name: own[name] for name in sorted(concerned) if name in own}
        tried: list[Mapping[str, int]] = []
        pending: list[Mapping[str, int]] = [{}, decisive, small, small | decisive, own]
        if any(own[name] > limit.most for name, limit in self.limits.items() if name in own):
            pending = pending[1:]  # it would be rolled up, and hold for as many
        reason = ""
        while pending:
            fixed = pending.pop(0)
            if fixed in tried:
                continue
            tried.append(fixed)
            try:
                with self._prepared():
                    program = self.variant(self._leaves(sizes), fixed)
            except Error as error:
                reason = error.what
                continue
            decided = program.deciding(own)
            if not decided:
                return Way(fixed, program)
            pending.insert(0, {**fixed, **{name: own[name] for name in sorted(decided)}})
        return Way(dict(sizes), reason)

    @property
    def others(self) -> list[tuple[Mapping[str, int], Program]]:
        """The programs for other sizes that are known by now, each with the sizes that it is fixed at; those that are
        known to these, last."""
        found = [(dict(key), each) for key, each in self.answers.items() if isinstance(each, Program)]
        found += [(dict(way.fixed), way.program) for way in self.ways if isinstance(way.program, Program)]
        checks = [(fixed, program.zero_one) for fixed, program in found if program.zero_one is not None]
        found += [({**fixed, **more}, each) for fixed, check in checks for more, each in check.others]
        first: dict[Any, tuple[Mapping[str, int], Program]] = {}
        for fixed, program in found:
            first.setdefault((frozenset(fixed.items()), *program.assumptions), (fixed, program))
        return list(first.values())

    @property
    def names(self) -> Set[str]:
        """The dims whose sizes of 0 and 1 are asked about."""
        return self.sizes.keys()

    @property
    def known(self) -> list[tuple[dict[str, int], Sequence[Assumption]]]:
        """The sizes of 0 and 1 for which it is known to hold, and what they ask of the others."""
        answers = [(dict(key), answer) for key, answer in self.answers.items() if key]
        return [(small, each) for small, each in answers if not isinstance(each, (CallMismatch, Program))]

    @property
    def held(self) -> list[str]:
        """The sizes of 0 and 1 that are known to leave the same graph: "n = 1"."""
        return [
            ", ".join(f"{name} = {size}" for name, size in key)
            for key, answer in self.answers.items()
            if key and not isinstance(answer, (CallMismatch, Program)) and not answer
        ]

    def note(self, small: Mapping[str, int], assumed: Sequence[Assumption]) -> None:
        """What is known already: that it holds for these sizes, and what they ask of the others."""
        if small:
            self.answers[tuple(sorted(small.items()))] = assumed

    def without_empty(self, dims: Collection[Dim]) -> ZeroOneCheck:
        """The same where the program does not run with one of these dims at 0: such sizes have one of their own."""
        answers = {key: answer for key, answer in self.answers.items() if not _empties(dict(key), dims)}
        return replace(self, never_empty=dims, answers=answers)

    def assumptions(self, small: Mapping[str, int]) -> Sequence[Assumption]:
        """What the captured program asks of the others where these sizes are small. Raises Difference where it is wrong
        for them, and Error where the model cannot be captured with them."""
        with self._prepared():
            self.general = self.general or self.record(self._leaves({}), {}).graph
            fixed = self.record(self._leaves(small), small)
        return fixed.assumed_by(self.general)

    def _ask(self, small: Mapping[str, int]) -> Answer:
        """What the others must be, or the program that these sizes need, or why there is none."""
        try:
            return self._assumptions_or_variant(small)
        except Error as error:
            return CallMismatch(
                f"the model does not hold for {_said(small)}",
                cause=f"with this size it cannot be captured: {error.what}",
                cure="call it with larger sizes, or compile it for this one: leave the dim out of dynamic_shapes",
                location=error.locations,
            )

    def _assumptions_or_variant(self, small: Mapping[str, int]) -> Program | Sequence[Assumption]:
        if not _empties(small, self.never_empty):
            with suppress(Difference):
                return self.assumptions(small)
        with self._prepared():
            return self.variant(self._leaves(small), small)

    def _leaves(self, small: Mapping[str, int]) -> list[torch.Tensor]:
        """Inputs of the captured sizes, but for these, and for what follows of others: where no past is there, a mask
        is as long as what comes."""
        sizes = settled({**self.sizes, **small}, small, self.assumed) if small else self.sizes
        shapes = [
            [evaluate(self.axes.get((leaf, axis), size), sizes) for axis, size in enumerate(sketch.shape)]
            for leaf, sketch in enumerate(self.kinds.sketches)
        ]
        return [empty_like(*each) for each in zip(self.kinds.sketches, shapes, self.kinds.devices, strict=True)]

    @contextmanager
    def _prepared(self) -> Iterator[None]:
        """As the model was captured."""
        enabled, dtype = self.kinds.autocast
        with training_mode(self.model, self.mode), torch.autocast("cpu", dtype, enabled), Translating():
            yield


def _empties(small: Mapping[str, int], dims: Collection[Dim]) -> bool:
    """Whether one of the dims is 0 at these sizes, whatever the others are."""
    return any(at_sizes(dim, small) == 0 for dim in dims)


def _outside(each: Assumption, sizes: Mapping[str, int], reason: str) -> CallMismatch:
    """For a size that is too small for these others, or these for it."""
    small = {name: size for name, size in sizes.items() if size < 2}
    concerned = {name: sizes[name] for name in sorted(each.symbols) if name in sizes}
    return CallMismatch(
        f"the model does not hold for {_said(small | concerned)}",
        cause=f"with {_said(small)} it holds where {each}; for these sizes it cannot be captured: {reason}",
        cure="call it with sizes in that range, or compile it for these",
        location=each.location,
    )


def _said(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {size}" for name, size in sizes.items())
