"""Ops whose schema wants a plain number where a model gives a size: each has a twin that takes the size, by which the
call gets through torch's dispatcher to the tape. The tape records the op itself.

    aten._pad_packed_sequence(…, int total_length)   ◀── fxonnx_sizes._pad_packed_sequence(…, SymInt total_length)
"""

from __future__ import annotations

import re
from typing import Any

import torch

_LIBRARY = torch.library.Library("fxonnx_sizes", "DEF")
ORIGINALS: dict[Any, Any] = {}
"""The op that a twin stands for."""


def twin(op: Any) -> Any:
    """The twin of an op whose packet has no other overload: of the same schema, with a SymInt for each int."""
    name = op.overloadpacket.__name__
    if not hasattr(torch.ops.fxonnx_sizes, name):
        _LIBRARY.define(re.sub(r"\bint\b", "SymInt", str(op._schema).removeprefix("aten::")))
        ORIGINALS[getattr(torch.ops.fxonnx_sizes, name).default] = op
    return getattr(torch.ops.fxonnx_sizes, name).default


def taking_sizes(op: Any) -> Any:
    """The twin of an op, where it has one, else the op."""
    return next((each for each, original in ORIGINALS.items() if original is op), op)


__all__ = ["ORIGINALS", "taking_sizes", "twin"]
