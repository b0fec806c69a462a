"""Views, transposes and parts of values: drawn together, and to where they cost least."""

from fxonnx.passes.movements.chains import movements
from fxonnx.passes.movements.rows import transposes_behind_linear

__all__ = ["movements", "transposes_behind_linear"]
