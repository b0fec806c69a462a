"""Modules that decide by data."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from tests.capture.tracer.paths.deciding import mended
from torch import Tensor, nn


class States(nn.Module):
    """Buffers and attributes, each written in one way."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(4))
        self.register_buffer("count", torch.zeros(1))
        self.last = torch.zeros(4)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            self.seen.add_(x.sum(0))
            self.last = x.sum(0)
            return self.linear(x)
        self.count = self.count + 1
        return x + self.seen - self.last


class Experts(nn.Module):
    """One layer or another, and what comes after either."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.one(x) if x.sum() > 0 else self.other(x))


class Pairs(nn.Module):
    """Experts that take the pairs of a token and one of its choices that are theirs, if there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(4, 3)
        self.experts = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        weights, choices = self.router(x).softmax(-1).topk(2, dim=-1)
        result = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            tokens, ranks = torch.where(choices == number)
            if tokens.numel() == 0:
                continue
            result = result.index_add(0, tokens, expert(x[tokens]) * weights[tokens, ranks, None])
        return result


class SortedByExpert(nn.Module):
    """Experts that take tokens sorted by theirs, as many as NumPy counts; that none has any cannot be."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(4, 3)
        self.experts = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        choices = self.router(x).topk(2, dim=-1).indices
        counts = choices.new_zeros(len(choices), 3).scatter_(1, choices, 1).sum(0).numpy()
        order = choices.view(-1).argsort(stable=True)
        rows, start, found = x[order // 2], 0, []
        for expert, count in zip(self.experts, counts, strict=True):
            if count == 0:
                continue
            found.append(expert(rows[start : start + count]))
            start += count
        joined = torch.cat(found) if found else rows.new_empty(0)
        result = torch.empty_like(joined)
        result[order] = joined
        return result.view(len(x), 2, -1).sum(1)


class LazyCache(nn.Module):
    """A table that is made when it is first needed."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            if self.table is None:
                self.table = torch.arange(4.0)
            return x + self.table
        return x - 1


class Clamped(nn.Module):
    """Layers, each of which is mended where it runs over."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x) * 1e12
            if not torch.isfinite(x).all():
                x = torch.clamp(x, -100, 100)
        return x


class MendedLayer(nn.Module):
    """A layer that looks at what it has computed."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.dropout = nn.Linear(4, 4), nn.Linear(4, 4), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        residual = x
        x = self.dropout(self.one(x)) + residual
        if x.sum() > 0:
            scale = 0.5
            x = self.other(x) * scale
        return (torch.relu(x) + residual,)


class Mended(nn.Module):
    """Many of those, one after the other, and all that they return."""

    def __init__(self, count: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(MendedLayer() for _ in range(count))

    def forward(self, x: Tensor) -> Any:
        states: tuple[Tensor, ...] = ()
        for layer in self.layers:
            x = layer(x)[0]
            states = (*states, x)
        return {"x": x, "states": states}


class Anchors(nn.Module):
    """What is made at the first call, and layers that decide."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: dict[str, list[Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        self.cells.setdefault("cells", [torch.arange(4.0) * 0.1])
        for _ in range(8):
            x = mended(x) * 0.7 + self.cells["cells"][0]
        return x


class LastSeen(nn.Module):
    """A layer that goes by what an earlier call has seen, where it decides so."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.first is None:
            self.first = x.mean()
        if x.sum() > 0:
            return x * 2
        return x * self.first


class Scaled(nn.Module):
    """By the second decision a variable holds a weight, or what one way makes of it; later a weight is read by its
    name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight
        if not torch.all(x <= 1):
            scale = scale * 3
        if x.sum() > 4:
            return x * scale
        return x + self.weight - scale


class Adding(nn.Module):
    """Each expert adds what it makes of the rows that choose it to what may still be the zeros that it began with."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        result, chosen = torch.zeros_like(x), x.argmax(-1)
        for number in F.one_hot(chosen, 4).sum(0).nonzero():
            (rows,) = torch.where(chosen == number)
            result.index_add_(0, rows, self.experts[number](x[rows]))
        return result
