"""Views, transposes and parts of values: drawn together, and to where they cost least."""

from fxonnx.passes.movements.chains import movements
from fxonnx.passes.movements.expands import expands_into_readers
from fxonnx.passes.movements.parts import slices_into_split
from fxonnx.passes.movements.rows import transposes_behind_linear

__all__ = ["expands_into_readers", "movements", "slices_into_split", "transposes_behind_linear"]
