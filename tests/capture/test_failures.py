"""What goes wrong while capturing: errors of ours with the user's line, cause and cure, and nothing left behind."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.capture.interpret import run
from tests.capture.test_capture import Net
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture
from fxonnx.capture.locate import is_layers, is_users, user_line
from fxonnx.capture.state.as_found import TALKATIVE

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


def loops(x: Tensor) -> Tensor:
    for turn in range(int(x.max())):
        x = x + 1 if turn % 2 else x / 2
    return x


def numpy_inside(x: Tensor) -> Tensor:
    return torch.from_numpy(np.interp(x.numpy(), [0.0, 1.0], [0.0, 2.0]))


def wrong_shapes(x: Tensor) -> Tensor:
    return x @ x


def unguarded(x: Tensor) -> Tensor:
    return x[x > 0].view(-1, 2)[0]


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        (loops, errors.DataDependentControlFlow, "for turn in range(int(x.max())):"),
        (numpy_inside, errors.CaptureRefused, "return torch.from_numpy(np.interp(x.numpy(), [0.0, 1.0], [0.0, 2.0]))"),
        (wrong_shapes, errors.ModelRaised, "return x @ x"),
    ],
)
def test_a_failure_names_the_users_line(
    model: Any, kind: type[errors.Error], code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(kind) as caught:
        capture(model, X)
    (location,) = caught.value.locations
    assert (location.file, location.code, location.function) == (__file__, code, model.__name__)
    assert caught.value.__cause__ is not None
    assert caught.value.cure
    assert "".join(capfd.readouterr()) == "", "torch prints nothing of it"


@pytest.mark.parametrize(
    ("model", "args", "kind"),
    [
        (3, (X,), errors.NotAModel),
        (Net, (X,), errors.NotAModel),
        ({"a": X}, (X,), errors.NotAModel),
        (Net(), (), errors.InputMismatch),
        (Net(), (X, X, X, X), errors.InputMismatch),
    ],
)
def test_bad_arguments(model: Any, args: tuple[Any, ...], kind: type[errors.Error]) -> None:
    with pytest.raises(kind):
        capture(model, args)


def test_keyboard_interrupt_passes() -> None:
    def model(x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(model, X)


def test_unknown_words_are_refused() -> None:
    with pytest.raises(errors.InvalidOption, match="mode"):
        capture(Net(), X, mode="evaluate")


def test_splitting_at_data() -> None:
    def model(x: Tensor, at: Tensor) -> list[Tensor]:
        return [each + 1 for each in torch.tensor_split(x, at)]

    at = torch.tensor([1, 3])
    program = capture(model, (torch.ones(6, 2), at))
    assert [info.name[0] for info in program.symbols.values()] == ["u"] * len(program.symbols)
    torch.testing.assert_close(run(program, (torch.ones(6, 2), at))[0], model(torch.ones(6, 2), at))


def test_an_interrupt_passes_and_everything_is_restored() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.bn = nn.Linear(3, 3), nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            self.bn(self.fc(x))
            raise KeyboardInterrupt

    def surroundings() -> tuple[Any, ...]:
        return (
            torch.is_grad_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
            torch._C._len_torch_dispatch_stack(),
            torch._C._len_torch_function_stack(),
            [list(logging.getLogger(name).filters) for name in TALKATIVE],
            [logging.getLogger(name).level for name in TALKATIVE],
        )

    model = Model().train()
    held = [id(each) for each in (*model.parameters(), *model.buffers())]
    contents = [each.clone() for each in model.state_dict().values()]
    before = surroundings()
    with pytest.raises(KeyboardInterrupt):
        capture(model, X, dynamic_shapes={"x": {0: "n"}})
    assert surroundings() == before
    assert [id(each) for each in (*model.parameters(), *model.buffers())] == held
    torch.testing.assert_close(list(model.state_dict().values()), contents)
    assert all(module.training for module in model.modules())


def test_the_cure_for_what_wants_a_plain_number_works() -> None:
    def model(x: Tensor) -> Tensor:
        return x * {3: 2.0}[x.shape[0]]

    x = torch.ones(3)
    with pytest.raises(errors.FrozenDimension) as caught:
        capture(model, (x,), dynamic_shapes={"x": {0: "n"}})
    assert "static" in caught.value.cure
    torch.testing.assert_close(run(capture(model, (x,)), (x,))[0], model(x))


@pytest.mark.parametrize("layer", [nn.LazyLinear(4), nn.LazyBatchNorm1d()])
def test_the_cure_for_a_lazy_layer_works(layer: nn.Module) -> None:
    model = nn.Sequential(layer).eval()
    with pytest.raises(errors.CaptureRefused, match="without sizes") as raised:
        capture(model, (X,))
    assert "call model(*example_inputs) once" in raised.value.cure
    expected = model(X)
    torch.testing.assert_close(run(capture(model, (X,)), (X,))[0], expected)


# ── whose a line is ──

TORCH = Path(torch.__file__).parent
SOURCE = """
def counted(index, weight):
    size = int(index.max()) + 1
    if size > 9:
        raise ValueError("too many rows")
    return weight[:size] * 2
"""


@pytest.mark.parametrize("package", ["torch_geometric", "torchvision", "torchmetrics", "torch_nn", "timm"])
def test_packages_beside_torch_are_users(package):
    file = str(TORCH.with_name(package) / "ops.py")
    trace = f'File "{file}", line 3, in f\n    x + 1\nFile "{TORCH}/_tensor.py", line 5, in g\n    y\n'
    assert is_users(file) and not is_layers(file)
    assert user_line(trace).file == file


@pytest.mark.parametrize("file", ["_tensor.py", "nn/modules/linear.py", "fx/graph.py"])
def test_torchs_own_files_are_not(file):
    assert not is_users(str(TORCH / file)) and is_layers(str(TORCH / file)) == file.startswith("nn/")


def beside_torch(source: str, name: str) -> object:
    """A function of a package that is installed beside torch, and whose name begins like torch's."""
    names: dict[str, object] = {"__name__": "torch_rows"}
    exec(compile(source, str(TORCH.with_name("torch_rows") / "rows.py"), "exec"), names)
    return names[name]


def test_what_a_package_beside_torch_raises_is_a_check():
    counted = beside_torch(SOURCE, "counted")
    weight = torch.randn(20, 3)
    compiled = fxonnx.compile(counted, (torch.tensor([1, 4, 2]), weight), dynamic_shapes={"index": {0: "n"}})
    for index in ([0], [3, 8, 1, 1], [5, 5]):
        torch.testing.assert_close(compiled(torch.tensor(index), weight), counted(torch.tensor(index), weight))
    with pytest.raises(fxonnx.errors.Error, match="too many rows"):
        compiled(torch.tensor([2, 12]), weight)
