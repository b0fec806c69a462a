"""Segmentation, depth and flow: `segmentation_models_pytorch`, `torchvision`, `transformers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from benchmarks.corpus.entry import IMAGES, Entry, image_sizes, images
from benchmarks.corpus.vision import PIXELS, pictures
from benchmarks.models.case import Draw, Inputs, Sizes


def smp(name: str, model: str, sizes: Sequence[Sizes] = IMAGES, **fields: Any) -> Entry:
    """One of segmentation_models_pytorch's over a ResNet-18."""

    def factory() -> nn.Module:
        import segmentation_models_pytorch

        module: nn.Module = getattr(segmentation_models_pytorch, model)(
            "resnet18", encoder_weights=None, classes=3, **fields
        )
        return module

    return Entry(f"segmentation_models_pytorch/{name}", factory, images(), sizes, {"x": PIXELS})


def torchvision(name: str, **fields: Any) -> Entry:
    """One of torchvision's."""

    def factory() -> nn.Module:
        from torchvision.models import segmentation

        module: nn.Module = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=3, **fields)
        return module

    return Entry(f"torchvision/{name}", factory, images(), IMAGES, (PIXELS,))


def raft() -> nn.Module:
    """Optical flow by two updates."""
    from torchvision.models.optical_flow import raft_small

    module: nn.Module = raft_small(weights=None)
    return module


def frames(draw: Draw, s: Sizes) -> Inputs:
    """Two images, of each pair of pixels, and how often to update."""
    (one,), _ = images()(draw, s)
    (other,), _ = images()(draw, s)
    return (one, other), {"num_flow_updates": 2}


LARGE = image_sizes((2, 160, 192), (3, 192, 160), (1, 128, 128), (1, 192, 256))
FLOW = image_sizes((2, 128, 128), (3, 128, 128), (1, 128, 128), (1, 128, 160))

ENTRIES = (
    smp("unet", "Unet"),
    smp("fpn", "FPN"),
    smp("deeplabv3plus", "DeepLabV3Plus"),
    smp("pan", "PAN", LARGE),
    smp("upernet", "UPerNet"),
    torchvision("lraspp_mobilenet_v3_large"),
    torchvision("deeplabv3_mobilenet_v3_large"),
    Entry("torchvision/raft_small", raft, frames, FLOW, {"image1": PIXELS, "image2": PIXELS}),
    pictures(
        "segformer",
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        PIXELS,
        IMAGES,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 2, 4],
        decoder_hidden_size=16,
    ),
    pictures("mobilevit", "MobileViTForSemanticSegmentation", "MobileViTConfig", PIXELS, IMAGES, image_size=64),
    pictures(
        "dpt",
        "DPTForDepthEstimation",
        "DPTConfig",
        {0: "batch"},
        image_sizes((2, 64, 64), (3, 64, 64), (1, 64, 64), (4, 64, 64)),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=37,
        image_size=64,
        patch_size=16,
        is_hybrid=False,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16,
    ),
)
