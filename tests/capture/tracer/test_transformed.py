"""Gradients inside of forward of ops whose own kernels cannot be recorded: they are eager's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fxonnx
from fxonnx import errors

TARGETS = torch.tensor([[1, 2, -1, 0, 0], [2, 2, 1, -1, 3], [4, 3, 2, 1, 0]])
ROWS, STARTS = torch.tensor([1, 0, 2, 2, 4, 0, 3]), torch.tensor([0, 2, 2, 5])
SINGULAR = torch.tensor([[1.0, 2, 3], [0, 0, 0], [1, 0, 1]])  # by a row of zeros: no rounding makes a pivot of it


def bags(**options: Any) -> Callable[..., Tensor]:
    return lambda table: F.embedding_bag(ROWS, table, STARTS, **options)


def weighted_bags(table: Tensor, weights: Tensor) -> Tensor:
    return F.embedding_bag(ROWS, table, STARTS, mode="sum", per_sample_weights=weights)


def whole_bags(table: Tensor) -> Tensor:
    return F.embedding_bag(ROWS, table, torch.tensor([0, 2, 2, 7]), mode="mean", include_last_offset=True)


MODELS: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "det": (torch.det, (torch.randn(2, 4, 4),)),
    "det of a singular matrix": (torch.linalg.det, (SINGULAR,)),
    "complex det": (lambda x: torch.det(x).abs(), (torch.randn(3, 3, dtype=torch.complex64),)),
    "slogdet": (lambda x: torch.linalg.slogdet(x)[1], (torch.randn(2, 4, 4),)),
    "the sign of a determinant": (lambda x: torch.slogdet(x)[0] * x.sum((-2, -1)), (torch.randn(3, 4, 4),)),
    "logdet": (torch.logdet, (torch.randn(3, 3) + 5 * torch.eye(3),)),
    "labels that end": (lambda x: F.multilabel_margin_loss(x, TARGETS), (torch.randn(3, 5),)),
    "labels of one row": (lambda x: F.multilabel_margin_loss(x, TARGETS[1], reduction="none"), (torch.randn(5),)),
    "a loss for each row": (lambda x: F.multilabel_margin_loss(x, TARGETS, reduction="none"), (torch.randn(3, 5),)),
    "sums of bags": (bags(mode="sum"), (torch.randn(5, 3),)),
    "means of bags": (bags(mode="mean"), (torch.randn(5, 3),)),
    "maxima of bags": (bags(mode="max"), (torch.randn(5, 3),)),
    "maxima of equals": (bags(mode="max"), (torch.zeros(5, 3),)),
    "maxima with a row for padding": (bags(mode="max", padding_idx=0), (torch.randn(5, 3),)),
    "bags with a row for padding": (bags(mode="mean", padding_idx=0), (torch.randn(5, 3),)),
    "bags with weights": (weighted_bags, (torch.randn(5, 3), torch.randn(7))),
    "bags that say where the last one ends": (whole_bags, (torch.randn(5, 3),)),
    "bags of one length": (lambda x: F.embedding_bag(ROWS[:6].view(2, 3), x), (torch.randn(5, 3),)),
}


def gradients(function: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    """The gradients of a sum, each element counted another number of times; and the value."""

    @torch.enable_grad()
    def forward(*inputs: Tensor) -> tuple[Tensor, ...]:
        leaves = [each.detach().requires_grad_() for each in inputs]
        value = function(*leaves)
        weights = torch.linspace(0.5, 1.5, value.numel()).reshape(value.shape)
        return (*torch.autograd.grad((value * weights).sum(), leaves), value.detach())

    return forward


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_eager_s(name: str) -> None:
    function, inputs = MODELS[name]
    model = gradients(function)
    compiled = fxonnx.compile(model, inputs)
    others = inputs if "singular" in name else tuple(each + 0.1 * torch.rand_like(each) for each in inputs)
    for tensors in (inputs, others):
        torch.testing.assert_close(compiled(*tensors), model(*tensors), rtol=1e-4, atol=1e-4)


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": lambda x: F.adaptive_max_pool1d(x[:, 0], x.shape[3] // 2),
    "images": lambda x: F.adaptive_max_pool2d(x, (x.shape[2] // 2, 2)),
    "cubes": lambda x: F.adaptive_max_pool3d(x, (2, None, x.shape[3] // 2)),
    "means of rows": lambda x: F.adaptive_avg_pool1d(x[:, 0], x.shape[3] // 2),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools_by_a_size(name: str) -> None:
    model, sizes = gradients(POOLS[name]), {"inputs": ({2: "h", 3: "w"},)}
    compiled = fxonnx.compile(model, (torch.randn(2, 3, 6, 8),), dynamic_shapes=sizes)
    of_func = fxonnx.compile(torch.func.grad(lambda x: POOLS[name](x).sin().sum()), (torch.randn(2, 3, 6, 8),))
    for shape in ((2, 3, 6, 8), (2, 3, 9, 5)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)
    x = torch.randn(2, 3, 6, 8)
    torch.testing.assert_close(of_func(x), torch.func.grad(lambda x: POOLS[name](x).sin().sum())(x))


def test_a_gradient_that_nothing_records_is_refused() -> None:
    def of_packed(x: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, torch.tensor([5, 2]), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])[0]

    def of_steps(x: Tensor) -> Tensor:
        return F.ctc_loss(x.log_softmax(2), torch.tensor([[1, 2], [2, 1]]), [3, 3], [2, 1])

    with pytest.raises(errors.CaptureRefused, match=r"the gradient of aten\._pad_packed_sequence"):
        fxonnx.compile(gradients(of_packed), (torch.randn(2, 5, 3),), dynamic_shapes={"inputs": ({1: "t"},)})
    with pytest.raises(errors.CaptureRefused, match=r"the gradient of aten\.ctc_loss"):
        fxonnx.compile(gradients(of_steps), (torch.randn(3, 2, 4),))


def test_determinants_of_any_size() -> None:
    model = gradients(torch.linalg.det)
    dynamic = {"inputs": ({0: "b", 1: "n", 2: "n"},)}
    compiled = fxonnx.compile(model, (torch.randn(2, 4, 4),), dynamic_shapes=dynamic)
    for shape in ((2, 4, 4), (3, 6, 6)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)


class Potential(nn.Module):
    """An energy, and forces as its gradient, which is asked for without torch.enable_grad()."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = nn.Sequential(nn.Linear(1, 8), nn.SiLU(), nn.Linear(8, 1))

    def energy(self, places: Tensor) -> Tensor:
        distances = (places[:, None] - places[None]).square().sum(-1).add(0.1).sqrt()
        return self.pairs(distances[..., None]).sum()

    def forward(self, places: Tensor) -> tuple[Tensor, Tensor]:
        places = places.detach().requires_grad_()
        energy = self.energy(places)
        (slopes,) = torch.autograd.grad(energy, places)
        return energy.detach(), -slopes


class BackwardPotential(Potential):
    def forward(self, places: Tensor) -> tuple[Tensor, Tensor]:
        places = places.detach().requires_grad_()
        energy = self.energy(places)
        energy.backward()
        assert places.grad is not None
        return energy.detach(), -places.grad


@pytest.mark.parametrize("kind", [Potential, BackwardPotential])
def test_gradients_need_no_enable_grad(kind: type[Potential]) -> None:
    model = kind().eval()
    compiled = fxonnx.compile(model, (torch.randn(4, 3),), dynamic_shapes={"places": {0: "atoms"}})
    assert all(each.grad is None for each in model.parameters())  # a run of the model leaves none
    for atoms in (4, 7, 1):
        places = torch.randn(atoms, 3)
        torch.testing.assert_close(compiled(places), model(places), rtol=1e-4, atol=1e-5)
    assert compiled.verify(torch.randn(3, 3)).ok


def test_gradients_of_an_input_that_asks_for_them() -> None:
    def slope(x: Tensor) -> Tensor:
        return torch.autograd.grad(x.sin().sum(), x)[0]

    compiled = fxonnx.compile(slope, (torch.randn(3).requires_grad_(),), dynamic_shapes={"x": {0: "n"}})
    x = torch.randn(5)
    torch.testing.assert_close(compiled(x), x.cos())


def test_gradients_that_weights_keep_are_refused_where_they_are_read() -> None:
    class Learning(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x).square().sum().backward()
            assert self.weight.grad is not None
            return self.weight.grad.clone()

    class Forgetting(Learning):
        def forward(self, x: Tensor) -> Tensor:
            slopes = super().forward(x)
            self.weight.grad = self.bias.grad = None
            return slopes

    with pytest.raises(errors.CaptureRefused, match="leaves it there"):
        fxonnx.compile(Learning(3, 2), (torch.randn(4, 3),))
    model = Forgetting(3, 2)
    compiled = fxonnx.compile(model, (torch.randn(4, 3),))
    for _ in range(2):
        x = torch.randn(4, 3)
        torch.testing.assert_close(compiled(x), model(x))


NET = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4))


@torch.enable_grad()
def trace_of_batched_gradients(x: Tensor) -> Tensor:
    """The divergence of a flow: a gradient for each feature, all at once."""
    x = x.detach().requires_grad_()
    rows = torch.eye(4).expand(*x.shape, 4).movedim(-1, 0)
    (jacobian,) = torch.autograd.grad(NET(x), x, rows, create_graph=True, is_grads_batched=True)
    return torch.einsum("i...i", jacobian)


@torch.enable_grad()
def batched_gradients_of_what_is_unused(x: Tensor) -> Tensor:
    x, unused = x.detach().requires_grad_(), torch.ones(3, requires_grad=True)
    rows = torch.stack([torch.ones_like(x), x.detach()])
    found, none = torch.autograd.grad(NET(x), (x, unused), rows, is_grads_batched=True, allow_unused=True)
    return found if none is None else none


def jacobian_at_once(x: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda x: NET(x).sum(0), x, vectorize=True)


def hessian_at_once(x: Tensor) -> Tensor:
    return torch.autograd.functional.hessian(lambda row: NET(row).square().sum(), x[0], vectorize=True)


@pytest.mark.parametrize(
    "model",
    [trace_of_batched_gradients, batched_gradients_of_what_is_unused, jacobian_at_once, hessian_at_once],
)
def test_batched_gradients_of_any_size(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (torch.randn(3, 4),), dynamic_shapes=({0: "n"},))
    for count in (3, 1, 5):
        x = torch.randn(count, 4)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-6)
