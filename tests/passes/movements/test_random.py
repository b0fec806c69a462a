"""Random movements, and linear layers between them: optimizing comes to an end, and changes no element."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from fxonnx.emit.onnx import emit
from fxonnx.emit.weights import inline_model
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph
from fxonnx.ir.types import parse_type
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.passes.optimize import optimizer
from fxonnx.target import Target

TARGET = Target.onnxruntime()
RANKS = range(1, 7)

Step = Callable[[random.Random, Builder, Tensor], list[Tensor]]
"""what is made of a value; nothing where its shape does not admit it"""


def transpose(rng: random.Random, op: Builder, x: Tensor) -> list[Tensor]:
    return [op.Transpose(x, perm=rng.sample(range(len(x.shape)), len(x.shape)))]


def view(rng: random.Random, op: Builder, x: Tensor) -> list[Tensor]:
    """An even axis in two, or two axes in one."""
    dims, axis = list(x.shape), rng.randrange(len(x.shape))
    size = dims[axis]
    if isinstance(size, int) and size > 2 and size % 2 == 0:
        dims[axis : axis + 1] = rng.sample([2, size // 2], 2)
    elif axis + 1 < len(dims):
        dims[axis : axis + 2] = [size * dims[axis + 1]]
    return [op.Reshape(x, dims)]


def unsqueeze(rng: random.Random, op: Builder, x: Tensor) -> list[Tensor]:
    return [op.Unsqueeze(x, [rng.randint(0, len(x.shape))])]


def squeeze(rng: random.Random, op: Builder, x: Tensor) -> list[Tensor]:
    ones = [axis for axis, dim in enumerate(x.shape) if dim == 1]
    return [op.Squeeze(x, [rng.choice(ones)])] if ones else []


def part(rng: random.Random, op: Builder, x: Tensor) -> list[Tensor]:
    """An index, a range, or all parts of an axis."""
    axes = [(axis, dim) for axis, dim in enumerate(x.shape) if isinstance(dim, int) and dim > 1]
    if not axes:
        return []
    axis, size = rng.choice(axes)
    begin = rng.randrange(size)
    ones = (1,) * size
    return rng.choice([
        lambda: [op.Gather(x, np.array(begin - size * rng.randint(0, 1)), axis=axis)],
        lambda: [op.Slice(x, [begin], [rng.randint(begin + 1, size)], [axis])],
        lambda: list(op.Split(x, list(ones), axis=axis, _outputs=size)),
        lambda: list(op.Split(x, [1, size - 1], axis=axis, _outputs=2)),
    ])()  # fmt: skip


def layer(rng: random.Random, op: Builder, x: Tensor) -> list[Tensor]:
    inputs, outputs = x.shape[-1], rng.choice([2, 4, 6])
    if not isinstance(inputs, int):
        return []
    weight = np.random.default_rng(rng.randint(0, 99)).integers(-2, 3, (inputs, outputs)).astype(np.float32)
    product = op.MatMul(x, weight)
    return [product + np.arange(outputs, dtype=np.float32) if rng.random() < 0.5 else product]


STEPS = (transpose, transpose, transpose, view, view, view, unsqueeze, squeeze, part, part, layer)


def program(rng: random.Random) -> tuple[Graph, list[int], bool]:
    """A graph, the shape that it takes, and whether the first size has a name."""
    op, is_dynamic = Builder(), rng.random() < 0.5
    shape = [rng.choice([1, 2, 3, 4, 6, 8]) for _ in range(rng.randint(2, 4))]
    dims = ["n", *shape[1:]] if is_dynamic else shape
    made = [op.input(parse_type(f"f32[{','.join(map(str, dims))}]"), "x")]
    for _ in range(rng.randint(3, 10)):
        found = rng.choice(STEPS)(rng, op, rng.choice(made[-4:]))
        made += [value for value in found if len(value.shape) in RANKS]
    outputs = [value for value in made[1:] if rng.random() < 0.4][-4:] or [made[-1] * 1.0]
    return op.finish(tuple(outputs), tuple(f"out{index}" for index, _ in enumerate(outputs))), shape, is_dynamic


def run(graph: Graph, x: np.ndarray) -> list[np.ndarray]:
    model = inline_model(emit(LEGALIZE(graph, TARGET))).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


@pytest.mark.parametrize("seed", range(150))
def test_optimizing_moves_nothing_elsewhere(seed: int) -> None:
    rng = random.Random(seed)
    graph, shape, is_dynamic = program(rng)
    optimized = optimizer()(graph, TARGET)
    for size in (shape[0], 5, 1) if is_dynamic else shape[:1]:
        x = np.random.default_rng(seed).integers(-5, 6, (size, *shape[1:])).astype(np.float32)  # sums are exact
        for expected, found in zip(run(graph, x), run(optimized, x), strict=True):
            np.testing.assert_array_equal(found, expected)
