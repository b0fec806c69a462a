"""Image backbones of `timm`, `transformers`, `vit_pytorch` and `kornia`: small ones, at small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.corpus.entry import BATCHES, IMAGES, Entry, image_sizes, images
from benchmarks.corpus.text import made
from benchmarks.models.case import Draw, Inputs, Sizes

BATCH, PIXELS = {0: "batch"}, {0: "batch", 2: "height", 3: "width"}
LARGE = image_sizes((2, 224, 224), (3, 224, 224), (1, 224, 224), (4, 224, 224))
VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "image_size": 64,
    "patch_size": 16,
}


def timm(name: str, dims: dict[int, str] = PIXELS, sizes: Sequence[Sizes] = IMAGES, **fields: Any) -> Entry:
    """One of timm's."""

    def factory() -> nn.Module:
        import timm

        module: nn.Module = timm.create_model(name, num_classes=10, **fields)
        return module

    return Entry(f"timm/{name}", factory, images(), sizes, {"x": dims})


def lucid(name: str, module: str, model: str, sizes: Sequence[Sizes] = BATCHES, **fields: Any) -> Entry:
    """One of vit_pytorch's, dynamic in batch."""

    def factory() -> nn.Module:
        from importlib import import_module

        made: nn.Module = getattr(import_module(f"vit_pytorch.{module}"), model)(num_classes=10, **fields)
        return made

    return Entry(f"vit_pytorch/{name}", factory, images(), sizes, (BATCH,))


def kornia(path: str, *fields: Any, sizes: Sequence[Sizes] = IMAGES, argument: str = "x", **options: Any) -> Entry:
    """One of kornia's modules, over images in [0, 1]."""

    def factory() -> nn.Module:
        from importlib import import_module

        module, _, model = path.rpartition(".")
        made: nn.Module = getattr(import_module(f"kornia.{module}"), model)(*fields, **options)
        return made

    def feed(draw: Draw, s: Sizes) -> Inputs:
        return (draw.normal(s["batch"], 3, s["height"], s["width"]).sigmoid(),), {}

    return Entry(f"kornia/{path.rpartition('.')[2].lower()}", factory, feed, sizes, {argument: PIXELS})


class Warp(nn.Module):
    """Images turned and moved by matrices: [n, 3, h, w], [n, 2, 3] -> [n, 3, h, w]."""

    def forward(self, x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        from kornia.geometry import warp_affine

        warped: torch.Tensor = warp_affine(x, matrix, dsize=(x.shape[2], x.shape[3]))
        return warped


def moved(draw: Draw, s: Sizes) -> Inputs:
    """Images and matrices near the identity."""
    (x,), _ = images()(draw, s)
    return (x, torch.eye(2, 3) + 0.05 * draw.normal(s["batch"], 2, 3)), {}


def pictures(name: str, model: str, config: str, dims: dict[int, str], sizes: Sequence[Sizes], **fields: Any) -> Entry:
    """One of transformers', over pixel_values."""

    def feed(draw: Draw, s: Sizes) -> Inputs:
        (x,), _ = images()(draw, s)
        return (), {"pixel_values": x}

    return Entry(f"transformers/{name}", made(model, config, **fields), feed, sizes, {"pixel_values": dims})


ENTRIES = (
    timm("resnet18"),
    timm("convnextv2_atto"),
    timm("mobilenetv4_conv_small"),
    timm("edgenext_xx_small"),
    timm("repvit_m0_9"),
    timm("fastvit_t8"),
    timm("mobilevit_xxs"),
    timm("poolformer_s12"),
    timm("vit_tiny_patch16_224", img_size=64, dynamic_img_size=True),
    timm("vit_tiny_patch16_224.augreg_in21k", BATCH, BATCHES, img_size=64),
    timm("swin_tiny_patch4_window7_224", BATCH, BATCHES, img_size=64, window_size=4, embed_dim=24, depths=(2, 2)),
    timm("tiny_vit_5m_224", BATCH, LARGE),
    timm("levit_128s", BATCH, LARGE),
    timm("efficientformerv2_s0", BATCH, LARGE),
    timm("maxvit_rmlp_pico_rw_256", BATCH, BATCHES, img_size=64),
    timm("coat_tiny", BATCH, BATCHES, img_size=64),
    timm("xcit_nano_12_p16_224", BATCH, BATCHES, img_size=64),
    timm("mixer_s32_224", BATCH, LARGE),
    lucid("simple_vit", "simple_vit", "SimpleViT", image_size=64, patch_size=16, dim=32, depth=2, heads=4, mlp_dim=37),
    lucid("cct", "cct", "CCT", img_size=64, embedding_dim=32, num_layers=2, num_heads=2, mlp_ratio=2),
    lucid(
        "nest", "nest", "NesT", image_size=64, patch_size=4, dim=16, heads=2, num_hierarchies=3, block_repeats=(1, 1, 2)
    ),
    lucid("cvt", "cvt", "CvT"),
    lucid("twins", "twins_svt", "TwinsSVT", sizes=LARGE, s1_emb_dim=16, s2_emb_dim=16, s3_emb_dim=16, s4_emb_dim=16),
    kornia("filters.GaussianBlur2d", (5, 5), (1.5, 1.5), argument="input"),
    kornia("filters.Canny", argument="input"),
    kornia("color.RgbToLab", argument="image"),
    kornia("filters.MedianBlur", (3, 3), argument="input"),
    kornia("enhance.Normalize", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), argument="input"),
    Entry("kornia/warp", Warp, moved, IMAGES, {"x": PIXELS, "matrix": BATCH}),
    pictures("vit", "ViTModel", "ViTConfig", BATCH, BATCHES, **VIT),
    pictures("dinov2", "Dinov2Model", "Dinov2Config", PIXELS, IMAGES, **VIT),
    pictures("siglip", "SiglipVisionModel", "SiglipVisionConfig", BATCH, BATCHES, **VIT),
    pictures(
        "swin",
        "SwinModel",
        "SwinConfig",
        PIXELS,
        IMAGES,
        image_size=64,
        embed_dim=16,
        depths=[1, 2],
        num_heads=[2, 4],
        window_size=4,
    ),
    pictures("beit", "BeitModel", "BeitConfig", BATCH, BATCHES, use_relative_position_bias=True, **VIT),
    pictures(
        "efficientnet",
        "EfficientNetModel",
        "EfficientNetConfig",
        PIXELS,
        IMAGES,
        width_coefficient=0.5,
        depth_coefficient=0.5,
        image_size=64,
        hidden_dim=640,
    ),
)
