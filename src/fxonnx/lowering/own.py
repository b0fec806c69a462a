"""Lowerings of the user's own: that they serve an op of torch's, and whose line it is where one raises."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import torch

from fxonnx import dtypes, errors
from fxonnx.errors.turning import Turning
from fxonnx.ir.calls import InvalidCall, SymbolicAttribute, UnknownSize
from fxonnx.ir.dims import Undecided
from fxonnx.location import Location
from fxonnx.lowering.registry import ATEN, Lowering, Registry, Unsupported, make_lowering

_HIGHER_ORDER = "higher_order."


def layered(registry: Registry, bodies: Mapping[Any, Callable[..., Any]]) -> Registry:
    """A registry with a call's own lowerings laid over it, by the names of ops or the ops themselves.

    Raises InvalidOption for those that can serve no call: there is no such op, or the body takes other arguments.
    """
    own = [make_lowering(op_name(target), body) for target, body in bodies.items()]
    registered = [each for same in registry.lowerings.values() for each in same if overloads_of(each.target)]
    errors.raise_all([problem for each in (*own, *registered) if (problem := misfit(each)) is not None])
    layer = Registry(below=registry)
    for each in own:
        layer.add(each)
    return layer


def op_name(target: Any) -> Any:
    """The name of an op of torch's, `torch.ops.mylib.swoosh` or its overload; what is none stays."""
    is_op = isinstance(target, torch._ops.OpOverload | torch._ops.OpOverloadPacket)
    return str(target).replace("::", ".") if is_op else target


def misfit(lowering: Lowering) -> errors.InvalidOption | None:
    """Why a lowering can serve no call of its op; None where it can."""
    if lowering.target.startswith(_HIGHER_ORDER):
        return None
    overloads = overloads_of(lowering.target)
    if not overloads:
        return _no_such_op(lowering.target)
    if all(each._schema.is_mutable for each in overloads):
        return _writes(lowering.target)
    taken = [[argument.name for argument in each._schema.arguments] for each in overloads]
    return None if any(map(lowering.fits, taken)) else unfit(lowering, overloads[0]._schema)


def overloads_of(target: str) -> list[Any]:
    """The ops that `namespace.name` or `namespace.name.overload` means; none where torch knows no such op."""
    namespace, name, *overload = target.split(".")
    packet = getattr(getattr(torch.ops, namespace), name, None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return []
    return [getattr(packet, each) for each in packet.overloads() if not overload or each == overload[0]]


def unfit(lowering: Lowering, schema: Any) -> errors.InvalidOption:
    """The error about a body that takes other arguments than its op has."""
    wanted = [argument.name for argument in schema.arguments]
    written = inspect.unwrap(lowering.body)
    return errors.InvalidOption(
        f"the lowering of {lowering.target}, {lowering.body.__name__}{_line_of(written)}, takes other arguments than "
        "the op",
        cause=f"the op is {schema}; after op, the lowering takes {', '.join(sorted(lowering.accepted)) or 'nothing'}",
        cure=f"name them as the schema does: def {lowering.body.__name__}(op, {', '.join(wanted)}): …",
    )


def _line_of(body: Any) -> str:
    code = getattr(body, "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""


def _no_such_op(target: str) -> errors.InvalidOption:
    namespace, name, *overload = target.split(".")
    known = dir(getattr(torch.ops, namespace)) if not overload else getattr(torch.ops, namespace).__dict__
    packet = getattr(getattr(torch.ops, namespace), name, None) if overload else None
    if packet is not None:
        there = ", ".join(f"{namespace}.{name}.{each}" for each in packet.overloads())
        return errors.InvalidOption(
            f"there is no overload {target}", cause=f"there are {there}",
            cure=f'"{namespace}.{name}" serves all of them that have its arguments',
        )  # fmt: skip
    schemas = [each.name.replace("::", ".") for each in torch._C._jit_get_all_schemas()]
    near = get_close_matches(target, set(schemas) | {f"{namespace}.{each}" for each in known}, n=1)
    return errors.InvalidOption(
        f"there is no op {target}, for which there is a lowering",
        cause="torch has none of this name: an op is registered before the model is compiled",
        cure=f'write "{near[0]}"' if near else 'name it as torch.ops does: torch.ops.mylib.swoosh is "mylib.swoosh"',
    )


def _writes(target: str) -> errors.InvalidOption:
    namespace, name, *_ = target.split(".")
    pure = f"{namespace}.{name.removesuffix('_')}"
    return errors.InvalidOption(
        f"a lowering of {target} is never asked",
        cause="it writes to its argument, and a captured graph has the op that returns the result instead",
        cure=f'write "{pure}"' if overloads_of(pure) else f"let torch know an op that returns the result: {pure}",
    )


class LoweringRaised(InvalidCall):
    """What a lowering of the user's raised, in words, and the line of theirs at which it did."""

    def __init__(self, said: str, place: Location) -> None:
        super().__init__(said)
        self.place = place


class OfTheirs(Turning):
    """`with OfTheirs(lowering): lowering.body(…)` raises LoweringRaised for whatever a lowering of the user's raises,
    and for what is wrong with its result, but for the words that lowerings have. Those of fxonnx are left alone."""

    passing = (*Turning.passing, Unsupported, Undecided, UnknownSize, SymbolicAttribute)

    def __init__(self, lowering: Lowering) -> None:
        self._lowering = lowering

    def turned(self, error: Exception) -> LoweringRaised | None:
        """The error of a lowering of the user's."""
        if not is_own(self._lowering):
            return None
        said = str(error) if isinstance(error, InvalidCall | dtypes.DTypeError) else f"{type(error).__name__}: {error}"
        return LoweringRaised(said, _innermost(error, self._lowering.body))


def is_own(lowering: Lowering) -> bool:
    """Whether a lowering is the user's."""
    return not lowering.body.__module__.startswith(f"{ATEN}.")


def _innermost(error: BaseException, body: Callable[..., Any]) -> Location:
    """The line of a body at which it raised; nowhere for a body that onnxscript made."""
    body = inspect.unwrap(body)
    if not inspect.isfunction(body) or body.__module__ == make_lowering.__module__:
        return Location()
    return Location.of_function(body, error.__traceback__)
