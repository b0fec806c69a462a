"""For every op that writes in place, the op that returns the new value instead.

Found through the schema: `add_` and `add`, `add.out` and `add`, with the same arguments. The few that have no such
partner, or a simpler one, are in a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.views import Emit, argument, storage

aten = torch.ops.aten
DETACH_IN_PLACE = aten.detach_.default  # writes nothing


@dataclass(frozen=True, slots=True)
class Form:
    """How an op's writes are said as values: the op to call, and the positions and names of the arguments that are
    written."""

    target: Any
    written: tuple[tuple[int, str], ...]
    dropped: bool  # the written arguments are only places for results (out=), not operands

    @property
    def made(self) -> bool:
        """Whether the op makes a tensor of numbers alone, in a dtype that it is told."""
        arguments = self.target._schema.arguments
        return self.dropped and arguments[-1].name == "pin_memory"


@cache
def is_mutable(target: Any) -> bool:
    """Whether a call target writes into its arguments, by its schema."""
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


@cache
def written_arguments(target: Any) -> tuple[tuple[int, str], ...]:
    """(position, name) of the arguments that the op writes to."""
    arguments = enumerate(target._schema.arguments)
    return tuple(
        (index, each.name) for index, each in arguments if each.alias_info is not None and each.alias_info.is_write
    )


def written_places(node: fx.Node) -> list[fx.Node]:
    """The tensors among a call's arguments that it writes to."""
    if not is_mutable(node.target) or node.target is DETACH_IN_PLACE:
        return []
    places = [
        node.kwargs.get(name, node.args[at] if at < len(node.args) else None)
        for at, name in written_arguments(node.target)
    ]
    leaves = [each for each in pytree.tree_leaves(places) if isinstance(each, fx.Node)]
    return [each for each in leaves if isinstance(each.meta["val"], torch.Tensor)]


def memories_written(nodes: Iterable[fx.Node]) -> frozenset[int]:
    """The memories that nodes write to, by the storages of their fake tensors. Linear time."""
    return frozenset(storage(place.meta["val"]) for node in nodes for place in written_places(node))


@cache
def reshaped(target: Any) -> tuple[tuple[int, str], ...]:
    """(position, name) of the arguments that the op may give another shape: squeeze_ does, and out= takes that of the
    result."""
    if not is_mutable(target):
        return ()
    if torch.Tag.inplace_view in target.tags:
        return written_arguments(target)
    return tuple(each for each in written_arguments(target) if target._schema.arguments[each[0]].kwarg_only)


@cache
def functional_form(target: Any) -> Form | None:
    """The op that returns what `target` writes, or None where torch has none."""
    written = written_arguments(target)
    name = target._schema.name.partition("::")[2]
    out = all(target._schema.arguments[position].kwarg_only for position, _ in written)
    found = _overload(target, name if out else _without_underscore(name), out)
    return None if found is None else Form(found, written, dropped=out)


def _without_underscore(name: str) -> str:
    """`add_` writes what `add` returns, `__iand__` what `__and__` returns; the random fills are called
    `normal_functional` and the like."""
    if name.startswith("__i") and name.endswith("__"):
        return f"__{name[3:]}"
    return name.removesuffix("_")


def _overload(target: Any, name: str, out: bool) -> Any:
    """The overload of the op called `name` that takes `target`'s arguments (less the places for results) and writes
    nothing."""
    dropped = {name for _, name in written_arguments(target)} if out else set()
    wanted = _types(target, dropped)
    for candidate in (name, f"{name}_functional"):
        packet = getattr(getattr(torch.ops, target.namespace), candidate, None)
        for overload in packet.overloads() if packet is not None else ():
            found = getattr(packet, overload)
            if found._schema.is_mutable:
                continue
            if _types(found, set()) == wanted or (out and _types(found, _MADE_AS) == wanted):
                return found
    return None


_MADE_AS = {"dtype", "layout", "device", "pin_memory"}  # what ones() takes, and its place out= says
_IN_THE_DTYPE_OF_THE_PLACE = frozenset({  # what these add up is cast first, not their result
    aten.sum.dim_IntList, aten.sum.default, aten.nansum.default, aten.mean.dim, aten.mean.default, aten.prod.dim_int,
    aten.cumsum.default, aten.cumprod.default,
})  # fmt: skip


def _types(target: Any, dropped: set[str]) -> list[tuple[str, bool, str]]:
    """The types of an op's arguments; names only where they are needed in a call (`dropout` says input where
    `dropout_` says self)."""
    kept = (each for each in target._schema.arguments if each.name not in dropped)
    return [(each.name if each.kwarg_only else "", each.kwarg_only, str(each.type)) for each in kept]


Replace: TypeAlias = Callable[[Emit, fx.Node, fx.Node], fx.Node]
"""(emit, the writing call, the written tensor's value) -> its new value"""


def _copy(emit: Emit, node: fx.Node, old: fx.Node) -> fx.Node:
    """`copy_`: the source, cast and spread to the place it is copied to, and in memory as that is."""
    value, whole = fit(emit, node.args[1], old), old.meta["val"]
    if _strides(value.meta["val"]) == _strides(whole):
        return value
    return emit(aten.clone.default, (value,), {}, whole)


def _strides(value: torch.Tensor) -> list[Any]:
    """How the elements of a tensor lie beside each other. Sizes are not compared: the source and the place may say the
    same one in two ways; nor is where they begin: a clone would begin elsewhere too."""
    return [step if isinstance(step, int) else step.node.expr for step in value.stride()]


def _fill(emit: Emit, node: fx.Node, old: fx.Node) -> fx.Node:
    value = node.args[1]
    if isinstance(value, fx.Node) and isinstance(value.meta["val"], torch.Tensor):
        return fit(emit, value, old)
    return emit(aten.full_like.default, (old, value), {}, old.meta["val"])


def _zero(emit: Emit, node: fx.Node, old: fx.Node) -> fx.Node:
    return emit(aten.zeros_like.default, (old,), {}, old.meta["val"])


def _fill_diagonal(emit: Emit, node: fx.Node, old: fx.Node) -> fx.Node:
    """A matrix's diagonal; of a cube, and of a tall matrix with `wrap`, every so many elements of the flat tensor."""
    whole, value = old.meta["val"], node.args[1]
    if whole.dim() == 2 and not argument(node, "wrap"):
        part = _empty(whole, [torch.sym_min(*whole.shape)])
        diagonal = emit(aten.full_like.default, (emit(aten.diagonal.default, (old,), {}, part), value), {}, part)
        return emit(aten.diagonal_scatter.default, (old, diagonal), {}, whole)
    step, count = sum(torch.empty(whole.shape, device="meta").stride()), whole.numel()
    flat = emit(aten.reshape.default, (old, [-1]), {}, _empty(whole, [count]))
    part = _empty(whole, [-(-count // step)])
    places = emit(aten.slice.Tensor, (flat, 0, 0, count, step), {}, part)
    filled = emit(aten.full_like.default, (places, value), {}, part)
    flat = emit(aten.slice_scatter.default, (flat, filled, 0, 0, count, step), {}, flat.meta["val"])
    return emit(aten.reshape.default, (flat, list(whole.shape)), {}, whole)


def _polygamma(emit: Emit, node: fx.Node, old: fx.Node) -> fx.Node:
    """`polygamma_`, whose partner takes the order first."""
    return emit(aten.polygamma.default, (node.args[1], old), {}, old.meta["val"])


def _empty(like: Any, shape: Sequence[Any]) -> Any:
    with like.fake_mode, torch.no_grad():
        return like.new_empty(shape)


SPECIAL: dict[Any, Replace] = {
    aten.polygamma_.default: _polygamma,
    aten.fill_diagonal_.default: _fill_diagonal,
    aten.copy_.default: _copy,
    aten.fill_.Scalar: _fill,
    aten.fill_.Tensor: _fill,
    aten.zero_.default: _zero,
}


def fit(emit: Emit, value: fx.Node, place: fx.Node) -> fx.Node:
    """A value cast and broadcast to the dtype and shape of the tensor it takes the place of; itself where it fits."""
    wanted = place.meta["val"]
    value = cast(emit, value, place)
    if shape_of(value.meta["val"]) != shape_of(wanted):
        value = emit(aten.expand.default, (value, emit.sizes(place)), {}, wanted)
    return value


def shape_of(value: torch.Tensor) -> list[Any]:
    """The sizes, symbolic ones as expressions: comparing them as numbers would add guards."""
    return [size if isinstance(size, int) else size.node.expr for size in value.shape]


def in_dtype(value: Any, dtype: torch.dtype) -> Any:
    """A fake tensor in another dtype, or itself; needs its mode, no gradients and none of the caller's autocast."""
    if value.dtype is dtype:
        return value
    with value.fake_mode, torch.no_grad():
        return value.to(dtype)


def cast(emit: Emit, value: fx.Node, place: fx.Node) -> fx.Node:
    """A value in the dtype of the tensor it takes the place of; what an out= argument receives, whose shape becomes
    the result's."""
    wanted, given = place.meta["val"].dtype, value.meta["val"]
    return value if given.dtype is wanted else emit(aten.to.dtype, (value, wanted), {}, in_dtype(given, wanted))


def operands(node: fx.Node, form: Form) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The writing call's arguments as the functional form takes them."""
    if not form.dropped:
        return node.args, _defaults(node, form) | node.kwargs
    positions = {position for position, _ in form.written}
    names = {name for _, name in form.written}
    args = tuple(each for position, each in enumerate(node.args) if position not in positions)
    kwargs = {name: value for name, value in node.kwargs.items() if name not in names}
    if kwargs.get("dtype") is None and (form.made or form.target in _IN_THE_DTYPE_OF_THE_PLACE):
        kwargs["dtype"] = written_places(node)[0].meta["val"].dtype
    return args, kwargs


def _defaults(node: fx.Node, form: Form) -> dict[str, Any]:
    """What the writing op takes by default and its functional form does not: the 0.5 of x.bernoulli_()."""
    own, taken = (target._schema.arguments[len(node.args) :] for target in (node.target, form.target))
    return {
        other.name: each.default_value
        for each, other in zip(own, taken, strict=True)
        if each.name not in node.kwargs and each.has_default_value() and not other.has_default_value()
    }


def fills_at_random(form: Form) -> bool:
    """Whether an op fills one tensor with random numbers: the result is as that tensor is."""
    is_one = len(form.target._schema.returns) == 1 and [position for position, _ in form.written] == [0]
    return torch.Tag.nondeterministic_seeded in form.target.tags and is_one and not form.dropped


def kinds_of(target: Any, args: Any, kwargs: Any) -> Any:
    """What the result's dtype can depend on: the op, its tensors' dtypes (0-dim ones apart) and its numbers' types."""
    leaves = torch.utils._pytree.tree_leaves((args, kwargs))
    return target, tuple(map(_kind, leaves))


def _kind(leaf: Any) -> Any:
    value = leaf.meta.get("val") if isinstance(leaf, fx.Node) else leaf
    if isinstance(value, torch.Tensor):
        return value.dtype, value.dim() == 0
    return value if isinstance(value, torch.dtype) else type(value)


def result_dtype(target: Any, args: Any, kwargs: Any) -> torch.dtype:
    """The dtype of what a pointwise op returns, of which no size tells."""
    values = fx.map_arg((args, kwargs), lambda node: _one_element(node.meta["val"]))
    with torch.no_grad():
        dtype: torch.dtype = target(*values[0], **values[1]).dtype
    return dtype


def _one_element(value: Any) -> Any:
    """A tensor of one element of a tensor's dtype and rank; of a number of sizes what it is in this run."""
    if isinstance(value, torch.Tensor):
        return torch.empty([1] * value.dim(), dtype=value.dtype, device="meta")
    return value.node.hint if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)) else value


def run_fake(target: Any, args: Any, kwargs: Any, place: fx.Node) -> Any:
    """What an op returns for the fake values of these arguments, in the mode of one tensor's, where it has none."""
    values = fx.map_arg((args, kwargs), lambda node: node.meta["val"])
    with place.meta["val"].fake_mode, torch.no_grad(), enable_python_dispatcher():
        return target(*values[0], **values[1])
