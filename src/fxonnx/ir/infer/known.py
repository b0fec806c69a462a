"""What small integer tensors are known to hold before running: shape arithmetic, followed in dims instead of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fxonnx.dtypes import DType
from fxonnx.ir.dims import Dim, Shape, floor_divide, maximum, minimum, modulo, non_negative, product
from fxonnx.ir.infer.call import Call
from fxonnx.ir.types import TensorType

KnownFunction: TypeAlias = Callable[[Call], "Shape | None"]

LONGEST = 64  # elements; shapes are short, and whatever is longer is data


def known_elements(call: Call, result: TensorType) -> Shape | None:
    """The elements of the call's first output as dims.

    None where they cannot be told, or the output is no small integer tensor.
    """
    function, size = _KNOWN.get(call.op), result.size
    if function is None or result.dtype.kind != "int" or result.rank > 1:
        return None
    if not isinstance(size, int) or size > LONGEST:
        return None
    elements = function(call)
    fits = elements is not None and len(elements) == size and all(_held(result.dtype, dim) for dim in elements)
    return elements if fits else None


def _held(dtype: DType, dim: Dim) -> bool:
    """Whether a dtype holds the int; of expressions it is taken for granted, sizes are small."""
    return not isinstance(dim, int) or dtype.lowest <= dim <= dtype.highest


def _shape(call: Call) -> Shape:
    return call.shape()[call.attribute("start", 0) : call.attributes.get("end")]


def _size(call: Call) -> Shape:
    return (product(call.shape()),)


def _same(call: Call) -> Shape | None:
    return call.known(0) if call.dtype(0).kind == "int" else None


def _concat(call: Call) -> Shape | None:
    parts = [call.known(index) for index in range(len(call.inputs))]
    return None if any(part is None for part in parts) else tuple(dim for part in parts for dim in part or ())


def _gather(call: Call) -> Shape | None:
    elements, indices = call.known(0), call.ints(1)
    if elements is None or indices is None or any(not -len(elements) <= index < len(elements) for index in indices):
        return None
    return tuple(elements[index] for index in indices)


def _slice(call: Call) -> Shape | None:
    elements, start, end = call.known(0), call.ints(1), call.ints(2)
    step = call.ints(4) if call.has(4) else (1,)
    if elements is None or not start or not end or not step:
        return None
    return elements[start[0] : end[0] : step[0]] if step[0] > 0 else None


def _binary(function: Callable[[Dim, Dim], Dim]) -> KnownFunction:
    def elementwise(call: Call) -> Shape | None:
        left, right = call.known(0), call.known(1)
        if left is None or right is None:
            return None
        length = max(len(left), len(right))
        pairs = zip(left * (length // len(left)), right * (length // len(right)), strict=True) if left and right else ()
        return tuple(function(a, b) for a, b in pairs)

    return elementwise


def _divide(call: Call) -> Shape | None:
    """ONNX divides integers towards zero, Python down; they agree where neither side is negative."""
    dividend, divisor = call.known(0), call.known(1)
    if dividend is None or divisor is None or 0 in divisor:
        return None
    if all(isinstance(dim, int) for dim in (*dividend, *divisor)):
        return _binary(_truncating_divide)(call)
    return _binary(floor_divide)(call) if all(map(non_negative, (*dividend, *divisor))) else None


def _truncating_divide(left: Dim, right: Dim) -> Dim:
    assert isinstance(left, int)
    assert isinstance(right, int)
    return left // right if (left < 0) == (right < 0) else -(-left // right)


def _modulo_known(call: Call) -> Shape | None:
    divisor = call.known(1)
    return None if divisor is None or 0 in divisor or call.attribute("fmod", 0) else _binary(modulo)(call)


def _negate(call: Call) -> Shape | None:
    elements = call.known(0)
    return None if elements is None else tuple(-1 * dim for dim in elements)


def _product(call: Call) -> Shape | None:
    elements = call.known(0)
    return None if elements is None else (product(elements),)


def _constant_of_shape(call: Call) -> Shape | None:
    length, value = call.ints(0), call.attributes.get("value")
    return None if length is None or value is None else (int(value.reshape(-1)[0]),) * (length[0] if length else 1)


def _expand(call: Call) -> Shape | None:
    elements, length = call.known(0), call.ints(1)
    if elements is None or length is None:
        return None
    return elements * length[0] if len(elements) == 1 and length else elements


def _range(call: Call) -> Shape | None:
    bounds = [call.ints(index) for index in range(3)]
    start, limit, delta = (bound[0] if bound else None for bound in bounds)
    return None if start is None or limit is None or not delta else tuple(range(start, limit, delta))


def _where(call: Call) -> Shape | None:
    condition, left, right = call.ints(0), call.known(1), call.known(2)
    if condition is None or left is None or right is None or not len(condition) == len(left) == len(right):
        return None
    return tuple(a if test else b for test, a, b in zip(condition, left, right, strict=True))


_KNOWN: dict[str, KnownFunction] = {
    "Shape": _shape,
    "Size": _size,
    "Cast": _same,
    "Identity": _same,
    "Reshape": _same,
    "Squeeze": _same,
    "Unsqueeze": _same,
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Add": _binary(lambda a, b: a + b),
    "Sub": _binary(lambda a, b: a - b),
    "Mul": _binary(lambda a, b: a * b),
    "Max": _binary(maximum),
    "Min": _binary(minimum),
    "Div": _divide,
    "Mod": _modulo_known,
    "Neg": _negate,
    "ReduceProd": _product,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Range": _range,
    "Where": _where,
}
