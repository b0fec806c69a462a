"""Convolutions and their transposes, over one, two or three spatial axes, batched or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr, floor_divide, product
from fxonnx.lowering.aten.tensor.joining import cut
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, full, in_batch, number, reshape


def per_axis(values: int | Sequence[int], count: int) -> list[int]:
    """One value per spatial axis: torch lets a lone one stand for all."""
    listed = [values] if isinstance(values, int) else list(values)
    return listed * count if len(listed) == 1 else listed


@lower("aten.conv1d", "aten.conv2d", "aten.conv3d", "aten._convolution_mode")
def conv(
    op: Builder,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: str | Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    groups: Dim = 1,
) -> Tensor:
    """Cross-correlation with padding by size or by name: "valid" is none, "same" keeps sizes, an odd element behind.

    With a name, torch takes a bias of any dtype.
    """
    if weight.shape[1] == 0:
        return _of_no_channels(op, input, weight, lambda x, one: conv(op, x, one, None, stride, padding, dilation))
    count = len(weight.shape) - 2
    bias = None if bias is None else cast(op, bias, input.dtype)
    dilation = per_axis(dilation, count)
    pads = _named_pads(padding, weight, dilation) if isinstance(padding, str) else per_axis(padding, count) * 2
    if any(isinstance(pad, Expr) for pad in pads):  # an attribute of Conv, and an input of Pad
        input, pads = _zeros_around(op, input, pads), [0] * 2 * count
    strides = per_axis(stride, count)
    if any(isinstance(each, Expr) for each in (groups, *strides, *dilation)):
        return in_batch(
            op, input, len(weight.shape),
            lambda x: _place_by_place(op, _zeros_around(op, x, pads), weight, bias, strides, dilation, groups),
        )  # fmt: skip
    told = _told({"strides": strides, "pads": pads, "dilations": dilation, "group": groups})
    return in_batch(op, input, len(weight.shape), lambda x: op.Conv(x, weight, bias, **told))


def _zeros_around(op: Builder, x: Tensor, pads: Sequence[Dim]) -> Tensor:
    return op.Pad(x, pads, number(op, 0, x), list(range(-len(pads) // 2, 0))) if any(pads) else x


def _place_by_place(
    op: Builder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: Sequence[Dim],
    dilations: Sequence[Dim],
    groups: Dim,
) -> Tensor:
    """A convolution with a size for what Conv has attributes for, groups and steps: what each place of the kernel makes
    of the elements that it meets, added up."""
    batch, _, *spatial = x.shape
    filters, depth, *rest = weight.shape
    kernel = [size for size in rest if isinstance(size, int)]
    if kernel != rest:
        raise Unsupported(f"a kernel of {tuple(rest)} beside groups or steps of a size: name its size when compiling")
    sizes = [
        floor_divide(size - step * (length - 1) - 1, stride) + 1
        for size, length, stride, step in zip(spatial, kernel, strides, dilations, strict=True)
    ]
    x = reshape(op, x, (batch, groups, depth, *spatial))
    factors = reshape(op, weight, (groups, floor_divide(filters, groups), depth, product(kernel)))
    total: Any = None
    for index, place in enumerate(np.ndindex(*kernel)):
        met = x
        for axis, (at, size, stride, step) in enumerate(zip(place, sizes, strides, dilations, strict=True), start=3):
            met = op.Slice(met, [at * step], [at * step + (size - 1) * stride + 1], [axis], [stride])
        term = op.Gather(factors, index, axis=3) @ reshape(op, met, (batch, groups, depth, product(sizes)))
        total = term if total is None else total + term
    total = reshape(op, total, (batch, filters, *sizes))
    return total if bias is None else total + op.Unsqueeze(bias, list(range(1, len(sizes) + 1)))


@lower("aten.conv_transpose1d", "aten.conv_transpose2d", "aten.conv_transpose3d")
def conv_transpose(
    op: Builder,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    output_padding: Sequence[int] = (0,),
    groups: Dim = 1,
    dilation: Sequence[int] = (1,),
) -> Tensor:
    """The gradient of a convolution with respect to its input, as a layer; with a bias of any dtype."""
    bias = None if bias is None else cast(op, bias, input.dtype)
    if weight.shape[0] == 0:
        return _of_no_channels(
            op, input, weight,
            lambda x, one: conv_transpose(op, x, one, None, stride, padding, output_padding, 1, dilation),
        )  # fmt: skip
    count = len(weight.shape) - 2
    strides, before, extra = (per_axis(values, count) for values in (stride, padding, output_padding))
    if isinstance(groups, Expr):
        dilations = per_axis(dilation, count)
        return in_batch(
            op, input, len(weight.shape),
            lambda x: _transposed_in_groups(op, x, weight, bias, strides, before, extra, dilations, groups),
        )  # fmt: skip
    told = {"strides": strides, "dilations": per_axis(dilation, count), "group": groups}
    if (nothing := _transposed_to_nothing(input, weight, extra, before, told)) is not None:
        return full(op, nothing, 0, dtype_of(input))
    if all(more < step for more, step in zip(extra, strides, strict=True)):
        told |= {"pads": before * 2, "output_padding": extra}
        return in_batch(op, input, len(weight.shape), lambda x: op.ConvTranspose(x, weight, bias, **_told(told)))
    return in_batch(
        op, input, len(weight.shape), lambda x: _transposed_further(op, x, weight, bias, before, extra, told)
    )


def _transposed_to_nothing(
    x: Tensor, weight: Tensor, extra: Sequence[int], padding: Sequence[int], told: Mapping[str, Any]
) -> list[Dim] | None:
    """The shape of a result with a static size of 0, at which ONNX Runtime stops; None of any other."""
    count = len(extra)
    sizes = [
        (size - 1) * step + reach * (each - 1) + 1 + more - 2 * pad
        for size, each, step, reach, more, pad in zip(
            x.shape[-count:], weight.shape[2:], told["strides"], told["dilations"], extra, padding, strict=True
        )
    ]
    return [*x.shape[: -count - 1], weight.shape[1] * told["group"], *sizes] if 0 in sizes else None


def _transposed_in_groups(
    op: Builder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: Sequence[int],
    padding: Sequence[int],
    extra: Sequence[int],
    dilations: Sequence[int],
    groups: Dim,
) -> Tensor:
    """A transposed convolution with a size for its groups: the kernel turned round, over x with zeros between its
    elements and around (Dumoulin & Visin 2016)."""
    depth, filters, *rest = weight.shape
    kernel = [size for size in rest if isinstance(size, int)]
    for axis, step in enumerate(strides, start=2):
        x = _spread(op, x, axis, step)
    reach = [step * (size - 1) for step, size in zip(dilations, kernel, strict=True)]
    before = [size - pad for size, pad in zip(reach, padding, strict=True)]
    x = _zeros_around(op, x, before + [pad + more for pad, more in zip(before, extra, strict=True)])
    axes = list(range(2, 2 + len(kernel)))
    turned = op.Slice(weight, [-1] * len(axes), [-size - 1 for size in kernel], axes, [-1] * len(axes))
    turned = reshape(op, turned, (groups, floor_divide(depth, groups), filters, *kernel))
    turned = op.Transpose(turned, perm=[0, 2, 1, *range(3, 3 + len(kernel))])
    turned = reshape(op, turned, (groups * filters, floor_divide(depth, groups), *kernel))
    return _place_by_place(op, x, turned, bias, [1] * len(kernel), dilations, groups)


def _spread(op: Builder, x: Tensor, axis: int, step: int) -> Tensor:
    """x with step - 1 zeros between the elements along an axis."""
    if step == 1:
        return x
    size = x.shape[axis]
    dims = (*x.shape[:axis], size * step, *x.shape[axis + 1 :])
    apart = op.Pad(op.Unsqueeze(x, [axis + 1]), [0, step - 1], number(op, 0, x), [axis + 1])
    return op.Slice(reshape(op, apart, dims), [0], [(size - 1) * step + 1], [axis])


def _of_no_channels(op: Builder, x: Tensor, weight: Tensor, body: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Of no channels torch makes none, however many the weight has for the result; `body` of one channel tells the
    other sizes."""
    axis = len(x.shape) - len(weight.shape) + 1
    dims = [1 if index == axis else dim for index, dim in enumerate(x.shape)]
    one = full(op, (1, 1, *weight.shape[2:]), 0, dtype_of(weight))
    return cut(op, body(full(op, dims, 0, dtype_of(x)), one), axis, 0, 0)


def _transposed_further(
    op: Builder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: list[int],
    extra: list[int],
    told: dict[str, Any],
) -> Tensor:
    """A transposed convolution with an output padding not below the stride, which ONNX Runtime refuses.

    Less padding behind says the same; where there is too little of it, elements that nothing reaches are added: zeros,
    and the bias.
    """
    behind = [pad - more for pad, more in zip(padding, extra, strict=True)]
    pads = padding + [max(pad, 0) for pad in behind]
    product = op.ConvTranspose(x, weight, **_told({**told, "pads": pads}))
    if min(behind) < 0:
        added = [0] * len(behind) + [max(-pad, 0) for pad in behind]
        product = op.Pad(product, added, number(op, 0, product), list(range(2, len(x.shape))))
    return product if bias is None else product + op.Unsqueeze(bias, list(range(1, len(behind) + 1)))


@lower("aten.convolution", "aten._convolution", "aten.convolution_overrideable",
       ignore={"benchmark", "deterministic", "cudnn_enabled", "allow_tf32"})  # fmt: skip
def convolution(
    op: Builder,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """Any convolution, transposed or not."""
    if transposed:
        return conv_transpose(op, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(op, input, weight, bias, stride, padding, dilation, groups)


@lower("aten.conv_tbc")
def conv_tbc(op: Builder, self: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """A convolution of [time, batch, channels] with weights [kernel, in, out]."""
    product = conv(op, op.Transpose(self, perm=[1, 2, 0]), op.Transpose(weight, perm=[2, 1, 0]), bias, padding=[pad])
    return op.Transpose(product, perm=[2, 0, 1])


def _named_pads(name: str, weight: Tensor, dilation: Sequence[int]) -> list[Dim]:
    if name == "valid":
        return [0 for _ in (*dilation, *dilation)]
    totals = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
    before = [floor_divide(total, 2) for total in totals]
    return [*before, *(total - less for total, less in zip(totals, before, strict=True))]


def _told(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes that are not what ONNX assumes anyway."""
    usual = {"strides": 1, "dilations": 1, "pads": 0, "output_padding": 0, "group": 1}
    return {
        name: value
        for name, value in attributes.items()
        if any(item != usual[name] for item in (value if isinstance(value, list) else [value]))
    }
