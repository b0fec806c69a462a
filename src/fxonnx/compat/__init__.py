"""Floor 5: for whoever comes from torch.onnx or torch.compile: the arguments of its exporters, a backend."""

from fxonnx.compat.dynamo import backend
from fxonnx.compat.exporter import export
from fxonnx.compat.symbolic import register_custom_op_symbolic

__all__ = ["backend", "export", "register_custom_op_symbolic"]
