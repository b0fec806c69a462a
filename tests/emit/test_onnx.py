"""What stands in the model itself, and what outside of it."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import torch

import fxonnx


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
