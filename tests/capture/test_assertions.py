"""What the model checks of its data is checked at each call, with its own words; decisions are decisions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.capture import asserting
from torch import Tensor, nn

import fxonnx
from fxonnx import errors

GOOD = torch.tensor([0.5, 0.25, 0.75, 1.0])


# model -> inputs that it refuses, and what is said of each
CHECKS: dict[Callable[[Tensor], Tensor], list[tuple[Tensor, str]]] = {
    asserting.compare: [(-GOOD, "negative")],
    asserting.conjunction: [(-GOOD, "out of range"), (GOOD * 8, "out of range"), (GOOD * torch.nan, "out of range")],
    asserting.each_of_several: [(-GOOD, "all(((part >= 0).all() for part in (x, x * 2)))")],
    asserting.last_alternative: [(-GOOD, "negative")],
    asserting.number: [
        (GOOD - 0.2, "x.min().item() >= 0.1"),
        (GOOD * 3, "x.min().item() >= 0.1 and bool((x < 2).all())"),
    ],
    asserting.raises: [(-GOOD, "below 0 or above 2: {x.min()}"), (GOOD * 8, "above")],
    asserting.raises_at_last: [(-GOOD, "negative")],
    asserting.of_lists: [(-GOOD, "some are negative")],
    asserting.in_a_function: [(-GOOD, "negative")],
    asserting.of_torch: [
        (-GOOD / 2, "{x.shape[0]} numbers, some negative: {x}"),
        (GOOD * 12, "nine"),
        (-4 * GOOD, "negative"),
    ],
    asserting.of_torch_as_truths: [(-GOOD, "negative, {x.min()}"), (GOOD * 12, "above"), (GOOD[:2] * 0 + 8, "five")],
    asserting.of_a_loss: [(-GOOD, "var has negative entry/entries")],
    asserting.of_a_distribution: [(-GOOD, "Expected parameter scale")],
    asserting.selected: [
        (-GOOD, "kept.shape[0] > 0"),
        (GOOD.repeat(2), "too many, {kept.shape[0]}"),
        (GOOD * 8, "five"),
    ],
}


@pytest.mark.parametrize("model", CHECKS, ids=lambda model: model.__name__)
def test_what_eager_refuses_the_compiled_model_refuses(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (GOOD,), dynamic_shapes={"x": {0: "n"}})
    for good in (GOOD, GOOD[:2], GOOD[1:2]):
        torch.testing.assert_close(compiled(good), model(good))
    for bad, said in CHECKS[model]:
        with pytest.raises((AssertionError, ValueError, RuntimeError)):
            model(bad)
        with pytest.raises(errors.CheckFailed) as caught:
            compiled(bad)
        assert said in caught.value.what
        assert caught.value.locations[0].file == asserting.__file__
    assert compiled.verify().ok


def test_a_file_tells_by_its_last_outputs(tmp_path: Path) -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x: Tensor) -> tuple[Tensor, Any]:
            self.count += 1
            x += 1
            assert (self.count < 3).all(), "called too often"
            return x * self.count, x.shape[0]

    model = Counter()
    compiled = fxonnx.compile(model, (torch.ones(2),), dynamic_shapes={"x": {0: "n"}})
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    *_, last = session.get_outputs()
    assert last.name == "must_be_true.0" and last.type == "tensor(bool)"
    assert session.get_modelmeta().custom_metadata_map["fxonnx.must_be_true.0"] == "called too often"
    for count, holds in ((1.0, True), (2.0, False)):
        inputs = {"x": np.ones(2, np.float32), "count": np.array(count, np.float32)}
        result, size, changed, after, check = session.run(None, inputs)
        assert (size, changed[0], after, check) == (2, 2.0, count + 1, holds) and result[0] == 2 * (count + 1)
    x = torch.ones(2)
    compiled(x), compiled(x)
    with pytest.raises(errors.CheckFailed, match="called too often"):
        compiled(x)
    assert x[0] == 3 and model.count == 2, "nothing is written where a check fails"


# ── decisions ────────────────────────────────────────


DECISIONS = [
    asserting.decides,
    asserting.returns,
    asserting.catches,
    asserting.first_alternative,
    asserting.counts,
    asserting.chooses,
]


@pytest.mark.parametrize("model", DECISIONS, ids=lambda model: model.__name__)
def test_what_may_go_on_either_way_is_a_decision(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (GOOD,))
    for x in (GOOD, -GOOD, GOOD * 0.4, GOOD - 0.5, torch.tensor([-0.1, 0.9, -0.1, 0.9])):
        try:
            expected = model(x)
        except (AssertionError, ValueError):
            with pytest.raises(errors.CheckFailed):
                compiled(x)
        else:
            torch.testing.assert_close(compiled(x), expected)


# ── programs of torch.export ────────────────────────────────────────


def test_an_exported_program_keeps_its_checks() -> None:
    class Selected(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            kept = x[x > 0]
            torch._check(kept.shape[0] <= 3)
            return kept * 2

    exported = torch.export.export(Selected(), (GOOD - 0.5,), strict=False)
    for program in (exported, exported.run_decompositions()):
        compiled = fxonnx.compile(program, (GOOD - 0.5,))
        assert len(compiled.program.checks) == 1, "ranges that torch knows by itself are none"
        torch.testing.assert_close(compiled(GOOD - 0.5), Selected()(GOOD - 0.5))
        with pytest.raises(errors.CheckFailed, match="u0 <= 3"):
            compiled(GOOD)
