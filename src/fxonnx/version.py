"""The version of fxonnx, as files say it (ModelProto.producer_version)."""

__version__ = "0.1.0"
