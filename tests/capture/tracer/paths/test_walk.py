"""Both ways of decisions by data: what a compiled model does is what Python would have decided at the call."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.capture.tracer.paths import deciding, deciding_modules
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture.graph.other_sizes import REFUSALS
from fxonnx.capture.tracer.decisions import script
from fxonnx.capture.tracer.paths import walk
from fxonnx.capture.tracer.run import Run
from fxonnx.ir.graph import Graph

ONES = torch.ones(3, 4)
CALLS = [ONES, -ONES, ONES * 5, torch.ones(1, 4), -torch.ones(7, 4), torch.tensor([[3.0, 4.0, -7.0, 0.5]]), ONES]

FUNCTIONS: list[Callable[[Tensor], Any]] = [
    deciding.early_return, deciding.common_end, deciding.one_after_the_other, deciding.one_in_the_other,
    deciding.chained, deciding.in_place, deciding.into_an_argument, deciding.until_small, deciding.until_it_settles,
    deciding.only_said, deciding.greatest, deciding.in_order, deciding.equal, deciding.close, deciding.contained,
    deciding.in_a_list, deciding.numbers, deciding.truths, deciding.other_views, deciding.checked_in_one_way,
    deciding.drawn, deciding.nothing_left, deciding.selected_after, deciding.selected_otherwise,
    deciding.remembered, deciding.counted, deciding.of_a_generator,
    deciding.beside_a_decision, deciding.number_on_the_stack, deciding.gathered, deciding.loop_in_a_loop,
    deciding.asked_again, deciding.selected_in_turn, deciding.left_early,
    deciding.asked_in_one_way,
    deciding.all_or_selected, deciding.shorter, deciding.number, deciding.written_where_found, deciding.checked_size,
    deciding.converted, deciding.checked_in_the_other_way, deciding.folded_twice, deciding.hashed,
    deciding.numbers_of_many_ways, deciding.numbers_known_or_found,
    deciding.mended_in_turn, deciding.kept_beside, deciding.beside_what_is_written, deciding.written_in_one_way,
    deciding.added_where_data_say,
]  # fmt: skip
MODULES = [
    deciding_modules.States, deciding_modules.Experts, deciding_modules.Pairs, deciding_modules.LazyCache,
    deciding_modules.Clamped, deciding_modules.Anchors, deciding_modules.Scaled,
    deciding_modules.SortedByExpert,
]  # fmt: skip
DYNAMIC = {"x": {0: "n"}}


def compare(model: Any, compiled: fxonnx.Compiled) -> None:
    """All calls, one after the other, with a model of its own."""
    reference = copy.deepcopy(model)
    for x in CALLS:
        mine, theirs = x.clone(), x.clone()
        with torch.no_grad():
            torch.testing.assert_close(compiled(mine), reference(theirs), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine, theirs)
    if isinstance(model, nn.Module):
        torch.testing.assert_close(model.state_dict(), reference.state_dict())


@pytest.mark.parametrize("model", FUNCTIONS, ids=lambda model: model.__name__)
def test_functions(model: Callable[[Tensor], Any]) -> None:
    compare(model, fxonnx.compile(model, (ONES,), dynamic_shapes=DYNAMIC))


@pytest.mark.parametrize("kind", MODULES)
def test_modules(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = kind().eval()
    compare(model, fxonnx.compile(model, (ONES,), dynamic_shapes=DYNAMIC))


def test_a_file_decides_by_itself(tmp_path: Path) -> None:
    fxonnx.compile(deciding.in_place, (ONES,), dynamic_shapes=DYNAMIC).save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for x in CALLS:
        (result,) = session.run(None, {"x": x.numpy()})
        np.testing.assert_allclose(result, deciding.in_place(x).numpy())


def operators(graph: Graph) -> Counter[str]:
    """How often each operator stands in a graph, outside of branches."""
    return Counter(node.op for node in graph.nodes)


def test_what_both_ways_compute_stands_outside_once() -> None:
    compiled = fxonnx.compile(deciding.common_end, (ONES,))
    found = operators(compiled.graph)
    assert (found["If"], found["Relu"], found["Mul"]) == (1, 1, 1)


def test_ways_that_do_the_same_leave_no_trace() -> None:
    compiled = fxonnx.compile(deciding.only_said, (ONES,))
    assert operators(compiled.graph) == Counter({"Mul": 1})


def test_decisions_that_follow_each_other_are_no_tree() -> None:
    compiled = fxonnx.compile(deciding_modules.Clamped().eval(), (ONES,))
    assert operators(compiled.graph)["If"] == 4


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs of the model, as they are made."""
    made: list[Run] = []
    recorded = walk.record

    def record(run: Run) -> Any:
        made.append(run)
        return recorded(run)

    monkeypatch.setattr(walk, "record", record)
    return made


def test_what_comes_in_a_known_state_is_asked_once(runs: list[Run]) -> None:
    model = deciding_modules.Mended(8).eval()
    compiled = fxonnx.compile(model, (ONES,), dynamic_shapes=DYNAMIC)
    assert len(runs) == 9 and operators(compiled.graph)["If"] == 8
    compare(model, compiled)


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (deciding.beside_a_decision, 9),
        (deciding.loop_in_a_loop, 25),  # of which three show that neither loop is one that data ends
        (deciding.selected_in_turn, 11),
        (deciding.left_early, 6),
        (deciding.asked_in_one_way, 9),
        (deciding_modules.Anchors(), 9),
        (deciding_modules.Adding(), 5),
    ],
)
def test_iterations_that_decide_cost_one_run_each(model: Any, count: int, runs: list[Run]) -> None:
    fxonnx.compile(model, (ONES,), dynamic_shapes=DYNAMIC)
    assert len(runs) == count


def test_a_way_that_raises_is_a_check() -> None:
    compiled = fxonnx.compile(deciding.raising, (ONES,))
    torch.testing.assert_close(compiled(ONES), deciding.raising(ONES))
    assert operators(compiled.graph)["If"] == 0
    with pytest.raises(errors.CheckFailed, match="negative: 2 axes"):
        compiled(-ONES)


@pytest.mark.parametrize("model", [deciding.joined_if_any, deciding.first_if_any, deciding.last_if_any])
def test_a_way_in_which_torch_or_python_raises_is_a_check(model: Callable[[Tensor], Any]) -> None:
    compiled = fxonnx.compile(model, (ONES,), dynamic_shapes=DYNAMIC)
    for x in (ONES, ONES * 2 - torch.tensor([4.0, 0.0, 4.0, 0.0]), torch.ones(1, 4), torch.ones(7, 4)):
        torch.testing.assert_close(compiled(x), model(x))
    with pytest.raises((*REFUSALS, UnboundLocalError)):
        model(-ONES)
    with pytest.raises(errors.CheckFailed):
        compiled(-ONES)


def test_a_way_in_which_a_layer_of_torch_raises_is_a_check() -> None:
    loss, x = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10]), torch.randn(6, 8)
    compiled = fxonnx.compile(loss, (x, torch.arange(6) * 3))
    for target in (torch.arange(6) * 3, torch.zeros(6, dtype=torch.int64), torch.tensor([4, 19, 19, 19, 19, 0])):
        torch.testing.assert_close(compiled(x, target), loss(x, target), rtol=1e-4, atol=1e-5)
    with pytest.raises(errors.CheckFailed, match="Target values should be in"):
        compiled(x, torch.full((6,), 20))


def test_what_only_the_traced_sizes_refuse_is_no_check() -> None:
    def halved(x: Tensor) -> Tensor:
        return x.view(2, -1) if x.sum() > 0 else x.view(1, -1).repeat(2, 1)

    with pytest.raises(errors.ModelRaised, match="invalid for input of size"):
        fxonnx.compile(halved, (torch.ones(7, 3),), dynamic_shapes=DYNAMIC)
    compiled = fxonnx.compile(halved, (torch.ones(4, 3),), dynamic_shapes=DYNAMIC)
    for x in (torch.ones(4, 3), torch.ones(6, 3), -torch.ones(6, 3)):
        torch.testing.assert_close(compiled(x), halved(x))


def test_a_loop_that_goes_on_and_on_does_so_at_the_call() -> None:
    def until_large(x: Tensor) -> Tensor:
        while x.sum() < 100:
            x = x + 1
        return x

    compiled = fxonnx.compile(until_large, (ONES,))
    for scale in (50, 5, -100, -9000):
        torch.testing.assert_close(compiled(ONES * scale), until_large(ONES * scale))


def test_a_loop_that_asks_twice_in_each_turn_has_half_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "MOST_TIMES", 8)

    def greatest(x: Tensor) -> Tensor:  # those that are no neighbours, as suppression keeps boxes
        kept = []
        while x.numel() > 0:
            kept.append(x.max())
            if x.numel() == 1:
                break
            x = x[x < x.max() - 0.2]
        return torch.stack(kept)

    compiled = fxonnx.compile(greatest, (torch.rand(6),), dynamic_shapes={"x": {0: "n"}})
    for x in (torch.rand(6), torch.rand(1), torch.rand(9), torch.arange(4.0)):
        torch.testing.assert_close(compiled(x), greatest(x))
    with pytest.raises(errors.CheckFailed, match="asks more than"):
        compiled(torch.arange(6.0))


# ── what no graph can hold ────────────────────────────────────────


def other_structures(x: Tensor) -> Any:
    if x.sum() > 0:
        return x, x + 1
    return x


def other_dtypes(x: Tensor) -> Any:
    if x.sum() > 0:
        return x + 1
    return x.long()


def other_numbers(x: Tensor) -> Any:
    return x, (2 if x.sum() > 0 else 2.5)


def other_keys(x: Tensor) -> Any:
    return {"x": x} if x.sum() > 0 else {"y": x}


def too_many(x: Tensor) -> Tensor:
    trail = [bool(x[0, 0] > number) for number in range(8)]
    return x * sum(trail)


REFUSED: dict[Callable[[Tensor], Any], tuple[str, str]] = {
    other_structures: ("return other structures", "a tuple of 2 and a tensor"),
    other_dtypes: ("give other kinds of values", "torch.float32 of [3, 4] and torch.int64 of [3, 4]"),
    other_numbers: ("return other structures at 1", "2 and 2.5"),
    other_keys: ("return other structures", "a dict of 1 and a dict of 1"),
    too_many: ("more than 64 ways", "decisions follow each other"),
}


@pytest.mark.parametrize("model", REFUSED, ids=lambda model: model.__name__)
def test_what_cannot_be_joined_is_refused_with_the_line(model: Callable[[Tensor], Any]) -> None:
    what, cause = REFUSED[model]
    with pytest.raises(errors.DataDependentControlFlow, match=what) as caught:
        fxonnx.compile(model, (ONES,))
    assert cause in caught.value.cause and caught.value.cure
    assert all(each.file == __file__ for each in caught.value.locations) and caught.value.locations


class Counts(nn.Module):
    """What forward does depends on how often it went one way."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.flag = 0, False

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            self.flag = True
            return x
        return x * 2 if self.flag else x * 3


@pytest.mark.parametrize(("model", "name"), [(Counts(), "flag"), (deciding_modules.LastSeen(), "first")])
def test_a_way_that_changes_the_next_call_is_refused(model: nn.Module, name: str) -> None:
    with pytest.raises(errors.CaptureRefused, match=f"forward changes .*{name}"):
        fxonnx.compile(model, (ONES,))


def test_a_shape_that_data_decide_is_refused() -> None:
    """What a call does to its arguments hangs on no data."""

    def model(x: Tensor, y: Tensor) -> Tensor:
        if x.sum() > 0:
            y.unsqueeze_(0)
        return x * 2

    with pytest.raises(errors.CaptureRefused, match="one way"):
        fxonnx.compile(model, (ONES, ONES))


class Layers(nn.Module):
    """Eight decisions, each after an attribute that is the same whichever way was taken."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in range(8):
            self.layer = layer
            if x.sum() > layer:
                x = x * 2 + layer
        return x


def test_what_reads_memory_after_a_decision_reads_it_as_it_lies() -> None:
    """In the order of the strides of the value of the way that was taken."""

    def model(x: Tensor) -> Tensor:
        either = x * 2 if x.any() else x - 1
        return either.select(0, -1).as_strided((2,), (1,), 0)

    compiled = fxonnx.compile(model, torch.randn(3, 3).T)
    for x in (torch.randn(3, 3).T, torch.zeros(3, 3).T):
        torch.testing.assert_close(compiled(x), model(x))


def test_what_is_left_the_same_on_all_ways_is_tried_after_each_alone() -> None:
    compiled = fxonnx.compile(Layers(), (torch.rand(3),))
    for factor in (-1, 1, 4, 9):
        x = torch.rand(3) * factor
        torch.testing.assert_close(compiled(x), Layers()(x))
