"""The casts of an autocast region, written out.

A call is recorded above the level where autocast casts, so `matmul` of two float32 tensors has a bfloat16 result
there. Which casts an op got shows in the dtype of its result: none, all floating arguments to the region's dtype, or
all to float32. Those are the only things autocast does (torch.amp, "Autocast Op Reference":
lower_precision_fp, fp32, promote).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

_LOW = (torch.float16, torch.bfloat16)
_CASTABLE = (*_LOW, torch.float32)


def insert_casts(graph: fx.Graph, dtype: torch.dtype, nodes: Iterable[fx.Node]) -> None:
    """Insert the casts to `dtype` that explain the dtypes of the nodes' results.

    Ops that no choice of casts explains are left as they are.
    """
    for node in nodes:
        if node.op == "call_function" and _takes_part(node) and _has_castable(node):
            wanted = _explain(node, dtype)
            if wanted is not None:
                _cast_arguments(graph, node, wanted)


def _takes_part(node: fx.Node) -> bool:
    """Whether autocast looks at an op at all: it leaves alone what writes in place or into out=."""
    return isinstance(node.target, torch._ops.OpOverload) and not node.target._schema.is_mutable


def _has_castable(node: fx.Node) -> bool:
    return (
        any(_dtype(each) in _CASTABLE for each in node.all_input_nodes)
        and _first_tensor(node.meta.get("val")) is not None
    )


def _explain(node: fx.Node, dtype: torch.dtype) -> torch.dtype | None:
    """The dtype that autocast gave the floating arguments, or None when it left them alone."""
    expected = _first_tensor(node.meta["val"]).dtype
    dtypes = {_dtype(each) for each in node.all_input_nodes} & set(_CASTABLE)
    # fake tensors let some mixtures pass that real ones refuse; a cast to float32 is what promotion does anyway
    mixed = len(dtypes) > 1
    for candidate in (dtype, torch.float32, None) if mixed else (None, dtype, torch.float32):
        if candidate is not None and dtypes == {candidate}:
            continue
        if _result_dtype(node, candidate) is expected:
            return candidate
    return None


def _result_dtype(node: fx.Node, dtype: torch.dtype | None) -> torch.dtype | None:
    """The op's result dtype for arguments cast to `dtype`, tried on the fake tensors."""

    def fake(each: fx.Node) -> Any:
        value = each.meta["val"]
        return value.to(dtype) if dtype is not None and _dtype(each) in _CASTABLE else value

    mode = next(
        value.fake_mode
        for value in (each.meta["val"] for each in node.all_input_nodes)
        if isinstance(value, torch.Tensor)
    )
    try:
        with mode, torch.no_grad(), torch.autocast("cpu", enabled=False):
            result = node.target(*fx.map_arg(node.args, fake), **fx.map_arg(node.kwargs, fake))
    except RuntimeError:  # mixed dtypes that only autocast makes one
        return None
    return _first_tensor(result).dtype


def _cast_arguments(graph: fx.Graph, node: fx.Node, dtype: torch.dtype) -> None:
    for each in node.all_input_nodes:
        if _dtype(each) in _CASTABLE and _dtype(each) is not dtype:
            with graph.inserting_before(node):
                cast = graph.call_function(torch.ops.aten.to.dtype, (each, dtype))
            cast.meta = {**node.meta, "val": each.meta["val"].to(dtype)}
            node.replace_input_with(each, cast)


def _dtype(node: fx.Node) -> torch.dtype | None:
    value = node.meta.get("val")
    return value.dtype if isinstance(value, torch.Tensor) else None


def _first_tensor(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return next((each for each in value if isinstance(each, torch.Tensor)), None)
    return value if isinstance(value, torch.Tensor) else None
