"""Whether a model that leaves something in Python does the same after a call of other sizes, asked of the model itself.

The tracer sees two calls of the same sizes on one tape (`tracer/replay`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from fxonnx.capture.call.dynamic import Axis
from fxonnx.capture.call.example import Example
from fxonnx.capture.call.inputs import Flat, definition
from fxonnx.capture.failures import Translating
from fxonnx.capture.state.python_state import next_call_differs, preserved
from fxonnx.errors import Error
from fxonnx.ir.dims import Dim, Expr, evaluate, symbols_of


def check_calls_of_other_sizes(
    example: Example, axes: Mapping[Axis, Dim], lows: Mapping[str, int], highs: Mapping[str, int], left: Sequence[str],
    states: Collection[str], *, with_gradients: bool = False,
) -> None:  # fmt: skip
    """Raise CaptureRefused where what a call at larger sizes leaves, under the names `left`, changes what the model
    does with the example, or at its smallest sizes. What has the names `states` is told to each call.

    The model is called for real, on the example's elements again and again; it is left as it was.
    """
    named = {dim.name: example.size(axis) for axis, dim in axes.items() if isinstance(dim, Expr) and dim.name}
    larger = {name: min(2 * max(size, 2), highs.get(name, 2 * size + 4)) for name, size in named.items()}
    if not named or not symbols_of(axes.values()) <= named.keys() or not is_there(example):
        return
    calls = [at_sizes(example, axes, sizes) for sizes in (larger, named, {each: lows.get(each, 2) for each in named})]
    for number, leaves in enumerate(calls[1:], start=1):
        try:
            with torch.set_grad_enabled(with_gradients):
                alone, after = (_after(before, example.flat, leaves, states) for before in ([], calls[:number]))
        except Error:  # it does not take all of those sizes
            continue
        if not _is_equal(alone, after):
            raise next_call_differs(left, definition(example.flat.called))


def at_sizes(example: Example, axes: Mapping[Axis, Dim], sizes: Mapping[str, int]) -> list[torch.Tensor]:
    """The example's tensors at other sizes: their elements again, from the start."""
    leaves = list(example.leaves)
    for (leaf, axis), dim in axes.items():
        wanted, found = evaluate(dim, sizes), leaves[leaf].shape[axis]
        places = torch.arange(wanted) % max(found, 1)
        leaves[leaf] = leaves[leaf].index_select(axis, places if found else places[:0])
    return leaves


def with_elements(leaves: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Tensors like these, random, and of ones where they are no floats. A call may ask for them, whose own
    random numbers come after it."""
    with torch.random.fork_rng(devices=()):
        return [torch.rand_like(leaf) if leaf.is_floating_point() else torch.ones_like(leaf) for leaf in leaves]


def is_there(example: Example) -> bool:
    """Whether the example and the weights have values."""
    tensors = (*example.leaves, *example.flat.parameters(), *example.flat.buffers())
    return not any(each.is_meta or type(each) not in (torch.Tensor, torch.nn.Parameter) for each in tensors)


def _after(
    calls: Sequence[Sequence[torch.Tensor]], flat: Flat, leaves: Sequence[torch.Tensor], states: Collection[str]
) -> list[Any]:
    """What a call does after others, which leave what they leave, but for buffers and states: those are as they
    were."""
    owned = [*flat.buffers()]
    with Translating(), preserved(flat, flat.functions) as changes:
        content, drawn = [each.clone() for each in owned], torch.get_rng_state()
        try:
            for earlier in calls:
                _call(flat, earlier, owned)
                changes.look()
                told = {id(after) for key, _, after, is_buffer in changes.tensors if is_buffer or key in states}
                changes.put_back(told)
                _write(owned, content)
                torch.set_rng_state(drawn)
            return _call(flat, leaves, owned)
        finally:
            _write(owned, content)


def left_by(flat: Flat, leaves: Sequence[torch.Tensor]) -> list[Any]:
    """What one call returns and leaves, the generator after it last. Raises Error where it does not run."""
    return _after([], flat, leaves, ())


def _call(flat: Flat, leaves: Sequence[torch.Tensor], owned: Sequence[torch.Tensor]) -> list[Any]:
    """What a call returns and leaves, and the generator after it."""
    given = [leaf.clone() for leaf in leaves]
    results = [each.clone() if isinstance(each, torch.Tensor) else each for each in flat(*given)]
    return [
        flat.returned.tree, flat.returned.effects, *results, *given, *(each.clone() for each in owned),
        torch.get_rng_state(),
    ]  # fmt: skip


def _is_equal(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(map(_is_same, one, other))


def _is_same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return bool(one == other)
    is_like = one.dtype is other.dtype and one.shape == other.shape
    return is_like and torch.allclose(one, other, rtol=1e-5, atol=1e-5, equal_nan=True)


def _write(tensors: Sequence[torch.Tensor], content: Sequence[torch.Tensor]) -> None:
    with torch.no_grad():
        for tensor, before in zip(tensors, content, strict=True):
            if not torch.equal(tensor, before):
                tensor.copy_(before)
