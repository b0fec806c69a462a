"""torch.compile with our backend."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx.compat import backend

ROOT = Path(__file__).parents[2]


class Net(nn.Module):
    """A model whose graph breaks in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.fc(x)).relu()
        torch._dynamo.graph_break()
        return y * x.shape[0] + 1


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch._dynamo.reset()


def test_a_model_with_a_break_at_several_sizes_after_a_step_and_in_train_mode() -> None:
    model = Net().eval()
    compiled = torch.compile(model, backend=backend)
    with torch.no_grad():
        for count in (8, 5, 1, 8):
            x = torch.randn(count, 3)
            torch.testing.assert_close(compiled(x), model(x), atol=1e-4, rtol=1e-4)
        model.fc.weight.mul_(2)
        torch.testing.assert_close(compiled(x), model(x), atol=1e-4, rtol=1e-4)
        model.train()
        twin = copy.deepcopy(model)
        torch.testing.assert_close(compiled(x), twin(x), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.norm.running_mean, twin.norm.running_mean)


def test_gradients_are_pytorchs() -> None:
    model = Net().eval()
    torch.compile(model, backend=backend)(torch.randn(4, 3)).sum().backward()
    assert model.fc.weight.grad is not None


def test_what_cannot_be_compiled_is_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise fxonnx.errors.CaptureRefused("no", cause="of this test", cure="none")

    monkeypatch.setattr("fxonnx.compat.dynamo.compile", refuse)
    with pytest.warns(UserWarning, match="left to PyTorch"):
        found = torch.compile(lambda x: x * 2 + 1, backend=backend)(torch.ones(3))
    assert found.tolist() == [3, 3, 3]


def test_torch_finds_it_by_its_name() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert points["torch_dynamo_backends"] == {"fxonnx": "fxonnx.compat.dynamo:backend"}
