"""The ways in which people fail most often. What they are told is in `golden/failures.txt`, to be read in review:
`pytest tests/failures --update-golden` writes it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import dtypes, errors

GOLDEN = Path(__file__).parents[1] / "golden" / "failures.txt"
X = torch.ones(2, 3)
BATCH = {"x": {0: "batch"}}


class Net(nn.Module):
    """A layer and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor, n: int = 2) -> Tensor:
        return self.fc(x) * n


@dataclass
class Batch:
    """What a loader gives."""

    x: Any


@torch.library.custom_op("failures::fancy", mutates_args=())
def fancy(x: Tensor) -> Tensor:
    return x * 2


@fancy.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def plus(x: Tensor) -> Tensor:
    return x + 1


def masked(ids: Tensor, attention_mask: Tensor) -> Tensor:
    return ids * attention_mask


def branching(x: Tensor) -> Any:
    return (x, x + 1) if x.sum() > 0 else x


def fixed(x: Tensor) -> Tensor:
    return x.reshape(2, 3) + 1


def checking(x: Tensor) -> Tensor:
    assert (x >= 0).all(), "negative"
    return x.sqrt()


def wrong_lowering(op: Any, self: Any, *, approximate: str = "none") -> Any:
    return op.Cast(op.Gelu(self, approximate=approximate), to=dtypes.FLOAT64)


def twice(op: Any, self: Any, *, approximate: str = "none") -> Any:
    return op.Gelu(self, approximate=approximate) * 2.0


@fxonnx.rule
class misnamed:
    """x ── Relu ─▶   becomes   y ── Relu ─▶"""

    def before(op, x):  # noqa: N805
        return op.Relu(x)

    def after(op, y):  # noqa: N805
        return op.Relu(y)


@fxonnx.rule
class widening:
    """x ── Relu ─▶   becomes   x ── Cast ─▶"""

    def before(op, x):  # noqa: N805
        return op.Relu(x)

    def after(op, x):  # noqa: N805
        return op.Cast(x, to=dtypes.FLOAT64)


def infinite(op: Any, self: Any, *, approximate: str = "none") -> Any:
    return op.Gelu(self, approximate=approximate) / 0.0


def without_its_weights() -> None:
    compiled(nn.Linear(64, 64), torch.ones(1, 64)).save("model.onnx", weights="external")
    for data in Path().glob("*.data"):
        data.unlink()
    try:
        fxonnx.load("model.onnx")
    finally:
        Path("model.onnx").unlink()


def compile(model: Any = plus, *args: Any, **options: Any) -> Any:
    return lambda: fxonnx.compile(model, *(args or (X,)), **options)


def compiled(model: Any = plus, *args: Any, **options: Any) -> fxonnx.Compiled:
    return fxonnx.compile(model, *(args or (X,)), **options)


def changed() -> None:
    model = Net()
    ready = fxonnx.compile(model, X)
    with torch.no_grad():
        model.fc.weight.mul_(2)
    ready(X)


FAILURES: dict[str, Callable[[], object]] = {
    "a class in the place of a model": compile(Net),
    "a state_dict in the place of a model": compile(Net().state_dict()),
    "the path in the place of keywords, as torch.onnx has it": compile(plus, X, "model.onnx"),
    "an array in the place of a tensor": compile(plus, X.numpy()),
    "a dict in the place of a tuple": compile(plus, {"x": X}),
    "an argument is missing": compile(masked, X),
    "an argument too many": compile(plus, (X, X)),
    "an input of the wrong size": compile(Net(), torch.ones(2, 5)),
    "a call on another device": lambda: compiled()(X.to("meta")),
    "a quantized input": compile(plus, torch.quantize_per_channel(X, torch.ones(2), torch.zeros(2), 0, torch.qint8)),
    "a sparse input": compile(plus, X.to_sparse()),
    "dynamic_shapes of a name that is no input": compile(plus, X, dynamic_shapes={"input": {0: "batch"}}),
    "dynamic_shapes of an axis that there is not": compile(plus, X, dynamic_shapes={"x": {2: "batch"}}),
    "dynamic_shapes with one name for two sizes": compile(plus, X, dynamic_shapes={"x": {0: "n", 1: "n"}}),
    "dynamic_shapes as a list of axes": compile(plus, X, dynamic_shapes={"x": [0]}),
    "dynamic_shapes as a word": compile(plus, X, dynamic_shapes="batch"),
    "a dim that freezes": compile(fixed, X, dynamic_shapes=BATCH),
    "an op without a lowering": compile(lambda x: torch.ops.failures.fancy(x) + 1),
    "an opset that is too old for an op": compile(lambda x: torch.unique(x.long()), X, opset=10),
    "an opset that there is not": compile(plus, X, opset=99),
    "an opset as text": compile(plus, X, opset="17"),
    "a target as text": compile(plus, X, target="openvino"),
    "an option of torch.onnx's": compile(plus, X, opset_version=17),
    "a misspelt option": compile(plus, X, dynamic_shape=BATCH),
    "a mode that there is not": compile(plus, X, mode="evaluate"),
    "a branch that returns something else": compile(branching),
    "a lowering of a wrong dtype": compile(nn.GELU(), X, lowerings={"aten.gelu": wrong_lowering}),
    "a lowering of no op": compile(plus, X, lowerings={"add": plus}),
    "two names for one": compile(lambda x, y: x + y, (X, X), input_names=["a", "a"]),
    "too many names": compile(plus, X, output_names=["a", "b"]),
    "tensors in what cannot be opened": compile(lambda b: b.x + 1, ({X},)),
    "nothing is returned": compile(lambda x: None),
    "save into a directory": lambda: compiled().save("."),
    "save where there is no directory": lambda: compiled().save("missing/model.onnx"),
    "save with an option that there is not": lambda: compiled().save("m.onnx", external=True),
    "a call with another dtype": lambda: compiled()(X.double()),
    "a call of another size": lambda: compiled()(torch.ones(5, 3)),
    "a call with another number": lambda: compiled(Net())(X, 3),
    "a call with too many arguments": lambda: compiled()(X, X),
    "a call of a changed model": changed,
    "a call that the model refuses": lambda: compiled(checking)(-X),
    "an index out of range": lambda: compiled(nn.Embedding(4, 2), torch.tensor([1]))(torch.tensor([9])),
    "numbers that differ": lambda: compiled(nn.GELU(), X, lowerings={"aten.gelu": twice}).verify(X).check(),
    "numbers drawn at random": lambda: compiled(lambda x: x.sum() + torch.rand(())).verify(X).check(),
    "infinity in the file alone": lambda: compiled(nn.GELU(), X, lowerings={"aten.gelu": infinite}).verify(X).check(),
    "a rule that names nothing": compile(nn.ReLU(), X, rules=[misnamed]),
    "a rule of a wrong dtype": compile(nn.ReLU(), X, rules=[widening]),
    "a rule to switch off that there is not": compile(plus, X, optimize={"erf_gelus": False}),
    "an example beyond its own range": compile(plus, X, dynamic_shapes={"x": {0: torch.export.Dim("n", max=1)}}),
    "examples that are none": lambda: fxonnx.compile(plus, examples=[]),
    "a traced model and an argument of the wrong type": compile(torch.fx.symbolic_trace(plus), ("a",)),
    "text beside a tensor in the model": compile(lambda x: x + "a"),
    "save into an open file": lambda: compiled().save(io.BytesIO()),
    "a file without the file of its weights": without_its_weights,
    "a provider that is not installed": lambda: compiled().configure(providers=["CUDAExecutionProvider"])(X),
    "a file that there is not": lambda: fxonnx.load("missing.onnx"),
    "a verify with arrays of the wrong size": lambda: compiled().verify(np.ones((2, 4), np.float32)),
}


def told(ask: Callable[[], object]) -> str:
    """The text of the error, which has no paths of this machine in it."""
    torch.manual_seed(0)
    with pytest.raises(errors.Error) as caught:
        ask()
    for each in getattr(caught.value, "errors", (caught.value,)):
        assert each.what and each.cause and each.cure
    text = re.sub(r"(\S*/)?(\w+\.py):\d+", r"\2", str(caught.value))
    text = re.sub(r"(?<=max error )[0-9]\S*(?= absolute)", "…", text)
    text = re.sub(r" at 0x[0-9a-f]+|(?<= in )/\S*/|(?<=\.onnx)\.[0-9a-f]{16}", "", text)
    return re.sub(r"\d\.\d+(e-\d+)?(?= absolute| relative)", "…", text).strip()


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.*)\n", GOLDEN.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FAILURES)
def test_what_people_are_told(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    text = told(FAILURES[name])
    if request.config.getoption("--update-golden"):
        texts = {**(sections() if GOLDEN.exists() else {}), name: text}
        kept = [f"## {each}\n\n{texts[each]}\n" for each in FAILURES if each in texts]
        GOLDEN.write_text("\n".join(kept), encoding="utf-8")
    assert text == sections()[name]
    assert not list(tmp_path.iterdir())
