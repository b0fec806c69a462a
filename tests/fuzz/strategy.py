"""Random programs as a hypothesis strategy: what fails shrinks to a few lines by itself.

A program is drawn statement by statement, and each is run as it is drawn, at all the sizes that the program will be
tried at: what PyTorch refuses is left out, so every draw, and all that shrinking makes of it, is a program.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import torch
import torch.nn.functional as F
from hypothesis.strategies import DrawFn, SearchStrategy
from tests.fuzz.kinds import DTYPES, Scope, argument
from tests.fuzz.ops import FAMILIES
from tests.fuzz.program import Dim, Op, Program, Sizes, Statement, TensorSpec, elements, seed

STATEMENTS, ELEMENTS, OWNED = 12, 5_000, 4
# What torch raises for arguments that do not fit; a bare RuntimeError mostly.
REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError, NotImplementedError, AttributeError)


class Draft:
    """A program in the making: its parts so far, and what runs them at each of its sizes."""

    def __init__(self, inputs: list[TensorSpec], sizes: list[Sizes]) -> None:
        self.inputs, self.sizes, self.scope = inputs, sizes, Scope()
        self.owned: list[TensorSpec] = []
        self.statements: list[Statement] = []
        start = Program(tuple(inputs), (), (), "None", tuple(sizes))
        self.worlds: list[dict[str, Any] | None] = [self._world(start, each) for each in sizes]
        for name, value in self.example.items():
            self.scope.add(name, value)

    @property
    def example(self) -> dict[str, Any]:
        """The names and their values at the example's sizes."""
        assert self.worlds[0] is not None
        return self.worlds[0]

    def _world(self, program: Program, sizes: Sizes) -> dict[str, Any]:
        named = {each.name: value for each, value in zip(self.inputs, program.makes(sizes), strict=True)}
        used = {dim for each in self.inputs for dim in each.dims if isinstance(dim, str)}
        modules = {"torch": torch, "F": F, "math": math, "self": SimpleNamespace()}
        return {**modules, **{n: sizes[n] for n in sorted(used)}, **named}

    def own(self, dtype: torch.dtype, shape: tuple[int, ...]) -> str:
        """Give the model a tensor of its own; how forward calls it."""
        spec = TensorSpec(f"w{len(self.owned)}", dtype, shape)
        for world in filter(None, self.worlds):
            seed(len(self.owned))
            setattr(world["self"], spec.name, eval(spec.source({})))
        self.owned.append(spec)
        return f"self.{spec.name}"

    def add(self, statement: Statement) -> bool:
        """Append a statement if it runs at the example's sizes, and at others where there are some."""
        results = [self._run(str(statement), world) for world in self.worlds]
        alive = [world is not None for world in results]
        if not alive[0] or (len(set(map(str, self.sizes))) > 1 and not alive[1]):
            return False
        self.worlds = results
        self.statements.append(statement)
        if not statement.op.is_statement:
            self.scope.add(statement.target, results[0][statement.target])
        return True

    def _run(self, line: str, world: dict[str, Any] | None) -> dict[str, Any] | None:
        """The names after a line; None where it, or one before, is refused."""
        if world is None:
            return None
        after = dict(world)
        try:
            with torch.no_grad(), warnings.catch_warnings(action="ignore"):
                exec(line, after)
        except REFUSALS:
            return None
        return after if all(elements(value) <= ELEMENTS for value in after.values()) else None


@st.composite
def programs(draw: DrawFn, families: Sequence[Sequence[Op]] = FAMILIES) -> Program:
    """Strategy: a program of the ops of some families."""
    draft = Draft(draw(inputs()), draw(sizes()))
    for dtype, dims in draw(st.lists(st.tuples(st.sampled_from(DTYPES), shapes((2, 3, 1))), max_size=2)):
        name = draft.own(dtype, dims)
        draft.scope.add(name, eval(name, draft.example))
    while len(draft.statements) < STATEMENTS and draw(statement(draft, families)):
        pass
    owned, statements = tuple(draft.owned), tuple(draft.statements)
    return Program(tuple(draft.inputs), owned, statements, draw(results(draft.scope)), tuple(draft.sizes))


def shapes(dims: tuple[Dim, ...]) -> SearchStrategy[tuple[Dim, ...]]:
    """Strategy: up to four dims."""
    return st.sampled_from([2, 1, 3, 2, 0, 4]).flatmap(lambda rank: st.tuples(*[st.sampled_from(dims)] * rank))


@st.composite
def inputs(draw: DrawFn) -> list[TensorSpec]:
    """Strategy: what forward takes, one to three tensors."""
    dims = shapes((3, "n", "n", "m", 2, 4, 1))
    one = st.tuples(st.sampled_from((torch.float32, *DTYPES)), dims, st.sampled_from([False, False, False, True]))
    drawn = draw(st.lists(one, min_size=1, max_size=3))
    return [TensorSpec(name, *each) for name, each in zip("xyz", drawn, strict=False)]


@st.composite
def sizes(draw: DrawFn) -> list[Sizes]:
    """Strategy: what n and m are: the example's, larger ones, any, and small ones."""
    ranges = ((4, 5, 6, 3, 2, 7, 1), (8, 9, 11), (5, 6, 4, 3, 2, 10), (1, 2, 3, 0))
    return [{name: draw(st.sampled_from(choices)) for name in "nm"} for choices in ranges]


@st.composite
def statement(draw: DrawFn, draft: Draft, families: Sequence[Sequence[Op]]) -> bool:
    """Strategy: add a statement to a draft; False where it is to be the last."""
    if draw(st.integers(0, 50)) == 0:
        return False
    op = draw(st.sampled_from(draw(st.sampled_from(families))))
    chosen: dict[str, str] = {}
    for name, kind in op.fields:
        strategy = weight(draft, kind, chosen) if kind.startswith("weight") else argument(kind, draft.scope, chosen)
        if strategy.is_empty:
            return True
        chosen[name] = draw(strategy)
    draft.add(Statement(op, chosen, f"v{len(draft.statements)}"))
    return True


def weight(draft: Draft, kind: str, chosen: dict[str, str]) -> SearchStrategy[str]:
    """Strategy: a tensor of the model's own in the shape that the kind says; `x` is the first argument's shape."""
    x = draft.scope.tensors[chosen["x"]]
    try:
        shape = eval(kind.removeprefix("weight "), {"x": x.shape})
    except IndexError:
        return st.nothing()
    if len(draft.owned) == OWNED or elements(torch.empty(shape, device="meta")) > ELEMENTS:
        return st.nothing()
    return st.builds(draft.own, st.just(x.dtype), st.just(shape))


@st.composite
def results(draw: DrawFn, scope: Scope) -> str:
    """Strategy: what forward returns: tensors, twice the same now and then, in some container."""
    names = draw(st.lists(st.sampled_from(scope.which(lambda value: True)), min_size=1, max_size=8))
    return draw(st.sampled_from(FORMS)).format(first=names[0], all=", ".join(names))


FORMS = ("{all}", "({all},)", "{{'a': {first}, 'b': ({all},)}}", "[{all}, None]", "({all}, {{'c': {first}}})")
