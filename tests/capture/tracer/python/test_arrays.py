"""NumPy on sizes and on tensors in forward, against PyTorch with NumPy's own arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy import arange
from torch import Tensor, from_numpy

import fxonnx
from fxonnx import errors


def shifts(x: Tensor) -> Tensor:
    h, w = x.shape
    columns, rows = np.meshgrid((np.arange(0, w) + 0.5) * 8, np.arange(h))
    return torch.from_numpy(np.vstack((columns.ravel(), rows.ravel())).transpose().astype(np.float32)) + x.mean()


def grid(x: Tensor) -> Tensor:
    axes = np.meshgrid(*[np.linspace(0.0, 1.0, num=size) for size in x.shape], sparse=False, indexing="ij")
    stacked = np.expand_dims(np.stack(axes, -1), 0).astype(np.float32)
    return torch.from_numpy(np.concatenate([stacked, 1.0 - stacked], -1)) * x[None, :, :, None]


def halves(x: Tensor) -> Tensor:
    sizes = np.array(x.shape)
    h, w = sizes // 2
    return x[: h * 2, : w * 2].reshape(h, 2, w, 2).mean((1, 3)) * float(np.prod(sizes))


def written(x: Tensor) -> Tensor:
    table = np.zeros((*x.shape, 2))
    table[..., 0] = np.arange(x.shape[0])[:, None]
    table[1:, :, 1] += np.sin(np.arange(x.shape[1]))
    table *= 2
    return torch.tensor(table, dtype=torch.float32) + x[..., None]


def standardized(x: Tensor) -> Tensor:
    array = x.detach().cpu().numpy()
    found = np.clip((array - array.mean()) / array.std() * np.array([1.0, 2.0]).reshape(2, 1, 1), -1, 1)
    return torch.from_numpy(np.ascontiguousarray(found.transpose(1, 2, 0))).float()


def multiples(x: Tensor) -> Tensor:
    return x.double().sum() * torch.from_numpy(x.shape[0] * np.arange(3)) + torch.from_numpy(np.arange(3) / x.shape[1])


def tiled(x: Tensor) -> Tensor:
    rows = np.tile(np.arange(x.shape[0])[:, None], (1, x.shape[1]))
    return torch.as_tensor(np.where(rows > 3, rows, -rows) * np.ones(tuple(x.shape))).float() + x


def levels(x: Tensor) -> Tensor:
    rows, columns = (np.array(x.shape) + 8 - 1) // 8 * np.array([2, 3])
    return x.sum() + torch.zeros(rows, columns)


def padded(x: Tensor) -> Tensor:
    sizes = np.array([x.shape[0], x.shape[1]])
    most = int(sizes.max())
    return torch.nn.functional.pad(x, (0, most - x.shape[1], 0, most - x.shape[0]))


def windows(x: Tensor) -> Tensor:
    rows, columns = x.shape
    return x * torch.from_numpy(np.outer(np.hanning(rows), np.hamming(columns))) + np.blackman(4)[1] * torch.from_numpy(
        np.bartlett(columns) + np.blackman(columns)
    )


def picked(x: Tensor) -> Tensor:
    largest = x.abs().sum(0).topk(2)[1].numpy()
    return x[:, largest] + x.shape[0] // (torch.from_numpy(largest) + 1)


def frequencies(x: Tensor) -> Any:
    rows, columns = x.shape
    found = np.fft.fftfreq(rows), np.fft.fftshift(np.fft.fftfreq(columns, d=1 / 16)), np.fft.rfftfreq(rows, 1 / columns)
    return *map(torch.from_numpy, found), torch.from_numpy(np.fft.fftfreq(4)) * x.shape[0]


def grids(x: Tensor) -> Any:
    rows, columns = np.mgrid[: x.shape[0], 1 : x.shape[1]]
    down, right = np.ogrid[0 : x.shape[0], 0:4:2]
    return from_numpy(rows * columns), from_numpy(down + right), from_numpy(np.mgrid[0 : x.shape[1] : 2])


def triangles(x: Tensor) -> Any:
    rows, columns = np.triu_indices(x.shape[0], k=1)
    return from_numpy(rows + columns), from_numpy(np.stack(np.tril_indices(x.shape[1])))


def spaced(x: Tensor) -> Any:
    rows, columns = x.shape
    powers = np.logspace(0, 1, rows), np.logspace(0, 3, columns, base=2.0, dtype=np.float32)
    return *map(from_numpy, powers), from_numpy(np.linspace(0, 1, rows, endpoint=False)), from_numpy(arange(columns))


def ranges(x: Tensor) -> Any:
    rows, columns = map(range, x.shape)
    grid = np.meshgrid(columns, rows, indexing="xy")
    assert isinstance(rows, range)
    odd = torch.LongTensor(range(1, x.shape[1] + 2, 2))
    return from_numpy(np.stack(grid).astype(np.float32)), torch.tensor(rows), odd


def joined(x: Tensor) -> Any:
    sizes = np.cumsum([0, *x.shape])
    return from_numpy(np.hstack([[7], sizes])), from_numpy(np.concatenate([np.arange(x.shape[0]), np.arange(3)]))


def in_64_bits(x: Tensor) -> Any:
    h, w = x.shape
    made = np.tri(h), np.identity(w), np.where(np.arange(h) > 1, 1.5, 0), np.linspace(0, 1, w), np.mgrid[0.0:h]
    computed = np.arctan2(np.arange(h), 1), np.hypot(np.arange(h), 3), np.copysign(np.arange(w), -1), np.arange(w) / 3
    typed = np.arange(h, dtype=float), np.zeros_like(np.arange(w), dtype=float), np.arange(h).astype(float)
    mixed = np.arange(h, dtype=np.float32) * np.float64(0.1), np.arange(h, dtype=np.float32) * 0.1
    return tuple(map(from_numpy, (*made, *computed, *typed, *mixed)))


def of_whole_numbers(x: Tensor) -> Any:
    i = np.arange(x.shape[0])
    alike = np.square(i), np.trunc(i), np.reciprocal(i + 1), np.floor(i), np.ceil(i)
    return tuple(map(from_numpy, (*alike, np.rint(i), np.fabs(i))))


def numbers(x: Tensor) -> Any:
    h, w = x.shape
    found = np.sqrt(h), np.mean([h, w]), np.sqrt(h) * 2 + 1, -np.log(w), np.arange(h).std()
    plain = torch.tensor(float(np.sqrt(h))), x * np.sqrt(w), torch.tensor([h, np.ceil(w / 2)]), torch.tensor(h / w)
    rows, quarters = np.arange(h), np.quantile(np.arange(w), np.array([0.25, 0.75]))
    middles = np.median(rows), np.quantile(rows, 0.3), np.percentile(rows, 30), np.median(rows[None], axis=1), quarters
    return *map(torch.as_tensor, (*found, *middles)), *plain


def between_tensors(x: Tensor) -> Any:
    w, (zero, ten) = x.shape[1], torch.tensor([0, 10])
    floats = torch.linspace(zero, 1, w, dtype=torch.float64), torch.linspace(zero, ten, w)
    return *floats, torch.linspace(zero, ten, w, dtype=torch.int32), torch.linspace(zero * 1j, 2, w)


MODELS: tuple[Callable[[Tensor], Any], ...] = (
    shifts, grid, halves, written, standardized, multiples, tiled, levels, padded, windows, picked,
    frequencies, grids, triangles, spaced, joined, ranges, in_64_bits, of_whole_numbers, numbers, between_tensors,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_arrays_of_sizes_and_of_tensors_are_recorded(model: Callable[[Tensor], Any]) -> None:
    compiled = fxonnx.compile(model, (torch.randn(6, 9),), dynamic_shapes={"x": {0: "h", 1: "w"}})
    for shape in ((6, 9), (9, 4), (2, 3), (12, 12), (1, 5)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), model(x))


def test_what_torch_has_no_function_for_is_refused() -> None:
    with pytest.raises(errors.Error) as caught:
        fxonnx.compile(lambda x: x * float(np.interp(0.5, x.numpy(), x.numpy())), (torch.arange(4.0),))
    assert caught.value.locations[0].file == __file__


def test_pieces_by_numbers_of_data_are_as_many_as_there_are() -> None:
    def model(x: Tensor, counts: Tensor) -> Tensor:
        return torch.stack([part.sum() for part in x.split(counts.tolist())])

    x, counts = torch.randn(6), torch.tensor([2, 4])
    compiled = fxonnx.compile(model, (x, counts), dynamic_shapes={"counts": {0: "k"}})
    for parts in ([2, 4], [6], [1, 2, 3]):
        torch.testing.assert_close(compiled(x, torch.tensor(parts)), model(x, torch.tensor(parts)))
    compiled = fxonnx.compile(model, (x, counts))
    torch.testing.assert_close(compiled(x, torch.tensor([5, 1])), model(x, torch.tensor([5, 1])))
