"""If, Loop and Scan: operators that run graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeAlias

import numpy as np

from fxonnx.ir.evaluate.direct import Array
from fxonnx.ir.graph import Graph, Node, Value

Run: TypeAlias = Callable[[Graph, Sequence[Array]], list[Array]]
Arrays: TypeAlias = "Sequence[Array | None]"


def run_if(node: Node, arrays: Arrays, run: Run) -> list[Array]:
    """One branch or the other."""
    (condition,) = arrays
    assert condition is not None
    return run(node.attributes["then_branch" if condition.item() else "else_branch"], ())


def run_loop(node: Node, arrays: Arrays, run: Run) -> list[Array]:
    """As often as the trip count says and while the condition holds; either may be absent."""
    trips, condition, *initial = (*arrays, None)[: max(len(arrays), 2)]
    carried = [array for array in initial if array is not None]
    limit = None if trips is None else int(trips.item())
    going = condition is None or bool(condition.item())
    stacked: list[list[Array]] = [[] for _ in node.outputs[len(carried) :]]
    for iteration in count():
        if not going or iteration == limit:
            break
        again, *results = run(node.attributes["body"], [np.array(iteration), np.array(True), *carried])
        going = bool(again.item())
        carried = results[: len(carried)]
        _append(stacked, results[len(carried) :])
    return [*carried, *map(_stack, stacked, node.outputs[len(carried) :])]


def run_scan(node: Node, arrays: Arrays, run: Run) -> list[Array]:
    """The body for each slice of the scanned inputs; what it returns beyond the state is stacked."""
    given = [array for array in arrays if array is not None]
    states, scanned = np.split(np.arange(len(given)), [len(given) - node.attributes["num_scan_inputs"]])
    carried, slices = [given[i] for i in states], _slices(node, [given[i] for i in scanned])
    outputs = node.outputs[len(carried) :]
    stacked: list[list[Array]] = [[] for _ in outputs]
    for step in zip(*slices, strict=True):
        results = run(node.attributes["body"], [*carried, *step])
        carried = results[: len(carried)]
        _append(stacked, results[len(carried) :])
    return [*carried, *(_scan_output(node, index, each) for index, each in enumerate(stacked))]


def _slices(node: Node, arrays: Sequence[Array]) -> list[list[Array]]:
    axes = node.attributes.get("scan_input_axes") or (0,) * len(arrays)
    backwards = node.attributes.get("scan_input_directions") or (0,) * len(arrays)
    moved = (np.moveaxis(array, axis, 0) for array, axis in zip(arrays, axes, strict=True))
    return [list(array[::-1] if flip else array) for array, flip in zip(moved, backwards, strict=True)]


def _scan_output(node: Node, index: int, slices: list[Array]) -> Array:
    count = len(node.attributes.get("scan_output_axes") or node.outputs)
    axes = node.attributes.get("scan_output_axes") or (0,) * count
    backwards = node.attributes.get("scan_output_directions") or (0,) * count
    value = node.outputs[len(node.outputs) - _scans(node) + index]
    return np.moveaxis(_stack(slices[::-1] if backwards[index] else slices, value), 0, axes[index])


def _scans(node: Node) -> int:
    """How many outputs are stacked: those that are no final state."""
    return len(node.outputs) - (len(node.inputs) - int(node.attributes["num_scan_inputs"]))


def _append(stacked: list[list[Array]], results: Sequence[Array]) -> None:
    for column, result in zip(stacked, results, strict=True):
        column.append(result)


def _stack(slices: Sequence[Array], value: Value) -> Array:
    """Slices along a new first axis; of none, a tensor of the recorded type with 0 for what is not known."""
    if slices:
        return np.stack(slices)
    dims = (0, *(dim if isinstance(dim, int) else 0 for dim in value.shape[1:]))
    return np.zeros(dims, value.dtype.numpy)


CONTROL: dict[str, Callable[[Node, Arrays, Run], list[Array]]] = {"If": run_if, "Loop": run_loop, "Scan": run_scan}
