"""Whose doing is a difference, or a failure to run: the capture's, a lowering's, a rule's, the runtime's?"""

from fxonnx.tools.bisect.search import bisect
from fxonnx.tools.bisect.verdict import Verdict

__all__ = ["Verdict", "bisect"]
