"""Calls with nothing in them to look into: tensors in, tensors out, and nothing written.

What a call must bring and where each tensor goes is worked out once for each way of calling; after that a call costs
a look at the dtype of each tensor.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from fxonnx.capture.call.arrays import are_arrays, as_array, as_tensors
from fxonnx.capture.call.inputs import Signature
from fxonnx.capture.call.tree import SLOT
from fxonnx.errors import CallMismatch


@dataclass(slots=True)
class PlainCalls:
    """How a model is called that takes tensors, one for each argument."""

    signature: Signature
    dtypes: tuple[torch.dtype, ...]
    orders: dict[Hashable, tuple[int, ...] | None] = field(default_factory=dict)

    @staticmethod
    def of(signature: Signature, inputs: Sequence[Any], results: Sequence[Any]) -> PlainCalls | None:
        """The plain calls of a model by its fake inputs and results; None where not all of them are real tensors, or
        some come in containers."""
        are_real = all(isinstance(each, torch.Tensor) and not each.is_complex() for each in (*inputs, *results))
        if not are_real or any(tree is not SLOT for _, tree in signature.inputs):
            return None
        return PlainCalls(signature, tuple(each.dtype for each in inputs))

    def tensors(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sequence[Any] | None:
        """The tensors of a call, in the order of the inputs; None for a call that is to be looked into."""
        way = (len(args), *kwargs)
        order = self.orders[way] if way in self.orders else self._remember(way)
        if order is None:
            return None
        given = (*args, *kwargs.values()) if kwargs else args
        tensors = [given[index] for index in order]
        if tensors and type(tensors[0]) is np.ndarray:
            tensors = as_tensors(self.signature.names, tensors)
        for tensor, dtype in zip(tensors, self.dtypes, strict=True):
            if type(tensor) is not torch.Tensor or tensor.dtype is not dtype:
                return None
            if tensor.layout is not torch.strided or tensor.is_nested:
                return None
        return tensors

    def result(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], results: Sequence[torch.Tensor]) -> Any:
        """What the model returns, around its results; arrays to who brings arrays."""
        first = args[0] if args else next(iter(kwargs.values()), None)
        if type(first) is np.ndarray and are_arrays((*args, *kwargs.values())):
            results = [as_array(each) for each in results]
        return results[0] if self.signature.result is SLOT else self.signature.unflatten(results)

    def _remember(self, way: tuple[Any, ...]) -> tuple[int, ...] | None:
        """Which of the arguments, in order, is each input; None where it is not one for one, or does not fit."""
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
