"""Whether a model that leaves something in Python does the same at its next call, asked of the model itself.

torch.export keeps what forward writes to buffers; of everything else a graph of it knows what it was at the first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fxonnx.capture.call.example import Example
from fxonnx.capture.call.inputs import Flat, definition
from fxonnx.capture.failures import Translating
from fxonnx.capture.state.python_state import StateChanges, next_call_differs, preserved
from fxonnx.errors import Error


def check_next_call(example: Example, changes: StateChanges) -> None:
    """Raise CaptureRefused where what forward leaves in attributes makes its next call another one.

    The model is called on the example, before and after a call of other inputs, from the same buffers; it is left as it
    was.
    """
    left = [*changes.others, *(key for key, _, _, is_buffer in changes.tensors if not is_buffer)]
    if not left or not _is_there(example) or _is_repeatable(example.flat, example.leaves):
        return
    raise next_call_differs(left, definition(example.flat.called))


def _is_there(example: Example) -> bool:
    """Whether the example and the weights have values."""
    tensors = (*example.leaves, *example.flat.parameters(), *example.flat.buffers())
    return not any(each.is_meta or type(each) not in (torch.Tensor, torch.nn.Parameter) for each in tensors)


def _is_repeatable(flat: Flat, leaves: Sequence[torch.Tensor]) -> bool:
    """Whether a call returns and writes the same, and draws as many random numbers, after a call of other inputs."""
    alone = _after(None, flat, leaves)
    try:
        return _is_equal(alone, _after([_other(leaf) for leaf in leaves], flat, leaves))
    except Error:  # it does not take those
        return _is_equal(alone, _after(leaves, flat, leaves))


def _other(leaf: torch.Tensor) -> torch.Tensor:
    """An input of the same kind, in which everything is elsewhere, and numbers that are no indices are others."""
    turned = leaf.flatten().flip(0).view(leaf.shape)
    return turned * 0.5 if leaf.is_floating_point() or leaf.is_complex() else turned


def _after(earlier: Sequence[torch.Tensor] | None, flat: Flat, leaves: Sequence[torch.Tensor]) -> list[Any]:
    """What a call does after an `earlier` one, which leaves what it leaves, but for buffers: those are as they were."""
    owned = [*flat.buffers()]
    with torch.no_grad(), Translating(), preserved(flat, flat.functions) as changes:
        content, drawn = [each.clone() for each in owned], torch.get_rng_state()
        try:
            if earlier is not None:
                _call(flat, earlier, owned)
                changes.look()
                changes.put_back({id(after) for _, _, after, is_buffer in changes.tensors if is_buffer})
                _write(owned, content)
                torch.set_rng_state(drawn)
            return _call(flat, leaves, owned)
        finally:
            _write(owned, content)


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
    return one.dtype is other.dtype and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _write(tensors: Sequence[torch.Tensor], content: Sequence[torch.Tensor]) -> None:
    for tensor, before in zip(tensors, content, strict=True):
        if not torch.equal(tensor, before):
            tensor.copy_(before)
