"""Normalizations that update their running statistics without saying so in their schema, with the update as values.

torch declares a write in an op's schema, `Tensor(a!) running_mean`; these ops, older than that rule, write all the
same. Formulas: torch.nn.BatchNorm1d and InstanceNorm1d, "momentum" (new = (1 - momentum) * old + momentum * seen, the
variance unbiased).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import fx

from fxonnx.capture.graph.functional_form import cast, in_dtype, run_fake
from fxonnx.capture.graph.views import Emit, argument

aten = torch.ops.aten

Update: TypeAlias = "tuple[list[fx.Node], list[fx.Node]]"
"""the call's results, and the new values of the running mean and variance"""


def updated_statistics(node: fx.Node) -> list[fx.Node]:
    """The running statistics that a call writes although its schema does not say it: mean and variance, or nothing."""
    if node.target not in _NORMALIZATIONS:
        return []
    flag, _ = _NORMALIZATIONS[node.target]
    if flag and (not argument(node, flag) or argument(node, "input").meta["val"].dim() < 2):  # no channels, no writes
        return []
    return [each for name in ("running_mean", "running_var") if (each := argument(node, name)) is not None]


def update(emit: Emit, node: fx.Node) -> Update | None:
    """The call and its update said as values, or None where no op says them."""
    _, form = _NORMALIZATIONS[node.target]
    return None if form is None or len(updated_statistics(node)) < 2 else form(emit, node)


def _batch_norm(emit: Emit, node: fx.Node) -> Update | None:
    """The op that returns output, saved mean, saved inverse deviation, and the new running mean and variance."""
    names = [each.name for each in node.target._schema.arguments][:8]  # all but cudnn_enabled, named alike or not
    arguments = [argument(node, name) for name in names]
    value, statistics = node.meta["val"], [argument(node, name).meta["val"] for name in ("running_mean", "running_var")]
    known = [*value[:3], *statistics] if isinstance(value, (list, tuple)) else [value, None, None, *statistics]
    results = _call(emit, aten._native_batch_norm_legit_functional.default, *arguments, known=known)
    workspace = [user for user in node.users if user.target is operator.getitem and user.args[1] > 2]
    if any(user.users for user in workspace):
        return None
    return results[:3] + results[:1] * len(workspace), results[3:]  # what nobody reads may be anything


def _instance_norm(emit: Emit, node: fx.Node) -> Update:
    """The same call without running statistics, which it does not read; they become the means, over the batch, of each
    instance's mean and unbiased variance over its positions. input: (n, c, *positions)."""
    x, weight, bias, mean, variance, _, momentum, epsilon, cudnn = (
        argument(node, each.name) for each in node.target._schema.arguments
    )
    (output,) = _call(emit, aten.instance_norm.default, x, weight, bias, None, None, True, momentum, epsilon, cudnn)
    x = cast(emit, x, mean)
    positions = list(range(2, x.meta["val"].dim()))
    (seen_mean,) = _call(emit, aten.mean.dim, x, [0, *positions])
    (of_each,) = _call(emit, aten.var.correction, x, positions, correction=1)
    (seen_variance,) = _call(emit, aten.mean.dim, of_each, [0])
    return [output], [
        *_call(emit, aten.lerp.Scalar, mean, seen_mean, momentum),
        *_call(emit, aten.lerp.Scalar, variance, cast(emit, seen_variance, variance), momentum),
    ]


def _call(emit: Emit, target: Any, *args: Any, known: Sequence[Any] = (), **kwargs: Any) -> list[fx.Node]:
    """A call's results, each as a node; in the dtypes of those that are known: torch's meta kernel may have others."""
    result = run_fake(target, args, kwargs, args[0])
    if known:
        pairs = zip(result, known, strict=True)
        result = tuple(each if like is None else in_dtype(each, like.dtype) for each, like in pairs)
    call = emit(target, args, kwargs, result)
    if isinstance(result, torch.Tensor):
        return [call]
    return [emit(operator.getitem, (call, index), {}, each) for index, each in enumerate(result)]


_NORMALIZATIONS: dict[Any, tuple[str, Callable[[Emit, fx.Node], Update | None] | None]] = {
    aten.batch_norm.default: ("training", _batch_norm),
    aten.native_batch_norm.default: ("training", _batch_norm),
    aten._batch_norm_impl_index.default: ("training", _batch_norm),
    aten.cudnn_batch_norm.default: ("training", _batch_norm),
    aten.miopen_batch_norm.default: ("training", _batch_norm),
    aten.instance_norm.default: ("use_input_stats", _instance_norm),
    aten.batch_norm_update_stats.default: ("", None),
    aten.batch_norm_gather_stats.default: ("", None),
    aten.batch_norm_gather_stats_with_counts.default: ("", None),
}
"""op -> (the argument that says whether it updates, "" for always; its form as values)"""
