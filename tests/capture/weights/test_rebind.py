"""`rebind`: what is compiled computes with other weights as if the changed model had been compiled."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao.quantization import QConfig, default_fake_quant, default_weight_fake_quant, prepare_qat

import fxonnx
from fxonnx import errors

Case = tuple[nn.Module, tuple[Tensor, ...], dict[str, Any]]


class Residual(nn.Module):
    """Branches that become one convolution, and a normalization that goes into it."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.narrow = nn.Conv2d(3, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.wide(x)) + self.narrow(x)).mean((2, 3)))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(40, 32), nn.Linear(32, 40, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids))


class LowRank(nn.Module):
    """What the optimizer makes one layer of."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(48, 48), nn.Linear(48, 4, bias=False), nn.Linear(4, 48, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x)) * 0.5


def residual() -> Case:
    return Residual(), (torch.randn(2, 3, 8, 8),), {"dynamic_shapes": {"x": {0: "n"}}}


def encoder() -> Case:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return layer, (torch.randn(2, 5, 32),), {"dynamic_shapes": {"src": {1: "n"}}}


def tied() -> Case:
    return Tied(), (torch.randint(0, 40, (2, 3)),), {}


def low_rank() -> Case:
    return LowRank(), (torch.randn(2, 48),), {}


def few_bits() -> Case:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    return model, (torch.randn(2, 64),), {"precision": "int8-weights"}


def fake_quantized() -> Case:
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU()).train()
    model.qconfig = QConfig(default_fake_quant, default_weight_fake_quant)
    x = torch.randn(4, 16)
    prepared = prepare_qat(model)
    prepared(x)
    return prepared.apply(torch.ao.quantization.disable_observer), (x,), {}


def at_any_opset() -> Case:
    return residual()[0], (torch.randn(1, 3, 4, 4),), {"opset": 13, "optimize": False}


CASES: list[Callable[[], Case]] = [residual, encoder, tied, low_rank, few_bits, fake_quantized, at_any_opset]


def changed(model: nn.Module) -> nn.Module:
    """A copy with other weights, tied as they are; scales stay above zero."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in other.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.3)
        for name, tensor in other.named_buffers():
            if tensor.is_floating_point() and "min" not in name and "max" not in name:
                tensor.mul_(1.5)
    return other


@pytest.mark.parametrize("case", CASES)
def test_as_if_the_changed_model_had_been_compiled(case: Callable[[], Case]) -> None:
    torch.manual_seed(0)
    model, args, options = case()
    model = model.eval()
    other = changed(model)
    compiled = fxonnx.compile(model, args, **options)
    before, kept = compiled(*args), {name: each.clone() for name, each in model.state_dict().items()}
    assert compiled.rebind(other.state_dict()) is compiled
    anew = fxonnx.compile(other, args, **options)
    assert torch.equal(compiled(*args), anew(*args)) and not torch.equal(compiled(*args), before)
    assert compiled.model_proto().SerializeToString() == anew.model_proto().SerializeToString()
    assert compiled.verify(*args).ok
    assert all(torch.equal(each, kept[name]) for name, each in model.state_dict().items()), "the model keeps its own"
    assert torch.equal(compiled.rebind()(*args), before), "the model's own of now"


def linear() -> tuple[nn.Linear, fxonnx.Compiled, Tensor]:
    x = torch.randn(2, 48)
    model = nn.Linear(48, 48)
    return model, fxonnx.compile(model, x), x


def test_the_weights_of_now_after_a_step() -> None:
    model, compiled, x = linear()
    for change in (lambda: model.weight.data.mul_(2), lambda: setattr(model, "bias", nn.Parameter(torch.ones(48)))):
        with torch.no_grad():
            change()
        with pytest.raises(errors.ModelChanged, match=r"compiled\.rebind\(\)"):
            compiled.save("never.onnx")
        torch.testing.assert_close(compiled.rebind()(x), model(x))


def test_some_weights_and_other_dtypes() -> None:
    model, compiled, x = linear()
    weight = torch.randn(48, 48, dtype=torch.float64)
    compiled.rebind({"weight": weight}, strict=False)
    torch.testing.assert_close(compiled(x), nn.functional.linear(x, weight.float(), model.bias))


def test_other_ways_have_the_new_weights() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return self.first(x) if x.shape[0] < 4 else self.second(x)

    kind = type("TwoWays", (nn.Module,), {"forward": forward})
    model, other = kind(), kind()
    for each in (model, other):
        each.first, each.second = nn.Linear(40, 40), nn.Linear(40, 40)
    compiled = fxonnx.compile(model, torch.randn(2, 40), dynamic_shapes={"x": {0: "n"}})
    compiled(torch.randn(5, 40))
    compiled.rebind(other.state_dict())
    for rows in (2, 5, 1):
        x = torch.randn(rows, 40)
        torch.testing.assert_close(compiled(x), other(x))


def test_a_state_is_the_models() -> None:
    model, other = nn.BatchNorm1d(4).train(), nn.BatchNorm1d(4).train()
    other(torch.randn(8, 4) * 3)
    x = torch.randn(8, 4)
    compiled = fxonnx.compile(model, x, mode="train").rebind(other.state_dict())
    torch.testing.assert_close(compiled(x), other(x))
    torch.testing.assert_close(model.running_var, other.running_var)


class Flagged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(40, 40))
        self.register_buffer("twice", torch.tensor([1]))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight * 2 if self.twice[0] == 1 else x @ self.weight


def test_a_value_that_the_file_holds_for() -> None:
    model, x = Flagged(), torch.randn(2, 40)
    compiled = fxonnx.compile(model, x)
    state = {"weight": torch.randn(40, 40), "twice": torch.tensor([1])}
    torch.testing.assert_close(compiled.rebind(state)(x), x @ state["weight"] * 2)
    with pytest.raises(errors.WeightsMismatch, match=r"twice") as caught:
        compiled.rebind({**state, "twice": torch.tensor([0])})
    assert caught.value.locations[0].code.strip().startswith("return x @ self.weight * 2 if self.twice[0] == 1")
    model.twice.zero_()
    with pytest.raises(errors.WeightsMismatch):
        compiled.rebind()


NO_STATES: dict[str, tuple[Any, str]] = {
    "missing": ({"weight": torch.zeros(48, 48)}, "lacks bias"),
    "unknown": ({"weight": torch.zeros(48, 48), "bias": torch.zeros(48), "gain": torch.zeros(1)}, "has no gain"),
    "shape": ({"weight": torch.zeros(48, 48), "bias": torch.zeros(47)}, r"bias has shape \[47\]"),
    "no tensor": ({"weight": 3, "bias": torch.zeros(48)}, "weight is a int"),
    "sparse": ({"weight": torch.zeros(48, 48).to_sparse(), "bias": torch.zeros(48)}, "weight is sparse"),
    "no state dict": (3, "a int is no state dict"),
}


@pytest.mark.parametrize("case", NO_STATES)
def test_what_does_not_fit(case: str) -> None:
    _, compiled, x = linear()
    before, (state, message) = compiled(x), NO_STATES[case]
    with pytest.raises(errors.WeightsMismatch, match=message):
        compiled.rebind(state)
    assert torch.equal(compiled(x), before), "nothing has changed"


def test_tied_weights_stay_one() -> None:
    model, (ids,), _ = tied()
    compiled = fxonnx.compile(model, ids)
    table = torch.randn(40, 32)
    torch.testing.assert_close(compiled.rebind({"table.weight": table})(ids), table[ids] @ table.T)
    with pytest.raises(errors.WeightsMismatch, match=r"table\.weight and head\.weight differ"):
        compiled.rebind({"table.weight": table, "head.weight": table + 1})


def test_an_exchanged_module_may_compute_differently() -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 3))
    compiled = fxonnx.compile(model, torch.randn(1, 4, 9))
    model[0] = nn.Conv1d(4, 4, 3, padding=1)
    with pytest.raises(errors.ModelChanged):
        compiled.rebind()


def test_packed_weights_are_not_rebound() -> None:
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8)), {nn.Linear})
    compiled = fxonnx.compile(model, torch.randn(2, 8))
    with pytest.raises(errors.Failures, match="packed by its module"):
        compiled.rebind(model.state_dict())
