"""What a session's inputs must be and how large its outputs will be, read once from their types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import onnx
import torch

from fxonnx import errors
from fxonnx.dtypes import DType, dtype
from fxonnx.ir.dims import Dim, evaluate, parse_dim, symbol
from fxonnx.ir.types import TensorType

StaticShape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """An input or output.

    Its name, its dtype in ONNX's numbers and in torch, and its shape; None where the rank is unknown.
    """

    name: str
    code: int
    torch: torch.dtype
    shape: tuple[Dim, ...] | None


def slots(values: Sequence[onnx.ValueInfoProto], types: Sequence[TensorType] | None) -> tuple[Slot, ...]:
    """The slots of a model's inputs or outputs, by the types given, else by those the model declares."""
    if types is None:
        return tuple(_slot(each.name, dtype(each.type.tensor_type.elem_type), _declared(each)) for each in values)
    return tuple(_slot(each.name, type.dtype, type.shape) for each, type in zip(values, types, strict=True))


def as_real(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as the file has it: a complex one is real, with a last axis of 2."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def output_sizes(
    inputs: Sequence[Slot], outputs: Sequence[Slot], sizes: Sequence[StaticShape]
) -> tuple[StaticShape | None, ...]:
    """The size of every output where the inputs have `sizes`; None where it depends on values.

    Raises:
        CallMismatch: an input of another rank or size than declared, or two sizes for one name.
    """
    known: dict[str, int] = {}
    deferred: list[tuple[Slot, int, Dim, int]] = []
    for slot, size in zip(inputs, sizes, strict=True):
        if slot.shape is None:
            continue
        if len(size) != len(slot.shape):
            raise _mismatch(slot, size, f"it has {len(size)} axes instead of {len(slot.shape)}")
        for axis, (dim, actual) in enumerate(zip(slot.shape, size, strict=True)):
            name = None if isinstance(dim, int) else dim.name
            if name is None:
                deferred.append((slot, axis, dim, actual))
            elif known.setdefault(name, actual) != actual:
                raise _mismatch(
                    slot, size, f"axis {axis} has size {actual}, and {name} is {known[name]} in another place"
                )
    for slot, axis, dim, actual in deferred:
        if _evaluate(dim, known) not in (actual, None):
            raise _mismatch(slot, sizes[inputs.index(slot)], f"axis {axis} has size {actual} instead of {dim}")
    return tuple(_evaluate_all(slot.shape, known) for slot in outputs)


CPU = torch.device("cpu")


def usable(slot: Slot, tensor: object, device: torch.device = CPU) -> torch.Tensor:
    """The input as a runtime can read it: a contiguous tensor without laziness. Raises CallMismatch."""
    if not isinstance(tensor, torch.Tensor):
        raise errors.CallMismatch(
            f"input {slot.name} is no tensor",
            cause=f"it is {type(tensor).__name__}",
            cure="pass torch.as_tensor(value)",
        )
    if tensor.dtype is not slot.torch:
        raise errors.CallMismatch(
            f"input {slot.name} is {tensor.dtype}, compiled for {slot.torch}",
            cause="the dtype of an input is part of the compiled model",
            cure=f"pass {slot.name}.to({slot.torch}), or compile for {tensor.dtype}",
        )
    elsewhere = tensor.device.type != device.type
    if elsewhere or tensor.layout is not torch.strided:
        where = tensor.device if elsewhere else tensor.layout
        moved = "cpu()" if device.type == "cpu" else f"to({str(device)!r})"
        raise errors.CallMismatch(
            f"input {slot.name} is on {where}", cause=f"the session runs on {device}, on dense tensors",
            cure=f"pass {slot.name}.{moved if elsewhere else 'to_dense()'}",
        )  # fmt: skip
    return tensor.detach().resolve_neg().contiguous()


def check_number(inputs: Sequence[Slot], given: Sequence[object]) -> None:
    """Raises CallMismatch."""
    if len(given) != len(inputs):
        names = ", ".join(slot.name for slot in inputs)
        raise errors.CallMismatch(
            f"the model takes {len(inputs)} tensors, not {len(given)}", cause=f"its inputs are {names or 'none'}",
            cure="call it like the example inputs it was compiled with",
        )  # fmt: skip


def _slot(name: str, row: DType, shape: tuple[Dim, ...] | None) -> Slot:
    kind = getattr(torch, row.torch, None) if row.bits >= 8 else None
    if kind is None:
        raise errors.UnsupportedDtype(
            f"{name} is {row.name}, which cannot cross the border to torch",
            cause=f"torch has no tensors of {row.name} to pass in or out",
            cure="cast it inside the model, to uint8 or float32 say",
        )
    return Slot(name, row.code, kind, shape)


def _declared(value: onnx.ValueInfoProto) -> tuple[Dim, ...] | None:
    """The shape in the model.

    A dim that is no expression of ours is a name for itself; one without a name is unlike any other.
    """
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(_declared_dim(dim, f"{value.name}_{axis}") for axis, dim in enumerate(tensor.shape.dim))


def _declared_dim(dim: onnx.TensorShapeProto.Dimension, nameless: str) -> Dim:
    if dim.HasField("dim_value"):
        return dim.dim_value
    try:
        return parse_dim(dim.dim_param)
    except ValueError:
        return symbol(_identifier(dim.dim_param or nameless))


def _identifier(text: str) -> str:
    """A symbol's name for any text, another one for each: what identifiers cannot hold is written in hexadecimal."""
    return "_" + "".join(letter if letter.isalnum() else f"_{ord(letter):x}_" for letter in text)


def _evaluate(dim: Dim, known: dict[str, int]) -> int | None:
    """A dim's size. What is left of an axis of 1 after `x[1:-1]`, n - 2 by its expression, is nothing."""
    if isinstance(dim, int):
        return dim
    return max(0, evaluate(dim, known)) if dim.symbols <= known.keys() else None


def _evaluate_all(shape: tuple[Dim, ...] | None, known: dict[str, int]) -> StaticShape | None:
    sizes = None if shape is None else tuple(_evaluate(dim, known) for dim in shape)
    return None if sizes is None or None in sizes else sizes  # type: ignore[return-value]


def _mismatch(slot: Slot, size: StaticShape, cause: str) -> errors.CallMismatch:
    declared = "[" + ",".join(str(dim).replace(" ", "") for dim in slot.shape or ()) + "]"
    return errors.CallMismatch(
        f"input {slot.name} has shape {list(size)}, compiled for {declared}", cause=cause,
        cure="pass the size it was compiled for, or declare the dimension in dynamic_shapes and compile again",
    )  # fmt: skip
