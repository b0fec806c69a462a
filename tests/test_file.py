"""What stands in a file: the same bytes for the same model, no lines of the source unless asked for, no result that a
lowering leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops.map import map as torch_map
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop

import fxonnx
from fxonnx import errors

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


class Branches(nn.Module):
    """Two branches that close over a layer, one inside of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        inner = lambda x: torch.cond(x.max() > 1, lambda x: self.fc(x), lambda x: x - 1, (x,))  # noqa: E731
        return torch.cond(x.sum() > 0, inner, lambda x: self.fc(x) * 2, (x,))


class Loop(nn.Module):
    """A loop over data."""

    def forward(self, x: Tensor) -> Any:
        return while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2), (torch.tensor(0), x))


class Scan(nn.Module):
    """A scan and a map."""

    def forward(self, x: Tensor) -> Any:
        return scan(lambda c, y: (c + y, c * y), torch.zeros(3), x), torch_map(lambda y: y * 2 + 1, x)


class Found(nn.Module):
    """Sizes that come from data."""

    def forward(self, x: Tensor) -> Any:
        return x.nonzero(), x[x > 0] * 2


MODELS: dict[str, nn.Module] = {
    "branches": Branches(), "loop": Loop(), "scan": Scan(), "found": Found(), "lstm": nn.LSTM(3, 4),
    "encoder": nn.TransformerEncoderLayer(3, 1, 8).eval(),
}  # fmt: skip
FORMS: dict[str, Callable[[nn.Module], Any]] = {
    "module": lambda model: model,
    "program": lambda model: torch.export.export(model.eval(), (X,)),
    "decomposed": lambda model: torch.export.export(model.eval(), (X,)).run_decompositions(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_same_model_same_bytes(name: str, form: str) -> None:
    model = FORMS[form](MODELS[name])
    first, second = (fxonnx.compile(model, X).model_proto(source_lines=True) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert b"eval_with_key" not in first.SerializeToString()


def test_branches_that_close_over_weights() -> None:
    compiled = fxonnx.compile(MODELS["branches"], X)
    for x in (X, -X.abs(), X.abs() / 9, X.abs() * 9):
        torch.testing.assert_close(compiled(x), MODELS["branches"](x).detach())


def secret(x: Tensor) -> Tensor:
    return x + len("password=hunter2")


def test_source_lines_are_written_on_request_only(tmp_path: Path) -> None:
    compiled = fxonnx.compile(secret, X)
    for weights in ("inline", "external"):
        compiled.save(tmp_path / "m.onnx", weights=weights)
        assert not any(b"hunter2" in each.read_bytes() for each in tmp_path.iterdir())
        assert b"test_file.py" in (tmp_path / "m.onnx").read_bytes(), "places stay"
    compiled.save(tmp_path / "m.onnx", source_lines=True)
    assert b"hunter2" in (tmp_path / "m.onnx").read_bytes()


def test_messages_keep_source_lines() -> None:
    table = nn.Embedding(4, 2)
    compiled = fxonnx.compile(lambda x: table(x) + 1, torch.tensor([1]))
    with pytest.raises(errors.RuntimeFailed, match=r"compiled = fxonnx\.compile\(lambda x: table\(x\)"):
        compiled(torch.tensor([9]))


def test_a_result_that_a_lowering_leaves_out() -> None:
    def both(x: Tensor) -> Any:
        return torch.ops.aten.fake_quantize_per_tensor_affine_cachemask(x, 0.1, 0, -128, 127)

    with pytest.raises(errors.UnsupportedArguments, match="does not compute result 1") as caught:
        fxonnx.compile(both, X)
    assert caught.value.locations[0].line
    torch.testing.assert_close(fxonnx.compile(lambda x: both(x)[0], X)(X), both(X)[0])


@pytest.mark.parametrize("result", [
    lambda x: (x + 1, None), lambda x: (None, x, None, 3), lambda x: {"a": None, "b": [x, None]},
])  # fmt: skip
def test_none_is_a_result(result: Callable[[Tensor], Any], tmp_path: Path) -> None:
    compiled = fxonnx.compile(result, X)
    compiled.save(tmp_path / "m.onnx")
    torch.testing.assert_close(compiled(X), result(X))
