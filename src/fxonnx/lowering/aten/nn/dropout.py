"""Dropout, and the activation whose slope is random: what networks do at random in training.

Outside training each is the identity or a fixed function. Every call draws anew, at every run (see `random`).
"""

from __future__ import annotations

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.lowering.aten.nn.activation import SELU_ALPHA, SELU_SCALE
from fxonnx.lowering.aten.tensor.random import events, moved, uniform_of
from fxonnx.lowering.promote import as_tensor
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import dtype_of, full, number


@lower("aten.dropout")
def dropout(op: Builder, input: Tensor, p: float, train: bool) -> Tensor:
    """The input itself outside training; in training each element is 0 with probability p, else divided by 1 - p.

    Srivastava et al. 2014.
    """
    return input if not train or p == 0 else native_dropout(op, input, p, train)[0]


@lower("aten.native_dropout")
def native_dropout(op: Builder, input: Tensor, p: float, train: bool | None = True) -> tuple[Tensor, Tensor]:
    """Dropout, and the mask of what was kept.

    The result reads the mask: ONNX Runtime's EliminateDropout leaves out a Dropout whose mask nobody reads, in training
    too (decision 12).
    """
    if train is False or p == 0:
        return input, full(op, input.shape, True, dtypes.BOOL)
    if p == 1:
        return input * 0, full(op, input.shape, False, dtypes.BOOL)
    told = as_tensor(op, float(p), dtypes.FLOAT32), as_tensor(op, True, dtypes.BOOL)
    scaled, kept = op.Dropout(input, *told, _outputs=2)
    return op.Where(kept, scaled, number(op, 0, input)), kept


@lower("aten.feature_dropout")
def feature_dropout(op: Builder, input: Tensor, p: float, train: bool) -> Tensor:
    """Dropout of whole channels: one event for each place on the first two axes. Tompson et al. 2015."""
    if not train or p == 0:
        return input
    if p == 1:
        return input * 0
    kept = events(op, _channels(input), 1 - p, dtype_of(input))
    return input * (kept / (1 - p))


@lower("aten.alpha_dropout", given={"by_channel": False})
@lower("aten.feature_alpha_dropout", given={"by_channel": True}, computes="Alpha dropout of whole channels.")
def alpha_dropout(op: Builder, input: Tensor, p: float, train: bool, by_channel: bool) -> Tensor:
    """Dropout that keeps mean and variance after SELU. Klambauer et al. 2017.

    What falls takes SELU's limit at -∞, and all is scaled and moved to mean 0 and variance 1 again.
    """
    if not train or p == 0:
        return input
    if p == 1:
        return input * 0
    limit = -SELU_ALPHA * SELU_SCALE
    scale = ((limit**2 * p + 1) * (1 - p)) ** -0.5
    kept = events(op, _channels(input) if by_channel else input.shape, 1 - p, dtypes.BOOL)
    return op.Where(kept, input, limit) * scale + (-scale * limit * p)


def _channels(x: Tensor) -> list[Dim]:
    return [*x.shape[:2], *[1] * (len(x.shape) - 2)]


@lower("aten.rrelu", "aten.rrelu_with_noise")
def rrelu(
    op: Builder,
    self: Tensor,
    noise: Tensor | None = None,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
) -> Tensor:
    """Leaky ReLU with a random slope for every element; outside training, with the mean of the slope's range.

    Xu et al. 2015.
    """
    if not training:
        return op.LeakyRelu(self, alpha=(lower + upper) / 2)
    slope = moved(op, uniform_of(op, self.shape, dtype_of(self)), lower, upper - lower)
    return op.Where(self > 0, self, self * slope)


@lower("aten.rrelu_with_noise_functional")
def rrelu_with_noise(
    op: Builder, self: Tensor, noise: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False
) -> tuple[Tensor, Tensor]:
    """The same, and the slope of every element, which a gradient asks for; outside training what was given."""
    if not training:
        return rrelu(op, self, None, lower, upper, training), noise
    drawn = moved(op, uniform_of(op, self.shape, dtype_of(self)), lower, upper - lower)
    slope = op.Where(self > 0, 1.0, drawn)
    return self * slope, slope
