"""The exact peak of this process's resident memory over a span, from Linux's own high-water mark.

Writing 5 to /proc/self/clear_refs sets the mark (VmHWM) back to what is resident now. A sampling thread would miss what
is allocated and freed inside one C++ call that holds the interpreter's lock; getrusage's ru_maxrss cannot be set back,
so that building the model would hide the compile.
"""

import gc
import re
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """`start`, then `growth`: bytes by which resident memory rose above the start, at its peak."""

    def __init__(self) -> None:
        self.before = 0

    def start(self) -> None:
        """Collect garbage, lower the mark to what is resident. Does nothing where Linux's files are missing."""
        gc.collect()
        if CLEAR.exists():
            CLEAR.write_text("5")
            self.before = resident("VmRSS")

    def growth(self) -> int | None:
        """Bytes since `start`, never negative; None where the system does not tell."""
        return max(0, resident("VmHWM") - self.before) if CLEAR.exists() else None


def resident(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())
    return int(found[1]) * 1024 if found else 0
