"""Precision that a user asks for: what is stored and computed in few bits, and the pass that does it."""

from fxonnx.passes.precision.request import REQUESTS, Precision, int4_weights, int8_dynamic, int8_weights, requested
from fxonnx.passes.precision.weights import narrow

__all__ = ["REQUESTS", "Precision", "int4_weights", "int8_dynamic", "int8_weights", "narrow", "requested"]
