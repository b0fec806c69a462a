"""Capture by running: the model once on fake tensors, each aten call recorded before it is decomposed.

    program = capture(example, signature, mode)

Dims that vary are `torch.SymInt`s whose nodes hold our own dims (`sizes`), so that C++ and Python alike compute with
expressions; what a call returns is asked of torch once for each kind of call (`results`). Comparisons of sizes are
logged with the user's line (`guards`) and classified when the run is over (`constraints`).
"""

from fxonnx.capture.tracer.strategy import capture

__all__ = ["capture"]
