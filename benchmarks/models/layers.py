"""Models around one family of operators each: masked attention, embedding bags, spectra, in-place writes, sampling."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.case import Case, Draw, Inputs, Sizes, tags

VOCABULARY = 1000


class PositionalEncoding(nn.Module):
    """Adds the sines and cosines of Vaswani et al. 2017, section 3.5, to f32[n, t, width]."""

    def __init__(self, width: int, longest: int = 512) -> None:
        super().__init__()
        position = torch.arange(longest).unsqueeze(1)
        frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(1, longest, width)
        table[0, :, 0::2] = torch.sin(position * frequency)
        table[0, :, 1::2] = torch.cos(position * frequency)
        self.register_buffer("table", table)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[:, : x.size(1)]


class Translator(nn.Module):
    """nn.Transformer with causal and padding masks: int64[n, s], int64[n, t] -> logits f32[n, t, v]; id 0 pads.

    Without `causal_hint` nn.Transformer compares the target mask with a causal one: control flow that depends on data.
    """

    def __init__(self, causal_hint: bool | None = True, width: int = 256, heads: int = 8, depth: int = 3) -> None:
        super().__init__()
        self.width, self.causal_hint = width, causal_hint
        self.source = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.target = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.position = PositionalEncoding(width)
        self.transformer = nn.Transformer(width, heads, depth, depth, 4 * width, batch_first=True)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(target.size(1), device=target.device)
        source_padding, target_padding = source == 0, target == 0
        x = self.transformer(
            self.position(self.source(source) * math.sqrt(self.width)),
            self.position(self.target(target) * math.sqrt(self.width)),
            tgt_mask=causal,
            src_key_padding_mask=source_padding,
            tgt_key_padding_mask=target_padding.float().masked_fill(target_padding, float("-inf")),
            memory_key_padding_mask=source_padding,
            tgt_is_causal=self.causal_hint,
        )
        return self.head(x)


class CrossAttention(nn.Module):
    """nn.MultiheadAttention twice: with a key padding mask and no weights, then across two inputs, weights returned."""

    def __init__(self, width: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.cross = nn.MultiheadAttention(width, heads, batch_first=True, kdim=64, vdim=64)

    def forward(self, x: Tensor, memory: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        mixed, _ = self.own(x, x, x, key_padding_mask=padding, need_weights=False)
        return self.cross(self.norm(x + mixed), memory, memory)


class BagClassifier(nn.Module):
    """EmbeddingBag over ragged texts laid end to end: int64[tokens], int64[n] offsets -> f32[n, classes]."""

    def __init__(self, width: int = 64, classes: int = 4) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(VOCABULARY, width, mode="mean")
        self.head = nn.Linear(width, classes)

    def forward(self, text: Tensor, offsets: Tensor) -> Tensor:
        return self.head(self.bag(text, offsets))


class BagRanker(nn.Module):
    """EmbeddingBag over fixed-length rows, summed with per-sample weights: int64[n, k], f32[n, k] -> f32[n]."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(VOCABULARY, width, mode="sum")
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, ids: Tensor, weights: Tensor) -> Tensor:
        return self.mlp(self.bag(ids, per_sample_weights=weights)).squeeze(-1)


class KeywordSpotter(nn.Module):
    """Log spectrogram by torch.stft, then 1-D convolutions: f32[n, samples] -> f32[n, classes]."""

    def __init__(self, points: int = 400, hop: int = 160, classes: int = 12) -> None:
        super().__init__()
        self.points, self.hop = points, hop
        self.register_buffer("window", torch.hann_window(points))
        self.layers = nn.Sequential(
            nn.Conv1d(points // 2 + 1, 64, 3, stride=2, padding=1), nn.BatchNorm1d(64), nn.ReLU(),
            nn.Conv1d(64, 64, 3, padding=1), nn.BatchNorm1d(64), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(64, classes)

    def forward(self, wave: Tensor) -> Tensor:
        spectrum = torch.stft(wave, self.points, self.hop, window=self.window, return_complex=True)
        return self.head(self.layers(torch.log(spectrum.abs() + 1e-6)))


class FrameSpectrum(nn.Module):
    """The same front end by frames and torch.fft.rfft, with a power spectrum: f32[n, samples] -> f32[n, classes]."""

    def __init__(self, frame: int = 256, hop: int = 128, bands: int = 40, classes: int = 12) -> None:
        super().__init__()
        self.frame, self.hop = frame, hop
        self.register_buffer("window", torch.hamming_window(frame))
        self.bands = nn.Parameter(torch.rand(frame // 2 + 1, bands))
        self.convolution = nn.Conv2d(1, 16, 3, padding=1)
        self.head = nn.Linear(16, classes)

    def forward(self, wave: Tensor) -> Tensor:
        frames = wave.unfold(-1, self.frame, self.hop) * self.window
        spectrum = torch.fft.rfft(frames, norm="ortho")
        power = spectrum.real.pow(2) + spectrum.imag.pow(2)
        x = torch.log(power @ self.bands + 1e-6).unsqueeze(1)
        return self.head(F.relu(self.convolution(x)).mean(dim=(2, 3)))


class FourierOperator(nn.Module):
    """A Fourier layer with complex weights. Li et al. 2020, "Fourier Neural Operator": f32[n, c, t] -> f32[n, c, t]."""

    def __init__(self, channels: int = 16, modes: int = 8) -> None:
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.rand(channels, channels, modes, dtype=torch.cfloat) / channels)
        self.local = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x)
        kept = torch.zeros_like(spectrum)
        kept[:, :, : self.modes] = torch.einsum("bit,iot->bot", spectrum[:, :, : self.modes], self.weight)
        return F.gelu(torch.fft.irfft(kept, n=x.size(-1)) + self.local(x))


class CoordinateDecoder(nn.Module):
    """Decodes anchors by writing slices of a tensor in place, as detectors do: f32[n, a, 6] -> f32[n, a, 6]."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.refine = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        boxes = self.refine(x).clone()
        boxes[..., 0:2] = boxes[..., 0:2].sigmoid() * 2 - 0.5
        boxes[..., 2:4] = (boxes[..., 2:4].sigmoid() * 2) ** 2
        boxes[..., 4:] *= boxes[..., 4:5].sigmoid()
        boxes[:, 0, 5] = 0
        boxes[:, 1:, :2] += boxes[:, :-1, :2] * 0.5
        boxes[:, ::2, 3].clamp_(max=1.0)
        return boxes


class PointPillars(nn.Module):
    """Points scattered to a grid, in place. Lang et al. 2019, "PointPillars".

    f32[p, 4] features and int64[p, 2] cells -> f32[1, classes, side, side].
    """

    def __init__(self, side: int = 16, width: int = 32, classes: int = 3) -> None:
        super().__init__()
        self.side, self.width = side, width
        self.encode = nn.Sequential(nn.Linear(4, width), nn.ReLU())
        self.head = nn.Conv2d(width + 1, classes, 3, padding=1)

    def forward(self, points: Tensor, cells: Tensor) -> Tensor:
        features = self.encode(points)
        places = cells[:, 0] * self.side + cells[:, 1]
        index = places.unsqueeze(1).expand(-1, self.width)
        canvas = torch.zeros(self.side**2, self.width, dtype=features.dtype, device=features.device)
        canvas.scatter_reduce_(0, index, features, reduce="amax")
        count = torch.zeros(self.side, self.side, dtype=features.dtype, device=features.device)
        count.index_put_((cells[:, 0], cells[:, 1]), torch.ones_like(features[:, 0]), accumulate=True)
        total = torch.zeros_like(canvas).scatter_add_(0, index, features)
        canvas = canvas + total / count.view(-1, 1).clamp(min=1)
        grid = torch.cat([canvas.t().reshape(1, self.width, self.side, self.side), count[None, None]], dim=1)
        return self.head(grid)


class SpatialTransformer(nn.Module):
    """Jaderberg et al. 2015, "Spatial Transformer Networks": warps f32[n, 3, h, w], upsamples, classifies."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.locate = nn.Sequential(
            nn.Conv2d(3, 8, 7),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(8, 10, 5),
            nn.AdaptiveMaxPool2d(4),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.theta = nn.Linear(160, 6)
        nn.init.normal_(self.theta.weight, std=0.01)
        self.theta.bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
        self.convolution = nn.Conv2d(3, 16, 3, padding=1)
        self.mix = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        theta = self.theta(self.locate(x)).view(-1, 2, 3)
        grid = F.affine_grid(theta, x.size(), align_corners=False)
        warped = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        fine = F.relu(self.convolution(F.interpolate(warped, scale_factor=2, mode="bilinear", align_corners=False)))
        coarse = F.interpolate(self.mix(fine), size=fine.shape[-2:], mode="nearest")
        return self.head((fine + coarse).mean(dim=(2, 3))), warped


def sentence_pair(draw: Draw, sizes: Sizes) -> Inputs:
    """Source int64[batch, source] and target int64[batch, target]; padding (id 0) only at the ends of rows after 0."""
    source = draw.integers(VOCABULARY, sizes["batch"], sizes["source"], low=1)
    target = draw.integers(VOCABULARY, sizes["batch"], sizes["target"], low=1)
    source[1:, -3:] = 0
    target[1:, -2:] = 0
    return (source, target), {}


def masked_pair(draw: Draw, sizes: Sizes) -> Inputs:
    """x f32[batch, sequence, 128], memory f32[batch, memory, 64], padding bool[batch, sequence] (True: ignore)."""
    batch, sequence = sizes["batch"], sizes["sequence"]
    memory = draw.normal(batch, sizes["memory"], 64)
    return (draw.normal(batch, sequence, 128), memory, draw.padding(batch, sequence) == 0), {}


def ragged_texts(draw: Draw, sizes: Sizes) -> Inputs:
    """int64[tokens], then the sorted int64[batch] places where texts start (the first at 0; texts may be empty)."""
    offsets = draw.integers(sizes["tokens"], sizes["batch"]).sort().values
    offsets[0] = 0
    return (draw.integers(VOCABULARY, sizes["tokens"]), offsets), {}


def weighted_rows(draw: Draw, sizes: Sizes) -> Inputs:
    """int64[batch, items] and f32[batch, items]."""
    shape = sizes["batch"], sizes["items"]
    return (draw.integers(VOCABULARY, *shape), draw.normal(*shape)), {}


def waves(draw: Draw, sizes: Sizes) -> Inputs:
    """f32[batch, samples]."""
    return (draw.normal(sizes["batch"], sizes["samples"]),), {}


def points(draw: Draw, sizes: Sizes) -> Inputs:
    """f32[points, 4] and int64[points, 2]; some cells hold several points."""
    return (draw.normal(sizes["points"], 4), draw.integers(16, sizes["points"], 2)), {}


CASES = (
    Case(
        "transformer_masks", Translator, sentence_pair,
        sizes={"batch": 2, "source": 32, "target": 24}, other_sizes={"batch": 3, "source": 19, "target": 27},
        dynamic={"source": {0: "batch", 1: "source"}, "target": {0: "batch", 1: "target"}}, tags=tags("attention"),
    ),
    Case(
        "transformer_unhinted", lambda: Translator(causal_hint=None), sentence_pair,
        sizes={"batch": 2, "source": 32, "target": 24}, other_sizes={"batch": 3, "source": 19, "target": 27},
        dynamic=None, dynamic_reason="torch.export refuses any sizes: nn.Transformer asks whether its mask is causal",
        tags=tags("attention", "refused"),
    ),
    Case(
        "multihead_attention", CrossAttention, masked_pair,
        sizes={"batch": 2, "sequence": 32, "memory": 20}, other_sizes={"batch": 3, "sequence": 17, "memory": 9},
        dynamic={
            "x": {0: "batch", 1: "sequence"},
            "memory": {0: "batch", 1: "memory"},
            "padding": {0: "batch", 1: "sequence"},
        },
        tags=tags("attention", "quick"),
    ),
    Case(
        "embedding_bag", BagClassifier, ragged_texts,
        sizes={"batch": 4, "tokens": 40}, other_sizes={"batch": 7, "tokens": 33},
        dynamic={"text": {0: "tokens"}, "offsets": {0: "batch"}}, tags=tags("embedding", "quick"),
    ),
    Case(
        "embedding_bag_weighted", BagRanker, weighted_rows,
        sizes={"batch": 4, "items": 8}, other_sizes={"batch": 7, "items": 5},
        dynamic={"ids": {0: "batch", 1: "items"}, "weights": {0: "batch", 1: "items"}}, tags=tags("embedding", "quick"),
    ),
    Case(
        "stft_keyword", KeywordSpotter, waves,
        sizes={"batch": 2, "samples": 8000}, other_sizes={"batch": 3, "samples": 6123},
        dynamic={"wave": {0: "batch", 1: "samples"}}, tags=tags("audio", "complex", "quick"),
    ),
    Case(
        "rfft_frames", FrameSpectrum, waves,
        sizes={"batch": 2, "samples": 4000}, other_sizes={"batch": 3, "samples": 3001},
        dynamic={"wave": {0: "batch", 1: "samples"}}, tags=tags("audio", "complex", "quick"),
    ),
    Case(
        "fourier_operator", FourierOperator,
        lambda draw, sizes: ((draw.normal(sizes["batch"], 16, sizes["time"]),), {}),
        sizes={"batch": 2, "time": 64}, other_sizes={"batch": 3, "time": 49},
        dynamic={"x": {0: "batch", 2: "time"}}, tags=tags("complex", "inplace", "quick"),
    ),
    Case(
        "inplace_slices", CoordinateDecoder,
        lambda draw, sizes: ((draw.normal(sizes["batch"], sizes["anchors"], 6),), {}),
        sizes={"batch": 2, "anchors": 16}, other_sizes={"batch": 3, "anchors": 9},
        dynamic={"x": {0: "batch", 1: "anchors"}}, tags=tags("inplace", "quick"),
    ),
    Case(
        "scatter_pillars", PointPillars, points,
        sizes={"points": 100}, other_sizes={"points": 37},
        dynamic={"points": {0: "points"}, "cells": {0: "points"}}, tags=tags("inplace", "scatter", "quick"),
    ),
    Case(
        "spatial_transformer", SpatialTransformer,
        lambda draw, sizes: ((draw.normal(sizes["batch"], 3, sizes["height"], sizes["width"]),), {}),
        sizes={"batch": 2, "height": 32, "width": 40}, other_sizes={"batch": 3},
        dynamic={"x": {0: "batch"}}, dynamic_reason="torch.export freezes the height and width given to F.affine_grid",
        tags=tags("vision", "sampling", "quick"),
    ),
)  # fmt: skip
