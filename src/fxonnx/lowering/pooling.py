"""Pools: maxima, averages and p-norms over windows, of a size given or of one that gives a wanted number of windows."""

from __future__ import annotations

from collections.abc import Sequence

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.convolution import per_axis
from fxonnx.lowering.registry import lower


@lower("aten.max_pool1d", "aten.max_pool2d", "aten.max_pool3d")
def max_pool(
    op: Builder,
    self: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window."""
    count = len(kernel_size)
    return op.MaxPool(self, kernel_shape=kernel_size, strides=per_axis(stride or kernel_size, count), pads=per_axis(padding, count) * 2, dilations=per_axis(dilation, count), _outputs=1)


@lower("aten.adaptive_avg_pool1d", "aten.adaptive_avg_pool2d", "aten.adaptive_avg_pool3d")
def adaptive_avg_pool(op: Builder, self: Tensor, output_size: Sequence[int]) -> Tensor:
    """The mean of each of `output_size` windows."""
    return op.GlobalAveragePool(self)
