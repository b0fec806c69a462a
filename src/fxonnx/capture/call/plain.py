"""Calls with nothing in them to look into: tensors in, tensors out, and nothing written.

What a call must bring and where each tensor goes is worked out once for each way of calling; after that a call costs
a look at the dtype of each tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import torch

from fxonnx.capture.call.arrays import are_arrays, as_array, as_tensors
from fxonnx.capture.call.inputs import Signature
from fxonnx.capture.call.tree import SLOT, Branch
from fxonnx.errors import CallMismatch

_facts = attrgetter("dtype", "layout", "is_nested")


@dataclass(slots=True)
class PlainCalls:
    """How a model is called that takes tensors, one for each argument.

    `readable` tells what each tensor is (`_facts`); `in_order` how many arguments by position are the inputs as they
    stand, -1 where none are; `build` makes of the results what the model returns.
    """

    signature: Signature
    readable: Sequence[tuple[Any, ...]]
    orders: dict[Hashable, tuple[int, ...] | None] = field(default_factory=dict)
    in_order: int = field(init=False)
    build: Callable[[list[Any]], Any] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.readable)
        self.in_order = count if self._order((count,)) == tuple(range(count)) else -1
        self.build = _builder(self.signature)

    @staticmethod
    def of(signature: Signature, inputs: Sequence[Any], results: Sequence[Any]) -> PlainCalls | None:
        """The plain calls of a model by its fake inputs and results; None where not all of them are real tensors, or
        some come in containers."""
        are_real = all(isinstance(each, torch.Tensor) and not each.is_complex() for each in (*inputs, *results))
        if not are_real or any(tree is not SLOT for _, tree in signature.inputs):
            return None
        return PlainCalls(signature, [(each.dtype, torch.strided, False) for each in inputs])

    def tensors(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sequence[Any] | None:
        """The tensors of a call, in the order of the inputs; None for a call that is to be looked into."""
        given: Sequence[Any] = args
        if kwargs or len(args) != self.in_order:
            order = self._order((len(args), *kwargs))
            if order is None:
                return None
            given = [*args, *kwargs.values()]
            given = [given[index] for index in order]
        if given and type(given[0]) is np.ndarray:
            given = as_tensors(self.signature.names, given)
        for tensor, readable in zip(given, self.readable, strict=True):
            if type(tensor) is not torch.Tensor or _facts(tensor) != readable:
                return None
        return given

    def result(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], results: list[Any]) -> Any:
        """What the model returns, around its results; arrays to who brings arrays."""
        first = args[0] if args else next(iter(kwargs.values()), None)
        if type(first) is np.ndarray and are_arrays((*args, *kwargs.values())):
            results = [as_array(each) for each in results]
        return self.build(results)

    def _order(self, way: tuple[Any, ...]) -> tuple[int, ...] | None:
        """Which of the arguments, in order, is each input; None where it is not one for one, or does not fit."""
        return self.orders[way] if way in self.orders else self._remember(way)

    def _remember(self, way: tuple[Any, ...]) -> tuple[int, ...] | None:
        count, *names = way
        positions = dict(zip(names, range(count, count + len(names)), strict=True))
        try:
            bound = self.signature.bind(tuple(range(count)), positions)
        except CallMismatch:
            return None  # a call that does not fit: it is told by the way that looks into it
        order = tuple(bound.get(name) for name, _ in self.signature.inputs)
        fits = len(bound) == len(order) and all(isinstance(index, int) for index in order)
        self.orders[way] = order if fits else None  # type: ignore[assignment]
        return self.orders[way]


def _builder(signature: Signature) -> Callable[[list[Any]], Any]:
    """What puts results into the structure that the model returns: at once where that is one container of tensors."""
    tree = signature.result
    if tree is SLOT:
        return itemgetter(0)
    if isinstance(tree, Branch) and all(part is SLOT for part in tree.parts):
        return tree.rebuild
    return signature.unflatten
