"""Floor 4: does the compiled model compute what the model computes, and where does it not?"""

from fxonnx.verification.check import Report, verify, verify_on
from fxonnx.verification.locate import Found, locate
from fxonnx.verification.losses import Losses, losses

__all__ = ["Found", "Losses", "Report", "locate", "losses", "verify", "verify_on"]
