"""Steps of activations, from what they are in a few runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

Range: TypeAlias = tuple[float, float]

_BINS = 2048
_LEVELS = 128  # of one sign, in eight bits


def extremes(runs: Iterable[Sequence[np.ndarray]], count: int) -> list[Range]:
    """The least and the greatest value of each of so many arrays, 0 among them, in all runs."""
    found = [(0.0, 0.0)] * count
    for run in runs:
        found = [(min(low, float(each.min(initial=0))), max(high, float(each.max(initial=0))))
                 for (low, high), each in zip(found, run, strict=True)]  # fmt: skip
    return found


def without_outliers(runs: Iterable[Sequence[np.ndarray]], ranges: Sequence[Range]) -> list[Range]:
    """Narrower ranges: those whose 256 steps lose least of the distribution of values, by the Kullback-Leibler
    divergence. Source: Migacz, 8-bit inference with TensorRT, 2017."""
    largest = [max(-low, high) or 1.0 for low, high in ranges]
    counts = np.zeros((len(ranges), _BINS))
    for run in runs:
        counts += [np.histogram(np.abs(each), _BINS, (0, end))[0] for each, end in zip(run, largest, strict=True)]
    ends = [_threshold(each) * end for each, end in zip(counts, largest, strict=True)]
    return [(max(low, -end), min(high, end)) for (low, high), end in zip(ranges, ends, strict=True)]


def _threshold(counts: np.ndarray) -> float:
    """Which part of the range is best divided into steps."""
    counts[0] = counts[1]  # exact zeros, of which a Relu makes many, are no matter of the range
    ends = range(_LEVELS, _BINS + 1, _LEVELS // 8)
    return min(ends, key=lambda end: _divergence(counts, end)) / _BINS


def _divergence(counts: np.ndarray, end: int) -> float:
    """How much is lost where the first `end` bins become 128 steps, and what is beyond falls on the last one."""
    kept = counts[:end].copy()
    kept[-1] += counts[end:].sum()
    steps = np.minimum(np.arange(end) * _LEVELS // end, _LEVELS - 1)
    filled = counts[:end] > 0
    sums, sizes = (np.bincount(steps, weights, _LEVELS) for weights in (counts[:end], filled))
    stepped = np.where(filled, (sums / np.maximum(sizes, 1))[steps], 0)
    if not kept.sum() or not stepped.sum():
        return float("inf")
    p, q = kept / kept.sum(), stepped / stepped.sum()
    both = (p > 0) & (q > 0)
    return float((p[both] * np.log(p[both] / q[both])).sum() + p[(p > 0) & (q == 0)].sum() * np.log(1e6))


def steps(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Scale (float32) and zero point (uint8) of 256 steps from low to high, which hold 0."""
    scale = np.float32(max(high - low, 1e-12) / 255)
    return np.array(scale), np.array(np.clip(np.rint(-low / scale), 0, 255), np.uint8)
