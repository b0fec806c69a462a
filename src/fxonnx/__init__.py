"""fxonnx compiles a PyTorch model to ONNX and runs it.

    compiled = fxonnx.compile(model, (x,))
    compiled(x)                                # what model(x) returns, computed by ONNX Runtime
    compiled.save("model.onnx")

Public names are loaded when first used, so that `import fxonnx` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fxonnx.collection import collection_paused
from fxonnx.version import __version__ as __version__

if TYPE_CHECKING:
    import fxonnx.compat as compat
    import fxonnx.errors as errors
    from fxonnx.capture.call.observed import observe
    from fxonnx.compiled import Compiled
    from fxonnx.compiler import compile, export
    from fxonnx.lowering.registry import register_lowering
    from fxonnx.passes.precision import bfloat16, float16, int4_weights, int8_dynamic, int8_static, int8_weights
    from fxonnx.passes.rewriting.rewrite import rule
    from fxonnx.runtime.measure import machine
    from fxonnx.saved.model import load
    from fxonnx.target import Target
    from fxonnx.tools.sweep import sweep

__all__ = [
    "Compiled", "Target", "bfloat16", "compat", "compile", "errors", "export", "float16", "int4_weights",
    "int8_dynamic", "int8_static", "int8_weights", "load", "machine", "observe", "register_lowering", "rule", "sweep",
]  # fmt: skip

_HOME = {
    "compile": "fxonnx.compiler",
    "export": "fxonnx.compiler",
    "Compiled": "fxonnx.compiled",
    "load": "fxonnx.saved.model",
    "observe": "fxonnx.capture.call.observed",
    "Target": "fxonnx.target",
    "machine": "fxonnx.runtime.measure",
    "rule": "fxonnx.passes.rewriting.rewrite",
    "bfloat16": "fxonnx.passes.precision",
    "float16": "fxonnx.passes.precision",
    "int4_weights": "fxonnx.passes.precision",
    "int8_dynamic": "fxonnx.passes.precision",
    "int8_static": "fxonnx.passes.precision",
    "int8_weights": "fxonnx.passes.precision",
    "register_lowering": "fxonnx.lowering.registry",
    "sweep": "fxonnx.tools.sweep",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module it lives in, once (PEP 562)."""
    if name in ("errors", "compat"):
        return import_module(f"fxonnx.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'fxonnx' has no attribute {name!r}")
    with collection_paused():
        value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return [*__all__, "__version__"]
