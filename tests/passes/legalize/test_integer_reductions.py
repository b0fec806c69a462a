"""Sums and products of integers wrap around, over any axes and of any size; the runtime's own kernels do not."""

from __future__ import annotations

import numpy as np
import pytest
from tests.passes.legalize.test_respell import run

from fxonnx import dtypes
from fxonnx.ir.build import Builder
from fxonnx.ir.dims import symbol
from fxonnx.ir.graph import Graph
from fxonnx.ir.types import TensorType
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.target import Target

TARGET = Target.onnx(21)
SUMS = {"ReduceSum": np.sum, "ReduceProd": np.prod}


def reduction(operator: str, shape: tuple[int, ...], axes: list[int] | None, *, keepdims: int, known: bool) -> Graph:
    op = Builder()
    dims = shape if known else tuple(symbol(f"s{axis}") for axis, _ in enumerate(shape))
    x = op.input(TensorType(dtypes.INT64, dims), "x0")
    return op.finish([getattr(op, operator)(x, *([axes] if axes else []), keepdims=keepdims)], ["y"])


def numbers(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(-(2**62), 2**62, shape)


@pytest.mark.parametrize("operator", SUMS)
def test_the_runtimes_kernels_still_go_through_double(operator: str) -> None:
    x = numbers((5, 7))
    found = run(reduction(operator, x.shape, [1], keepdims=0, known=True), [x])
    assert not np.array_equal(found, SUMS[operator](x, axis=1)), f"{operator} is mended: take it from the table"


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("operator", SUMS)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((7,), [0]), ((7,), None), ((3, 4), [0]), ((3, 4), [-1]), ((3, 4, 5), [0, 2]), ((3, 4, 5), [1]),
     ((2, 3, 1, 5), [0]), ((2, 3, 1, 5), None), ((0, 3), [0]), ((0, 3), [1]), ((1, 1), [1])],
)  # fmt: skip
def test_ours_wrap_around(
    operator: str, shape: tuple[int, ...], axes: list[int] | None, keepdims: int, known: bool
) -> None:
    x = numbers(shape)
    graph = LEGALIZE(reduction(operator, shape, axes, keepdims=keepdims, known=known), TARGET)
    expected = SUMS[operator](x, axis=tuple(axes) if axes else None, keepdims=bool(keepdims))
    found = run(graph, [x])
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


def test_what_was_smaller_and_what_are_sizes_stay_as_they_are() -> None:
    op = Builder()
    mask = op.input(TensorType(dtypes.BOOL, (symbol("n"), 4)), "mask")
    counts = op.ReduceSum(op.Cast(mask, to=dtypes.INT64), [1], keepdims=0)
    elements = op.ReduceProd(op.Shape(mask), keepdims=0)
    graph = LEGALIZE(op.finish([counts, elements], ["counts", "elements"]), TARGET)
    assert {"ReduceSum", "ReduceProd"} <= {node.op for node in graph.nodes}
