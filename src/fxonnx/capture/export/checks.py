"""The assertions in a graph of torch.export: those that the model or an op asks for, once each, with their place.

torch writes every range that it knows of a size from data as an assertion too: nothing that a call could miss.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensor

from fxonnx.capture.assertions import answer
from fxonnx.capture.export.guards import Comparison, compared
from fxonnx.capture.export.sizes import Sizes
from fxonnx.ir.dims import Bounds, certain
from fxonnx.location import Location

Asked = Mapping[Comparison, tuple[str, Location]]


@contextmanager
def asserting() -> Iterator[None]:
    """Python's checks of data as torch's assertions, for as long as torch.export runs a model.

    The questions are FakeTensor's own methods for that long. A mode that stood before them would be compiled with the
    branches of torch.cond.
    """
    questions = {"__bool__": torch.Tensor.__bool__, "item": torch.Tensor.item}
    try:
        for name, question in questions.items():
            setattr(FakeTensor, name, _asserting(question))
        yield
    finally:
        for name in questions.keys() & vars(FakeTensor).keys():
            delattr(FakeTensor, name)


def _asserting(question: Any) -> Callable[[FakeTensor], Any]:
    def asked(self: FakeTensor) -> Any:
        checked = answer(question, (self,), torch._assert_async)
        return question(self) if checked is NotImplemented else checked

    return asked


def keep_asked(graph: fx.Graph, sizes: Sizes, asked: Asked | None) -> None:
    """Drop the assertions about sizes that always hold, are made twice, or that nobody asked for; what the others say,
    and where, is noted in the graph. Where it is not known who asked (None), those are kept that tell something."""
    seen: set[Comparison] = set()
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten._assert_scalar.default):
        comparison = _comparison(node.args[0], sizes)
        if comparison is None:
            continue
        unasked = _is_range(node.args[0]) if asked is None else comparison not in asked
        if unasked or comparison in seen or _always(comparison):
            graph.erase_node(node)
            continue
        seen.add(comparison)
        if asked is not None:
            text, place = asked[comparison]
            node.args = (node.args[0], text)
            line = f'File "{place.file}", line {place.line}, in {place.function}'
            node.meta["stack_trace"] = f"{line}\n    {place.code}\n"


def _comparison(condition: Any, sizes: Sizes) -> Comparison | None:
    value = condition.meta.get("val") if isinstance(condition, fx.Node) else None
    return compared(value.node.expr, sizes) if isinstance(value, torch.SymBool) else None


def _always(comparison: Comparison) -> bool:
    """Whether it holds for all sizes."""
    relation, differences = comparison
    dims = (each for each in differences if not isinstance(each, str))
    return any(certain(relation, *Bounds({}, {}).interval(each)) is True for each in dims)


def _is_range(condition: fx.Node) -> bool:
    """Whether a condition says that a selection has no more rows than what it is made of has elements."""
    size, limit = condition.args[0], condition.args[1] if len(condition.args) > 1 else None
    is_size = isinstance(size, fx.Node) and size.target is torch.ops.aten.sym_size.int
    if condition.target is not operator.le or not is_size or not isinstance(limit, int):
        return False
    made_of = (each.meta["val"] for each in size.args[0].all_input_nodes)
    counts = [each.numel() for each in made_of if isinstance(each, torch.Tensor)]
    return bool(counts) and all(isinstance(each, int) and each <= limit for each in counts)
