"""From an fx node to the place in the user's model: module path, class, and the innermost line that is not torch's
own."""

from __future__ import annotations

import os
import sysconfig
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import fx

from fxonnx.capture.wrappers import without_wrappers
from fxonnx.location import Location

WRAPPER = "model"  # the name under which `Flat` holds the user's model
_OURS = str(Path(__file__).parent) + os.sep
_TORCH = str(Path(torch.__file__).parent) + os.sep  # not torch_geometric, torchvision and others that lie beside it
_LIBRARIES = (_TORCH, _OURS, "torch/fx/")  # the last one is how torch signs nodes that it adds itself
_GENERATED = "<eval_with_key>"  # code that fx made of a graph: it is in no file, and its name has a counter in it
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_TORCH_MODULES = str(Path(_TORCH, "nn")) + os.sep


class Line(NamedTuple):
    """One line of source, as a stack trace names it."""

    file: str
    line: int
    function: str
    code: str


NO_LINE = Line("", 0, "", "")


class Locator:
    """Locations of a graph's nodes, made when asked for, once."""

    def __init__(self) -> None:
        self._known: dict[fx.Node, Location] = {}

    def __call__(self, node: fx.Node) -> Location:
        """The node's place. Nodes without any of their own have only their name."""
        known = self._known.get(node)
        if known is None:
            known = self._known[node] = self._locate(node)
        return known

    def _locate(self, node: fx.Node) -> Location:
        module, kind = self._module(node)
        line = user_line(node.meta.get("stack_trace") or "")
        return Location(module, kind, *line, op=_operator(node), node=node.name)

    def _module(self, node: fx.Node) -> tuple[str, str]:
        stack = node.meta.get("nn_module_stack")
        if not stack:
            return "", ""
        path, kind = next(reversed(stack.values()))
        if not isinstance(kind, str) or not kind.rpartition(".")[0]:  # torch's filler for nodes that no module made
            return "", ""
        if not path:  # `Flat` itself: the model is a function
            return "", ""
        return strip(path), kind.rpartition(".")[2]


def strip(path: str) -> str:
    """A path in `Flat` as a path in the user's model; a module's second call in a trace is marked `@1`, which is no
    part of its path, nor is what torch.compile wraps a module in."""
    path = without_wrappers(path.partition("@")[0])
    return "" if path == WRAPPER else path.removeprefix(f"{WRAPPER}.")


@cache
def user_line(trace: str) -> Line:
    """The innermost line of a printed stack trace that is neither in torch nor here; in a model made of torch's
    modules only, torch's innermost line."""
    innermost, end = NO_LINE, len(trace)
    while (start := trace.rfind('File "', 0, end)) >= 0:
        line = _parse(trace[start:end])
        if line.file.startswith(_GENERATED):
            end = start
            continue
        if line.file.startswith(_OURS):  # what called the model is no part of it
            return innermost
        if not line.file.startswith(_LIBRARIES):
            return line
        if innermost is NO_LINE and line.file.startswith(_TORCH_MODULES):
            innermost = line
        end = start
    return innermost


def _parse(frame: str) -> Line:
    """`File "encoder.py", line 31, in forward`, and the code on the line below."""
    head, _, code = frame.partition("\n")
    file, _, rest = head[len('File "') :].partition('", line ')
    number, _, function = rest.partition(", in ")
    return Line(file, int(number) if number.isdigit() else 0, function, code.strip())


def is_users(file: str) -> bool:
    """Whether a source file is the user's, or of a library they use: not torch's, Python's or part of capturing."""
    if file.startswith(_LIBRARIES) or file.startswith("<"):
        return False
    return not file.startswith(_STANDARD_LIBRARY) or "-packages" in file


def is_layers(file: str) -> bool:
    """Whether a source file is of torch.nn, whose layers check what they are given, and raise, as users do."""
    return file.startswith(_TORCH_MODULES)


def _operator(node: fx.Node) -> str:
    """What the node calls: "aten.linear.default", "getitem"."""
    target = node.target
    return str(target) if isinstance(target, (str, torch._ops.OpOverload)) else getattr(target, "__name__", str(target))
