"""What is given to a session, as it takes it: so many tensors, of these dtypes, where they can be read."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fxonnx import errors
from fxonnx.runtime.shapes import Slot


def usable(slot: Slot, tensor: object) -> torch.Tensor:
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
    if not tensor.is_cpu or tensor.layout is not torch.strided:
        where = tensor.device if not tensor.is_cpu else tensor.layout
        raise errors.CallMismatch(
            f"input {slot.name} is on {where}", cause="the session runs on the CPU, on dense tensors",
            cure=f"pass {slot.name}.cpu()" if not tensor.is_cpu else f"pass {slot.name}.to_dense()",
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
