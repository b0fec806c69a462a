"""Which tensors a file can hold and a runtime can take: plain, dense arrays of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from fxonnx.errors import CallMismatch, Error, InputMismatch

_PLAIN = (torch.Tensor, nn.Parameter, nn.Buffer)


class NotDense(NamedTuple):
    """What a tensor is instead ("sparse, in the layout torch.sparse_csr") and what makes a dense one of it."""

    what: str
    cure: str


def not_dense(tensor: torch.Tensor) -> NotDense | None:
    """What keeps a tensor from being an array of numbers; None for one that is."""
    if tensor.is_nested:
        return NotDense("nested: its rows have sizes of their own", "torch.nested.to_padded_tensor(x, 0.0) and a mask")
    if tensor.is_quantized:
        return NotDense(f"quantized ({tensor.dtype})", "x.dequantize(), or x.int_repr() and its scale")
    if tensor.layout is not torch.strided:
        kind = "sparse" if "sparse" in str(tensor.layout) else "opaque"
        return NotDense(f"{kind}, in the layout {tensor.layout}", "x.to_dense()")
    return None


def not_plain(value: object) -> NotDense | None:
    """What keeps a value of an argument from being a plain tensor; None for one that is."""
    if not isinstance(value, torch.Tensor):
        return NotDense(f"a {type(value).__name__}, a size while another model is traced", "a tensor or an int")
    if type(value) in _PLAIN:
        return not_dense(value)
    kind = f"a {type(value).__name__}, a subclass of Tensor with rules of its own"
    if type(value).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return NotDense(kind, "a tensor with memory: torch.zeros(x.shape, dtype=x.dtype)")
    return NotDense(kind, "x.as_subclass(torch.Tensor)")


def example_errors(names: Sequence[str], leaves: Sequence[object]) -> list[Error]:
    """An error for each example input that is no plain, dense tensor."""
    found = ((name, not_plain(leaf)) for name, leaf in zip(names, leaves, strict=True))
    return [
        InputMismatch(
            f"the example input {name} is {wrong.what}",
            cause="ONNX has plain, dense tensors of numbers only",
            cure=f"pass {wrong.cure}, with {name} for x",
        )
        for name, wrong in found
        if wrong is not None
    ]


def check_call(names: Sequence[str], leaves: Sequence[object]) -> None:
    """Raises CallMismatch for the first tensor of a call that is not plain and dense."""
    for name, leaf in zip(names, leaves, strict=True):
        if (wrong := not_plain(leaf)) is not None:
            raise CallMismatch(
                f"input {name} is {wrong.what}", cause="a session runs on plain, dense tensors",
                cure=f"pass {wrong.cure}, with {name} for x",
            )  # fmt: skip


def of_another_kind(name: str, leaf: torch.Tensor) -> CallMismatch:
    """The error for real numbers in the place of complex ones, or the other way round."""
    given, wanted = ("complex", "real") if leaf.is_complex() else ("real", "complex")
    return CallMismatch(
        f"input {name} is {given} ({leaf.dtype}), compiled for {wanted} numbers",
        cause="the model was compiled for the dtypes of the example",
        cure=f"pass {wanted} numbers, or compile the model for an example of {given} ones",
    )
