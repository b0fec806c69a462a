"""Floor 4: looking into a compiled model: print-outs, what changed from stage to stage, pages."""

from fxonnx.inspection.stages import Inspection

__all__ = ["Inspection"]
