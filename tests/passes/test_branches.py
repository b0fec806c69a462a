"""Blocks of many branches end up as one operator, and compute what eager computes."""

import math

import pytest
import torch
from torch import nn

import fxonnx

SIZE = (2, 8, 12, 10)


class Block(nn.Module):
    """Layers by name, put together by a function of them and x."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.layers, self.put_together = nn.ModuleDict(layers), forward
        self.scale = nn.Parameter(torch.randn(8, 1, 1))
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 1.5)
                nn.init.normal_(layer.weight)
                nn.init.normal_(layer.bias)

    def forward(self, x):
        return self.put_together(self, x, **self.layers)


def normed(tall: int, flat: int | None = None, dilation: int = 1, **options) -> nn.Sequential:
    """A convolution of 8 channels whose kernel is centred, and its normalization."""
    size = (tall, flat or tall)
    padding = [(each - 1) * dilation // 2 for each in size]
    conv = nn.Conv2d(8, 8, size, padding=padding, dilation=dilation, bias=False, **options)
    return nn.Sequential(conv, nn.BatchNorm2d(8))


def rep_vgg(self, x, wide, narrow, norm):
    return wide(x) + narrow(x) + norm(x)


def mobile_one(self, x, **branches):
    total = 0
    for branch in branches.values():
        total = total + branch(x)
    return total


def rep_mixer(self, x, wide, narrow, skip, norm):
    return x + self.scale * (skip(x) + narrow(x) + wide(x) - norm(x))


def rep_vit(self, x, wide, narrow, norm):
    return norm(wide(x) + narrow(x) + x)


def pool_former(self, x, pool):
    return x + self.scale * (pool(x) - x)


BLOCKS = {
    "RepVGG": Block(rep_vgg, wide=normed(3), narrow=normed(1), norm=nn.BatchNorm2d(8)),
    "RepVGG in groups": Block(rep_vgg, wide=normed(3, groups=2), narrow=normed(1, groups=4), norm=nn.BatchNorm2d(8)),
    "RepVGG, strided": Block(mobile_one, wide=normed(3, stride=2), narrow=normed(1, stride=2)),
    "MobileOne": Block(mobile_one, norm=nn.BatchNorm2d(8), one=normed(1), a=normed(3), b=normed(3), c=normed(3)),
    "MobileOne, depthwise": Block(mobile_one, one=normed(1, groups=8, stride=2), a=normed(3, groups=8, stride=2)),
    "FastViT": Block(rep_mixer, wide=normed(3, groups=8), narrow=normed(1, groups=8),
                     skip=nn.BatchNorm2d(8), norm=nn.BatchNorm2d(8)),
    "RepViT": Block(rep_vit, wide=normed(3, groups=8), narrow=nn.Conv2d(8, 8, 1, groups=8), norm=nn.BatchNorm2d(8)),
    "PoolFormer": Block(pool_former, pool=nn.AvgPool2d(3, 1, 1)),
    "asymmetric": Block(mobile_one, flat=normed(1, 3), tall=normed(3, 1),
                        whole=normed(3)),
    "dilated": Block(mobile_one, whole=normed(9, groups=8), a=normed(3, groups=8, dilation=4),
                     b=normed(5, groups=8, dilation=2), c=normed(3, groups=8, dilation=3)),
    "averages": Block(lambda self, x, a, b, c: a(x) - b(x) + c(x), a=nn.AvgPool2d(4, 2, 1), b=nn.AvgPool2d(2, 2),
                      c=nn.Conv2d(8, 8, 4, 2, 1)),
    "of its negative": Block(lambda self, x, a, b: x - a(x) - (-b(x)), a=normed(3), b=normed(1)),
    "of one weight": Block(lambda self, x, a: a(x) + a(x), a=nn.Conv2d(8, 8, 3)),
}  # fmt: skip


def compiled_alike(module: nn.Module, x: torch.Tensor, **options) -> fxonnx.Compiled:
    """The compiled module, which gives what eager gives."""
    compiled = fxonnx.compile(module.eval(), (x,), **options)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-5)
    return compiled


def ops(compiled: fxonnx.Compiled) -> list[str]:
    return [node.op for node in compiled.graph.nodes]


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_one_convolution(name):
    assert ops(compiled_alike(BLOCKS[name], torch.randn(SIZE))) == ["Conv"]


@pytest.mark.parametrize("name", ["RepVGG, strided", "FastViT", "PoolFormer", "dilated", "averages"])
def test_a_block_of_any_size(name):
    x, block = torch.randn(SIZE), BLOCKS[name]
    compiled = compiled_alike(block, x, dynamic_shapes=({0: "n", 2: "h", 3: "w"},))
    assert ops(compiled) == ["Conv"]
    for size in ((3, 8, 9, 8), (1, 8, 16, 14)):
        x = torch.randn(size)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), block(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("conv", "norm", "size"), [
    (nn.Conv1d, nn.BatchNorm1d, (2, 8, 9)), (nn.Conv3d, nn.BatchNorm3d, (2, 8, 5, 4, 6)),
])  # fmt: skip
def test_in_other_ranks(conv, norm, size):
    block = Block(rep_vgg, wide=conv(8, 8, 3, padding=1), narrow=conv(8, 8, 1), norm=norm(8))
    assert ops(compiled_alike(block, torch.randn(size))) == ["Conv"]


def test_no_channels():
    compiled_alike(Block(lambda self, x: x * 2 + x * 3), torch.randn(2, 0, 3, 4))


def test_a_normalization_alone_stays_one():
    block = Block(lambda self, x, a, b: x + self.scale * a(x) - b(x), a=nn.BatchNorm2d(8), b=nn.BatchNorm2d(8))
    assert ops(compiled_alike(block, torch.randn(SIZE))) == ["BatchNormalization"]


@pytest.mark.parametrize("odd", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["RepVGG", "FastViT", "PoolFormer", "asymmetric", "dilated"])
def test_odd_numbers_reach_as_far_as_before(name, odd):
    """A tap of 0 that no branch had would make NaN of an infinity."""
    block, x = BLOCKS[name].eval(), torch.randn(SIZE)
    x[0, 3, 5, 4] = odd
    with torch.no_grad():
        torch.testing.assert_close(fxonnx.compile(block, (x,))(x).isfinite(), block(x).isfinite())


@pytest.mark.parametrize(("block", "left"), [
    (Block(lambda self, x, a, b: a(x) + b(x), a=normed(1, 3), b=normed(3, 1)), 2),
    (Block(lambda self, x, a, b: a(x) + b(x), a=normed(1), b=normed(3, groups=8)), 2),
    (Block(lambda self, x, a, b: a(x) + b(x.relu()), a=normed(1), b=normed(3)), 2),
    (Block(lambda self, x, a, b: (y := a(x)) + b(x) * y.sigmoid(), a=normed(1), b=normed(3)), 2),
    (nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)), 2),
    (nn.Sequential(nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)), 2),
    (nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 4, 1)), 1),
    (nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)), 1),
])  # fmt: skip
def test_how_many_convolutions_are_left(block, left):
    """A sum that would multiply more often than its parts is left alone, and a shift that pads would have to meet."""
    assert ops(compiled_alike(block, torch.randn(SIZE))).count("Conv") == left


class Adapted(nn.Module):
    """A linear layer beside a low-rank one. Hu et al. 2021."""

    def __init__(self, bias=True):
        super().__init__()
        self.base = nn.Linear(32, 48, bias=bias)
        self.down, self.up = nn.Linear(32, 4, bias=False), nn.Linear(4, 48, bias=False)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x)) * 0.25


@pytest.mark.parametrize("size", [(5, 32), (2, 5, 32)])
@pytest.mark.parametrize("module", [
    Adapted(), Adapted(bias=False), nn.Sequential(nn.Linear(32, 48), nn.Linear(48, 24)),
    nn.Sequential(nn.Linear(32, 48, bias=False), nn.Linear(48, 24), nn.Linear(24, 8)),
])  # fmt: skip
def test_linear_layers_are_one(module, size):
    assert ops(compiled_alike(module, torch.randn(size))) in (["Gemm"], ["MatMul"], ["MatMul", "Add"])


def test_in_float64():
    module, x = Adapted().double(), torch.randn(5, 32, dtype=torch.float64)
    compiled = fxonnx.compile(module.eval(), (x,))
    assert ops(compiled) == ["Gemm"]
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-12, atol=1e-12)


def test_a_weight_that_is_used_twice_stays_one():
    """Folded, it would come on top of itself."""
    block = Block(lambda self, x, a: a(x).relu() + self.scale * a(x), a=nn.Conv2d(8, 8, 3))
    compiled = compiled_alike(block, torch.randn(SIZE))
    assert len([value for value in compiled.graph.constants() if value.type.size == 576]) == 1
