"""TorchScript computes what it did, however it was made, at any size; and is left as it was found."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture.wrappers import unwrapped

X = torch.randn(2, 3)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Sizes(nn.Module):
    """Makes numbers of sizes, in a layer of a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Dropout(0.9)])
        self.scale: float = 2.0

    def forward(self, x: Tensor, offset: float = 1.0) -> Tensor:
        batch = x.size(0)
        for layer in self.layers:
            x = layer(x)
        places = torch.arange(batch * 3).reshape(x.shape)
        return (x.reshape(batch * 3) * self.scale).view(batch, -1) + places + offset


class Deciding(nn.Module):
    """Decides by data."""

    def forward(self, x: Tensor, offset: float = 1.0) -> Tensor:
        if bool(x.sum() > 0):
            return x * 2 + offset
        return x - offset


class Recurrent(nn.Module):
    """Holds a module whose forward is overloaded."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor, offset: float = 1.0) -> Tensor:
        return self.lstm(x.unsqueeze(1))[0] + offset


def loaded(module: Any) -> Any:
    file = io.BytesIO()
    torch.jit.save(module, file)
    file.seek(0)
    return torch.jit.load(file)


def diverged(module: Any) -> Any:
    """One that is no longer what it was made of."""
    if hasattr(module, "scale"):
        module.scale = 5.0
    return module


MADE: dict[str, Callable[[Any], Any]] = {
    "scripted": lambda module: torch.jit.script(module.eval()),
    "set to eval later": lambda module: torch.jit.script(module.train()).eval(),
    "changed": lambda module: diverged(torch.jit.script(module.eval())),
    "loaded": lambda module: loaded(torch.jit.script(module.eval())),
    "frozen": lambda module: torch.jit.freeze(torch.jit.script(module.eval())),
    "traced": lambda module: torch.jit.trace(module.eval(), (X,)),
    "within another": lambda module: nn.Sequential(torch.jit.script(module.eval())),
}


@pytest.mark.parametrize(
    ("kind", "made"),
    [(Sizes, "changed"), (Sizes, "loaded"), (Sizes, "traced"), (Deciding, "scripted"), (Deciding, "frozen"),
     (Deciding, "within another"), (Recurrent, "scripted"), (Recurrent, "set to eval later")],
)  # fmt: skip
def test_torchscript_computes_what_it_did(kind: Callable[[], nn.Module], made: str) -> None:
    module = MADE[made](kind())
    module(X)
    before = {path: dict(vars(each)) for path, each in module.named_modules()}
    name = "input" if isinstance(module, nn.Sequential) else "x"
    compiled = fxonnx.compile(module, (X,), dynamic_shapes={name: {0: "batch"}})
    for batch, sign in ((2, 1), (5, -1), (1, 1)):
        x = torch.rand(batch, 3) * sign
        torch.testing.assert_close(compiled(x), module(x))
    assert before == {path: dict(vars(each)) for path, each in module.named_modules()}


def test_a_file_of_torchscript_tells_its_arguments() -> None:
    module = loaded(torch.jit.script(Sizes().eval()))
    compiled = fxonnx.compile(module, (X,), {"offset": 3.0})
    torch.testing.assert_close(compiled(x=X, offset=3.0), module(X, 3.0))
    with pytest.raises(errors.InputMismatch, match="required argument: 'x'"):
        fxonnx.compile(module, ())


def test_a_scripted_module_is_what_it_was_made_of_while_it_is_the_same() -> None:
    original = Sizes().eval()
    module = torch.jit.script(original)
    assert unwrapped(module) is original
    module.scale = 3.0
    assert unwrapped(module) is module


def test_a_decision_by_a_plain_size_is_refused_in_words_about_torchscript() -> None:
    class Short(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.size(0) > 3:
                return x * 2
            return x - 1

    module = loaded(torch.jit.script(Short()))
    torch.testing.assert_close(fxonnx.compile(module, (X,))(X), X - 1)
    with pytest.raises(errors.FrozenDimension, match="of TorchScript or of a transform"):
        fxonnx.compile(module, (X,), dynamic_shapes={"x": {0: "batch"}})
