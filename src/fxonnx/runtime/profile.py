"""What the runtime's own profile says of the time that nodes take."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import median

_KERNEL = "_kernel_time"
_CALL = "model_run"
_ENDS = "/_"  # behind a node's name, where the runtime names what it made of it


def seconds_of_kernels(path: Path) -> dict[str, float]:
    """The seconds that each kernel takes in a call, by the runtime's name of it; the median of calls, of which the
    first is slower."""
    events = json.loads(path.read_text())
    calls = sum(event.get("name") == _CALL for event in events) or 1
    taken: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            taken[event["name"].removesuffix(_KERNEL)].append(event["dur"])
    return {name: median(each) * len(each) / calls / 1e6 for name, each in taken.items()}  # those of loops run often


def by_node(seconds: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    """The seconds of a file's nodes, by name: what the runtime made of several counts for the one it is named after,
    what it added by itself, a copy into another layout say, under the empty name."""
    found: defaultdict[str, float] = defaultdict(float)
    for kernel, taken in seconds.items():
        found[_named_after(kernel, names)] += taken
    return dict(found)


def _named_after(kernel: str, names: Collection[str]) -> str:
    ends = [len(kernel), *(at for at in range(len(kernel) - 1, 0, -1) if kernel[at] in _ENDS)]
    return next((kernel[:end] for end in ends if kernel[:end] in names), "")
