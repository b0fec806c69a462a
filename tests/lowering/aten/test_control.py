"""cond, while_loop, scan and map."""

import pytest
import torch
from tests.lowering.support import check, operators
from torch import nn
from torch._higher_order_ops import scan, while_loop
from torch._higher_order_ops.map import map as map_over

import fxonnx
from fxonnx import errors

torch.manual_seed(0)


def choose(x, y):
    return torch.cond(x.sum() > 0, lambda a, b: (a * 2 + b, a.sum()), lambda a, b: (a - b, b.sum()), (x, y))


def test_cond():
    x, y = torch.ones(3, 4), torch.randn(3, 4)
    again = (-torch.ones(5, 4), torch.randn(5, 4))
    compiled = check(choose, x, y, dynamic={"x": {0: "n"}, "y": {0: "n"}}, again=again)
    assert operators(compiled).count("If") == 1


@pytest.mark.parametrize("opset", [13, 17, 24])
def test_cond_at_older_opsets(opset):
    check(choose, torch.ones(3, 4), torch.randn(3, 4), again=(-torch.ones(3, 4), torch.randn(3, 4)), opset=opset)


class Experts(nn.Module):
    """Modules inside branches, and one branch inside another."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        def inner(x):
            return torch.cond(x.mean() > 1, self.second, self.third, (x,))

        return torch.cond(x.sum() > 0, lambda x: self.first(x).relu(), inner, (x,))


@pytest.mark.parametrize("sign", [1, -1])
def test_modules_in_branches(sign):
    check(Experts().eval(), sign * torch.ones(2, 4), again=(-sign * torch.ones(2, 4),))


def test_branches_of_different_sizes():
    def function(x):
        return torch.cond(x.sum() > 0, lambda x: x[:2].clone(), lambda x: torch.cat([x, x]), (x,))

    with pytest.raises(errors.CaptureRefused, match="return other tensors than each other"):
        fxonnx.compile(function, (torch.ones(3),))


def test_while_loop():
    def function(x, limit):
        start = torch.zeros((), dtype=torch.int64)
        return while_loop(lambda i, a, n: i < n, lambda i, a, n: (i + 1, a * 2 + 1, n.clone()), (start, x, limit))

    again = (torch.randn(5, 4), torch.tensor(0))
    compiled = check(function, torch.randn(3, 4), torch.tensor(5), dynamic={"x": {0: "n"}}, again=again)
    assert operators(compiled).count("Loop") == 1


def test_scan():
    def function(x, start):
        return scan(lambda carry, y: (carry * 0.5 + y, carry * y), start, x, dim=0)

    compiled = check(
        function, torch.randn(5, 4), torch.randn(4), dynamic={"x": {0: "t"}}, again=(torch.randn(3, 4), torch.randn(4))
    )
    assert operators(compiled).count("Scan") == 1


@pytest.mark.parametrize("options", [{"dim": 1}, {"reverse": True}], ids=str)
def test_scan_along_another_axis_and_backwards(options):
    def function(x, start):
        return scan(lambda carry, y: (carry + y, carry * y), start, x, **options)

    check(function, torch.randn(4, 4), torch.randn(4))


def test_map():
    weight = torch.randn(4)

    def function(x):
        return map_over(lambda row, w: (row * w).softmax(0), x, weight)

    check(function, torch.randn(3, 4))


def test_an_op_inside_a_branch_fails_with_the_others():
    @torch.library.custom_op("fxonnx_control::unknown", mutates_args=())
    def unknown(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    unknown.register_fake(torch.empty_like)

    def function(x):
        return torch.cond(x.sum() > 0, lambda x: unknown(x), lambda x: x + 1, (x,))

    with pytest.raises(fxonnx.errors.UnsupportedOperator, match="unknown"):
        fxonnx.compile(function, (torch.ones(3),))


def test_iterations_that_leave_nothing():
    """Of all the rows that a list is made of only the last is taken."""
    last = lambda x, y: ([x[row] for row in range(len(x))][-1], y)  # noqa: E731
    x, y = torch.rand(3, 1), torch.rand(2)
    check(last, x, y, dynamic={"x": {0: "n", 1: "m"}}, again=(torch.rand(5, 4), y))
