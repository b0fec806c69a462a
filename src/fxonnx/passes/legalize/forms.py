"""Forms of old operators that only newer opsets know: the same said without them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.ir.graph import Node, constant_ints
from fxonnx.passes.legalize.registry import form


@form("Shape", since=15, applies=lambda node: "start" in node.attributes or "end" in node.attributes)
def shape(op: Builder, x: Tensor, *, start: int, end: int | None) -> Tensor:
    """The whole shape, then a slice of it."""
    first, last, _ = slice(start, end).indices(x.rank)
    whole = op.Shape(x)
    return op.Slice(whole, [first], [last], [0])


def _is_computed_shape(node: Node) -> bool:
    return bool(node.attributes.get("allowzero", 0)) and 0 not in node.output.shape


@form("Reshape", since=14, applies=_is_computed_shape)
def reshape(op: Builder, x: Tensor, shape: Tensor, *, allowzero: int) -> Tensor:
    """Without the word that a 0 is no copy: where a size is 0 at a call, the runtime may stop."""
    return op.Reshape(x, shape)


@form("Split", since=18, applies=lambda node: "num_outputs" in node.attributes)
def split(op: Builder, x: Tensor, sizes: Tensor | None, *, axis: int, num_outputs: int) -> tuple[Tensor, ...]:
    """Explicit sizes: all alike but the last, which takes what is left."""
    part = -(-1 * x.shape[axis] // num_outputs)
    last = x.shape[axis] - part * (num_outputs - 1)
    return op.Split(x, [*[part] * (num_outputs - 1), last], axis=axis, _outputs=num_outputs)


def has_axes(node: Node) -> bool:
    """Whether a Pad names the axes that it pads."""
    return len(node.inputs) > 3 and node.inputs[3] is not None


@form("Pad", since=18, applies=has_axes)
def pad(op: Builder, x: Tensor, pads: Tensor, value: Tensor | None, axes: Tensor, *, mode: str) -> Tensor:
    """Pads for every axis, zero where none was named."""
    named = constant_ints(axes.value)
    given = pads.value.known or constant_ints(pads.value)
    assert named is not None and given is not None, "the axes of a Pad are constant"
    before: list[Dim] = [0] * x.rank
    after: list[Dim] = [0] * x.rank
    for index, axis in enumerate(named):
        before[axis], after[axis] = given[index], given[index + len(named)]
    return op.Pad(x, before + after, value, mode=mode)


@form("Resize", since=18, applies=lambda node: "axes" in node.attributes)
def resize(
    op: Builder, x: Tensor, roi: Tensor | None, scales: Tensor | None, sizes: Tensor | None, *, axes: Any, **rest: Any
) -> Tensor:
    """Scales or sizes for every axis, those of the others unchanged."""
    rest = {
        name: item
        for name, item in rest.items()
        if name not in ("antialias", "keep_aspect_ratio_policy") or item not in (0, "stretch")
    }
    if scales is not None and scales.value.data is not None:
        factors = np.ones(x.rank, np.float32)
        factors[list(axes)] = scales.value.data.array()
        return op.Resize(x, None, factors, **rest)
    assert sizes is not None
    every = list(x.shape)
    for axis, size in zip(axes, sizes.value.known or constant_ints(sizes.value) or (), strict=True):
        every[axis] = size
    return op.Resize(x, None, None, every, **rest)
