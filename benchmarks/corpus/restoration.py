"""Super-resolution and restoration: the architectures of `spandrel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from benchmarks.corpus.entry import Entry, image_sizes, images
from benchmarks.corpus.vision import PIXELS
from benchmarks.models.case import Sizes

SIZES = image_sizes((2, 16, 24), (3, 24, 16), (1, 16, 16), (1, 32, 40))
ODD = image_sizes((2, 18, 21), (3, 25, 17), (1, 16, 16), (1, 31, 40))
PADDED = image_sizes((2, 60, 70), (3, 70, 60), (1, 64, 64), (1, 100, 65))
ATTENTION = {
    "img_size": 16,
    "window_size": 4,
    "embed_dim": 16,
    "num_heads": [2, 2],
    "depths": [2, 2],
    "upscale": 2,
    "upsampler": "pixelshuffle",
}


def spandrel(
    package: str, module: str, model: str, sizes: Sequence[Sizes] = SIZES, argument: str = "x", **fields: Any
) -> Entry:
    """One of spandrel's architectures."""

    def factory() -> nn.Module:
        from importlib import import_module

        path = f"spandrel.architectures.{package}.__arch.{module}"
        made: nn.Module = getattr(import_module(path), model)(**fields)
        return made

    return Entry(f"spandrel/{package.lower()}", factory, images(), sizes, {argument: PIXELS})


ENTRIES = (
    spandrel("SwinIR", "SwinIR", "SwinIR", ODD, mlp_ratio=2, **ATTENTION),
    spandrel("Swin2SR", "Swin2SR", "Swin2SR", ODD, mlp_ratio=2, **ATTENTION),
    spandrel(
        "HAT",
        "HAT",
        "HAT",
        compress_ratio=3,
        squeeze_factor=8,
        conv_scale=0.01,
        overlap_ratio=0.5,
        mlp_ratio=2,
        **ATTENTION,
    ),
    spandrel(
        "DAT",
        "DAT",
        "DAT",
        img_size=16,
        split_size=[2, 4],
        embed_dim=16,
        num_heads=[2, 2],
        depth=[2, 2],
        expansion_factor=2,
        upscale=2,
        upsampler="pixelshuffle",
    ),
    spandrel("ESRGAN", "RRDB", "RRDBNet", num_filters=8, num_blocks=2, scale=2),
    spandrel("SCUNet", "SCUNet", "SCUNet", PADDED, "x0", config=[1, 1, 1, 1, 1, 1, 1], dim=64),
    spandrel("NAFNet", "NAFNet_arch", "NAFNet", ODD, "inp", width=8, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]),
    spandrel("SAFMN", "safmn", "SAFMN", dim=16, n_blocks=2, upscaling_factor=2),
)
