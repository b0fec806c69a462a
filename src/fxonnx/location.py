"""Where something in the user's model comes from: module, class, line of code, aten op.

A place travels from the fx node to every IR node made for it, through all rewrites, into the ONNX node's
metadata and from there into error messages and run-time failures.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from dataclasses import dataclass, fields, replace
from itertools import takewhile
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any

METADATA_PREFIX = "fxonnx."


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's model. Every field may be empty: one tells what one knows.

    A merged place keeps several ops and nodes apart by "+": op "linear+gelu", node "%linear+%gelu".
    """

    module: str = ""  # path in the model: "layers.0.fc"; empty is the model itself
    kind: str = ""  # class of that module: "Linear"
    file: str = ""  # as Python knows it, usually absolute
    line: int = 0
    function: str = ""  # the function the line is in: "forward"
    code: str = ""  # the text of the line
    op: str = ""  # what torch called: "aten.linear.default"
    node: str = ""  # name of the fx node, without "%"
    rules: tuple[str, ...] = ()  # rewrite rules that had a hand in it, oldest first

    @staticmethod
    def merge(*locations: Location, rule: str = "") -> Location:
        """One place for what was made of several, by `rule` if a rule did it.

        Keeps the module path the places have in common, the first line of code, all ops, nodes and rules.
        """
        distinct = list(dict.fromkeys(locations))
        merged = distinct[0] if len(distinct) == 1 else _unite(distinct)
        return merged.by(rule) if rule else merged

    def by(self, rule: str) -> Location:
        """The same place, after one more rule."""
        return self if rule in self.rules else replace(self, rules=(*self.rules, rule))

    @staticmethod
    def of_function(body: Callable[..., Any], trace: TracebackType | None = None) -> Location:
        """The last line of a trace that is in the file of a function, else the function's first."""
        code = inspect.unwrap(body).__code__
        frames = [each for each in traceback.extract_tb(trace) if each.filename == code.co_filename]
        if not frames:
            return Location(file=code.co_filename, line=code.co_firstlineno, function=code.co_name)
        last = frames[-1]
        return Location(file=last.filename, line=last.lineno or 0, function=last.name, code=last.line or "")

    @property
    def scopes(self) -> tuple[str, ...]:
        """The modules around it, from the outermost on, an item with its list: encoder.layer.0.attention is in encoder,
        in layer.0, in attention."""
        return tuple(re.split(r"\.(?!\d)", self.module)) if self.module else ()

    @property
    def cell(self) -> str:
        """What a notebook calls its cell, `Cell In[3]`, whose file has a number for a name; empty for other files."""
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython is not None else None
        return " ".join(shell.compile.format_code_name(self.file) or ()) if shell is not None else ""

    @property
    def source(self) -> str:
        """File name and line, `encoder.py:31`, in a notebook `Cell In[3]:2`, or nothing."""
        name = self.cell or PurePath(self.file).name
        return f"{name}:{self.line}" if self.line else name

    def __str__(self) -> str:
        return "  ".join(filter(None, (self.module, self.kind, self.source)))

    def to_metadata(self, *, code: bool = False) -> dict[str, str]:
        """What is known, as strings for ONNX's `metadata_props`; without the directory, so that models are portable,
        and without the text of the line, in which there may be secrets, unless `code` is asked for. `namespace` is what
        Model Explorer draws the module tree of."""
        known = {each.name: getattr(self, each.name) for each in fields(self) if code or each.name != "code"}
        known |= {"file": self.cell or PurePath(self.file).name, "rules": "+".join(self.rules)}
        said = {METADATA_PREFIX + name: str(value) for name, value in known.items() if value}
        return said | ({"namespace": "/".join(self.scopes)} if self.module else {})

    @staticmethod
    def from_metadata(metadata: Mapping[str, str]) -> Location:
        """The place written by `to_metadata`; other keys are left alone."""
        known = {each.name: metadata.get(METADATA_PREFIX + each.name, "") for each in fields(Location)}
        line, rules = known.pop("line"), known.pop("rules")
        return Location(**known, line=int(line or 0), rules=tuple(filter(None, rules.split("+"))))


def _unite(locations: list[Location]) -> Location:
    """The merger of places that differ; of none, the place nobody knows."""
    module = _common([each.module for each in locations])
    with_code = next((each for each in locations if each.file), Location())
    return Location(
        module=module,
        kind=next((each.kind for each in locations if each.module == module), ""),
        file=with_code.file,
        line=with_code.line,
        function=with_code.function,
        code=with_code.code,
        op=_union(each.op for each in locations),
        node=_union(each.node for each in locations),
        rules=tuple(dict.fromkeys(rule for each in locations for rule in each.rules)),
    )


def _common(paths: Iterable[str]) -> str:
    """The longest module path that all paths start with: layers.0.fc, layers.0.act -> layers.0."""
    levels = zip(*(path.split(".") for path in paths), strict=False)
    return ".".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))


def _union(names: Iterable[str]) -> str:
    """All names once, in order, joined by "+"."""
    return "+".join(dict.fromkeys(part for name in names for part in name.split("+") if part))
