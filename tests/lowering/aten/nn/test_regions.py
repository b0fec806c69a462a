"""Regions whose bins have channels of their own, as torchvision's kernels read them (torchvision/csrc/ops/cpu)."""

import math

import pytest
import torch

import fxonnx
from fxonnx.lowering.aten.nn import vision

SIGNATURE = "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
HEIGHT, WIDTH, SCALE = 3, 2, 0.5


def aligned(image, corners):
    """Each bin's mean of two by two samples."""
    left, top, right, bottom = (each * SCALE - 0.5 for each in corners)
    found = torch.zeros(image.shape[0] // (HEIGHT * WIDTH), HEIGHT, WIDTH)
    for channel, row, column in torch.cartesian_prod(*map(torch.arange, found.shape)).tolist():
        plane = image[(channel * HEIGHT + row) * WIDTH + column]
        for y in (0.25, 0.75):
            for x in (0.25, 0.75):
                place = top + (row + y) * (bottom - top) / HEIGHT, left + (column + x) * (right - left) / WIDTH
                found[channel, row, column] += sampled(plane, *place) / 4
    return found


def sampled(plane, y, x):
    """Between four elements; nothing from more than 1 beyond the edge on."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    low, left = int(y), int(x)
    high, right = min(low + 1, height - 1), min(left + 1, width - 1)
    above = plane[low, left] * (left + 1 - x) + plane[low, right] * (x - left)
    below = plane[high, left] * (left + 1 - x) + plane[high, right] * (x - left)
    return above * (low + 1 - y) + below * (y - low)


def averaged(image, corners):
    """Each bin's mean; the last row and column are none's."""
    left, top, right, bottom = (int(math.copysign(math.floor(abs(each * SCALE) + 0.5), each)) for each in corners)
    found = torch.zeros(image.shape[0] // (HEIGHT * WIDTH), HEIGHT, WIDTH)
    for channel, row, column in torch.cartesian_prod(*map(torch.arange, found.shape)).tolist():
        plane = image[(channel * HEIGHT + row) * WIDTH + column]
        rows = ends(row, max(bottom - top, 1) / HEIGHT, top, plane.shape[0])
        columns = ends(column, max(right - left, 1) / WIDTH, left, plane.shape[1])
        bin = plane[slice(*rows), slice(*columns)]
        found[channel, row, column] = bin.mean() if bin.numel() else 0.0
    return found


def ends(index, step, start, size):
    return [
        min(max(each + start, 0), size - 1) for each in (math.floor(index * step), math.ceil((index + 1) * step))
    ]


@pytest.mark.parametrize(("reference", "body", "more"), [
    (averaged, vision.position_sensitive_roi_pool, ""),
    (aligned, vision.position_sensitive_roi_align, ", int sampling_ratio"),
], ids=["averaged", "aligned"])  # fmt: skip
def test_bins_of_their_own_channels(reference, body, more):
    with torch.library._scoped_library("regions", "DEF") as library:
        library.define(f"of{SIGNATURE}{more}) -> (Tensor, Tensor)")

        def kernel(images, regions, *_):
            found = [reference(images[int(row[0])], row[1:].tolist()) for row in regions]
            return torch.stack(found), torch.stack(found).int()

        def fake(images, regions, *_):
            found = images.new_empty(regions.shape[0], images.shape[1] // (HEIGHT * WIDTH), HEIGHT, WIDTH)
            return found, found.int()

        library.impl("of", kernel, "CPU")
        library.impl("of", fake, "Meta")

        def pooled(images, regions):
            return torch.ops.regions.of(images, regions, SCALE, HEIGHT, WIDTH, *[2] * bool(more))[0]

        corners = [[0, 1, 2, 9, 14], [1, -3, -5, 7, 30], [1, 4, 4, 4, 4], [0, 1, 3, 11, 5], [1, 40, 1, 50, 9]]
        images, regions = torch.randn(2, 12, 8, 7), torch.tensor(corners).float()
        sizes = {"images": {2: "h", 3: "w"}, "regions": {0: "n"}}
        compiled = fxonnx.compile(pooled, (images, regions), dynamic_shapes=sizes, lowerings={"regions.of": body})
        for given in ((images, regions), (torch.randn(2, 12, 11, 5), regions[1:4])):
            torch.testing.assert_close(compiled(*given), pooled(*given), rtol=1e-5, atol=1e-5)
