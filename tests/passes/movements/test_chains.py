"""Movements drawn together compute the same, at every size, and attention of every spelling comes out as one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxonnx
from fxonnx.ir.build import Builder
from fxonnx.ir.types import parse_type
from fxonnx.passes.movements.chains import movements
from fxonnx.target import Target

SIZE, HEADS = 8, 2


class Attention(nn.Module):
    """Heads split off the projections, in one of the spellings below."""

    def __init__(self, split):
        super().__init__()
        self.split, self.qkv, self.out = split, nn.Linear(SIZE, 3 * SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, x):
        q, k, v = self.split(self.qkv(x), *x.shape[:2])
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(x.shape))


def unbound(qkv, b, n):
    return qkv.reshape(b, n, 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)


def indexed(qkv, b, n):
    parts = qkv.view(b, n, 3, HEADS, SIZE // HEADS).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[-1]


def chunked(qkv, b, n):
    return [part.view(b, n, HEADS, -1).transpose(1, 2) for part in qkv.chunk(3, -1)]


def chunked_late(qkv, b, n):
    return [part.reshape(b, n, HEADS, -1).transpose(1, 2) for part in qkv.transpose(0, 1).chunk(3, -1)
            for part in [part.transpose(0, 1)]]  # fmt: skip


def tokens_first(qkv, b, n):
    rows = qkv.transpose(0, 1).reshape(n, b, 3, SIZE)
    return [rows[:, :, i].reshape(n, b * HEADS, -1).transpose(0, 1).reshape(b, HEADS, n, -1) for i in range(3)]


SPELLINGS = [unbound, indexed, chunked, chunked_late, tokens_first]
DIMS = {"x": {0: "b", 1: "n"}}


@pytest.mark.parametrize("split", SPELLINGS, ids=lambda split: split.__name__)
@pytest.mark.parametrize("dims", [None, DIMS], ids=["static", "dynamic"])
def test_attention_moves_nothing(split, dims):
    model, x = Attention(split).eval(), torch.randn(3, 5, SIZE)
    compiled = fxonnx.compile(model, (x,), dynamic_shapes=dims)
    moving = [node.op for node in compiled.optimized.nodes if node.op in ("Transpose", "Reshape", "Gather")]
    assert moving == []
    for sizes in [(3, 5), (2, 7), (1, 1), (4, 1)] if dims else [(3, 5)]:
        y = torch.randn(*sizes, SIZE)
        torch.testing.assert_close(compiled(y), model(y))


class OfTorch(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(SIZE, HEADS, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("dims", [None, DIMS], ids=["static", "dynamic"])
def test_the_module_of_torch_moves_nothing(dims):
    model, x = OfTorch().eval(), torch.randn(3, 5, SIZE)
    compiled = fxonnx.compile(model, (x,), dynamic_shapes=dims)
    assert [node.op for node in compiled.optimized.nodes if node.op in ("Transpose", "Reshape", "Gather")] == []
    for sizes in [(3, 5), (2, 7), (1, 4)] if dims else [(3, 5)]:
        y = torch.randn(*sizes, SIZE)
        torch.testing.assert_close(compiled(y), model(y))


def windows(x):
    """As Swin partitions an image."""
    b, h, w, c = x.shape
    x = x.view(b, h // 2, 2, w // 2, 2, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 2, 2, c).view(-1, 4, c)


def shuffled(x):
    b, c, h, w = x.shape
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w).flatten(2).transpose(1, 2)


def pieces(x):
    y = x.permute(1, 0, 2, 3).reshape(x.shape[1], -1)
    return y[0].reshape(x.shape[0], *x.shape[2:]), y[1:3].sum(0), y


def back_and_forth(x):
    y = x.permute(2, 3, 0, 1)
    return y.permute(2, 3, 0, 1) + 1, y.reshape(-1).reshape(x.shape), y.sum(0)


class Cut(nn.Module):
    """Windows whose sizes do not tell how the batch lies in them."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(SIZE, HEADS, batch_first=True)

    def forward(self, x):
        b, h, w, c = x.shape
        parts = x.view(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        parts = self.attention(parts, parts, parts, need_weights=False)[0]
        count = int(parts.shape[0] / (h * w / 4))
        return parts.view(count, h // 2, w // 2, 2, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(count, h, w, -1)


def test_movements_before_and_behind_a_layer_come_to_an_end():
    model, x = Cut().eval(), torch.randn(2, 4, 6, SIZE)
    compiled = fxonnx.compile(model, (x,), dynamic_shapes={"x": {0: "b", 1: "h", 2: "w"}})
    for sizes in [(2, 4, 6), (1, 2, 2), (3, 6, 4)]:
        y = torch.randn(*sizes, SIZE)
        torch.testing.assert_close(compiled(y), model(y))


def real_and_imaginary(x):
    y = x.reshape(*x.shape[:-1], -1, 2).permute(0, 3, 1, 2, 4)
    return y[..., 0] * 2, y[..., 1], x[..., :4].transpose(1, 2), x[..., 4:].transpose(1, 2)


BODIES = [real_and_imaginary, windows, shuffled, pieces, back_and_forth]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
@pytest.mark.parametrize("dims", [None, {"x": {0: "b", 2: "h"}}], ids=["static", "dynamic"])
def test_what_is_moved_is_the_same(body, dims):
    x = torch.arange(3 * 4 * 6 * 8.0).reshape(3, 4, 6, 8)
    for optimize in (True, False):
        compiled = fxonnx.compile(body, (x,), dynamic_shapes=dims, optimize=optimize)
        for sizes in [(3, 6), (2, 2), (1, 10)] if dims else [(3, 6)]:
            y = torch.randint(-99, 99, (sizes[0], 4, sizes[1], 8)).float()  # whose sums are exact
            torch.testing.assert_close(compiled(y), body(y), rtol=0, atol=0)


OF_NOTHING = [lambda x: torch.arange(x.numel()).reshape(x.shape[::-1]), lambda x: x.tensor_split(2)[0]]


@pytest.mark.parametrize("body", OF_NOTHING)
def test_nothing_is_moved(body):
    """At a size of 0 a Reshape does not copy an axis, and no share is a share of nothing."""
    compiled = fxonnx.compile(body, torch.ones(5, 5), dynamic_shapes={"x": {0: "n", 1: "m"}})
    for shape in ((0, 1), (4, 0), (3, 2)):
        torch.testing.assert_close(compiled(torch.ones(shape)), body(torch.ones(shape)))


def last_of_the_greatest(x, y):
    greatest = x.topk(min(3, len(y)), dim=0)[0]
    return torch.tensor_split(greatest, 3)[2].t().ravel()


def test_an_axis_that_is_known_by_its_parts_alone_is_no_share():
    x = torch.randn(3, 4)
    compiled = fxonnx.compile(last_of_the_greatest, (x, torch.ones(4)), dynamic_shapes={"y": {0: "m"}})
    for size in (4, 3, 2, 1, 7):
        y = torch.ones(size)
        torch.testing.assert_close(compiled(x, y), last_of_the_greatest(x, y))


@pytest.mark.parametrize("length", ["16*s", "3*s + 4"])
def test_sizes_are_read_from_inputs_that_have_them_in_multiples(length):
    def heads(x):
        apart = x.reshape(x.shape[0], -1, 4, 8).transpose(1, 2)
        return apart.reshape(x.shape[0] * 4, -1, 8).transpose(1, 2).relu()

    compiled = fxonnx.compile(heads, (torch.randn(2, 16, 32),), dynamic_shapes={"x": {0: "b", 1: length}})
    assert sum(node.op == "Transpose" for node in compiled.graph.nodes) == 1
    for shape in ((2, 16, 32), (1, 64, 32)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), heads(x))


def test_a_chain_in_a_branch_whose_sizes_are_told_outside_stays():
    op = Builder()
    x, flag = op.input(parse_type("f32[b,t,4]"), "x"), op.input(parse_type("b8[]"), "flag")
    sizes, rows = op.sizes(x.shape), op.Reshape(op.Exp(x), [-1, 4])
    branches = {}
    for name in ("then_branch", "else_branch"):
        inner = op.nested()
        turned = inner.Transpose(inner.Transpose(inner.use(rows.value), perm=[1, 0]), perm=[1, 0])
        branches[name] = inner.finish([inner.Reshape(turned, inner.use(sizes.value))], name=name)
    graph = op.finish(op.call("If", [flag], branches, 1, [branches["then_branch"].outputs[0].type]))
    assert movements(graph, Target.onnx()) is graph  # or the rules around it would never come to an end
