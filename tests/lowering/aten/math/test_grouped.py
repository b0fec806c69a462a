"""Grouped products: every pair of ranks, groups of nothing, what is beyond the last offset; mixtures of experts."""

import numpy as np
import pytest
import torch
from tests.lowering.support import check, operators
from torch import nn
from torch.nn import functional as F

import fxonnx
from fxonnx.ir.build import Builder
from fxonnx.ir.types import parse_type
from fxonnx.lowering.aten.math.grouped import grouped_mm
from fxonnx.lowering.registry import Unsupported

torch.manual_seed(0)


def product(left, right, offs=None):
    return F.grouped_mm(left, right, offs=offs)


def ends(*offsets):
    return torch.tensor(offsets, dtype=torch.int32)


def both(left, right, *offsets):
    return torch.randn(left), torch.randn(right), *(ends(*each) for each in offsets)


CALLS = {
    "rows": (both((12, 8), (3, 8, 4), (4, 4, 12)), both((20, 8), (3, 8, 4), (0, 20, 20)), {"left": {0: "m"}}),
    "columns": (both((3, 5, 8), (8, 16), (4, 4, 16)), both((3, 5, 8), (8, 20), (0, 8, 20)), {"right": {1: "n"}}),
    "what is summed over": (
        both((5, 16), (16, 8), (4, 4, 16)), both((5, 20), (20, 8), (0, 4, 12)), {"left": {1: "k"}, "right": {0: "k"}},
    ),
    "matrices": (both((3, 5, 8), (3, 8, 4)), both((3, 1, 8), (3, 8, 4)), {"left": {1: "m"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_every_pair_of_ranks(name):
    args, again, sizes = CALLS[name]
    check(product, *args, dynamic=sizes, again=again)


def test_rows_that_lie_apart_in_memory():
    """A row of six floats has room for eight."""
    args = torch.randn(12, 8), torch.randn(3, 6, 8).transpose(1, 2), ends(4, 4, 12)
    check(lambda *given: product(*given).t().contiguous().view(-1), *args)


@pytest.mark.parametrize("axis", [0, 1], ids=["rows", "columns"])
def test_what_is_beyond_the_last_offset_is_zero(axis):
    """torch leaves there what was in memory."""
    left, right = ((9, 8), (2, 8, 4)) if axis == 0 else ((2, 4, 8), (8, 12))
    args = torch.randn(left), torch.randn(right), ends(3, 5)
    found = fxonnx.compile(product, args)(*args)
    inside, beyond = found.tensor_split([5], dim=axis)
    torch.testing.assert_close(inside, product(*args).narrow(axis, 0, 5))
    assert not beyond.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_narrow_floats(dtype):
    args = torch.randn(12, 8).to(dtype), torch.randn(3, 8, 8).to(dtype), ends(4, 4, 12)
    check(product, *args, rtol=2e-2, atol=2e-2)


def test_a_number_of_groups_that_varies_is_refused():
    op = Builder()
    left, right, offs = (op.input(parse_type(each), each) for each in ("f32[m,8]", "f32[g,8,4]", "i32[g]"))
    with pytest.raises(Unsupported, match="g groups"):
        grouped_mm(op, left, right, offs)
    with pytest.raises(Unsupported, match="bias"):
        grouped_mm(op, left, right, offs, left)


class Experts(nn.Module):
    """Tokens sorted by expert, two grouped products, and back."""

    def __init__(self, experts=4, width=16, hidden=96, chosen=2):
        super().__init__()
        self.router, self.chosen = nn.Linear(width, experts), chosen
        self.up = nn.Parameter(torch.randn(experts, hidden, width) / width**0.5)
        self.down = nn.Parameter(torch.randn(experts, hidden, width) / hidden**0.5)

    def forward(self, x):
        tokens = x.flatten(0, -2)
        weights, experts = self.router(tokens).softmax(-1).topk(self.chosen, -1)
        experts, order = experts.flatten().sort(stable=True)
        offsets = F.one_hot(experts, len(self.up)).sum(0).cumsum(0).to(torch.int32)
        inner = F.silu(F.grouped_mm(tokens[order // self.chosen], self.up.transpose(1, 2), offs=offsets))
        outer = F.grouped_mm(inner, self.down, offs=offsets) * weights.flatten()[order, None]
        return torch.zeros_like(tokens).index_add(0, order // self.chosen, outer).view_as(x)


def test_a_mixture_of_experts():
    """One token leaves two of the four experts without work."""
    model, x = Experts().eval(), torch.randn(2, 5, 16)
    compiled = check(model, x, dynamic={"x": {0: "b", 1: "t"}}, again=(torch.randn(1, 1, 16),))
    assert operators(compiled).count("MatMul") == 9  # two for each expert, and one that counts the tokens of each
    weights = {value.name: value.data for value in compiled.stages[-1].graph.constants() if value.shape == (96, 16)}
    assert sorted(weights) == [f"down.{expert}" for expert in range(4)]
    assert all(np.shares_memory(each.array(), model.down.detach().numpy()) for each in weights.values())


class Loop(nn.Module):
    """A Python loop over the experts, each of which takes its own tokens."""

    def __init__(self, take):
        super().__init__()
        self.router, self.take = nn.Linear(8, 3), take
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8)) for _ in range(3))

    def forward(self, x):
        tokens = x.flatten(0, -2)
        weights, chosen = self.router(tokens).softmax(-1).topk(2, -1)
        return self.take(self.experts, tokens, weights, chosen).view_as(x)


def by_places(experts, tokens, weights, chosen):
    out, mask = torch.zeros_like(tokens), F.one_hot(chosen, len(experts)).permute(2, 1, 0)
    for expert, layer in enumerate(experts):
        place, token = torch.where(mask[expert])
        out.index_add_(0, token, layer(tokens[token]) * weights[token, place, None])
    return out


def by_masks(experts, tokens, weights, chosen):
    rows = tokens.repeat_interleave(2, 0)
    out = torch.empty_like(rows)
    for expert, layer in enumerate(experts):
        mine = chosen.flatten() == expert
        out[mine] = layer(rows[mine])
    return (out.view(*weights.shape, -1) * weights[..., None]).sum(1)


def by_counts(experts, tokens, weights, chosen):
    order = chosen.flatten().argsort(stable=True)
    counts = F.one_hot(chosen.flatten(), len(experts)).sum(0)
    parts = tokens[order // 2].split(counts.tolist())
    rows = torch.cat([layer(part) for layer, part in zip(experts, parts, strict=True)])
    out = torch.empty_like(rows)
    out[order] = rows
    return (out.view(*weights.shape, -1) * weights[..., None]).sum(1)


@pytest.mark.parametrize("take", [by_places, by_masks, by_counts])
def test_loops_over_experts(take):
    """One token leaves an expert without work."""
    x, sizes = torch.randn(2, 5, 8), {"x": {0: "b", 1: "t"}}
    compiled = fxonnx.compile(model := Loop(take).eval(), (x,), dynamic_shapes=sizes)
    for call in (x, torch.randn(3, 4, 8), torch.randn(1, 1, 8)):
        torch.testing.assert_close(compiled(call), model(call))


def test_the_fallback_of_transformers():
    """Its experts are one custom op on the CPU, of which rows without an expert come out as zeros."""
    pytest.importorskip("transformers.integrations.moe")
    args = torch.randn(9, 8), torch.randn(3, 8, 4), ends(4, 4, 6)
    check(torch.ops.transformers.grouped_mm_fallback, *args)
