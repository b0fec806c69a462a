"""A compiled model is the model of the moment it was compiled: after a change, whatever makes it, nothing is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import fxonnx
from fxonnx import errors
from fxonnx.capture import versions as capture_versions

X = torch.randn(2, 3, 8, 8)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 5))
    ).eval()


def optimizer_step(model: nn.Sequential) -> None:
    model(X).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def moving_average(model: nn.Sequential) -> None:
    for parameter in model.parameters():
        parameter.data.mul_(0.5).add_(0.1)


def exchanged_data(model: nn.Sequential) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data * 2


def by_numpy(model: nn.Sequential) -> None:
    model[2][1].weight.detach().numpy()[:] = 1.0


def loaded(model: nn.Sequential) -> None:
    model.load_state_dict(network().state_dict())


def assigned(model: nn.Sequential) -> None:
    model.load_state_dict(network().state_dict(), assign=True)


def statistics(model: nn.Sequential) -> None:
    model[1].running_var.mul_(3)


def another_module(model: nn.Sequential) -> None:
    model[2][1] = nn.Linear(8 * 36, 5)


def pruned(model: nn.Sequential) -> None:
    prune.l1_unstructured(model[2][1], "weight", 0.5)


CHANGES: dict[str, tuple[Callable[[nn.Sequential], object], str]] = {
    "optimizer": (optimizer_step, "0.weight"),
    "moving average": (moving_average, "0.weight"),
    "x.data =": (exchanged_data, "0.weight"),
    "numpy": (by_numpy, "2.1.weight"),
    "load_state_dict": (loaded, "0.weight"),
    "assign": (assigned, "0.weight"),
    "half": (nn.Module.half, "0.weight"),
    "running statistics": (statistics, "1.running_var"),
    "module": (another_module, "2.1"),
    "prune": (pruned, "2.1.weight"),
    "parametrized": (lambda model: parametrizations.weight_norm(model[0]), "0.weight"),
    "fewer": (lambda model: delattr(model[2][1], "bias"), "2.1.bias"),
}


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_is_an_error_at_save_and_at_call(change: str, used: bool, tmp_path: Path) -> None:
    model = network()
    compiled = fxonnx.compile(model, X)
    if used:
        compiled(X)
    make, name = CHANGES[change]
    make(model)
    for use in (lambda: compiled(X), lambda: compiled.save(tmp_path / "m.onnx"), compiled.model_proto, compiled.verify):
        with pytest.raises(errors.ModelChanged, match=rf"(: |, ){name}[, \n]") as caught:
            use()
        assert name.rpartition(".")[0] in [location.module for location in caught.value.locations]
        assert "compile again" in caught.value.cure
    assert not list(tmp_path.iterdir())


UNCHANGED: dict[str, Callable[[nn.Sequential], object]] = {
    "trained mode": nn.Module.train,
    "no gradients": lambda model: model.requires_grad_(False),
    "a backward pass": lambda model: model(X).sum().backward(),
    "a call": lambda model: model(X),
    "a copy": lambda model: optimizer_step(copy.deepcopy(model)),
    "saved": lambda model: model.state_dict(),
    "hooks": lambda model: model[0].register_forward_hook(lambda *_: None),
    "more modules": lambda model: model.append(nn.ReLU()),
}


@pytest.mark.parametrize("change", UNCHANGED)
def test_what_leaves_the_weights_alone_is_no_change(change: str) -> None:
    model = network()
    compiled, expected = fxonnx.compile(model, X), model(X).detach()
    for _ in range(2):
        UNCHANGED[change](model)
        torch.testing.assert_close(compiled(X), expected, rtol=1e-4, atol=1e-4)


def test_states_and_constants_of_functions() -> None:
    table = torch.arange(4.0)
    compiled = fxonnx.compile(lambda x: x + table, torch.ones(4))
    compiled(torch.ones(4))
    table += 1
    with pytest.raises(errors.ModelChanged, match="lifted_tensor"):
        compiled(torch.ones(4))

    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.count.add_(1)
            return x + self.count

    counter = Counter()
    counting = fxonnx.compile(counter, torch.ones(1))
    assert [counting(torch.ones(1)).item() for _ in range(3)] == [2, 3, 4]
    counter.count.zero_()  # a state is the model's of now, for the caller too
    assert counting(torch.ones(1)).item() == 2


def test_weights_that_torch_does_not_count() -> None:
    with torch.inference_mode():
        model = nn.Linear(3, 2)
    compiled = fxonnx.compile(model, torch.ones(1, 3))
    compiled(torch.ones(1, 3))
    with torch.inference_mode():
        model.weight.mul_(2)
    with pytest.raises(errors.ModelChanged, match="weight"):
        compiled(torch.ones(1, 3))


def test_a_check_asks_each_weight_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(50)))
    versions = fxonnx.compile(model, torch.ones(1, 4)).versions
    asked: list[Tensor] = []
    monkeypatch.setattr(capture_versions, "_address", lambda tensor: (asked.append(tensor), tensor.data_ptr())[1])
    versions.check()
    assert len(asked) == 100


@pytest.mark.parametrize("asked", ["save", "proto", "first call", "verify"])
def test_one_element_written_past_the_counter_is_a_change(asked: str, tmp_path: Path) -> None:
    for place in (0, 1, 4321, 8 * 36 * 100 - 1):
        model = nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 100)).eval()
        compiled = fxonnx.compile(model, (torch.rand(2, 8, 6, 6),))
        model[1].weight.data.view(-1)[place] += 1
        ask = {
            "save": lambda compiled=compiled: compiled.save(tmp_path / "m.onnx"),
            "proto": compiled.model_proto,
            "first call": lambda compiled=compiled: compiled(torch.rand(2, 8, 6, 6)),
            "verify": compiled.verify,
        }[asked]
        with pytest.raises(errors.ModelChanged, match=r"1\.weight"):
            ask()


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(3, 5).half(), torch.ones(3, 5).t(), torch.ones(7, 5)[:, 1:4], torch.ones(20).bfloat16()[1:],
     torch.ones(9, dtype=torch.bool), torch.ones(9, 9, dtype=torch.complex64), torch.ones(2, 3, 4, 5)[..., :3],
     torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last), torch.ones(3000)],
    ids=lambda tensor: f"{tensor.dtype}{list(tensor.shape)}",
)  # fmt: skip
def test_a_digest_knows_each_element(tensor: Tensor) -> None:
    digest, indices = capture_versions._digest(tensor), torch.ones(tensor.shape).nonzero().tolist()
    assert capture_versions._digest(tensor) == digest
    for index in indices[:: max(len(indices) // 50, 1)]:
        tensor[tuple(index)] = 0
        assert capture_versions._digest(tensor) != digest
        tensor[tuple(index)] = 1


def test_other_memory_with_the_same_elements_is_the_same_model(tmp_path: Path) -> None:
    model = network()
    compiled = fxonnx.compile(model, (X,))
    wanted = compiled(X)
    for _ in range(2):
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        assert torch.equal(compiled(X), wanted)
    compiled.save(tmp_path / "m.onnx")
    model[2][1].bias.data.add_(1)  # in the memory that it has now
    with pytest.raises(errors.ModelChanged, match=r"2\.1\.bias"):
        compiled(X)


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_other_memory_with_another_element_is_another_model(place: int) -> None:
    model = network()
    compiled = fxonnx.compile(model, (X,))
    weight = model[2][1].weight
    other = weight.data.clone()
    other.view(-1)[place] += 1e-3
    weight.data = other
    with pytest.raises(errors.ModelChanged):
        compiled(X)


@pytest.mark.parametrize("change", [
    lambda weight: weight.view(4, 6), lambda weight: weight.t().contiguous(), lambda weight: weight.t(),
    lambda weight: weight.view(1, 6, 4),
])  # fmt: skip
def test_other_memory_with_other_sizes_is_another_model(change: Callable[[Tensor], Tensor]) -> None:
    model = nn.Linear(4, 6)
    nn.init.ones_(model.weight)
    x = torch.randn(2, 4)
    compiled = fxonnx.compile(model, (x,))
    model.weight.data = change(model.weight.data.clone())
    with pytest.raises(errors.ModelChanged):
        compiled(x)


@pytest.mark.parametrize("change", [Tensor.t, lambda weight: weight.view(2, 8), lambda weight: weight[:2]])
@pytest.mark.parametrize("moved", [False, True])
def test_the_same_elements_in_another_layout_are_another_model(
    tmp_path: Path, change: Callable[[Tensor], Tensor], moved: bool
) -> None:
    model = nn.Linear(4, 4)
    compiled = fxonnx.compile(model, (torch.randn(2, 4),))
    model.weight.data = change(model.weight.data.clone() if moved else model.weight.data)
    with pytest.raises(errors.ModelChanged, match="weight"):
        compiled.save(tmp_path / "m.onnx")
