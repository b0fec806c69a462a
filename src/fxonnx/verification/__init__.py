"""Floor 4: does the compiled model compute what the model computes, and where does it not?"""

from fxonnx.verification.check import Report, verify, verify_on
from fxonnx.verification.locate import Found, locate

__all__ = ["Found", "Report", "locate", "verify", "verify_on"]
