"""Faults that are planted, and found."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx.passes.rewriting.rewrite import rule
from fxonnx.tools.bisect import bisect
from fxonnx.tools.bisect.verdict import KERNEL, LEGALIZE, LOWERING, OPTIMIZERS, RULE
from fxonnx.tools.cli import main

X = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))


class Layer(nn.Module):
    """One of twelve."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out, self.norm = nn.Linear(8, 16), nn.Linear(16, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.out(nn.functional.gelu(self.fc(x))))


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(Layer() for _ in range(12))).eval()


def factory() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return model(), (X,)


def wrong_gelu(op: Any, self: Any, *, approximate: str = "none") -> Any:
    return op.Gelu(self, approximate=approximate) * 1.5


def failing_gelu(op: Any, self: Any, *, approximate: str = "none") -> Any:
    return op.Gelu(self, approximate=approximate) + op.Gather(op.Reshape(self, [-1]), 10**6)


@rule
class wrong_rule:
    """x ── Gelu ─▶   becomes   x ── Gelu, by its approximation ─▶"""

    def before(op, x):  # noqa: N805
        return op.Gelu(x, approximate="none")

    def after(op, x):  # noqa: N805
        return op.Gelu(x * 1.5, approximate="tanh")


def test_of_a_model_that_is_right_nothing_is_said() -> None:
    verdict = bisect(model(), (X,))
    assert verdict.ok and verdict.headline == "nothing differs" and verdict.case is None


def test_a_lowering() -> None:
    verdict = bisect(model(), (X,), lowerings={"aten.gelu": wrong_gelu})
    assert (verdict.culprit, verdict.name) == (LOWERING, "aten.gelu.default")
    assert verdict.location is not None and verdict.location.file.endswith("test_bisect.py")
    assert [node.name for node in _calls(verdict)] == ["gelu_default"]


def test_a_rule() -> None:
    verdict = bisect(model(), (X,), rules=[wrong_rule])
    assert (verdict.culprit, verdict.name) == (RULE, "wrong_rule")
    assert len(_calls(verdict)) == 1


def test_a_form_of_legalize(monkeypatch: pytest.MonkeyPatch) -> None:
    from fxonnx.passes.legalize.registry import EXPANSIONS, load

    load()
    right = EXPANSIONS["Gelu"]
    monkeypatch.setitem(EXPANSIONS, "Gelu", lambda op, x, **rest: right(op, x, **rest) * 1.5)
    verdict = bisect(model(), (X,), opset=17)
    assert (verdict.culprit, verdict.name) == (LEGALIZE, "aten.gelu.default")


def _with_another_kernel(monkeypatch: pytest.MonkeyPatch, *, optimizers_alone: bool) -> None:
    """A runtime whose Gelu is another function than ONNX's; with its optimizers on, or always."""
    right = onnxruntime.InferenceSession

    def session(model: bytes, options: Any, **rest: Any) -> Any:
        is_off = options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        proto = onnx.load_from_string(model)
        for node in proto.graph.node:
            if node.op_type == "Gelu" and not (optimizers_alone and is_off):
                node.op_type = "HardSwish"
                del node.attribute[:]
        return right(proto.SerializeToString(), options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)


def test_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_another_kernel(monkeypatch, optimizers_alone=False)
    verdict = bisect(model(), (X,))
    assert (verdict.culprit, verdict.name) == (KERNEL, "aten.gelu.default")


def test_an_optimizer_of_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_another_kernel(monkeypatch, optimizers_alone=True)
    assert bisect(model(), (X,)).culprit == OPTIMIZERS


def test_a_failure_to_run() -> None:
    verdict = bisect(model(), (X,), lowerings={"aten.gelu": failing_gelu})
    assert (verdict.culprit, verdict.name) == (LOWERING, "aten.gelu.default") and verdict.location is not None
    assert [node.name for node in _calls(verdict)] == ["gelu_default"]
    assert "ONNX Runtime stopped" in str(verdict)


def test_where_nan_begins() -> None:
    verdict = bisect(lambda x: torch.log(x) * 2, (X,))
    assert verdict.ok and verdict.found is not None and verdict.found.first_not_finite is not None


def test_the_script_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = bisect(model(), (X,), rules=[wrong_rule])
    assert verdict.case is not None
    verdict.case.write(tmp_path / "case.py", verdict.headline, "")
    runpy.run_path(str(tmp_path / "case.py"))  # without the rule, which is this file's
    assert "✓ output" in capsys.readouterr().out
    compile = fxonnx.compile
    monkeypatch.setattr(fxonnx, "compile", lambda *args, **options: compile(*args, rules=[wrong_rule], **options))
    runpy.run_path(str(tmp_path / "case.py"))
    assert "wrong_rule" in (printed := capsys.readouterr().out) and "✗ output" in printed


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "planted", sys.modules[__name__])
    _with_another_kernel(monkeypatch, optimizers_alone=False)
    assert main(["bisect", "planted:factory", "--script", str(tmp_path / "case.py")]) == 1
    assert "the runtime's kernel for aten.gelu.default" in capsys.readouterr().out
    assert {each.name for each in tmp_path.iterdir()} == {"case.py", "case.pt"}


def _calls(verdict: Any) -> list[Any]:
    return [node for node in verdict.case.module.graph.nodes if node.op == "call_function"]
