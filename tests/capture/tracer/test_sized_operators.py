"""Functions whose schemas call plain numbers what models compute of sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxonnx


def image(x: Tensor) -> Tensor:
    return torch.stack([x, x * 2, x - 1], 1)[..., None].repeat(1, 1, 1, 3)


OPERATORS: dict[str, Callable[[Tensor], Any]] = {
    "hann": lambda x: x * torch.hann_window(x.shape[1]) + torch.hann_window(x.shape[1], periodic=False),
    "hamming": lambda x: x * torch.hamming_window(x.shape[1]) + torch.hamming_window(x.shape[1], False, 0.5, 0.3),
    "blackman": lambda x: x * torch.blackman_window(x.shape[1], dtype=torch.float64),
    "bartlett": lambda x: x * torch.bartlett_window(x.shape[1]),
    "kaiser": lambda x: x * torch.kaiser_window(x.shape[1]) + torch.kaiser_window(x.shape[1], False, 5.0),
    "frequencies": lambda x: x + torch.fft.fftfreq(x.shape[1]) + torch.fft.fftfreq(x.shape[1], d=1 / x.shape[1]),
    "frequencies of half a spectrum": lambda x: torch.fft.rfftfreq(2 * x.shape[1], x.shape[0], dtype=torch.float64),
    "starts of rows": lambda x: torch._convert_indices_from_coo_to_csr((x[:, 0] * 3).long().sort()[0], x.shape[1] + 3),
    "one_hot": lambda x: F.one_hot((x * 3).long(), x.shape[1] + 3),
    "max pool of an axis": lambda x: F.max_pool1d(x[:, None], x.shape[1])[:, 0],
    "max pool of an image": lambda x: F.max_pool2d(image(x), kernel_size=image(x).size()[2:]),
    "average of an axis": lambda x: F.avg_pool2d(image(x), (x.shape[1], 2)),
    "average of halves": lambda x: F.avg_pool1d(x[:, None], x.shape[1] // 2),
    "adaptive": lambda x: F.adaptive_avg_pool2d(image(x), (x.shape[1] // 2, 2)),
    "adaptive to its size": lambda x: F.adaptive_avg_pool1d(x[:, None], x.shape[1]),
    "adaptive along an axis": lambda x: F.adaptive_avg_pool1d(x[:, None], x.shape[1] // 3 + 1),
    "adaptive maxima along an axis": lambda x: F.adaptive_max_pool1d(x[:, None], x.shape[1] // 3 + 1),
    "adaptive maxima": lambda x: nn.AdaptiveMaxPool2d((x.shape[1] - 4, 2))(image(x)),
    "adaptive maxima and their places": lambda x: F.adaptive_max_pool2d(image(x), (x.shape[1] // 3, 5), True),
    "adaptive maxima of one axis": lambda x: F.adaptive_max_pool2d(image(x), (None, 2)),
    "adaptive maxima of a volume": lambda x: F.adaptive_max_pool3d(image(x)[None], (x.shape[0], x.shape[1] // 2, 3)),
    "more windows than elements": lambda x: F.adaptive_max_pool1d(x[:, None], 2 * x.shape[1] + 1),
    "unfold": lambda x: x.unfold(1, x.shape[1] // 2, 2),
    "triangle": lambda x: x[:, torch.triu_indices(x.shape[1], x.shape[1], 1)[0]],
    "logspace": lambda x: x * torch.logspace(0, 1, x.shape[1]),
    "pairs": lambda x: (torch.combinations(x[0]), torch.combinations(torch.arange(x.shape[1]), 2, True)),
    "trapezoids": lambda x: torch.trapezoid(x, dx=1 / x.shape[1]) + torch.trapz(x.T, dx=x.shape[1] / 2, dim=0),
    "running trapezoids": lambda x: torch.cumulative_trapezoid(x, dx=x.shape[1] / 2),
    "trapezoids between points": lambda x: torch.trapezoid(x, x.cumsum(1)) * x.shape[1],
    "gradient": lambda x: torch.gradient(x, spacing=1 / x.shape[1], dim=1),
    "a gradient of no distance": lambda x: torch.gradient(x, spacing=None, dim=1)[0],
    "gradients": lambda x: torch.gradient(x[:, None] * x[..., None], dim=(1, -1), edge_order=2),
    "kron": lambda x: torch.kron(x, x[:, :2]) + x.sum(),
    "kron of other ranks": lambda x: torch.kron((x[0] * 9).long(), x[None, ..., :1]),
    "kron of a tensor": lambda x: x[0].kron(torch.tensor([2.0, 0.5])),
    "vander": lambda x: torch.vander(x[0], 3),
    "vander upwards": lambda x: torch.vander((x[:, 0] * 9).int(), x.shape[0] + 1, increasing=True),
    "product of several": lambda x: torch.linalg.multi_dot([x, x.T, x, torch.ones(x.shape[1], 3)]),
    "product of several and a vector": lambda x: torch.linalg.multi_dot([x[0], x.T, x, x[0]]),
    "product of a chain": lambda x: torch.chain_matmul(x, x.T, x, torch.ones(x.shape[1], 3)),
    "elements along a dim": lambda x: (
        torch.take_along_dim(x, (x[:1, ::2] * 2).long(), 1), x.take_along_dim((x[:2] > 1).long(), -2),
        torch.take_along_dim(x, (x[0] * 6).long()),
    ),
    "power with a modulus": lambda x: x * pow(x.shape[1], 2, 5),
    "slopes": lambda x: F.elu(x - 1, 1 / x.shape[1]) + F.celu(x - 1, 2 / x.shape[1]),
    "a leak": lambda x: F.leaky_relu(x - 1, 1 / x.shape[1]),
    "bounds": lambda x: nn.Hardtanh(-0.1, 1 / x.shape[1])(x) + F.threshold(x, 1 / x.shape[1], 2 / x.shape[1]),
    "shrinking": lambda x: F.hardshrink(x - 1, 1 / x.shape[1]) + F.softshrink(x - 1, lambd=1 / x.shape[1]),
    "softplus": lambda x: F.softplus(x * 30, x.shape[1] / 8, 10),
    "a share that is dropped": lambda x: F.dropout(x, 1 / x.shape[1], False) + 1,
    "sums of products": lambda x: torch.addmm(x @ x.T, x, x.T, beta=1 / x.shape[1]),
    "sums of batched products": lambda x: torch.baddbmm(
        x[None] @ x.T, x[None], x.T[None], beta=0, alpha=1 / x.shape[1],
    ),
    "sums of vectors": lambda x: (
        x[:, 0].addmv(x, x[0], alpha=1 / x.shape[1]), x.addr(x[:, 0], x[0], beta=2 / x.shape[1]),
    ),
    "attention that is scaled by its length": lambda x: F.scaled_dot_product_attention(
        x[None, ..., None], x[None, ..., None], x[None, ..., None], scale=math.log(x.shape[1])
    ),
    "losses": lambda x: (
        F.huber_loss(x, x * 3, delta=1 / x.shape[1]), F.smooth_l1_loss(x, x * 3, reduction="none", beta=1 / x.shape[1]),
    ),
    "a share of what is below": lambda x: torch.quantile(x, 1 / x.shape[1], 1) + x.nanquantile(1 / x.shape[0], dim=1),
    "several shares": lambda x: torch.quantile(x, torch.linspace(0, 1, x.shape[1]), 1),
    "several shares of numbers": lambda x: x.nanquantile(x[0].sigmoid()),
    "a diagonal above": lambda x: (x.T @ x).diagonal(x.shape[1] // 2),
    "a diagonal below": lambda x: torch.diagonal(x.T @ x, -(x.shape[1] // 3)),
    "a power pool of an axis": lambda x: F.lp_pool1d(x[:, None], 2, x.shape[1]),
    "a power pool of an image": lambda x: F.lp_pool2d(image(x), 4.0, (x.shape[1], 3)),
    "variance with a size for its correction": lambda x: x.var((0, 1), correction=x.shape[1] - x.shape[0]),
    "spread of constants": lambda x: torch.arange(8.0).std(0, correction=x.shape[0]) + x,
    "istft": lambda x: torch.istft(
        torch.stft(F.pad(x, (0, 20)), 8, 2, 8, torch.ones(8), return_complex=True), 8, 2, 8, torch.ones(8),
        length=x.shape[1] + 20,
    ),
    **{
        f"condition by {p}": lambda x, p=p: torch.linalg.cond(x[:, :, None] * x[:, None, :] + torch.eye(x.shape[1]), p)
        for p in ("fro", "nuc", 1, -torch.inf)
    },
    "condition of a singular matrix": lambda x: torch.linalg.cond(x[:, :, None] * x[:, None, :] * 0, "fro"),
    "interpolate linearly": lambda x: F.interpolate(x[:, None], scale_factor=x.shape[1] / 5 + 0.3, mode="linear"),
    "interpolate by two factors": lambda x: F.interpolate(
        image(x), scale_factor=(x.shape[1] * 0.37, (x.shape[1] + 0.1) / 3), mode="bicubic",
    ),
    "interpolate to the nearest": lambda x: F.interpolate(image(x), scale_factor=(13 / x.shape[1], x.shape[1] * 0.3)),
    "interpolate to the nearest centre": lambda x: F.interpolate(
        x[:, None], scale_factor=math.sqrt(x.shape[1] + 7), mode="nearest-exact",
    ),
    "pieces by rows": lambda x: torch.vsplit(x, [x.shape[0] // 2, x.shape[0]]),
    "pieces by columns": lambda x: (*torch.hsplit(x, [x.shape[1] // 2]), *x[0].hsplit((1, x.shape[1] - 2))),
    "pieces by depth": lambda x: x[None].dsplit([x.shape[1] // 3, -1]),
    "interpolate by means": lambda x: F.interpolate(x[:, None], size=x.shape[1] // 2 + 1, mode="area"),
    "interpolate by means and a factor": lambda x: F.interpolate(x[:, None], scale_factor=x.shape[1] / 5, mode="area"),
    "interpolate": lambda x: F.interpolate(x[:, None], scale_factor=2 * x.shape[1] / x.shape[1], mode="linear"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_sizes_for_plain_numbers(name: str) -> None:
    model = OPERATORS[name]
    compiled = fxonnx.compile(model, (torch.rand(2, 8),), dynamic_shapes={"x": {0: "b", 1: "n"}})
    for shape in ((2, 8), (3, 13), (1, 6)):
        x = torch.rand(shape)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", [None, 2, -2, "fro"])
def test_condition_of_a_matrix_of_nothing(p: Any) -> None:
    def condition(x: Tensor) -> Tensor:
        return torch.linalg.cond(x, p)

    compiled = fxonnx.compile(condition, (torch.rand(4, 4),), dynamic_shapes="auto")
    for size in (4, 2, 1, 0):
        x = torch.rand(size, size) + torch.eye(size)
        torch.testing.assert_close(compiled(x), condition(x), rtol=1e-4, atol=1e-5)


ROWS = torch.tensor([[0, 1]])
NUMBERS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "pad": lambda x, number: F.pad(x, (1, 2), value=number),
    "pad of integers": lambda x, number: F.pad(x.long(), (1, 2), "constant", number),
    "nan_to_num": lambda x, number: torch.nan_to_num(x / x.round(), nan=number, posinf=2 * number),
    "copy": lambda x, number: torch.empty_like(x).copy_(number) + torch.empty_like(x).copy_(2, non_blocking=True),
    "float_power": lambda x, number: x.abs().float_power(number) + torch.float_power((x * 3).long(), number),
    "isclose": lambda x, number: torch.isclose(x, x.round(), atol=number / 10) ^ (x / 0).isclose(x / 0, number, number),
    "lerp": lambda x, number: torch.lerp(x, x + 1, number),
    "index_fill": lambda x, number: x.index_fill(0, ROWS[0], number),
    "scatter": lambda x, number: x.scatter(0, ROWS, number),
    "scatter and add": lambda x, number: x.scatter(0, ROWS, number, reduce="add"),
    "index_add": lambda x, number: x.index_add(0, ROWS[0], x[:2], alpha=number),
    "where": lambda x, number: torch.where(x > 0, x, number),
    "threshold": lambda x, number: F.threshold(x, 0.1, number),
    "histc": lambda x, number: torch.histc(x, 4, -number, number),
    "attention": lambda x, number: F.scaled_dot_product_attention(x[None], x[None], x[None], scale=number),
}
SOURCES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "a size": lambda x, k: x.shape[0],
    "of a size": lambda x, k: x.shape[0] ** -0.5,
    "a whole number of data": lambda x, k: int(k),
    "a number of data": lambda x, k: (k * 1.5).item(),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_sizes_and_of_data(name: str, source: str) -> None:
    """Schemas call plain numbers what is known only when the model runs."""

    def model(x: Tensor, k: Tensor) -> Tensor:
        return NUMBERS[name](x, SOURCES[source](x, k))

    dynamic = {"x": {0: "n"}} if "size" in source else None
    compiled = fxonnx.compile(model, (torch.randn(5, 4), torch.tensor(3)), dynamic_shapes=dynamic)
    for rows, number in [(5, 3), (4, 2), (7, 1)]:
        x, k = torch.randn(rows if dynamic else 5, 4), torch.tensor(number)
        torch.testing.assert_close(compiled(x, k), model(x, k), equal_nan=True)


READ: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "one_hot": lambda x, n: F.one_hot((x * 3).long(), n + 3),
    "hann": lambda x, n: torch.hann_window(n) * x.sum(),
    "softplus": lambda x, n: F.softplus(x, beta=n / 2),
    "leaky_relu": lambda x, n: F.leaky_relu(x - 0.5, negative_slope=n / 10),
    "baddbmm": lambda x, n: torch.baddbmm(x[:, None], x[..., None], x[:, None], beta=n / 2, alpha=n),
    "diagonal": lambda x, n: torch.diagonal(x, n - 4),
    "interpolate": lambda x, n: F.interpolate(x[None, None], size=[n, n + 1], mode="bilinear"),
}


@pytest.mark.parametrize("name", READ)
def test_tensors_in_the_place_of_numbers(name: str) -> None:
    """torch reads them."""
    x = torch.rand(3, 5)
    compiled = fxonnx.compile(READ[name], (x, torch.tensor(4)))
    for number in (4, 6, 5):
        wanted = READ[name](x, torch.tensor(number))
        torch.testing.assert_close(compiled(x, torch.tensor(number)), wanted)
