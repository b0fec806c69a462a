"""Transformers and quantizers of `x_transformers` and `vector_quantize_pytorch`, and a CRF of `torchcrf`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from benchmarks.corpus.entry import TEXTS, Entry, text_sizes
from benchmarks.models.case import Draw, Inputs, Sizes

TOKENS = {0: "batch", 1: "sequence"}
SEVERAL = text_sizes((2, 7), (3, 12), (1, 5), (4, 9))


def ids(draw: Draw, s: Sizes) -> Inputs:
    """int64[batch, sequence]."""
    return (draw.integers(99, s["batch"], s["sequence"]),), {}


def vectors(draw: Draw, s: Sizes) -> Inputs:
    """f32[batch, sequence, 16]."""
    return (draw.normal(s["batch"], s["sequence"], 16),), {}


def lucid(name: str, factory: Callable[[], nn.Module], feed: Any, sizes: Sequence[Sizes] = TEXTS) -> Entry:
    """One of a package's, dynamic in batch and sequence."""
    return Entry(name, factory, feed, sizes, (TOKENS,))


def x_transformer(kind: str, **fields: Any) -> Callable[[], nn.Module]:
    """An encoder or a decoder of two layers over 99 tokens."""

    def factory() -> nn.Module:
        import x_transformers

        layers = getattr(x_transformers, kind)(dim=32, depth=2, heads=4, attn_dim_head=8, **fields)
        module: nn.Module = x_transformers.TransformerWrapper(num_tokens=99, max_seq_len=64, attn_layers=layers)
        return module

    return factory


def quantizer(model: str, **fields: Any) -> Callable[[], nn.Module]:
    """One of vector_quantize_pytorch's."""

    def factory() -> nn.Module:
        from importlib import import_module

        module: nn.Module = getattr(import_module("vector_quantize_pytorch"), model)(**fields)
        return module

    return factory


class Tagger(nn.Module):
    """The score of a sequence's tags by a conditional random field: f32[n, t, 5], int64[n, t] -> f32[]."""

    def __init__(self) -> None:
        from torchcrf import CRF

        super().__init__()
        self.crf = CRF(5, batch_first=True)

    def forward(self, x: Tensor, tags: Tensor) -> Tensor:
        score: Tensor = self.crf(x, tags)
        return score


def tagged(draw: Draw, s: Sizes) -> Inputs:
    """Scores of 5 tags, and the tags."""
    return (draw.normal(s["batch"], s["sequence"], 5), draw.integers(5, s["batch"], s["sequence"])), {}


ENTRIES = (
    lucid("x_transformers/encoder", x_transformer("Encoder"), ids),
    lucid("x_transformers/decoder", x_transformer("Decoder", rotary_pos_emb=True, attn_kv_heads=2), ids),
    lucid("x_transformers/alibi", x_transformer("Decoder", alibi_pos_bias=True, use_rmsnorm=True, ff_glu=True), ids),
    lucid("vector_quantize_pytorch/vq", quantizer("VectorQuantize", dim=16, codebook_size=32), vectors),
    lucid(
        "vector_quantize_pytorch/residual", quantizer("ResidualVQ", dim=16, codebook_size=32, num_quantizers=3), vectors
    ),
    lucid("vector_quantize_pytorch/fsq", quantizer("FSQ", levels=[5, 5, 3], dim=16), vectors),
    Entry("torchcrf/crf", Tagger, tagged, SEVERAL, {"x": TOKENS, "tags": TOKENS}),
)
