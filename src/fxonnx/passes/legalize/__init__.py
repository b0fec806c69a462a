"""From the newest ONNX to what the target knows: its opset, its operators, its dtypes."""

from __future__ import annotations

from fxonnx.passes.cse import cse
from fxonnx.passes.dce import dce
from fxonnx.passes.fold import fold
from fxonnx.passes.legalize.accumulators import wide_accumulators
from fxonnx.passes.legalize.choose import newest_that_runs
from fxonnx.passes.legalize.expand import expand
from fxonnx.passes.legalize.forms import forms
from fxonnx.passes.legalize.guard import guard
from fxonnx.passes.legalize.inputs_to_attributes import inputs_to_attributes
from fxonnx.passes.legalize.respell import casts_there_and_back, respell
from fxonnx.passes.legalize.seeds import seeds
from fxonnx.passes.legalize.subnormals import no_subnormal_products
from fxonnx.passes.legalize.widen import widen
from fxonnx.passes.pipeline import pipeline
from fxonnx.passes.precision.stored import stored_in_16_bits
from fxonnx.passes.unsigned import unsigned_weights

LEGALIZE = pipeline(
    "legalized", forms, stored_in_16_bits, no_subnormal_products, wide_accumulators, expand, fold, cse,
    unsigned_weights, respell, expand, inputs_to_attributes, widen, casts_there_and_back, dce, seeds, guard,
)  # fmt: skip

__all__ = ["LEGALIZE", "newest_that_runs"]
