"""Channels in whole vectors: results to the bit, where channels become more, and where they may not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.ao.quantization.fx._decomposed
from torch import Tensor, nn
from torch.nn import functional as F

import fxonnx
from fxonnx.passes import optimize
from fxonnx.passes.channels import channels_in_vectors
from fxonnx.passes.pipeline import Pass

Q = torch.ops.quantized_decomposed


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Leaves the pass out of what is compiled from then on."""

    def leave_out() -> None:
        monkeypatch.setattr(optimize, "channels_in_vectors", Pass("nothing", lambda graph, target: graph))
        optimize.optimizer.cache_clear()

    yield leave_out
    monkeypatch.undo()
    optimize.optimizer.cache_clear()


def weights(compiled: fxonnx.Compiled) -> list[tuple[Any, ...]]:
    """The shapes of the weights of convolutions, in order."""
    return [node.reads[1].shape for node in compiled.graph.nodes if node.op == "Conv"]


class Inverted(nn.Module):
    """What MobileNets are made of: more channels, a depthwise convolution, a gate by its means, fewer channels."""

    def __init__(self, inner: int, gate: bool = False, activation: Callable[[Tensor], Tensor] = F.relu6):
        super().__init__()
        self.up, self.down = nn.Conv2d(24, inner, 1), nn.Conv2d(inner, 24, 1, bias=False)
        self.each = nn.Conv2d(inner, inner, 5, padding=2, groups=inner)
        self.fewer, self.more = (nn.Conv2d(inner, 8, 1), nn.Conv2d(8, inner, 1)) if gate else (None, None)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        found = self.activation(self.each(self.activation(self.up(x))))
        if self.fewer is not None and self.more is not None:
            gate = F.hardsigmoid(self.more(F.relu(self.fewer(found.mean((2, 3), keepdim=True)))))
            found = gate * found
        return x + self.down(found)


class Network(nn.Module):
    """Blocks behind a convolution of an image, and a head."""

    def __init__(self, *blocks: nn.Module, image: int = 3):
        super().__init__()
        self.first, self.blocks = nn.Conv2d(image, 24, 3, stride=2, padding=1), nn.Sequential(*blocks)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.blocks(F.relu(self.first(x))), 1).flatten(1))


class Leaking(nn.Module):
    """Depthwise channels that are returned, and others that a reshape reads."""

    def __init__(self):
        super().__init__()
        self.up, self.each = nn.Conv2d(3, 24, 3), nn.Conv2d(24, 24, 3, groups=24)
        self.again, self.last = nn.Conv2d(24, 24, 3, groups=24), nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = F.relu(self.each(F.relu(self.up(x))))
        halves = self.again(found).reshape(x.shape[0], 12, -1, 4)
        return found, self.last(halves)


CASES = {
    "relu6": (Network(Inverted(72), Inverted(40)), (1, 3, 16, 16), [(72, 80), (40, 48)]),
    "hardswish and gate": (Network(Inverted(72, True, F.hardswish)), (2, 3, 12, 12), [(72, 80)]),
    "whole vectors": (Network(Inverted(32), image=4), (1, 4, 12, 12), []),
    "too many more": (Network(Inverted(18), image=1), (1, 1, 12, 12), []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_computed_is_the_same(case: str, without: Callable[[], None]) -> None:
    model, size, wider = CASES[case]
    model.eval()
    x, other = torch.randn(size), torch.randn(3, *size[1:])
    precision = fxonnx.int8_static([x])
    dims = {"x": {0: "batch", 2: "height", 3: "width"}}
    compiled = fxonnx.compile(model, (x,), dynamic_shapes=dims, precision=precision)
    found, shapes = [compiled(x), compiled(other)], weights(compiled)
    without()
    plain = fxonnx.compile(model, (x,), dynamic_shapes=dims, precision=precision)
    assert all(torch.equal(one, two) for one, two in zip(found, (plain(x), plain(other)), strict=True))
    depthwise = [(old[0], new[0]) for old, new in zip(weights(plain), shapes, strict=True) if old[1] == 1 < old[2]]
    assert [pair for pair in depthwise if pair[0] != pair[1]] == wider


def test_channels_that_others_see_stay() -> None:
    model, x = Leaking().eval(), torch.randn(2, 3, 10, 10)
    compiled = fxonnx.compile(model, (x,), precision=fxonnx.int8_static([x]))
    for found, wanted in zip(compiled(x), model(x), strict=True):
        assert found.shape == wanted.shape
        assert (found - wanted).norm() / wanted.norm() < 0.1
    assert [shape[0] for shape in weights(compiled)] == [24, 24, 24, 4]


def test_an_image_gets_a_channel_for_its_convolution_alone(without: Callable[[], None]) -> None:
    class Image(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.point = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 16, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) + F.relu(self.point(x)) + F.max_pool2d(x, 3, 1, 1).mean(1, keepdim=True)

    model, x = Image().eval(), torch.randn(2, 3, 9, 9) + 3  # 0 is no step in the middle
    compiled = fxonnx.compile(model, (x,), precision=fxonnx.int8_static([x]))
    assert [shape[1] for shape in weights(compiled)] == [4, 3]
    found = compiled(x)
    without()
    assert torch.equal(found, fxonnx.compile(model, (x,), precision=fxonnx.int8_static([x]))(x))


class Quantized(nn.Module):
    """A model of a quantizer: weights on steps of uint8 that have no 0 in the middle, and biases of int32."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randint(0, 255, shape, dtype=torch.uint8), requires_grad=False)
            for shape in ((24, 3, 3, 3), (24, 1, 3, 3), (8, 24, 1, 1))
        )
        self.biases = nn.ParameterList(
            nn.Parameter(torch.randint(-900, 900, (shape,), dtype=torch.int32), requires_grad=False)
            for shape in (24, 24, 8)
        )

    def forward(self, x: Tensor) -> Tensor:
        for weight, bias in zip(self.weights, self.biases, strict=True):
            x = self.steps(x)
            floats = Q.dequantize_per_tensor(weight, 0.01, 131, 0, 255, torch.uint8)
            offsets = Q.dequantize_per_tensor(bias, 0.0005, 0, -(2**31), 2**31 - 1, torch.int32)
            x = F.conv2d(x, floats, offsets, groups=x.shape[1] if weight.shape[1] == 1 else 1)
        return self.steps(x)

    def steps(self, x: Tensor) -> Tensor:
        steps = 0.05, -9, -128, 127, torch.int8
        return Q.dequantize_per_tensor(Q.quantize_per_tensor(x, *steps), *steps)


def test_what_a_quantizer_made(without: Callable[[], None]) -> None:
    model, x = Quantized().eval(), torch.randn(2, 3, 12, 12)
    compiled = fxonnx.compile(model, (x,))
    found = compiled(x)
    assert weights(compiled) == [(32, 4, 3, 3), (32, 1, 3, 3), (8, 32, 1, 1)]
    assert compiled.verify().ok
    without()
    assert torch.equal(found, fxonnx.compile(model, (x,))(x))


def test_other_runtimes_get_the_channels_of_the_model() -> None:
    model, x = Network(Inverted(72)).eval(), torch.randn(1, 3, 16, 16)
    compiled = fxonnx.compile(model, (x,), target=fxonnx.Target.onnx(), precision=fxonnx.int8_static([x]))
    assert {shape[0] for shape in weights(compiled)} == {24, 72}
    again = channels_in_vectors(compiled.graph, compiled.target)
    assert again is compiled.graph
