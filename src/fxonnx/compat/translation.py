"""`custom_translation_table`: functions that call onnxscript's opsets, as lowerings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from fxonnx.errors import InvalidOption
from fxonnx.ir.inline import inline


def lowerings_of(table: Mapping[Any, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The lowerings that a table of torch.onnx says, by the names of the ops. Raises InvalidOption."""
    if not isinstance(table, Mapping):
        raise InvalidOption(
            f"custom_translation_table is a {type(table).__name__}",
            cause="it is a dict from ops of torch to functions",
            cure="custom_translation_table={torch.ops.mylib.fancy.default: fancy}",
        )
    return {_name(target): _lowering(target, _the_one(body)) for target, body in table.items()}


def _the_one(body: Any) -> Any:
    """A function that stands alone in a list, which torch.onnx takes as well."""
    return body[0] if isinstance(body, (list, tuple)) and len(body) == 1 else body


def _name(target: Any) -> str:
    if not hasattr(target, "_schema") and not hasattr(target, "overloads"):
        raise InvalidOption(
            f"custom_translation_table has {target!r}, which is no op of torch",
            cause="its keys are ops: torch.ops.mylib.fancy.default",
            cure="custom_translation_table={torch.ops.mylib.fancy.default: fancy}",
        )
    return str(target)


def _lowering(target: Any, body: Any) -> Callable[..., Any]:
    if hasattr(body, "to_function_proto"):  # @onnxscript.script(): the registry takes it as it is
        return body
    if not callable(body):
        raise InvalidOption(
            f"custom_translation_table[{_name(target)}] is a {type(body).__name__}",
            cause="its values are functions that call an opset of onnxscript",
            cure="def fancy(x): return op.Relu(x)",
        )
    parameters = list(inspect.signature(body).parameters.values())

    @wraps(body)
    def lowering(op: Any, **arguments: Any) -> Any:
        from onnxscript import evaluator

        with evaluator.default_as(_Recorder(op)):
            given = [arguments.pop(p.name) for p in parameters if p.kind is not p.KEYWORD_ONLY and p.name in arguments]
            return body(*given, **arguments)

    op = inspect.Parameter("op", inspect.Parameter.POSITIONAL_ONLY)
    named = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    lowering.__signature__ = inspect.Signature([op, *named])  # type: ignore[attr-defined]
    return lowering


class _Recorder:
    """onnxscript's evaluator while a function is recorded: what it calls is written down by `op`."""

    def __init__(self, op: Any) -> None:
        self.op = op

    def eval_op(self, op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """One operator."""
        name = f"{op.opset.domain}::{op.name}" if op.opset.domain else op.name
        return getattr(self.op, name)(*args, **kwargs)

    def eval_function(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A function of onnxscript, taken apart."""
        arguments = dict(zip((each.name for each in function.op_signature.params), args, strict=False))
        results = inline(self.op, function.to_function_proto(), {**arguments, **kwargs}, [])
        return results[0] if len(results) == 1 else results
