"""Places as text: the heading `@ layers.0.fc  Linear  encoder.py:31`, and who wrote a node, `· gelu, by erf_gelu`."""

from __future__ import annotations

from dataclasses import replace

from fxonnx.location import Location

_ABSENT = "-"
_GAP = "  "


def format_place(location: Location) -> str:
    """Module, class and line, apart by two spaces; `-` for one that is not known."""
    parts = [" ".join(part.split()) or _ABSENT for part in (location.module, location.kind, location.source)]
    while len(parts) > 1 and parts[-1] == _ABSENT:
        parts.pop()
    return _GAP.join(parts)


def parse_place(text: str) -> Location:
    """The place of a heading; the directory of the file is not in it."""
    parts = ["" if part == _ABSENT else part for part in text.strip().split(_GAP)]
    module, kind, source = (*parts, "", "", "")[:3]
    file, _, line = source.rpartition(":")
    return Location(module, kind, file, int(line)) if line.isdigit() else Location(module, kind, source)


def format_origin(location: Location) -> str:
    """What torch called, then the rules that had a hand in it: `gelu, by erf_gelu`."""
    rules = f"by {', '.join(location.rules)}" if location.rules else ""
    return ", ".join(filter(None, (_short_op(location.op), rules)))


def parse_origin(text: str, place: Location) -> Location:
    """The place with the op and the rules that `format_origin` wrote."""
    op, _, rules = ("", "", text[3:]) if text.startswith("by ") else text.partition(", by ")
    return replace(place, op=op, rules=tuple(rules.split(", ")) if rules else ())


def _short_op(op: str) -> str:
    """`aten.linear.default+aten.add.Tensor` as `linear+add.Tensor`."""
    return "+".join(part.removeprefix("aten.").removesuffix(".default") for part in op.split("+"))
