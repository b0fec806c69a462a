"""Linear functions of an input that a convolution can say: what they are, their sums, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.computed import Kernel, rounded
from fxonnx.ir.graph import Node, Value, has_content
from fxonnx.ir.types import TensorType

_MOVES = ("strides", "pads", "dilations")
SPEED = ("Conv", "AveragePool", "BatchNormalization", "Mul")  # a sum is as slow as the slowest, and written as that


@dataclass(frozen=True, slots=True)
class Branch:
    """A linear function of an input [batch, channels, …]: a kernel, how it moves, what is added to each channel.

    `op` is what it was written as, `attributes` those of a Conv without the group, `name` that of its weight.
    """

    op: str
    input: Value
    type: TensorType
    kernel: Kernel
    attributes: Mapping[str, Any]
    offset: np.ndarray
    name: str | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """How far the kernel moves, per axis."""
        return tuple(self.attributes.get("strides", (1,) * len(self.kernel.taps)))

    def covers(self, other: Branch) -> bool:
        """Whether the sum with the other costs no more than this."""
        return self.strides == other.strides and self.kernel.covers(other.kernel)

    def scaled(self, factor: np.ndarray) -> Branch:
        """The branch times a factor for each channel of its result."""
        return replace(self, kernel=self.kernel.scaled(factor), offset=self.offset * factor)


# ── what is linear ───────────────────────────────────────────────────────────────────────────────────────────────────


def branch_of(node: Node) -> Branch | None:
    """The node as a linear function of its input; None where it is none, or none of known numbers."""
    shape, dtype = node.output.shape, node.output.dtype
    if len(shape) < 3 or not isinstance(shape[1], int) or not shape[1] or not dtype.is_float or dtype.bits < 32:
        return None
    return _READERS[node.op](node, *node.inputs)


def wide(value: Value) -> np.ndarray:
    """The content of a constant in float64, before it is rounded."""
    assert value.data is not None
    return value.data.wide(0, value.data.shape[0]) if value.shape else value.data.array().astype(np.float64)


def normalization(node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """(factor, offset) per channel of a normalization by known statistics, else None. Ioffe & Szegedy 2015."""
    statistics = [value for value in node.inputs[1:] if value is not None]
    if node.attributes.get("training_mode", 0) or not all(map(has_content, statistics)):
        return None
    scale, shift, mean, variance = map(wide, statistics)
    factor = scale / np.sqrt(variance + np.float32(node.attributes.get("epsilon", 1e-5)))  # attributes are float32
    return factor, shift - mean * factor


def finite_per_channel(constant: Value, x: Value, *, inverse: bool = False) -> np.ndarray | None:
    """A finite constant beside x, or one over it, an element for each channel of x; None where it is something else."""
    channels, spatial = _channels(x), (1,) * (len(x.shape) - 2)
    single = constant.type.size == 1 and len(constant.shape) <= len(x.shape)
    if not has_content(constant) or not (single or constant.shape in ((channels, *spatial), (1, channels, *spatial))):
        return None
    with np.errstate(divide="ignore"):
        numbers = 1 / wide(constant) if inverse else wide(constant)
    return np.broadcast_to(numbers.reshape(-1), (channels,)) if np.isfinite(numbers).all() else None


def _convolution(node: Node, x: Value, weight: Value, bias: Value | None = None) -> Branch | None:
    if not has_content(weight) or not (bias is None or has_content(bias)) or not _tells_pads(node):
        return None
    attributes = {name: node.attributes[name] for name in _MOVES if name in node.attributes}
    taps = _taps(attributes, weight.shape[2:])  # type: ignore[arg-type]
    kernel = Kernel(weight.data, node.attributes.get("group", 1), taps)  # type: ignore[arg-type]
    offset = np.zeros(kernel.weight.shape[0]) if bias is None else wide(bias)
    return Branch("Conv", x, node.output.type, kernel, attributes, offset, weight.name)


def _tells_pads(node: Node) -> bool:
    return bool(node.attributes.get("auto_pad", "NOTSET") == "NOTSET")


def _average(node: Node, x: Value) -> Branch | None:
    attributes = {name: node.attributes[name] for name in _MOVES if name in node.attributes}
    if node.output.dtype.bits != 32:
        return None  # runtimes have no Conv of others
    pads_count = node.attributes.get("count_include_pad", 0) or not any(attributes.get("pads", ()))
    if not pads_count or node.attributes.get("ceil_mode", 0) or not _tells_pads(node):
        return None  # windows at the border are divided by less
    sizes = node.attributes["kernel_shape"]
    share = np.full((x.shape[1], 1, *sizes), 1 / prod(sizes))
    kernel = Kernel(rounded(share, x.dtype), len(share), _taps(attributes, sizes))
    return Branch("AveragePool", x, node.output.type, kernel, attributes, np.zeros(len(share)))


def _normalization(node: Node, x: Value, *statistics: Value) -> Branch | None:
    found = normalization(node)
    return None if found is None else _per_channel("BatchNormalization", x, *found)


def _factor(node: Node, *operands: Value) -> Branch | None:
    x, constant = sorted(operands, key=lambda value: value.is_constant)
    factor = finite_per_channel(constant, x) if x.type == node.output.type else None
    return None if factor is None else _per_channel("Mul", x, factor, np.zeros(len(factor)))


def _per_channel(op: str, x: Value, factor: np.ndarray, offset: np.ndarray) -> Branch:
    axes = len(x.shape) - 2
    weight = rounded(factor.reshape(-1, 1, *[1] * axes), x.dtype)
    return Branch(op, x, x.type, Kernel(weight, len(factor), (range(1),) * axes), {}, offset)


def _taps(attributes: Mapping[str, Any], sizes: tuple[int, ...]) -> tuple[range, ...]:
    steps = attributes.get("dilations", (1,) * len(sizes))
    before = attributes.get("pads", (0,) * len(sizes))[: len(sizes)]
    each = zip(sizes, steps, before, strict=True)
    return tuple(range(-pad, size * step - pad, step) for size, step, pad in each)


def itself(branch: Branch) -> Branch:
    """The input of a branch as one of its own."""
    channels = _channels(branch.input)
    return _per_channel("Mul", branch.input, np.ones(channels), np.zeros(channels))


def _channels(x: Value) -> int:
    channels = x.shape[1]
    assert isinstance(channels, int)
    return channels


_READERS: Mapping[str, Callable[..., Branch | None]] = {
    "Conv": _convolution, "AveragePool": _average, "BatchNormalization": _normalization, "Mul": _factor,
}  # fmt: skip


# ── sums ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def total(one: Branch | None, other: Branch | None, sign: int) -> Branch | None:
    """one ± other; None where they are not of one input, or their sum would cost more than the one that does more."""
    if one is None or other is None or one.input is not other.input or one.type != other.type:
        return None
    op = min(one.op, other.op, key=SPEED.index)
    parts = (one, other.scaled(np.array([float(sign)])))
    wider, less = parts if one.covers(other) else reversed(parts)
    if op == "Mul" or not wider.covers(less):
        return None
    kernel, offset = wider.kernel.plus(less.kernel), wider.offset + less.offset
    return replace(wider, op=op, kernel=kernel, offset=offset, name=wider.name or less.name)


def written(op: Builder, branch: Branch) -> Tensor:
    """The branch as one operator: a normalization where only its own channel and place are read, else a Conv."""
    x, dtype, weight = op.use(branch.input), branch.type.dtype, branch.kernel.weight
    if branch.op == "BatchNormalization":
        scale = weight.wide(0, weight.shape[0]).reshape(-1)
        plain = (scale, branch.offset, np.zeros(len(scale)), np.ones(len(scale)))
        normal: Tensor = op.BatchNormalization(x, *(op.constant(rounded(each, dtype)) for each in plain), epsilon=0.0)
        return normal
    kernel = op.constant(weight, name=folded_name(branch.name))
    offset = rounded(branch.offset, dtype) if branch.offset.any() else None
    bias = None if offset is None else op.constant(offset, name=folded_name(branch.name, "bias"))
    groups = {} if branch.kernel.groups == 1 else {"group": branch.kernel.groups}
    conv: Tensor = op.Conv(x, kernel, bias, **branch.attributes, **groups)
    return conv


def folded_name(name: str | None, part: str = "folded") -> str | None:
    """What a weight is called that took others in: after the first of them."""
    return name and f"{name.removesuffix('.folded')}.{part}"
