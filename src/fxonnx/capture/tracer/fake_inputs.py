"""Fake tensors for a trace: for the example inputs, with symbols for the dims that may vary, and for weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import torch
from torch import nn

from fxonnx.capture.call.dynamic import Requests
from fxonnx.capture.call.example import Example
from fxonnx.capture.call.inputs import Flat
from fxonnx.capture.call.memory import memory_order
from fxonnx.capture.scripted import script_attributes
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import sym_int
from fxonnx.capture.tracer.sizes.primes import prime_below, prime_near
from fxonnx.capture.tracer.torch_private import FakeTensor, FakeTensorMode, in_kernel_invocation_manager
from fxonnx.capture.wrappers import without_wrappers
from fxonnx.ir.dims import Dim, Expr, at_sizes, evaluate, linear, substitute, symbol, symbols_of


@dataclass(slots=True)
class SymbolTable:
    """The symbols of one trace: the dim of each axis that varies, each symbol's size in this run, and its bounds; and
    whether comparisons are decided `at_once`, where they are made, a run `takes_plain` numbers of sizes, by Python's
    `own_python` functions alone, and `counts` iterations with numbers that floats are computed of. The ids of the
    weights that the model writes to are `states`: their values are data. `numbers` from data have these values, by
    name, and are plain ones where Python asks; others are decided in a run that goes `is_by_numbers`. A model is told
    that it is exported where it is `exporting`; if it is not, the run notes that it `asked`. It `shortcuts` what it
    does by data, although tensors have none, where that makes a difference. It runs as in torch.no_grad(), or
    `with_gradients`: 1 of tensors, 2 of weights too. A loop that data ends has these `turns`; a run that `rolls_turns`
    is stopped by the first one that it `repeated`. One that makes more than `most_calls` is stopped there."""

    axes: dict[tuple[int, int], Dim] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)
    lows: dict[str, int] = field(default_factory=dict)
    highs: dict[str, int] = field(default_factory=dict)
    at_once: bool = False
    takes_plain: bool = False
    own_python: bool = False
    counts: bool = False
    exporting: bool = False
    shortcuts: bool = False
    with_gradients: int = 0
    asked: bool = False
    states: frozenset[int] = frozenset()
    numbers: Mapping[str, int] = field(default_factory=dict)
    is_by_numbers: bool = False
    turns: Any = None  # `decisions.turns.Turns`
    rolls_turns: bool = False
    repeated: Any = None
    most_calls: float = inf

    def labels(self, names: Sequence[str]) -> dict[str, str]:
        """Where each dim is first found among the inputs: "x, axis 0"."""
        return {str(dim): f"{names[leaf]}, axis {axis}" for (leaf, axis), dim in reversed(self.axes.items())}

    def in_example(self, leaves: Sequence[torch.Tensor]) -> dict[str, int]:
        """Each symbol's size in the example, as far as an axis tells it."""
        sizes = {name: _example_size(name, self.axes, leaves) for name in self.hints}
        return {name: size for name, size in sizes.items() if size is not None}

    def sized_as(self, leaves: Sequence[torch.Tensor]) -> SymbolTable:
        """For a run at the sizes of these inputs."""
        return replace(self, hints={**self.hints, **self.in_example(leaves)})

    def has_room(self, sizes: Mapping[str, int]) -> bool:
        """Whether tensors have sizes where symbols have these: 32 - n has none at 40."""
        return all(evaluate(dim, {**self.hints, **sizes}) >= 0 for dim in self.axes.values())

    def fixed_at(self, sizes: Mapping[str, int]) -> SymbolTable:
        """Without the symbols that have these sizes."""

        def others(known: Mapping[str, int]) -> dict[str, int]:
            return {name: size for name, size in known.items() if name not in sizes}

        given: dict[str, Dim] = dict(sizes)
        axes = {axis: substitute(dim, given) for axis, dim in self.axes.items()}
        free: dict[tuple[int, int], Dim] = {axis: dim for axis, dim in axes.items() if not isinstance(dim, int)}
        return replace(self, axes=free, hints=others(self.hints), lows=others(self.lows), highs=others(self.highs))


def allocate(example: Example, *, at_example: bool, scale: int = 1, **flags: Any) -> SymbolTable:
    """Symbols for the dims that were asked for: one for each name, and one for each dim without a name; the `flags` are
    fields of the table.

    Sizes are `scale` times the example's if `at_example`; else they are distinct primes about as large, so that no
    comparison and no division comes out right by accident, and at 1 a table of 77 positions still has room.
    """
    chosen = SymbolTable(**flags)
    fresh = _fresh(example.requests)
    for axis, request in sorted(example.requests.items()):
        dim = symbol(next(fresh)) if request.dim is None else request.dim
        chosen.axes[axis] = dim
        if isinstance(dim, Expr) and dim.name is not None:
            chosen.lows[dim.name] = max(request.minimum, 2)
            if request.maximum is not None:
                chosen.highs[dim.name] = request.maximum
    for name in sorted(symbols_of(chosen.axes.values()), key=lambda name: _first_use(name, chosen.axes)):
        size = _example_size(name, chosen.axes, example.leaves)
        wanted = (size or 0) * scale
        exact = at_example and size is not None
        hint = _within(wanted if exact else prime_near(wanted, chosen.hints.values()), name, chosen)
        most = _room(name, 0 if exact else 2, chosen)
        chosen.hints[name] = hint if most is None or hint <= most else prime_below(most, chosen.hints.values())
    return chosen


def _fresh(table: Requests) -> Iterator[str]:
    taken = symbols_of(request.dim for request in table.values() if request.dim is not None)
    number = 0
    while True:
        if f"d{number}" not in taken:
            yield f"d{number}"
        number += 1


def _first_use(name: str, axes: Mapping[tuple[int, int], Dim]) -> tuple[int, int]:
    return next(axis for axis, dim in axes.items() if isinstance(dim, Expr) and name in dim.symbols)


def _example_size(name: str, axes: Mapping[tuple[int, int], Dim], leaves: Sequence[torch.Tensor]) -> int | None:
    """What the example says of a symbol, by an axis that is nothing else."""
    for (leaf, axis), dim in axes.items():
        if isinstance(dim, Expr) and dim.name == name:
            return leaves[leaf].shape[axis]
    return None


def _room(name: str, least: int, chosen: SymbolTable) -> int | None:
    """The greatest size of a symbol that leaves dims which it takes from, 32 - n - m, no less than the least, where
    others have the sizes that were chosen already, or small ones. None where it takes from none."""
    others = {each: chosen.hints.get(each, 2) for each in symbols_of(chosen.axes.values()) - {name}}
    found = (linear(at_sizes(dim, others)) for dim in chosen.axes.values() if isinstance(dim, Expr))
    return min(((offset - least) // -slope for _, slope, offset in filter(None, found) if slope < 0), default=None)


def _within(prime: int, name: str, chosen: SymbolTable) -> int:
    low, high = chosen.lows.get(name, 2), chosen.highs.get(name)
    return max(low, min(prime, high) if high is not None else prime)


def fake_input(
    mode: FakeTensorMode, leaf: torch.Tensor, number: int, chosen: SymbolTable, guard_log: GuardLog
) -> FakeTensor:
    """A fake tensor like an example input, with sizes that know their dim."""
    dims = [chosen.axes.get((number, axis), known) for axis, known in enumerate(leaf.shape)]
    sizes = [sym_int(dim, evaluate(dim, chosen.hints), guard_log) for dim in dims]
    fake = _fake(mode, leaf, sizes, _strides(leaf, sizes))
    return fake.requires_grad_() if chosen.with_gradients and leaf.requires_grad else fake


def _strides(leaf: torch.Tensor, sizes: Sequence[int | torch.SymInt]) -> list[int | torch.SymInt]:
    """Strides in the order of the example's, without gaps, and 0 where it repeats; its own where no size is
    symbolic. An axis of nothing counts as one of 1."""
    if all(isinstance(each, int) for each in sizes):
        return list(leaf.stride())
    strides: list[int | torch.SymInt] = [1] * leaf.dim()
    step: int | torch.SymInt = 1
    for axis in reversed(memory_order(leaf)):
        if leaf.stride(axis) == 0:
            strides[axis] = 0
            continue
        strides[axis] = step
        step = step * (sizes[axis] or 1 if isinstance(sizes[axis], int) else sizes[axis])
    return strides


@dataclass(slots=True, eq=False)
class FakeWeights:
    """Fake tensors like weights, of their device (of the CPU where that is the meta device).

    Weights over one storage get stand-ins over one storage, so that a write to one is seen in the other.
    """

    mode: FakeTensorMode
    _storages: dict[int, torch.UntypedStorage] = field(default_factory=dict)

    def __call__(self, weight: torch.Tensor) -> FakeTensor:
        """One weight's; the caller keeps the weight alive."""
        storage = weight.untyped_storage()
        shared = self._storages.get(storage._cdata)
        if shared is None and storage.nbytes() != weight.numel() * weight.element_size():
            shared = torch.UntypedStorage(storage.nbytes(), device="meta")
        stand_in = _fake(self.mode, weight, weight.shape, weight.stride(), shared)
        self._storages.setdefault(storage._cdata, stand_in.untyped_storage())
        return stand_in


def weight_keys(flat: Flat) -> dict[int, str]:
    """The model's tensors by identity: state_dict keys, and paths of those that are plain attributes."""
    if not isinstance(flat.model, nn.Module):
        return {}
    keys: dict[int, str] = {}
    for name, tensor in (*flat.model.named_parameters(), *flat.model.named_buffers()):
        keys.setdefault(id(tensor), without_wrappers(name))
    for path, module in flat.model.named_modules():
        for name, value in (*vars(module).items(), *script_attributes(module).items()):
            if isinstance(value, torch.Tensor):
                keys.setdefault(id(value), without_wrappers(f"{path}.{name}" if path else name))
    return keys


def _fake(
    mode: FakeTensorMode, like: torch.Tensor, sizes: Iterable[object], strides: Iterable[object],
    storage: torch.UntypedStorage | None = None,
) -> FakeTensor:  # fmt: skip
    """A fake tensor of these sizes, over a storage of its own or a given one."""
    device = torch.device("cpu") if like.device.type == "meta" else like.device
    with in_kernel_invocation_manager(mode):
        memory = torch.empty_strided(tuple(sizes), tuple(strides), dtype=like.dtype, device="meta")
        if storage is not None:
            memory.set_(storage, like.storage_offset(), like.shape, like.stride())
    return FakeTensor(mode, memory, device)
