"""Loops over one size inside of loops over another, and one after the other: Loops in the file, one in the other."""

import ast

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx import errors
from fxonnx.capture.tracer.loops.lengths.counters import compares_counters
from fxonnx.capture.tracer.loops.rolled import RolledRun

SIZES = [(4, 6), (2, 3), (3, 2), (9, 4), (15, 16)]
ONES = [(1, 1), (1, 5), (5, 1)]  # of which a file holds for none
BOTH = {"x": {0: "n", 1: "m"}}


def each_cell(x: Tensor) -> Tensor:
    return torch.stack([torch.stack([x[i, j].tanh() for j in range(x.shape[1])]) for i in range(x.shape[0])])


def a_state_in_each_row(x: Tensor) -> Tensor:
    total = x.new_zeros(())
    for row in x:
        h = x.new_zeros(())
        for j in range(x.shape[1]):
            h = torch.tanh(0.5 * h + row[j])
        total = 0.5 * total + h
    return total


def a_state_through_all_rows(x: Tensor) -> Tensor:
    """No call is a row's own: only where numbers start over is a row at its end."""
    h = x.new_zeros(())
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            h = torch.tanh(0.5 * h + x[i, j])
    return h


def least_path(x: Tensor) -> Tensor:
    """What dynamic time warping and edit distances compute."""
    n, m = x.shape
    least = torch.full((n + 1, m + 1), 100.0)
    least[0, 1] = 0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            least[i, j] = x[i - 1, j - 1] + torch.minimum(least[i - 1, j], least[i, j - 1])
    return least[n, m]


def one_after_the_other(x: Tensor) -> tuple[Tensor, Tensor]:
    down, along = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[0])
    for i in range(x.shape[0]):
        down = 0.5 * down + x[i]
    for j in range(x.shape[1]):
        along = 0.5 * along + x[:, j].sin()
    return down, along


def columns_asked_first(x: Tensor) -> Tensor:
    columns, total = range(x.shape[1]), x.new_zeros(())
    for i in range(x.shape[0]):
        h = x[i].mean()
        for j in columns:
            h = torch.tanh(0.5 * h + x[i, j])
        total = 0.5 * total + h
    return total


def as_many_columns_as_a_number(x: Tensor) -> Tensor:
    h = x.new_zeros(1)
    for row in x:
        h = torch.tanh(h + row.reshape(int(x.shape[1]), 1)[-1])
    return h


MODELS = [
    each_cell, a_state_in_each_row, a_state_through_all_rows, least_path, one_after_the_other, columns_asked_first,
    as_many_columns_as_a_number,
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_loops_over_two_sizes_are_right_at_every_pair_of_them(model):
    compiled = fxonnx.compile(model, torch.rand(4, 6), dynamic_shapes=BOTH)
    for x in map(torch.rand, SIZES):
        torch.testing.assert_close(compiled(x), model(x))


def test_sizes_of_one_are_right_too():
    compiled = fxonnx.compile(each_cell, torch.rand(4, 6), dynamic_shapes=BOTH)
    for x in map(torch.rand, ONES):
        torch.testing.assert_close(compiled(x), each_cell(x))


def test_a_loop_in_a_loop_is_a_loop_in_its_body(tmp_path):
    compiled = fxonnx.compile(a_state_in_each_row, torch.rand(4, 6), dynamic_shapes=BOTH)
    compiled.save(tmp_path / "model.onnx")
    graph, session = onnx.load(tmp_path / "model.onnx").graph, onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (outer,) = (node for node in graph.node if node.op_type == "Loop")
    body = next(onnx.helper.get_attribute_value(each) for each in outer.attribute if each.name == "body")
    assert [node.op_type for node in body.node].count("Loop") == 1
    for x in map(torch.rand, SIZES):
        (found,) = session.run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), a_state_in_each_row(x))


def tiles(x: Tensor) -> Tensor:
    """Along both axes the last one may be smaller."""
    n, m = (range(0, size, 6) for size in x.shape)
    return torch.cat([torch.cat([x[i : i + 6, j : j + 6].sin() for j in m], 1) for i in n])


def tiles_written(x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for i in range(0, x.shape[0], 6):
        for j in range(0, x.shape[1], 6):
            out[i : i + 6, j : j + 6] = x[i : i + 6, j : j + 6].cumsum(1)
    return out


@pytest.mark.parametrize("model", [tiles, tiles_written])
def test_tiles_are_rolled_up_at_a_few_of_them(model, monkeypatch):
    runs = []
    plain = RolledRun._plain
    monkeypatch.setattr(RolledRun, "_plain", lambda self, length: runs.append(length) or plain(self, length))
    compiled = fxonnx.compile(model, torch.rand(14, 20), dynamic_shapes=BOTH)
    assert max(runs) < 80  # ten of them
    for sizes in ((14, 20), (6, 6), (5, 31), (33, 12), (60, 61)):
        x = torch.rand(sizes)
        torch.testing.assert_close(compiled(x), model(x))


def decided_in_a_cell(x: Tensor) -> Tensor:
    total = x.new_zeros(())
    for i in range(x.shape[0]):
        total = total * x[i].mean()
        for j in range(x.shape[1]):
            total = total + x[i, j] if i + j != 2000 else total * x[i, j]
    return total


def test_what_is_decided_by_both_iterations_is_refused():
    with pytest.raises(errors.FrozenDimension, match="cannot be rolled up"):
        fxonnx.compile(decided_in_a_cell, torch.rand(4, 6), dynamic_shapes=BOTH)


@pytest.mark.parametrize("made", ["i < j", "max(i, 2 * j)", "(i + j) // 50", "x[i % (j + 1)]"])
def test_what_only_plain_counters_tell_is_seen_in_the_code(made):
    loops = "while i < n:\n  j = 0\n  while j < n:\n    {}\n    j += 1\n  i += 1"
    assert compares_counters([ast.parse(loops.format(made))])
    assert not compares_counters([ast.parse(loops.format("x[i + 2 * j] + x[i] // 2 + (j > 3)"))])
