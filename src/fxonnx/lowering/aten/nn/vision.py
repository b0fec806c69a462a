"""Sampling, unfolding and detection: operators of torch and torchvision that read images at computed places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_if
from fxonnx.ir.dims import Dim, Expr, product
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, constant, dtype_of, expand, full, in_batch, number, positions, reshape

_GRID_MODES = ("linear", "nearest", "cubic")
_GRID_PADDINGS = ("zeros", "border", "reflection")
_FAR = 16.0  # a place of a grid that reads nothing but what lies outside of the input, whatever its size


# ── sampling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.grid_sampler", "aten.grid_sampler_2d", "aten.grid_sampler_3d")
def grid_sampler(
    op: Builder, input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """The input interpolated at the places that the grid names in [-1, 1]. Jaderberg et al. 2015."""
    mode, padding = _GRID_MODES[interpolation_mode], _GRID_PADDINGS[padding_mode]
    options = {"mode": mode, "padding_mode": padding, "align_corners": align_corners}
    near = _within_reach(op, grid, padding)
    if mode != "cubic" and (mode, padding) != ("linear", "zeros"):
        return op.GridSample(input, near, **options)
    unknown = grid - grid  # NaN at NaN and ±∞, of which weights are NaN
    (sampled,) = record_if(
        op,
        op.IsNaN(op.ReduceSum(unknown, keepdims=0)),
        lambda inner: [_with_unknown(inner, inner.GridSample(input, near, **options), unknown)],
        lambda inner: [inner.GridSample(input, near, **options)],
    )
    return sampled


def _with_unknown(op: Builder, sampled: Tensor, unknown: Tensor) -> Tensor:
    """NaN where a coordinate of the place is."""
    nan = op.Unsqueeze(op.ReduceSum(op.use(unknown.value), [-1], keepdims=0), [1])
    return sampled + cast(op, nan, dtype_of(sampled))


def _within_reach(op: Builder, grid: Tensor, padding: str) -> Tensor:
    """The grid with places that no pixel is near to, NaN among them, where they read the same: kernels and expansions
    count pixels in integers, and have none for these."""
    if padding == "reflection":  # which has no end, but reads the first pixel at what is no number
        return op.Where(op.Less(op.Abs(grid), np.inf), grid, -1.0)
    return op.Where(op.Greater(grid, -_FAR), op.Min(grid, _FAR), -_FAR)


@lower("aten.affine_grid_generator", opmath=True)
def affine_grid_generator(op: Builder, theta: Tensor, size: Sequence[Dim], align_corners: bool) -> Tensor:
    """The places that an affine map of each sample reads, for an output of `size`."""
    if align_corners and any(dim == 1 or isinstance(dim, Expr) for dim in size[2:]):
        return _affine_grid_of_corners(op, theta, size)
    return op.AffineGrid(theta, size, align_corners=align_corners)


def _affine_grid_of_corners(op: Builder, theta: Tensor, size: Sequence[Dim]) -> Tensor:
    """The same with aligned corners, where an axis of one element has its place in the middle, 0.

    ONNX leaves open where it is (ONNX Runtime says -1).
    """
    spatial = list(size[2:])
    columns = [_corner_places(op, dim, axis, spatial, theta) for axis, dim in enumerate(spatial)]
    ones = full(op, [*spatial, 1], 1, dtype_of(theta))
    places = reshape(op, op.Concat(*reversed(columns), ones, axis=-1), (product(spatial), len(spatial) + 1))
    grid = places @ op.Transpose(theta, perm=[0, 2, 1])
    return reshape(op, grid, (size[0], *spatial, len(spatial)))


def _corner_places(op: Builder, dim: Dim, axis: int, spatial: Sequence[Dim], like: Tensor) -> Tensor:
    """[*spatial, 1]: where each element stands along one axis, from -1 to 1: (2i - (n - 1)) / max(n - 1, 1)."""
    gaps = cast(op, op.size(dim - 1), dtype_of(like))
    steps = cast(op, positions(op, dim), dtype_of(like))
    places = (steps * 2.0 - gaps) / op.Max(gaps, 1.0)
    shape = [dim if index == axis else 1 for index in range(len(spatial))]
    return expand(op, reshape(op, places, (*shape, 1)), (*spatial, 1))


# ── windows as columns ───────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.im2col")
def im2col(
    op: Builder,
    self: Tensor,
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Tensor:
    """[N, C·kernel, windows]: the elements of every window as a column (torch.nn.Unfold)."""

    def columns(x: Tensor) -> Tensor:
        batch, channels = x.shape[:2]
        if any(padding):
            x = op.Pad(x, [*padding, *padding], number(op, 0, x), [2, 3])
        counts = []
        for axis, kernel, step, stride_ in zip((2, 4), kernel_size, dilation, stride, strict=True):
            counts.append((x.shape[axis] - step * (kernel - 1) - 1) // stride_ + 1)
            x = op.Gather(x, _window_elements(op, counts[-1], kernel, step, stride_), axis=axis)
        # to batch, channel, kernel rows and columns, window rows and columns
        x = op.Transpose(x, perm=[0, 1, 2, 4, 3, 5])
        return reshape(op, x, (batch, channels * kernel_size[0] * kernel_size[1], product(counts)))

    return in_batch(op, self, 4, columns)


def _window_elements(op: Builder, count: Dim, kernel: int, dilation: int, stride: int) -> Tensor:
    """[kernel, windows]: the element that each window has at each place."""
    places = np.arange(kernel, dtype=np.int64)[:, None] * dilation
    if isinstance(count, int):
        return places + np.arange(count, dtype=np.int64) * stride  # type: ignore[return-value]
    return op.Range(0, count * stride, stride) + places


@lower("aten.col2im")
def col2im(
    op: Builder,
    self: Tensor,
    output_size: Sequence[Dim],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Tensor:
    """The sum of windows given as columns, each put where it came from (torch.nn.Fold)."""
    told = {"dilations": dilation, "pads": [*padding, *padding], "strides": stride}
    return in_batch(op, self, 3, lambda x: op.Col2Im(x, output_size, kernel_size, **told))


@lower("aten.channel_shuffle", "aten.native_channel_shuffle")
def channel_shuffle(op: Builder, self: Tensor, groups: int) -> Tensor:
    """Channels dealt out over groups. Zhang et al. 2017."""
    batch, channels, *spatial = self.shape
    rest = product(spatial)
    split = reshape(op, self, (batch, groups, channels // groups, rest))
    return reshape(op, op.Transpose(split, perm=[0, 2, 1, 3]), tuple(self.shape))


# ── detection (torchvision) ──────────────────────────────────────────────────────────────────────────────────────────


@lower("torchvision.nms")
def nms(op: Builder, dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """The boxes that no better one overlaps by more than the threshold, best first."""
    boxes, table = op.Unsqueeze(dets, [0]), op.Unsqueeze(scores, [0, 1])
    wide = (cast(op, item, dtypes.FLOAT32) for item in (boxes, table))
    selected = op.NonMaxSuppression(*wide, [np.iinfo(np.int64).max], [iou_threshold])
    return op.Gather(selected, 2, axis=1)


@lower("torchvision.roi_align")
def roi_align(
    op: Builder,
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Each region's mean over bins, sampled bilinearly; regions are rows (sample, x1, y1, x2, y2). He et al. 2017."""
    samples = cast(op, op.Gather(rois, 0, axis=1), dtypes.INT64)
    return op.RoiAlign(
        input,
        op.Slice(rois, [1], [5], [1]),
        samples,
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
        output_height=pooled_height,
        output_width=pooled_width,
        sampling_ratio=max(sampling_ratio, 0),
        spatial_scale=spatial_scale,
    )


@lower("torchvision.roi_pool")
def roi_pool(
    op: Builder, input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Tensor, None]:
    """Each region's maxima over bins; the second result, where they stand, serves gradients. Girshick 2015."""
    return op.MaxRoiPool(input, rois, pooled_shape=[pooled_height, pooled_width], spatial_scale=spatial_scale), None


@lower("torchvision.ps_roi_align")
def position_sensitive_roi_align(
    op: Builder, input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int,
    sampling_ratio: int,
) -> tuple[Tensor, None]:  # fmt: skip
    """As `roi_align`, each bin of channels of its own; which these are serves gradients. Dai et al. 2016; Li et al.
    2018."""
    shape, bins = (pooled_height, pooled_width), pooled_height * pooled_width
    whole = roi_align(op, input, rois, spatial_scale, *shape, sampling_ratio, aligned=True)
    pairs = reshape(op, whole, (rois.shape[0], input.shape[1] // bins, bins * bins))
    own = op.Gather(pairs, op.constant(np.arange(bins) * (bins + 1)), axis=2)
    return reshape(op, own, (*pairs.shape[:2], *shape)), None


@lower("torchvision.ps_roi_pool")
def position_sensitive_roi_pool(
    op: Builder, input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Tensor, None]:
    """Each region's mean over bins, each bin of channels of its own; 0 of a bin of nothing. Dai et al. 2016."""
    _, channels, height, width = input.shape
    shape = (rois.shape[0], channels // (pooled_height * pooled_width), pooled_height, pooled_width)
    corners = cast(op, op.Slice(rois, [1], [5], [1]) * spatial_scale, dtypes.FLOAT64)
    corners = cast(op, op.Sign(corners) * op.Floor(op.Abs(corners) + 0.5), dtype_of(rois))  # halves away from 0
    left, top, right, bottom = op.Split(corners, num_outputs=4, axis=1)
    rows, heights = _bins(op, top, bottom, pooled_height, height)
    columns, widths = _bins(op, left, right, pooled_width, width)
    is_read = op.And(op.Unsqueeze(rows, [1, 3, 5]), op.Unsqueeze(columns, [1, 2, 4]))
    images = op.Gather(input, cast(op, op.Gather(rois, 0, axis=1), dtypes.INT64), axis=0)
    read = op.Where(is_read, reshape(op, images, (*shape, height, width)), number(op, 0, input))
    area = op.Max(op.Unsqueeze(heights, [1, 3]) * op.Unsqueeze(widths, [1, 2]), 1.0)
    return op.ReduceSum(read, [4, 5], keepdims=0) / area, None


def _bins(op: Builder, start: Tensor, end: Tensor, count: int, size: Dim) -> tuple[Tensor, Tensor]:
    """(which places of an axis each bin reads, how many), of a region at least 1 long; the last place is none's."""
    step = op.Max(end - start, 1.0) / float(count)
    at = constant(op, np.arange(count, dtype=dtype_of(start).numpy))
    last = cast(op, op.size(size - 1), dtype_of(start))
    first, after = (op.Max(op.Min(each + start, last), 0.0) for each in (op.Floor(at * step), op.Ceil((at + 1) * step)))
    place = cast(op, positions(op, size), dtype_of(start))
    is_read = op.And(place >= op.Unsqueeze(first, [2]), place < op.Unsqueeze(after, [2]))
    return is_read, op.Max(after - first, 0.0)


@lower("torchvision.deform_conv2d")
def deform_conv2d(
    op: Builder,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Tensor:
    """A convolution whose elements are read at offsets, weighted by a mask. Zhu et al. 2018."""
    if not dtype_of(input).is_float:
        raise Unsupported(f"a deformable convolution of {dtype_of(input)}")
    return op.DeformConv(
        input,
        weight,
        offset,
        bias,
        mask if use_mask else None,
        kernel_shape=weight.shape[2:],
        strides=[stride_h, stride_w],
        pads=[pad_h, pad_w, pad_h, pad_w],
        dilations=[dilation_h, dilation_w],
        group=groups,
        offset_group=offset_groups,
    )
