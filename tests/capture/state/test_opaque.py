"""What is kept in objects without attributes, in slots, in other classes and in objects of the source file is seen, and
put back."""

import array
import io
import os
import random
import threading
from contextvars import ContextVar

import numpy as np
import pytest
import torch
from torch import nn

import fxonnx
from fxonnx.capture.state.python_state import StateChanges
from fxonnx.errors import CaptureRefused

X = torch.ones(2)


class Slotted:
    __slots__ = ("number", "unset")

    def __init__(self):
        self.number = 0

    def step(self):
        self.number += 1
        return self.number


class Plain:
    def __init__(self):
        self.inner = {"number": [0]}

    def step(self):
        self.inner["number"][0] += 1
        return self.inner["number"][0]


class Shared:
    number = 0

    @classmethod
    def step(cls):
        cls.number += 1
        return cls.number


OBJECT, SLOTTED = Plain(), Slotted()


def local():
    made = threading.local()
    made.number = 0
    return made


def counted(local):
    local.number += 1
    return local.number


def counted_first(elements):
    elements[0] += 1
    return elements[0]


def counted_in_context(variable):
    variable.set(variable.get(0) + 1)
    return variable.get()


def counted_in_environment(_):
    os.environ["FXONNX_TEST"] = str(int(os.environ.get("FXONNX_TEST", "0")) + 1)
    return int(os.environ["FXONNX_TEST"])


CASES = {
    "random": (lambda: random.Random(0), lambda each: each.random()),
    "generator": (lambda: np.random.default_rng(0), lambda each: float(each.random())),
    "state": (lambda: np.random.RandomState(0), lambda each: float(each.rand())),
    "bytes": (lambda: bytearray(b"\1"), counted_first),
    "array": (lambda: array.array("d", [1.0]), counted_first),
    "stream": (lambda: io.BytesIO(b"\1\2\3"), lambda each: each.read(1)[0]),
    "local": (local, counted),
    "context": (lambda: ContextVar("count", default=0), counted_in_context),
    "environment": (lambda: os.environ.pop("FXONNX_TEST", None), counted_in_environment),
    "slots": (Slotted, Slotted.step),
    "class": (lambda: Shared, lambda each: each.step()),
    "global": (lambda: None, lambda each: OBJECT.step()),
    "global slots": (lambda: None, lambda each: SLOTTED.step()),
}


class Model(nn.Module):
    def __init__(self, kept, take):
        super().__init__()
        self.kept, self.take = kept, take

    def forward(self, x):
        return x * self.take(self.kept)


@pytest.mark.parametrize(("make", "take"), CASES.values(), ids=CASES)
def test_what_changes_is_refused_and_put_back(make, take):
    expected, model = take(make()), Model(make(), take)
    if take.__name__ == "<lambda>" and model.kept in (None, Shared):
        OBJECT.inner["number"][0] = SLOTTED.number = Shared.number = 0
    with pytest.raises(CaptureRefused, match="does something else at its next call"):
        fxonnx.compile(model, (X,))
    assert torch.equal(model(X), X * expected)


def test_what_is_left_alone_is_no_matter():
    for make, _ in CASES.values():
        assert torch.equal(fxonnx.compile(Model(make(), lambda kept: 2), (X,))(X), 2 * X)


def test_what_torch_notes_in_the_environment_is_its_own(monkeypatch):
    monkeypatch.delenv("TORCH_OF_THE_TEST", raising=False)

    def noted(x):
        os.environ["TORCH_OF_THE_TEST"] = "noted"  # as parts of torch do when they are imported
        return x + 1

    changes = StateChanges.of(nn.Module(), [noted])
    noted(torch.ones(2))
    changes.look()
    assert not changes.others
    changes.restore()
    assert os.environ.pop("TORCH_OF_THE_TEST") == "noted"
