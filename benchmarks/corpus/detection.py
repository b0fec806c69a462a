"""Detectors: `ultralytics`, `torchvision`, `transformers`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from benchmarks.corpus.entry import IMAGES, Entry, image_sizes, images
from benchmarks.corpus.text import made
from benchmarks.corpus.vision import PIXELS, pictures

SIZES = image_sizes((2, 64, 96), (3, 96, 64), (1, 64, 64), (1, 128, 160))
ONE_IMAGE = image_sizes((1, 64, 96), (1, 96, 64), (1, 128, 160), (1, 64, 64))
RESNET = {
    "num_channels": 3,
    "embedding_size": 16,
    "hidden_sizes": [16, 32, 32, 48],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage2", "stage3", "stage4"],
}


class Images(nn.Module):
    """A detector of torchvision, which takes a list of images, over one image [1, 3, h, w]: boxes, labels, scores."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.detector([x[0]])[0]
        return found


def torchvision(name: str, **fields: Any) -> Entry:
    """One of torchvision's detectors, untrained, over images of any size that it resizes itself."""

    def factory() -> nn.Module:
        from torchvision.models import detection

        return Images(getattr(detection, name)(weights=None, weights_backbone=None, num_classes=5, **fields))

    return Entry(f"torchvision/{name}", factory, images(), ONE_IMAGE, {"x": {2: "height", 3: "width"}})


def yolo(name: str) -> Entry:
    """One of ultralytics' by its configuration, as `model.model(x)` runs it."""

    def factory() -> nn.Module:
        from ultralytics import RTDETR, YOLO

        model: nn.Module = (RTDETR if name.startswith("rtdetr") else YOLO)(f"{name}.yaml", verbose=False).model
        return model

    return Entry(f"ultralytics/{name}", factory, images(), SIZES, {"x": PIXELS})


def detr(name: str, model: str, config: str, **fields: Any) -> Entry:
    """One of transformers', over a small ResNet of transformers' own."""

    def factory() -> nn.Module:
        from transformers import ResNetConfig

        backbone = ResNetConfig(**RESNET)
        module: nn.Module = made(model, config, backbone_config=backbone, **fields)()
        return module

    return Entry(f"transformers/{name}", factory, pictures("", "", "", {}, ()).feed, SIZES, {"pixel_values": PIXELS})


SMALL = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 37,
    "num_queries": 20,
}

ENTRIES = (
    yolo("yolov5n"),
    yolo("yolov8n"),
    yolo("yolo11n"),
    yolo("yolov8n-seg"),
    yolo("yolov8n-pose"),
    yolo("yolo12n"),
    yolo("yolov10n"),
    torchvision("ssdlite320_mobilenet_v3_large"),
    torchvision("fasterrcnn_mobilenet_v3_large_320_fpn", rpn_pre_nms_top_n_test=50, rpn_post_nms_top_n_test=20),
    torchvision("retinanet_resnet50_fpn", topk_candidates=50, min_size=128, max_size=256),
    detr(
        "detr", "DetrForObjectDetection", "DetrConfig", use_timm_backbone=False, use_pretrained_backbone=False, **SMALL
    ),
    Entry(
        "transformers/yolos",
        made(
            "YolosForObjectDetection",
            "YolosConfig",
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=37,
            image_size=[64, 96],
            num_detection_tokens=5,
        ),
        pictures("", "", "", {}, ()).feed,
        IMAGES,
        {"pixel_values": PIXELS},
    ),
)
