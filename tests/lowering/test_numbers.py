"""Numbers that the model reads from tensors with `.item()`: sizes where they are whole, tensors where not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.lowering.support import check

import fxonnx
from fxonnx import errors
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.promote import as_tensor
from fxonnx.lowering.registry import USERS, register_lowering

ONES = torch.ones(3)

INTEGERS = {
    "product": lambda x: torch.ones(3) * x.item(),
    "quotient rounded down": lambda x: torch.ones(3) * (x.item() // 2),
    "rest": lambda x: torch.ones(3) * (x.item() % 3),
    "bound": lambda x: torch.ones(3) * max(x.item(), 0),
    "result": lambda x: x.item(),
}


@pytest.mark.parametrize("value", [-7, 0, 5])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_may_be_negative(name: str, value: int) -> None:
    check(INTEGERS[name], torch.tensor(-7), again=(torch.tensor(value),))


FLOATS = {
    "product": lambda x: torch.ones(3) * x.item(),
    "arithmetic": lambda x: torch.ones(3) * (x.item() / 2 + 1),
    "filled": lambda x: torch.full((2, 3), x.item()),
    "masked": lambda x: torch.ones(3).masked_fill(torch.tensor([True, False, True]), x.item()),
    "clamped": lambda x: torch.linspace(-9, 9, 7).clamp(min=x.item()),
    "narrow": lambda x: torch.ones(3, dtype=torch.float16) * x.item(),
    "power": lambda x: torch.full((3,), 2.0) ** x.item(),
    "rounded down": lambda x: torch.div(torch.linspace(-9, 9, 7), x.item(), rounding_mode="floor"),
    "interpolated": lambda x: torch.lerp(torch.zeros(3), torch.ones(3), x.item()),
    "factor of a product": lambda x: torch.addcmul(torch.ones(3), ONES, ONES, value=x.item()),
    "factor of a quotient": lambda x: torch.addcdiv(torch.ones(3), ONES, ONES, value=x.item()),
    "filled like another": lambda x: (torch.full_like(ONES, x.item()), ONES.new_full((2,), x.item())),
    "filled at an index": lambda x: torch.ones(3).index_fill(0, torch.tensor([1]), x.item()),
    "sequence": lambda x: torch.linspace(x.item(), 5.0, 4),
    "slope": lambda x: F.leaky_relu(-ONES, x.item()),
    "result": lambda x: x.item(),
}


@pytest.mark.parametrize("name", FLOATS)
def test_floats(name: str) -> None:
    check(FLOATS[name], torch.tensor(-7.5), again=(torch.tensor(0.25),))


# a float made of the sizes n and m, beside tensors of any dtype
OF_SIZES = {
    "sum": lambda x, f: (x + f, f - x),
    "product": lambda x, f: (x * f, (x * 1.0).mul_(f)),
    "quotient": lambda x, f: (x / f, f / (x + 1), x // f, x % f),
    "power": lambda x, f: ((x + 1) ** f, f ** (x / 2)),
    "comparison": lambda x, f: (x > f, x <= f, x == f, x != f),
    "choice": lambda x, f: (torch.where(x > 1, x, f), torch.where(x > 1, f, x), torch.where(x > 1, f, 2 * f)),
    "limits": lambda x, f: (x.clamp(min=f), x.clamp(max=f), x.clamp(f / 2, f)),
    "filled": lambda x, f: (torch.full((2, 3), f), torch.full_like(x, f), x.new_full((2,), f), x.masked_fill(x > 1, f)),
    "interpolated": lambda x, f: x.float().lerp(2.0 * x.float(), f / 9),
    "factor": lambda x, f: (torch.add(x * 1.0, x * 1.0, alpha=f), torch.addcmul(x * 1.0, x * 1.0, x * 1.0, value=f)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", OF_SIZES)
def test_a_float_made_of_sizes_is_a_number(name: str, dtype: torch.dtype) -> None:
    if dtype is torch.bool and name in ("sum", "limits", "quotient", "power"):
        pytest.skip("torch has no such op for bools, or refuses it")

    def model(x: torch.Tensor) -> Any:
        return OF_SIZES[name](x, x.shape[1] / 2 + x.shape[0] ** 0.5)

    x, other = (torch.randint(0, 4, shape).to(dtype) for shape in ((4, 5), (2, 3)))
    check(model, x, dynamic={"x": {0: "n", 1: "m"}}, again=(other,))


def test_bools() -> None:
    check(lambda x: x.item(), torch.tensor(True), again=(torch.tensor(False),))


def test_a_number_that_a_lowering_must_know_is_refused() -> None:
    with pytest.raises(errors.UnsupportedArguments, match="maxnorm is read from a tensor"):
        check(lambda x: torch.renorm(x[None], 2, 0, x.sum().item()), ONES)


def test_a_lowering_says_that_it_takes_a_number_of_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    def renorm(op: Builder, self: Tensor, p: float, dim: int, maxnorm: Any) -> Tensor:
        norm = op.ReduceL2(self, op.constant([1]), keepdims=1)
        return self * op.Min(as_tensor(op, maxnorm, self.dtype) / norm, as_tensor(op, 1, self.dtype))

    monkeypatch.setattr(USERS, "lowerings", {})
    register_lowering("aten.renorm", renorm, runtime={"maxnorm"})
    check(lambda x: torch.renorm(x[None], 2, 0, x.sum().item()), ONES / 3, again=(ONES,))


def test_a_size_that_python_rounds() -> None:
    def resize(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=1.7, recompute_scale_factor=True)

    check(resize, torch.rand(1, 1, 10), again=(torch.rand(1, 1, 7),), dynamic={"x": {2: "n"}})


PLAIN = {
    "norm that is allowed": lambda x: torch.renorm(x, 2, 0, maxnorm=x.shape[0]),
    "order of a norm": lambda x: x.norm(p=x.shape[0], dim=1),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_size_that_has_to_be_known_is_refused_at_its_op(name: str) -> None:
    with pytest.raises(errors.UnsupportedArguments, match=r"(?s)known only when the model runs.*leave the dim static"):
        fxonnx.compile(PLAIN[name], (torch.ones(3, 4),), dynamic_shapes={"x": {0: "n"}})


def test_what_a_number_decides_is_a_tensor() -> None:
    """A mask of no axes is read by torch; what it selects keeps its dtype beside Python's numbers."""

    def model(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[x > 1] = 2
        return x + 1

    check(model, torch.tensor(3.0, dtype=torch.float64), again=(torch.tensor(0.5, dtype=torch.float64),))


def test_the_default_dtype_is_that_of_the_capture() -> None:
    """Whole numbers become floats of it, and Python's floats are of it beside them."""

    def model(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x / (x + 1), x * 2.5, torch.sin(x), x.float() * 2.5, torch.where(x > 1, 1.0, 2.0), x.half() / x

    x = torch.arange(1, 7).reshape(2, 3)
    torch.set_default_dtype(torch.float64)
    try:
        wanted, got = model(x), fxonnx.compile(model, (x,), dynamic_shapes="auto")(x)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(got, wanted)
