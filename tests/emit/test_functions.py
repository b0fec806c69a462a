"""Modules as functions of the file: equal ones share one, and any runtime computes the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture.modules import modules_of


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.attention, self.fc = nn.LayerNorm(width), Attention(width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc(nn.functional.gelu(self.attention(self.norm(x))))


class Branch(nn.Module):
    """An If of the file, which reads values from around it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        return y * x if y.sum() > 0 else y - self.fc.bias


class Net(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(width) for _ in range(2))
        self.branches = nn.Sequential(Branch(width), Branch(width))
        self.again = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.again(layer(x))
        return self.branches(x)


MODEL = Net().eval()
X = torch.randn(2, 3, 8)


def called(file: onnx.ModelProto) -> dict[str, int]:
    """How many nodes each function has."""
    return {each.name: len(each.node) for each in file.functions}


@cache
def compiled_at(opset: int | None) -> fxonnx.Compiled:
    """The model, compiled once for all choices of functions."""
    return fxonnx.compile(MODEL, X, opset=opset, dynamic_shapes={"x": {0: "n", 1: "m"}})


@pytest.mark.parametrize("opset", [None, 13])
@pytest.mark.parametrize(("functions", "expected"), [
    ([Block], {"Block"}), (["Block", Attention], {"Block", "Attention"}), ([Branch], {"Branch"}),
    ("all", {"Block", "Attention", "LayerNorm", "Linear", "Branch", "Sequential"}), ([nn.Linear], {"Linear"}),
])  # fmt: skip
def test_equal_modules_share_a_function(functions: Any, expected: set[str], opset: int | None, tmp_path: Path) -> None:
    compiled = compiled_at(opset)
    compiled.functions = modules_of(MODEL, functions)
    file = compiled.model_proto()
    onnx.checker.check_model(file, full_check=True)
    found = {name.partition("_")[0] for name in called(file)}
    assert expected <= found
    assert sum(name.startswith(("Block", "Branch", "Attention")) for name in called(file)) <= 3
    domains = {each.domain for each in file.functions}
    assert domains <= {each.domain for each in file.opset_import} and "" not in domains
    run = onnxruntime.InferenceSession(file.SerializeToString()).run
    compiled.save(tmp_path / "model.onnx", weights="external")
    loaded = fxonnx.load(tmp_path / "model.onnx")
    for shape in ((2, 3, 8), (1, 5, 8), (4, 2, 8)):
        x = torch.randn(shape)
        for result in (run(None, {"x": x.numpy()})[0], compiled(x), loaded(x)):
            np.testing.assert_allclose(result, MODEL(x).detach(), rtol=1e-3, atol=1e-5)


def test_a_function_is_read_without_its_calls() -> None:
    file = fxonnx.compile(MODEL, X, functions=[Block]).model_proto()
    (function,) = file.functions
    assert (function.domain, function.name) == (__name__, "Block")
    assert {"norm.weight", "fc.bias", "attention.qkv.bias"} <= set(function.input)
    assert all(node.name.split("/")[0] in ("norm", "fc", "attention.qkv", "attention.out", "attention", node.name)
               for node in function.node)  # fmt: skip
    said = {each.key: each.value for node in function.node for each in node.metadata_props}
    assert "fxonnx.line" in said and "fxonnx.module" not in said and "fxonnx.node" not in said
    calls = [node for node in file.graph.node if node.op_type == "Block"]
    assert [each.name for each in calls] == ["layers.0", "layers.1"]
    assert {"layers.0.norm.weight", "layers.1.norm.weight"} <= {each.name for each in file.graph.initializer}


def test_a_module_that_is_called_around_others_stays() -> None:
    """Its nodes cannot run at one point; the modules in it can."""

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.block = nn.Tanh(), Block(8)

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.block(self.act(x)))

    model = nn.Sequential(Around(), Around()).eval()
    compiled = fxonnx.compile(model, X, functions=[nn.Tanh, Block])
    assert list(called(compiled.model_proto())) == ["Block"]
    torch.testing.assert_close(compiled(X), model(X))


def test_classes_that_there_are_none_of() -> None:
    there = "Attention, Block"
    for wrong, words in (([nn.Conv2d], there), (["Blocks"], there), ("Block", '"all"'), (3, '"all"')):
        with pytest.raises(errors.InvalidOption) as caught:
            fxonnx.compile(MODEL, X, functions=wrong)
        assert words in str(caught.value)


def test_torchs_name_for_it() -> None:
    for asked in (True, {Block}):
        assert "Block" in called(fxonnx.compat.export(MODEL, X, export_modules_as_functions=asked).model_proto())
