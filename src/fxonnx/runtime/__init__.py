"""Running a model in ONNX Runtime.

Sessions over torch's own memory, numeric comparison, and the kernels it has.
"""
