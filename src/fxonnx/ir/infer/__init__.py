"""The dtype and shape of every value: own inference for common operators, `onnx.shape_inference` for the others."""

from __future__ import annotations

from fxonnx.ir.infer import contraction, elementwise, shaping, spectral  # noqa: F401  they fill the table
from fxonnx.ir.infer.call import INFERENCE, Call, CannotInfer, Contradiction, broadcast
from fxonnx.ir.infer.fallback import infer_by_onnx
from fxonnx.ir.infer.known import known_elements
from fxonnx.ir.types import TensorType

__all__ = ["Call", "CannotInfer", "Contradiction", "broadcast", "infer", "known_elements"]


def infer(call: Call) -> tuple[TensorType, ...]:
    """A type for every output of the call.

    Raises Contradiction where the inputs do not fit each other, CannotInfer where they are known too little.
    """
    function = INFERENCE.get(call.op, infer_by_onnx)
    try:
        result = function(call)
    except (LookupError, ValueError) as error:  # an axis, a rank or a number of sizes that cannot be
        raise Contradiction(f"{call.op}: {error}") from error
    types = result if isinstance(result, tuple) else (result,)
    if len(types) < call.outputs:
        raise CannotInfer(f"{call.op} has {len(types)} outputs, not {call.outputs}")
    return types[: call.outputs]
