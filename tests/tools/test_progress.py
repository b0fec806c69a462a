"""What the compiler tells of its steps."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

import fxonnx
from fxonnx.progress import Step


def test_a_listener_is_told_of_every_step() -> None:
    told: list[Step] = []
    compiled = fxonnx.compile(torch.nn.Linear(3, 2), torch.randn(2, 3), progress=told.append)
    names = ["capture", *(stage.name for stage in compiled.stages)]
    assert [each.name for each in told if each.seconds is None] == names
    assert [(each.name, each.nodes) for each in told if each.seconds is not None][1:] == [
        (stage.name, stage.nodes) for stage in compiled.stages
    ]
    count = len(told)
    fxonnx.compile(torch.nn.Linear(3, 2), torch.randn(2, 3))
    assert len(told) == count


def test_what_a_listener_raises_ends_it() -> None:
    def stop(step: Step) -> None:
        if step.name == "lower":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fxonnx.compile(torch.nn.Linear(3, 2), torch.randn(2, 3), progress=stop)
    assert fxonnx.compile(torch.nn.Linear(3, 2), torch.randn(2, 3)) is not None
    with pytest.raises(fxonnx.errors.InvalidOption, match="progress"):
        fxonnx.compile(torch.nn.Linear(3, 2), torch.randn(2, 3), progress=3)


def test_steps_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "fxonnx"):
        fxonnx.compile(torch.nn.Linear(3, 2), torch.randn(2, 3))
    assert any(each.startswith("capture: ") for each in caplog.messages)
    assert any(each.startswith("lower: ") and each.endswith(" nodes") for each in caplog.messages)


def test_lowerings_that_nobody_asks_for_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def relu(op: Any, self: Any) -> Any:
        return op.Relu(self)

    fxonnx.compile(torch.relu, torch.randn(3), lowerings={"aten.relu": relu})
    assert not caplog.messages
    fxonnx.compile(torch.sin, torch.randn(3), lowerings={"aten.relu": relu})
    assert caplog.messages == ["lowerings that no call of the model asked for: aten.relu"]
