"""Capture by torch.export: the strategy, and the reading of its graph and of its record of sizes."""

from fxonnx.capture.export.strategy import capture

__all__ = ["capture"]
