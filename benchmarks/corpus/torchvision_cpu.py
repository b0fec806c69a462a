"""Lets torchvision be imported beside a torch for the CPU alone, where its compiled part does not load.

What its Python part asks of that is defined here. Detectors need nms and roi_align; the others fail where they are
called.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    (
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
        "int sampling_ratio, bool aligned) -> Tensor"
    ),
    (
        "roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width) "
        "-> (Tensor, Tensor)"
    ),
    (
        "ps_roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
        "int sampling_ratio) -> (Tensor, Tensor)"
    ),
    (
        "ps_roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width) "
        "-> (Tensor, Tensor)"
    ),
    (
        "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, "
        "SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, "
        "SymInt offset_groups, bool use_mask) -> Tensor"
    ),
    *(f"_{name}_backward() -> Tensor" for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")),
    "_deform_conv2d_backward() -> Tensor",
)
_KEPT: list[torch.library.Library] = []  # an operator lives as long as its library


def install() -> None:
    """Define torchvision's operators, once, and import it."""
    if _KEPT:
        return
    library = torch.library.Library("torchvision", "DEF")
    _KEPT.append(library)
    for schema in _SCHEMAS:
        library.define(schema)
    library.impl("nms", _nms, "CPU")
    library.impl("roi_align", _roi_align, "CPU")
    import torchvision.extension

    torchvision.extension._has_ops = _has_ops


def _has_ops() -> bool:
    return True


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes (x1, y1, x2, y2) that no better one overlaps more than the threshold, the best first."""
    order = scores.argsort(descending=True, stable=True)
    low, high = (
        torch.maximum(boxes[:, None, :2], boxes[None, :, :2]),
        torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:]),
    )
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    overlaps = shared / (areas[:, None] + areas[None] - shared) > iou_threshold
    kept: list[int] = []
    for candidate in order.tolist():
        if not overlaps[candidate, kept].any():
            kept.append(candidate)
    return torch.tensor(kept, dtype=torch.int64)


def _roi_align(
    input: Tensor, rois: Tensor, scale: float, height: int, width: int, sampling_ratio: int, aligned: bool
) -> Tensor:
    from torchvision.ops.roi_align import _roi_align as by_definition

    result: Tensor = by_definition(input, rois, scale, height, width, sampling_ratio, aligned)
    return result
