"""What diffusion pipelines call at each step: `diffusers`, small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.corpus.entry import Entry, Feed, image_sizes, images
from benchmarks.corpus.vision import PIXELS
from benchmarks.models.case import Draw, Dynamic, Inputs, Sizes

LATENTS = image_sizes((2, 16, 24), (3, 24, 16), (1, 16, 16), (1, 32, 40))
BLOCKS = {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8}
UNET = {
    **BLOCKS,
    "sample_size": 16,
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
}


def diffusers(
    name: str, model: str, feed: Feed, dynamic: Dynamic, sizes: Sequence[Sizes] = LATENTS, **fields: Any
) -> Entry:
    """One of diffusers' models."""

    def factory() -> nn.Module:
        from importlib import import_module

        module: nn.Module = getattr(import_module("diffusers"), model)(**fields)
        return module

    return Entry(f"diffusers/{name}", factory, feed, sizes, dynamic)


def step(channels: int, prompt: str = "", width: int = 24, **more: Any) -> Feed:
    """Latents, a time step, and a prompt of 7 tokens by its argument's name."""

    def feed(draw: Draw, s: Sizes) -> Inputs:
        (x,), _ = images(channels)(draw, s)
        text = {prompt: draw.normal(s["batch"], 7, width)} if prompt else {}
        extra = {name: make(draw, s) for name, make in more.items()}
        return (x,), {"timestep": draw.integers(1000, s["batch"]), **text, **extra, "return_dict": False}

    return feed


def flux(draw: Draw, s: Sizes) -> Inputs:
    """Packed latents and tokens, with the positions of both."""
    n, rows, columns = s["batch"], s["height"], s["width"]
    place = torch.stack(
        (torch.zeros(rows, columns), *torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")), -1
    )
    return (), {
        "hidden_states": draw.normal(n, rows * columns, 4),
        "encoder_hidden_states": draw.normal(n, 7, 24),
        "pooled_projections": draw.normal(n, 24),
        "timestep": draw.normal(n).sigmoid(),
        "img_ids": place.reshape(-1, 3).float(),
        "txt_ids": torch.zeros(7, 3),
        "return_dict": False,
    }


BATCH = {0: "batch"}
PROMPT = {"encoder_hidden_states": {0: "batch", 1: "tokens"}}
FLUX_SIZES = tuple({"batch": n, "height": h, "width": w} for n, h, w in ((2, 4, 6), (3, 6, 4), (1, 4, 4), (1, 8, 5)))

ENTRIES = (
    diffusers(
        "unet",
        "UNet2DConditionModel",
        step(4, "encoder_hidden_states"),
        {"sample": PIXELS, "timestep": BATCH, **PROMPT},
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **UNET,
    ),
    diffusers(
        "unet_unconditional",
        "UNet2DModel",
        step(3),
        {"sample": PIXELS, "timestep": BATCH},
        **BLOCKS,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        sample_size=16,
        attention_head_dim=4,
    ),
    diffusers(
        "vae",
        "AutoencoderKL",
        images(),
        {"sample": PIXELS},
        latent_channels=4,
        **BLOCKS,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    ),
    diffusers(
        "vq",
        "VQModel",
        images(),
        {"sample": PIXELS},
        latent_channels=4,
        num_vq_embeddings=16,
        **BLOCKS,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    ),
    diffusers(
        "dit",
        "DiTTransformer2DModel",
        step(4, class_labels=lambda draw, s: draw.integers(10, s["batch"])),
        {"hidden_states": {0: "batch"}, "timestep": BATCH, "class_labels": BATCH},
        image_sizes((2, 16, 16), (3, 16, 16), (1, 16, 16), (4, 16, 16)),
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        sample_size=16,
        patch_size=2,
        norm_num_groups=8,
        num_embeds_ada_norm=10,
    ),
    diffusers(
        "flux",
        "FluxTransformer2DModel",
        flux,
        {
            "hidden_states": {0: "batch", 1: "pixels"},
            "img_ids": {0: "pixels"},
            "pooled_projections": BATCH,
            "timestep": BATCH,
            "encoder_hidden_states": {0: "batch"},
        },
        FLUX_SIZES,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=24,
        axes_dims_rope=(4, 4, 8),
    ),
    diffusers(
        "sd3",
        "SD3Transformer2DModel",
        step(4, "encoder_hidden_states", pooled_projections=lambda draw, s: draw.normal(s["batch"], 24)),
        {"hidden_states": PIXELS, "timestep": BATCH, "pooled_projections": BATCH, **PROMPT},
        sample_size=32,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=24,
        caption_projection_dim=32,
        pooled_projection_dim=24,
        out_channels=4,
    ),
    diffusers(
        "controlnet",
        "ControlNetModel",
        step(
            4,
            "encoder_hidden_states",
            controlnet_cond=lambda draw, s: draw.normal(s["batch"], 3, s["height"] * 8, s["width"] * 8),
        ),
        {
            "sample": PIXELS,
            "timestep": BATCH,
            "controlnet_cond": {0: "batch", 2: "8*height", 3: "8*width"},
            **PROMPT,
        },
        image_sizes((2, 8, 12), (3, 12, 8), (1, 8, 8), (1, 16, 12)),
        conditioning_embedding_out_channels=(8, 16, 16, 16),
        **{name: value for name, value in UNET.items() if name != "sample_size"},
    ),
)
