"""Loops over the chunks of a dynamic size: as many of as many elements as torch makes, at every size."""

import math
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fxonnx

SIZES = (20, 1, 2, 3, 5, 6, 9, 10, 11, 17, 40)


class Ghosts(nn.Module):
    """What is done to chunks of at most four rows. Hoffer et al. 2017, ghost batches"""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.norm, self.whole = nn.BatchNorm1d(3), whole

    def forward(self, x: Tensor) -> Tensor:
        return self.whole(self, x.chunk(math.ceil(x.shape[0] / 4)))


def joined(self: Any, chunks: Any) -> Tensor:
    return torch.cat([self.norm(each) for each in chunks])


def centred(_: Any, chunks: Any) -> Tensor:
    return torch.cat([(each - each.mean(0)) / each.shape[0] for each in chunks])


def of_means(_: Any, chunks: Any) -> Tensor:
    return torch.stack([each.mean(0) for each in chunks])


def twice(self: Any, chunks: Any) -> Tensor:
    once = torch.cat([self.norm(each) for each in chunks])
    return joined(self, torch.sigmoid(once).chunk(math.ceil(once.shape[0] / 4)))


@pytest.mark.parametrize("whole", [joined, centred, of_means, twice])
def test_chunks_are_as_many_and_as_long_as_torch_makes_them(whole, tmp_path):
    model = Ghosts(whole).eval()
    compiled = fxonnx.compile(model, (torch.randn(20, 3),), dynamic_shapes={"x": {0: "n"}})
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for size in SIZES:
        x = torch.randn(size, 3)
        with torch.no_grad():
            expected = model(x)
        torch.testing.assert_close(compiled(x), expected)
        if size > 1:
            (actual,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
            torch.testing.assert_close(torch.from_numpy(actual), expected)


def test_the_size_of_joined_chunks_is_that_of_what_they_were():
    compiled = fxonnx.compile(Ghosts(twice).eval(), (torch.randn(20, 3),), dynamic_shapes={"x": {0: "n"}})
    assert [str(each) for each in compiled.graph.outputs[0].type.shape] == ["n", "3"]
