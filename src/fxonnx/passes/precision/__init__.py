"""Precision that a user asks for: what is stored and computed in few bits, and the pass that does it."""

from fxonnx.passes.precision.half import halved
from fxonnx.passes.precision.request import (
    REQUESTS,
    Precision,
    bfloat16,
    float16,
    int4_weights,
    int8_dynamic,
    int8_static,
    int8_weights,
    requested,
)
from fxonnx.passes.precision.static import Observe, static
from fxonnx.passes.precision.stored import stored_in_16_bits
from fxonnx.passes.precision.weights import is_layer, narrow
from fxonnx.passes.precision.wide import half_in_float32

__all__ = [
    "REQUESTS", "Observe", "Precision", "bfloat16", "float16", "half_in_float32", "halved", "int4_weights",
    "int8_dynamic", "int8_static", "int8_weights", "is_layer", "narrow", "requested", "static", "stored_in_16_bits",
]  # fmt: skip
