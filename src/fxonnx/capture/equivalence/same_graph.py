"""Whether two captures of one model say the same: with dynamic dims and for fixed sizes, or at two sets of sizes.

Both are numbered together (`value_numbers`). What the dynamic graph computes on sizes (`sym_size`, arithmetic) the
fixed one has as numbers: a dim is compared by what it is at the fixed sizes, in the shape of a value as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.call.tree import Branch, Constant, Slot, Tree
from fxonnx.capture.equivalence.captured_graph import CapturedGraph
from fxonnx.capture.equivalence.value_numbers import Number, NumberedGraph, ValueNumbers, constant_number
from fxonnx.capture.graph.checks import is_check
from fxonnx.capture.graph.functional_form import memories_written
from fxonnx.capture.graph.views import storage
from fxonnx.location import Location


class Difference(Exception):
    """Where the two part: what the model does, in words, and the place in it."""

    def __init__(self, what: str, location: Location) -> None:
        super().__init__(what)
        self.location = location


def is_same(one: CapturedGraph, other: CapturedGraph) -> bool:
    """Whether two captures with the same dims compute the same, on tensors of the same sizes. Linear time."""
    shared = ValueNumbers(one.symbols)
    return _say_the_same(one, _numbered(one, shared), other, _numbered(other, shared))


def compare(general: CapturedGraph, fixed: CapturedGraph, sizes: Mapping[str, int]) -> None:
    """Raises Difference where `fixed` is not `general` with some of its symbols at these sizes. Linear time."""
    shared = ValueNumbers(general.symbols, sizes)
    theirs, mine = _numbered(fixed, shared), _numbered(general, shared)
    asked = _without_answered_checks(general, mine, set(map(theirs.of, fixed.outputs)))
    if not _say_the_same(asked, mine, fixed, theirs):
        missing, extra = _first_of_its_own(mine, theirs), _first_of_its_own(theirs, mine)
        where = fixed.locator(extra) if extra else general.locator(missing) if missing else Location()
        raise Difference(_difference(missing, mine, extra, theirs), where)


def _without_answered_checks(general: CapturedGraph, mine: NumberedGraph, made: Set[Any]) -> CapturedGraph:
    """The general graph without the checks that the fixed one does not make because nothing of a call decides them: at
    its sizes the condition is known, so Python itself had the answer, and would have raised."""
    outputs = tuple(
        each for each in general.outputs
        if not (isinstance(each, fx.Node) and is_check(each) and mine.of(each) not in made and mine.is_known(each))
    )  # fmt: skip
    return replace(general, outputs=outputs)


def leaves_alike(one: CapturedGraph, other: CapturedGraph) -> bool:
    """Whether two captures return as many tensors, of the same dtypes and ranks, and write to the same inputs and
    weights: one file can have both graphs."""
    return _kinds(one) == _kinds(other)


def _kinds(captured: CapturedGraph) -> tuple[list[tuple[Any, int | None]], set[str]]:
    """The dtypes and ranks of results, and the names of what is written."""
    values = [each.meta["val"] for each in captured.outputs if isinstance(each, fx.Node)]
    kinds = [(each.dtype, each.dim()) if isinstance(each, torch.Tensor) else (type(each), None) for each in values]
    written = memories_written(captured.graph.nodes)
    places = {**dict.fromkeys(captured.inputs), **captured.weights}
    return kinds, {each.name for each in places if storage(each.meta["val"]) in written}


def _numbered(captured: CapturedGraph, shared: ValueNumbers) -> NumberedGraph:
    numbered = NumberedGraph(shared, captured.weights, captured.dim)
    numbered.add(captured.graph.nodes)
    return numbered


def _say_the_same(one: CapturedGraph, mine: NumberedGraph, other: CapturedGraph, theirs: NumberedGraph) -> bool:
    """Whether results, the structure around them, the new values behind them and what is written are the same."""
    results, other_results = map(mine.of, one.outputs), map(theirs.of, other.outputs)
    same = _same_structure(one.result, other.result, results, other_results)
    same = same and one.effects.edits == other.effects.edits
    same = same and _same_structure(one.effects.tree, other.effects.tree, results, other_results)
    return same and list(results) == list(other_results) and mine.writes() == theirs.writes()


def _same_structure(one: Tree, other: Tree, results: Iterator[Any], other_results: Iterator[Any]) -> bool:
    if isinstance(one, Branch) and isinstance(other, Branch):
        return (
            one.type is other.type
            and one.keys == other.keys
            and one.about == other.about
            and all(
                _same_structure(part, other_part, results, other_results)
                for part, other_part in zip(one.parts, other.parts, strict=True)
            )
        )
    if isinstance(one, Constant) and isinstance(other, Constant):
        return one.matches(other.value)
    return bool(_leaf(one, results) == _leaf(other, other_results))


def _leaf(tree: Tree, results: Iterator[Any]) -> Any:
    """The number of a leaf; a size that is returned is a result in one graph, and a constant in the other."""
    return (
        constant_number(tree.value) if isinstance(tree, Constant) else next(results) if isinstance(tree, Slot) else tree
    )


def _first_of_its_own(numbered: NumberedGraph, other: NumberedGraph) -> fx.Node | None:
    """The first call that the other graph has no value of."""
    known = set(other.numbers.values())
    calls = ((node, number) for node, number in numbered.numbers.items() if node.op == "call_function")
    return next((node for node, number in calls if isinstance(number, Number) and number not in known), None)


def _difference(missing: fx.Node | None, mine: NumberedGraph, extra: fx.Node | None, theirs: NumberedGraph) -> str:
    """What one graph calls and the other does not."""
    if missing is None and extra is None:
        return "it returns other values, or writes to others"
    if extra is None:
        return f"it does not call {_say(missing)}, as the captured graph does"
    if missing is None or _say(missing) != _say(extra):
        return f"it calls {_say(extra)}, where the captured graph has {_say(missing)}"
    sizes, others = theirs.sizes(extra), mine.sizes(missing)
    differing = f"with a result of {sizes}, where the captured graph has {others}" if sizes != others else "on others"
    return f"it calls {_say(extra)} {differing}"


def _say(node: fx.Node | None) -> str:
    """A call with the numbers among its arguments."""
    if node is None:
        return "nothing"
    leaves = pytree.tree_leaves((node.args, node.kwargs))
    numbers = [str(each) for each in leaves if isinstance(each, (bool, int, float))]
    return f"{node.target}({', '.join(numbers)})" if numbers else str(node.target)
