"""`torch.compile(model, backend="fxonnx")`: what TorchDynamo makes graphs of runs in ONNX Runtime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from fxonnx.compiled import Compiled
from fxonnx.compiler import compile
from fxonnx.errors import Error, ModelChanged

logger = logging.getLogger("fxonnx")


def backend(graph: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
    """A backend of torch.compile: its graphs are compiled when they are first called, once for each combination of
    sizes and numbers.

    A graph that cannot be compiled is run by PyTorch, with a warning that says why; so is every call whose results
    need gradients, which ONNX Runtime does not compute.
    """
    return _Region(graph)


class _Region:
    """One graph of TorchDynamo's."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        self.compiled: dict[tuple[Any, ...], Compiled | None] = {}

    def __call__(self, *args: Any) -> Any:
        tensors = [each for each in args if isinstance(each, torch.Tensor)]
        if torch.is_grad_enabled() and any(each.requires_grad for each in tensors):
            logger.info("a graph is left to PyTorch: its results need gradients")
            return self.graph(*args)
        key = tuple(map(_kind, args))
        if key not in self.compiled:
            self.compiled[key] = self.compile(args)
        compiled = self.compiled[key]
        if compiled is None:
            return self.graph(*args)
        varying = [each for each in args if not _is_weight(each)]
        try:
            return compiled(*varying)
        except ModelChanged:  # a weight was written to since
            self.compiled.clear()
            return self(*args)

    def compile(self, args: Sequence[Any]) -> Compiled | None:
        """The graph compiled for arguments like these, its weights as they are; None where that cannot be."""
        model = _Bound(self.graph, args)
        try:
            return compile(model, tuple(each for each in args if not _is_weight(each)), mode="keep")
        except Error as error:
            warnings.warn(f"a graph is left to PyTorch, as fxonnx cannot compile it:\n{error}", stacklevel=2)
            return None


class _Bound(torch.nn.Module):
    """A graph that has its weights, as a model of its other arguments."""

    def __init__(self, graph: fx.GraphModule, args: Sequence[Any]) -> None:
        super().__init__()
        self.graph = graph
        self.places = [_is_weight(each) for each in args]
        self.weights = torch.nn.ParameterList([each for each in args if _is_weight(each)])
        self.train(graph.training)

    def forward(self, *args: Any) -> Any:
        """The graph's results."""
        varying, weights = iter(args), iter(self.weights)
        return self.graph(*(next(weights) if is_weight else next(varying) for is_weight in self.places))


def _is_weight(each: Any) -> bool:
    return isinstance(each, torch.nn.Parameter)


def _kind(each: Any) -> Any:
    """What of an argument is compiled in: a weight itself, the dtype and sizes of a tensor, a number."""
    if _is_weight(each):
        return id(each)
    return (each.dtype, tuple(each.shape)) if isinstance(each, torch.Tensor) else (type(each), each)
