"""Loops over the chunks of a dynamic size: as many of as many elements as torch makes, at every size."""

import math
from pathlib import Path
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


def scanned(x: Tensor) -> tuple[Tensor, Tensor]:
    """A state-space model by chunks, the last of which is shorter: it decays by as many steps as each has."""
    h, outputs = x.new_zeros(x.shape[0], 3), []
    for at in range(0, x.shape[1], 8):
        chunk = x[:, at : at + 8]
        decay = 0.5 ** torch.arange(1, chunk.shape[1] + 1)[:, None]
        outputs.append(chunk.cumsum(1) + decay * h[:, None])
        h = outputs[-1][:, -1]
    return torch.cat(outputs, 1), h


def narrowed(x: Tensor) -> Tensor:
    steps = x.shape[1]
    return torch.cat([x.narrow(1, at, min(7, steps - at)).softmax(1) for at in range(0, steps, 7)], 1)


@pytest.mark.parametrize("function", [scanned, narrowed])
def test_what_is_computed_of_the_sizes_of_chunks(function, tmp_path):
    compiled = fxonnx.compile(function, (torch.randn(2, 20, 3),), dynamic_shapes={"x": {1: "t"}})
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for size in SIZES:
        x = torch.randn(2, size, 3)
        expected = function(x)
        torch.testing.assert_close(compiled(x), expected)
        if size > 1:
            actual = list(map(torch.from_numpy, session.run(None, {session.get_inputs()[0].name: x.numpy()})))
            torch.testing.assert_close(actual, list(expected) if isinstance(expected, tuple) else [expected])


def test_the_size_of_joined_chunks_is_that_of_what_they_were():
    compiled = fxonnx.compile(Ghosts(twice).eval(), (torch.randn(20, 3),), dynamic_shapes={"x": {0: "n"}})
    assert [str(each) for each in compiled.graph.outputs[0].type.shape] == ["n", "3"]


def rows_that_grow(x: Tensor) -> Tensor:
    mask = torch.zeros(x.shape[0], x.shape[0])
    for row in range(x.shape[0]):
        mask[row, : row + 1] = 1
    return mask @ x


def chunks_that_end(x: Tensor) -> Tensor:
    starts = range(0, x.shape[0], 4)
    return torch.cat([x[start : min(start + 4, x.shape[0])].cumsum(0) for start in starts])


@pytest.mark.parametrize("function", [rows_that_grow, chunks_that_end], ids=lambda each: each.__name__)
def test_slices_that_grow_or_end(function: Any) -> None:
    compiled = fxonnx.compile(function, (torch.rand(8, 3),), dynamic_shapes={"x": {0: "n"}})
    for rows in (8, 1, 2, 5, 13, 30):
        x = torch.rand(rows, 3)
        torch.testing.assert_close(compiled(x), function(x))


LONG = 40  # more than the sizes at which a model with an example of 5 is run


def by_range(x: Tensor) -> Tensor:
    return torch.cat([x[start : start + LONG].cumsum(0) for start in range(0, x.shape[0], LONG)])


def by_the_length_of_a_range(x: Tensor) -> Tensor:
    return x * len(range(0, x.shape[0], LONG))


def backwards_by_range(x: Tensor) -> Tensor:
    return sum((x[at] for at in range(x.shape[0] - 1, -1, -LONG)), torch.zeros(3))


def by_every_fortieth_row(x: Tensor) -> Tensor:
    found = x.mean(0)
    for _ in x[::LONG]:
        found = found * 2
    return found


@pytest.mark.parametrize("model", [by_range, by_the_length_of_a_range, backwards_by_range, by_every_fortieth_row])
def test_chunks_that_are_longer_than_the_example(model: Any) -> None:
    """All runs that are compared go through one chunk: how many there are is asked of every size all the same."""
    compiled = fxonnx.compile(model, torch.randn(5, 3), dynamic_shapes={"x": {0: "n"}})
    for n in (5, 1, LONG, LONG + 1, 3 * LONG):
        x = torch.randn(n, 3)
        torch.testing.assert_close(compiled(x), model(x))


def by_many_rays(x: Tensor) -> Tensor:
    return torch.cat([x[at : at + 1024].softmax(0) for at in range(0, x.shape[0], 1024)])


def by_parts_of_twice_as_many(x: Tensor) -> Tensor:
    twice = x.repeat(2, 1)
    return torch.cat([twice[at : at + 700].softmax(0) for at in range(0, twice.shape[0], 700)])


@pytest.mark.parametrize("model", [by_many_rays, by_parts_of_twice_as_many])
def test_one_file_has_as_many_long_chunks_as_there_are(model: Any, tmp_path: Path) -> None:
    compiled = fxonnx.compile(model, torch.rand(100, 3), dynamic_shapes={"x": {0: "n"}})
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for n in (100, 350, 351, 1024, 1025, 5000):
        x = torch.rand(n, 3)
        torch.testing.assert_close(compiled(x), model(x))
        (actual,) = session.run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(actual), model(x))


def in_one_part(x: Tensor) -> Tensor:
    return torch.cat([part.softmax(0) for part in x.split(1024)])


def test_how_many_parts_a_long_split_makes_is_a_decision() -> None:
    compiled = fxonnx.compile(in_one_part, torch.rand(100, 3), dynamic_shapes={"x": {0: "n"}})
    for n in (100, 1, 1024, 1025, 3000):
        x = torch.rand(n, 3)
        torch.testing.assert_close(compiled(x), in_one_part(x))
