"""Floor 5: for whoever comes from torch.onnx or torch.compile: the arguments of its exporters, a backend.

`import fxonnx.compat` may stand where `import torch.onnx` did: the enums and questions of torch.onnx are here too.
"""

from typing import Any

from fxonnx.compat.dynamo import backend
from fxonnx.compat.exporter import export
from fxonnx.compat.refused import MODULE
from fxonnx.compat.symbolic import register_custom_op_symbolic
from fxonnx.errors import Error as OnnxExporterError

__all__ = ["OnnxExporterError", "backend", "export", "register_custom_op_symbolic"]

_OF_TORCH = ("OperatorExportTypes", "TrainingMode", "is_in_onnx_export", "select_model_mode_for_export")


def __getattr__(name: str) -> Any:
    """What is torch's own; for other names of torch.onnx, what to write instead."""
    import torch.onnx

    if name in _OF_TORCH:
        return getattr(torch.onnx, name)
    raise AttributeError(f"fxonnx.compat has no {name!r}" + (f": write {MODULE[name]}" if name in MODULE else ""))
