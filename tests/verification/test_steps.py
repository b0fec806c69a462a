"""Quantized values are compared by their steps, in verify, locate and bisect alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import fxonnx
from fxonnx.tools.bisect import bisect
from fxonnx.tools.bisect.verdict import LOWERING
from fxonnx.verification.compare import difference
from fxonnx.verification.steps import rounds_to_steps, steps_of

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))


def on_steps(x: Tensor, step: float) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(x, step, 0, -128, 127)


class Quantized(nn.Module):
    """Linear layers between quantized values, as training with fake quantization leaves them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        h = on_steps(torch.relu(self.first(on_steps(x, 0.02))), 0.015)
        return on_steps(self.second(h), 0.01)


def test_a_value_may_be_off_by_one_step() -> None:
    x = torch.arange(-4, 5) * 0.5
    for steps, is_right in ((1, True), (2, False)):
        found = difference("x", x + 0.5 * steps, x, step=0.5)
        assert found.ok is is_right and f"{steps} steps of 0.5" in str(found)
    assert not difference("x", x + 0.5, x, step=0.5, atol=0.1).ok, "what the caller asks for is asked"


def test_the_steps_of_a_file() -> None:
    compiled = fxonnx.compile(Quantized(), X)
    steps = steps_of(compiled.graph)
    assert rounds_to_steps(compiled.program, compiled.graph) and round(steps[compiled.graph.outputs[0]], 6) == 0.01
    assert {round(step, 6) for step in steps.values()} == {1.0, 0.02, 0.015, 0.01}
    plain = fxonnx.compile(nn.ReLU(), X)
    assert not rounds_to_steps(plain.program, plain.graph)


def test_verify_and_locate_agree() -> None:
    compiled = fxonnx.compile(Quantized(), X)
    assert "steps of 0.01" in str(compiled.verify().check())
    found = compiled.locate()
    assert found.ok and any(pair.difference.step for pair in found.pairs)
    assert bisect(Quantized(), X).ok


def test_a_fault_is_more_than_steps() -> None:
    def wrong(op: Any, self: Any) -> Any:
        return op.Relu(self) * 1.5

    options = {"lowerings": {"aten.relu": wrong}}
    first = fxonnx.compile(Quantized(), X, **options).locate().first
    assert first is not None and first.fx_node.startswith("relu")
    verdict = bisect(Quantized(), X, **options)
    assert (verdict.culprit, verdict.name) == (LOWERING, "aten.relu.default")
