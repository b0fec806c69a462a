"""Volumes: the networks of `monai`, in two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from benchmarks.corpus.entry import Entry, Feed, image_sizes, images
from benchmarks.corpus.vision import PIXELS
from benchmarks.models.case import Draw, Inputs, Sizes

IMAGES = image_sizes((2, 64, 96), (3, 96, 64), (1, 64, 64), (1, 128, 96))
SQUARES = image_sizes((2, 64, 96), (3, 96, 64), (1, 64, 64), (1, 128, 96))
CUBES = image_sizes((2, 32, 64), (3, 64, 32), (1, 32, 32), (1, 32, 96))
VOXELS = {0: "batch", 3: "height", 4: "width"}


def volumes(channels: int = 1) -> Feed:
    """f32[batch, channels, 32, height, width]."""

    def feed(draw: Draw, s: Sizes) -> Inputs:
        return (draw.normal(s["batch"], channels, 32, s["height"], s["width"]),), {}

    return feed


def monai(
    name: str, model: str, feed: Feed, dims: dict[int, str], sizes: Sequence[Sizes], argument: str = "x", **fields: Any
) -> Entry:
    """One of monai's networks."""

    def factory() -> nn.Module:
        from importlib import import_module

        module: nn.Module = getattr(import_module("monai.networks.nets"), model)(**fields)
        return module

    return Entry(f"monai/{name}", factory, feed, sizes, {argument: dims})


KERNELS = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [8, 16, 16]}

ENTRIES = (
    monai(
        "unet",
        "UNet",
        images(1),
        PIXELS,
        IMAGES,
        spatial_dims=2,
        in_channels=1,
        out_channels=2,
        channels=(8, 16, 16),
        strides=(2, 2),
        num_res_units=1,
    ),
    monai(
        "segresnet",
        "SegResNet",
        volumes(),
        VOXELS,
        CUBES,
        spatial_dims=3,
        init_filters=8,
        blocks_down=(1, 1, 1),
        blocks_up=(1, 1),
    ),
    monai("dynunet", "DynUNet", images(1), PIXELS, IMAGES, spatial_dims=2, in_channels=1, out_channels=2, **KERNELS),
    monai(
        "attention_unet",
        "AttentionUnet",
        images(1),
        PIXELS,
        IMAGES,
        spatial_dims=2,
        in_channels=1,
        out_channels=2,
        channels=(8, 16, 16),
        strides=(2, 2),
    ),
    monai(
        "swin_unetr",
        "SwinUNETR",
        images(1),
        PIXELS,
        SQUARES,
        "x_in",
        in_channels=1,
        out_channels=2,
        feature_size=12,
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 2, 4),
        spatial_dims=2,
    ),
    monai("basic_unet", "BasicUNet", images(1), PIXELS, IMAGES, spatial_dims=2, features=(8, 8, 16, 16, 16, 8)),
)
