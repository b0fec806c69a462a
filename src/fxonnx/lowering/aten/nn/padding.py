"""Padding: constant, reflected, replicated and circular, negative pads included.

torch lists pads from the last axis to the first, (before, after) per axis; ONNX lists all befores, then all afters.
"""

from __future__ import annotations

from collections.abc import Sequence

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.lowering.aten.tensor.joining import LAST, cut
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import dtype_of, full, number

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_MODE_NAMES = tuple(_MODES)  # in the order of at::padding_mode, by which `_pad_enum` counts


def padded(op: Builder, x: Tensor, pad: Sequence[Dim], mode: str = "constant", value: float | None = None) -> Tensor:
    """`x` padded in torch's order and mode.

    Negative pads cut: before the others are put on, but after them where what is cut still shows in a mirror.
    """
    pairs = list(zip(pad[0::2], pad[1::2], strict=True))[::-1]
    pairs = [(0, 0)] * (len(x.shape) - len(pairs)) + pairs
    if mode not in ("reflect", "replicate"):
        x = _cut(op, x, pairs)
    grown = [max(dim, 0) if isinstance(dim, int) else dim for dim in (*(a for a, _ in pairs), *(b for _, b in pairs))]
    if any(dim != 0 for dim in grown):
        x = _grown(op, x, grown, mode, value)
    return x if mode not in ("reflect", "replicate") else _cut(op, x, pairs)


def _cut(op: Builder, x: Tensor, pairs: Sequence[tuple[Dim, Dim]]) -> Tensor:
    """`x` without what negative pads, (before, after) per axis, take away."""
    for axis, pair in enumerate(pairs):
        before, after = (-dim if isinstance(dim, int) and dim < 0 else 0 for dim in pair)
        if before or after:
            x = cut(op, x, axis, before, x.shape[axis] - after if after else LAST)
    return x


def _grown(op: Builder, x: Tensor, pads: Sequence[Dim], mode: str, value: float | None) -> Tensor:
    """`x` with pads of which none is negative. ONNX Runtime refuses to continue what is empty, which stays empty."""
    if mode == "constant":
        return op.Pad(x, pads, number(op, value or 0, x))
    if 0 in x.shape:
        rank = len(x.shape)
        return full(op, [size + pads[axis] + pads[axis + rank] for axis, size in enumerate(x.shape)], 0, dtype_of(x))
    return op.Pad(x, pads, mode=_MODES[mode])


@lower("aten.pad")
@lower("aten.constant_pad_nd", given={"mode": "constant"}, computes="`self` padded with a number.")
@lower("aten._pad_circular", given={"mode": "circular"}, computes="`self` continued periodically.")
@lower("aten.reflection_pad1d", "aten.reflection_pad2d", "aten.reflection_pad3d",
       rename={"padding": "pad"}, given={"mode": "reflect"},
       computes="`self` mirrored at its border, the border element not repeated.")  # fmt: skip
@lower("aten.replication_pad1d", "aten.replication_pad2d", "aten.replication_pad3d",
       rename={"padding": "pad"}, given={"mode": "replicate"},
       computes="`self` continued with its border elements.")  # fmt: skip
def pad_(op: Builder, self: Tensor, pad: Sequence[Dim], mode: str = "constant", value: float | None = None) -> Tensor:
    """`self` padded by torch.nn.functional.pad's rules."""
    if mode not in _MODES:
        raise Unsupported(f"padding mode {mode!r}; there are {', '.join(_MODES)}")
    return padded(op, self, pad, mode, value)


@lower("aten._pad_enum")
def pad_enum(op: Builder, self: Tensor, pad: Sequence[Dim], mode: int, value: float | None = None) -> Tensor:
    """`self` padded in a mode given by its number."""
    return padded(op, self, pad, _MODE_NAMES[mode], value)
