"""What stands in the model itself, and what outside of it."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch

import fxonnx
from fxonnx.emit.onnx import emit
from fxonnx.errors import TooLarge
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_if
from fxonnx.ir.graph import Graph
from fxonnx.ir.types import parse_type
from fxonnx.runtime.session import Session


def test_the_sizes_of_a_split_stand_in_the_model_however_many(tmp_path: Path) -> None:
    def many_parts(x: torch.Tensor) -> torch.Tensor:
        parts = x.split([1] * 298 + [2])
        return parts[1] + parts[-1]

    x = torch.randn(300, 2)
    compiled = fxonnx.compile(many_parts, (x,), optimize=False)
    assert torch.equal(compiled(x), many_parts(x))
    path, *_ = compiled.save(tmp_path / "model.onnx", weights="external")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert torch.equal(torch.from_numpy(session.run(None, {"x": x.numpy()})[0]), many_parts(x))


def nested(depth: int) -> Graph:
    """x where a truth is false, else its negative, asked `depth` times, each in the branch of the one before."""
    op = Builder()
    x, truth = op.input(parse_type("f32[n,2]"), "x"), op.input(parse_type("b8[]"), "truth")

    def turned(op: Builder, level: int) -> list[Tensor]:
        if level == depth:
            return [op.Neg(op.use(x.value))]
        return list(record_if(op, op.use(truth.value), lambda op: turned(op, level + 1), lambda op: [op.Abs(x)]))

    return op.finish(turned(op, 0), ["y"])


def test_branches_stand_one_in_another_as_deep_as_parsers_read() -> None:
    session = Session(emit(nested(31)).proto, {})
    x = torch.randn(3, 2)
    assert torch.equal(session.run([x, torch.tensor(True)])[0], -x)
    with pytest.raises(TooLarge, match="more than 31 branches"):
        emit(nested(32))
