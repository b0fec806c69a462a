"""Several graphs of one model in one file: an If on the sizes of its inputs; each computes what PyTorch does."""

from itertools import product
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fxonnx
from fxonnx import dtypes
from fxonnx.errors import CallMismatch
from fxonnx.ir.build import Builder
from fxonnx.ir.dims import symbol
from fxonnx.ir.types import TensorType
from fxonnx.passes.ways import NoWay, Way, with_ways


class Positions(nn.Module):
    """A table of positions that is resized, but for the size that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.linear = nn.Parameter(torch.randn(1, 3, 6)), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == self.table.shape[2]:
            return self.linear(x + self.table.transpose(1, 2)) * 2
        return self.linear(x + F.interpolate(self.table, size=x.shape[1]).transpose(1, 2))


class Early(nn.Module):
    """Does nothing at all at one size."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[1] == 6 else self.linear(x)


class Padded(nn.Module):
    """Pads to whole windows, where it has to."""

    def forward(self, x: Tensor) -> Tensor:
        rest = x.shape[1] % 4
        x = F.pad(x, (0, 0, 0, 4 - rest)) if rest else x + 1
        return x.unflatten(1, (-1, 4)).sum(2)


def agrees(model: Any, compiled: fxonnx.Compiled, path: Any, sizes: Any, **options: Any) -> onnx.ModelProto:
    """Whether the compiled model, and the file in a session of its own, are right at these sizes."""
    compiled.save(path, **options)
    session = onnxruntime.InferenceSession(path)
    for size in sizes:
        x = torch.randn(*size, 3)
        expected = model(x).detach()
        torch.testing.assert_close(compiled(x).detach(), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], expected, rtol=1e-4, atol=1e-5)
    return onnx.load(path)


@pytest.mark.parametrize("kind", [Positions, Early])
@pytest.mark.parametrize("batch", [2, 1])
def test_the_file_has_the_way_of_its_example(kind, batch, tmp_path):
    torch.manual_seed(0)
    model = kind().eval()
    compiled = fxonnx.compile(model, torch.randn(batch, 6, 3), dynamic_shapes={"x": {0: "b", 1: "n"}})
    sizes = [(batch, 6), (2, 9), (3, 6), (1, 6), (1, 4), (4, 12)]
    written = agrees(model, compiled, tmp_path / "model.onnx", sizes)
    assert [node.op_type for node in written.graph.node].count("If") == 1
    assert "a way of its own for n == 6" in written.doc_string
    weights = [each for each in written.graph.initializer if list(each.dims) == [3, 3]]
    assert len(weights) <= 2  # shared; one way may have it transposed


def test_the_file_has_the_ways_of_calls_where_it_is_asked_to(tmp_path):
    model = Padded()
    compiled = fxonnx.compile(model, torch.randn(2, 6, 3), dynamic_shapes={"x": {0: "b", 1: "n"}})
    compiled(torch.randn(2, 8, 3))
    assert not [node for node in compiled.model_proto().graph.node if node.op_type == "If"]
    written = agrees(model, compiled, tmp_path / "model.onnx", [(2, 6), (2, 8), (3, 12), (3, 9)], ways=True)
    assert "a way of its own for n % 4 == 0" in written.doc_string


def test_a_size_of_one_is_a_way_too(tmp_path):
    def last_two(x):
        return x[:, -2:].flip(1) if x.shape[1] > 1 else x * 5

    compiled = fxonnx.compile(last_two, torch.randn(2, 6, 3), dynamic_shapes={"x": {1: "n"}})
    compiled(torch.randn(2, 1, 3))
    agrees(last_two, compiled, tmp_path / "model.onnx", [(2, 6), (2, 1), (2, 2)], ways=True)


def test_a_way_of_another_rank_is_left_out_and_said_so():
    def ranks(x):
        return x.sum(0) if x.shape[0] == 6 else x * 2

    compiled = fxonnx.compile(ranks, torch.randn(6, 3), dynamic_shapes={"x": {0: "n"}})
    for size in (6, 4):
        x = torch.randn(size, 3)
        torch.testing.assert_close(compiled(x), ranks(x))
    written = compiled.model_proto()
    assert "Holds for n != 6. Holds for n = 1 as well. Has no way for other sizes" in written.doc_string


def one_row(x):
    """A way of its own for one row, in which a size of 1 makes a difference."""
    return x + (1 if x.shape[1] > 1 else 10) if x.shape[0] == 1 else x * 2


def one_row_alike(x):
    """A way of its own for one row, in which a size of 1 makes none."""
    return x + 1 if x.shape[0] == 1 else x * 2


def many_rows(x):
    """A way of its own for many rows, in which a size of 1 makes a difference."""
    return x + (1 if x.shape[1] > 1 else 10) if x.shape[0] > 4 else x * 2


def written(x):
    """What is written reaches the result where m is 1: the reshape is a view there. The data decides as well."""
    z = x[:, None, None] * torch.ones(3, 4, 1)
    first = x.flatten()[0]
    seen = z.transpose(-1, 2).reshape(x.shape[0], -1)
    z[0:1] = 5
    return seen + z.flatten(1) + first[first > 0.5].sum()


@pytest.mark.parametrize("example", [(1, 3), (3, 3), (6, 3)])
@pytest.mark.parametrize("model", [one_row, one_row_alike, many_rows, written])
def test_a_file_is_right_wherever_it_says_that_it_holds(model, example, tmp_path):
    sizes = [torch.rand(n, m) for n, m in product((1, 2, 6), (2, 1))]
    compiled = fxonnx.compile(model, torch.rand(example), dynamic_shapes={"x": {0: "n", 1: "m"}})
    files = [saved(compiled, tmp_path)]
    for x in sizes:
        torch.testing.assert_close(compiled(x), model(x))
    files += [saved(compiled, tmp_path, ways=True), saved(compiled, tmp_path, ways=True, guards="in file")]
    for (loaded, session), x in product(files, sizes):
        try:
            result = loaded(x)
        except CallMismatch:
            continue
        torch.testing.assert_close(result, model(x))
        np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], model(x))
    for x in sizes:
        torch.testing.assert_close(files[-1][0](x), model(x))  # it has what calls took


def test_the_way_of_the_example_is_asked_about_sizes_of_one(tmp_path):
    compiled = fxonnx.compile(one_row_alike, torch.rand(1, 3), dynamic_shapes={"x": {0: "n", 1: "m"}})
    loaded, session = saved(compiled, tmp_path)
    x = torch.rand(1, 1)
    torch.testing.assert_close(loaded(x), x + 1)
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], x + 1)


def saved(compiled: fxonnx.Compiled, folder: Any, **options: Any) -> tuple[Any, Any]:
    """The file, as it is loaded and in a session of its own."""
    path = folder / f"{len(options)}.onnx"
    compiled.save(path, **options)
    return fxonnx.load(path), onnxruntime.InferenceSession(path)


def test_same_model_same_bytes():
    model, x = Positions().eval(), torch.randn(2, 6, 3)
    files = [fxonnx.compile(model, x, dynamic_shapes={"x": {0: "b", 1: "n"}}).model_proto() for _ in range(2)]
    assert files[0].SerializeToString(deterministic=True) == files[1].SerializeToString(deterministic=True)


def test_ways_of_other_ranks_are_none():
    def graph(axes):
        op = Builder()
        x = op.input(TensorType(dtypes.FLOAT32, (symbol("n"), 2)), "x")
        return op.finish([op.Unsqueeze(x, axes) if axes else op.Neg(x)], ["y"])

    with pytest.raises(NoWay, match="one value"):
        with_ways(graph([]), [Way([[(symbol("n"), "==", 3)]], graph([0]))])
    with pytest.raises(NoWay, match="tells"):
        with_ways(graph([]), [Way([[(symbol("m"), "==", 3)]], graph([]))])


def test_ways_and_guards_read_sizes_that_inputs_have_in_multiples(tmp_path: Any) -> None:
    def model(x: Tensor) -> Tensor:
        return x.relu() if x.shape[1] < 40 else x * 2

    x = torch.randn(2, 16)
    compiled = fxonnx.compile(model, (x,), dynamic_shapes={"x": {0: "b", 1: "3*s + 4"}})
    path = tmp_path / "model.onnx"
    compiled.save(path, guards="in file")
    assert np.array_equal(onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})[0], model(x))
    with pytest.raises(Exception, match="holds_for"):
        onnxruntime.InferenceSession(path).run(None, {"x": torch.randn(2, 64).numpy()})
    compiled(y := torch.randn(2, 64))
    compiled.save(path, ways=True)
    for each in (x, y):
        assert np.array_equal(onnxruntime.InferenceSession(path).run(None, {"x": each.numpy()})[0], model(each))
