"""The counterpart of `torch.onnx.register_custom_op_symbolic`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fxonnx.errors import InvalidOption


def register_custom_op_symbolic(
    symbolic_name: str, symbolic_fn: Callable[..., Any] | None = None, opset_version: int | None = None
) -> None:
    """Raises InvalidOption, whose cure is the lowering to write instead: symbolic functions make nodes of TorchScript's
    graph, which there is none of here."""
    name = str(symbolic_name).replace("::", ".")
    raise InvalidOption(
        f"the symbolic function of {symbolic_name} cannot be used",
        cause="it calls g.op(…) on a graph of TorchScript; a lowering calls op.Relu(…), and names its arguments",
        cure=f"{_skeleton(name)}; what was g.op(\"Relu\", x) is op.Relu(x), alpha_f=0.1 is alpha=0.1",
    )


def _skeleton(name: str) -> str:
    """The head of a lowering for an op, with the arguments of its schema where torch knows it."""
    namespace, _, op = name.partition(".")
    packet = getattr(getattr(torch.ops, namespace, None), op.partition(".")[0], None) if namespace and op else None
    arguments = "x"
    if packet is not None:
        schema = getattr(packet, packet.overloads()[0])._schema
        tensors = [each.name for each in schema.arguments if "Tensor" in str(each.type)]
        numbers = [each.name for each in schema.arguments if each.name not in tensors]
        arguments = ", ".join([*tensors, *(["*", *numbers] if numbers else [])])
    return f'@fxonnx.register_lowering("{name}") over def {op.partition(".")[0] or "fancy"}(op, {arguments}): …'
