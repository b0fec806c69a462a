"""What people write themselves, in plain torch: detection heads, front ends, recurrent loops, quantizers, routers."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.corpus.entry import IMAGES, WAVES, Entry, images, text_sizes, waves
from benchmarks.models.case import Draw, Inputs, Sizes


class AnchorHead(nn.Module):
    """A one-stage detector whose grid and anchors are made for the size at hand and kept: [n, 3, h, w] -> boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 21, 3, 2, 1))
        self.strides = torch.tensor([4.0])
        self.anchors = torch.empty(0)
        self.shape: Any = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        if self.shape != y.shape[2:]:
            rows, columns = (torch.arange(int(side)) + 0.5 for side in y.shape[2:])
            grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
            self.anchors, self.shape = grid.view(-1, 2).t(), y.shape[2:]
        boxes, scores = y.flatten(2).split((4, 17), 1)
        low, high = boxes.chunk(2, 1)
        corners = torch.cat((self.anchors - low, self.anchors + high), 1) * float(self.strides[0])
        return torch.cat((corners, scores.sigmoid()), 1)


class Detector(nn.Module):
    """Keeps what scores above a threshold, the best ones first: [n, 3, h, w] -> boxes [k, 4] and scores [k]."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 5, 4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.head(x).flatten(2).transpose(1, 2).reshape(-1, 5)
        scores = y[:, 4].sigmoid()
        keep = torch.nonzero(scores > 0.5).squeeze(1)
        if keep.numel() == 0:
            return y.new_zeros(0, 4), scores.new_zeros(0)
        scores, order = scores[keep].sort(descending=True)
        return y[keep][order, :4], scores


class Windows(nn.Module):
    """Attention in windows of 8 × 8, padded and cut again, with the arithmetic of sizes that papers' code has."""

    def __init__(self) -> None:
        super().__init__()
        self.window, self.embed = 8, nn.Conv2d(3, 16, 3, padding=1)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = self.embed(F.pad(x, (0, -width % self.window, 0, -height % self.window)))
        batch, channels, rows, columns = x.shape
        windows = x.view(batch, channels, rows // 8, 8, columns // 8, 8).permute(0, 2, 4, 3, 5, 1).reshape(-1, 64, 16)
        windows = self.attend(windows, windows, windows, need_weights=False)[0]
        count = int(windows.shape[0] / (rows * columns / self.window / self.window))
        x = windows.view(count, rows // 8, columns // 8, 8, 8, -1).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(count, channels, rows, columns)[:, :, :height, :width]


class Positions(nn.Module):
    """A ViT whose table of positions is resized to the image at hand, unless it has the size already."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.table = nn.Conv2d(3, 24, 16, 16), nn.Parameter(torch.randn(1, 17, 24))
        self.block = nn.TransformerEncoderLayer(24, 4, 48, batch_first=True, norm_first=True)
        self.token = nn.Parameter(torch.randn(1, 1, 24))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2] // 16, x.shape[3] // 16
        y = self.patch(x).flatten(2).transpose(1, 2)
        y = torch.cat((self.token.expand(len(y), -1, -1), y), 1)
        return self.block(y + self.positions(y.shape[1] - 1, height, width))[:, 0]

    def positions(self, count: int, height: int, width: int) -> Tensor:
        known = self.table.shape[1] - 1
        if count == known and height == width:
            return self.table
        side = int(math.sqrt(known))
        grid = self.table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False)
        return torch.cat((self.table[:, :1], grid.permute(0, 2, 3, 1).reshape(1, height * width, -1)), 1)


class Spectrogram(nn.Module):
    """Log-mel features, normalized over time: [n, samples] -> [n, 20, frames]."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mel", torch.rand(20, 201))
        self.register_buffer("window", torch.hann_window(400))

    def forward(self, x: Tensor) -> Tensor:
        bins = torch.stft(x, 400, 160, window=self.window, return_complex=True)
        features = (self.mel @ bins.abs().pow(2)).clamp(min=1e-6).log()
        if not torch.isfinite(features).all():
            features = features.nan_to_num()
        return (features - features.mean(-1, keepdim=True)) / features.std(-1, keepdim=True)


class Codec(nn.Module):
    """A convolutional codec that pads to whole strides and takes the nearest codes: [n, 1, samples] -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Conv1d(1, 8, 8, 4), nn.ConvTranspose1d(8, 1, 8, 4)
        self.register_buffer("codes", torch.randn(32, 8))
        self.register_buffer("ready", torch.tensor([True]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        length = x.shape[-1]
        frames = math.ceil((length - 8) / 4 + 1)
        y = self.encode(F.pad(x, (0, (frames - 1) * 4 + 8 - length)))
        if not bool(self.ready):
            raise RuntimeError("the codes are not there yet")
        index = torch.cdist(y.transpose(1, 2), self.codes).argmin(-1)
        return self.decode(F.embedding(index, self.codes).transpose(1, 2))[..., :length], index


class Recurrent(nn.Module):
    """A cell called step by step, its hidden state gated by a mask: [n, t, 3] -> [n, t, 8] and [n, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 8)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        batch, steps, _ = x.shape
        h = c = x.new_zeros(batch, 8)
        outputs = []
        for step in range(steps):
            new_h, new_c = self.cell(x[:, step], (h, c))
            keep = mask[:, step, None]
            h, c = keep * new_h + (1 - keep) * h, keep * new_c + (1 - keep) * c
            outputs.append(h)
        return torch.stack(outputs, dim=1), h


class SelectiveScan(nn.Module):
    """A state space layer by its definition: [n, t, 6] -> [n, t, 6]. Gu & Dao 2023."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.log_a = nn.Linear(6, 6 + 4 + 4), nn.Parameter(torch.rand(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        step, b, c = self.project(x).split((6, 4, 4), -1)
        step = F.softplus(step)
        decay = torch.exp(step.unsqueeze(-1) * -self.log_a.exp())
        drive = step.unsqueeze(-1) * b.unsqueeze(2) * x.unsqueeze(-1)
        state, outputs = x.new_zeros(x.shape[0], 6, 4), []
        for i in range(x.shape[1]):
            state = decay[:, i] * state + drive[:, i]
            outputs.append(torch.einsum("bdn,bn->bd", state, c[:, i]))
        return torch.stack(outputs, 1)


class Router(nn.Module):
    """A mixture of experts that loops over the experts and gathers each one's tokens: [n, t, 8] -> [n, t, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = self.gate(flat).softmax(-1).topk(2)
        result = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            token, place = torch.where(chosen == number)
            result.index_add_(0, token, expert(flat[token]) * weights[token, place, None])
        return result.view_as(x)


class Packed(nn.Module):
    """A bidirectional LSTM over padded sequences, packed: [n, t, 3] and lengths [n] -> [n, t, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        output, _ = self.lstm(packed)
        return nn.utils.rnn.pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])[0]


class Scaled(nn.Module):
    """Numbers of its own that it reads as Python numbers, and a branch on a flag: [n, t, 6] -> [n, t, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.temperature = nn.Linear(6, 6), nn.Parameter(torch.tensor(1.5))
        self.register_buffer("initialized", torch.tensor(1, dtype=torch.uint8))
        self.register_buffer("bounds", torch.tensor([-1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        if self.initialized.item() == 0:
            raise RuntimeError("not initialized")
        low, high = self.bounds.tolist()
        y = self.linear(x).clamp(low, high) / self.temperature.item()
        return y * F.normalize(x, dim=-1) * len(x) ** -0.5


class Pooler(nn.Module):
    """Attentive statistics of what a relative length says is there: [n, 5, t], [n] -> [n, 10]."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        steps = x.shape[-1]
        mask = torch.arange(steps)[None] < (lengths * steps).round()[:, None]
        weight = mask / mask.sum(1, keepdim=True).float()
        mean = (weight[:, None] * x).sum(-1)
        spread = (weight[:, None] * (x - mean[..., None]).pow(2)).sum(-1).clamp(1e-12).sqrt()
        return torch.cat((mean, spread), 1)


def steps(*more: str, width: int = 3) -> Any:
    """f32[n, t, width], and what else is asked for: a "mask" [n, t], "lengths" [n], "relative" lengths."""

    def feed(draw: Draw, s: Sizes) -> Inputs:
        n, t = s["batch"], s["sequence"]
        lengths = draw.integers(t + 1, n, low=1)
        lengths[0] = t
        known = {"mask": draw.padding(n, t).float(), "lengths": lengths, "relative": lengths / t}
        return (draw.normal(n, t, width), *(known[name] for name in more)), {}

    return feed


def channels_first(draw: Draw, s: Sizes) -> Inputs:
    """f32[n, 5, t] and relative lengths."""
    (x, lengths), _ = steps("relative", width=5)(draw, s)
    return (x.transpose(1, 2).contiguous(), lengths), {}


PIXELS = {"x": {0: "batch", 2: "height", 3: "width"}}
STEPS = {0: "batch", 1: "sequence"}
LENGTHS = text_sizes((2, 7), (3, 12), (1, 5), (4, 20))

ENTRIES = (
    Entry("torch/anchor_head", AnchorHead, images(), IMAGES, PIXELS),
    Entry("torch/detector", Detector, images(), IMAGES, PIXELS),
    Entry("torch/windows", Windows, images(), IMAGES, PIXELS),
    Entry("torch/positions", Positions, images(), IMAGES, PIXELS),
    Entry("torch/spectrogram", Spectrogram, waves(), WAVES, {"x": {0: "batch", 1: "samples"}}),
    Entry("torch/codec", Codec, waves(1), WAVES, {"x": {0: "batch", 2: "samples"}}),
    Entry("torch/recurrent", Recurrent, steps("mask"), LENGTHS, {"x": STEPS, "mask": STEPS}),
    Entry("torch/selective_scan", SelectiveScan, steps(width=6), LENGTHS, {"x": STEPS}),
    Entry("torch/router", Router, steps(width=8), LENGTHS, {"x": STEPS}),
    Entry("torch/packed", Packed, steps("lengths"), LENGTHS, {"x": STEPS, "lengths": {0: "batch"}}),
    Entry("torch/scaled", Scaled, steps(width=6), LENGTHS, {"x": STEPS}),
    Entry("torch/pooler", Pooler, channels_first, LENGTHS, {"x": {0: "batch", 2: "sequence"}, "lengths": {0: "batch"}}),
)
