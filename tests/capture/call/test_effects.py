"""What forward leaves in its arguments is done again to the caller's."""

import collections
import copy
from typing import Any

import pytest
import torch

from fxonnx.capture.call.effects import ArgumentsBefore
from fxonnx.capture.call.tree import flatten


class Box:
    def __init__(self) -> None:
        self.t, self.u, self.n = torch.zeros(2), torch.ones(2), 0


def sets(a: Any) -> None:
    a["box"].t = a["box"].t + 1


def swaps(a: Any) -> None:
    a["box"].t, a["box"].u = a["box"].u, a["box"].t


def counts(a: Any) -> None:
    a["box"].n += 1


def adds(a: Any) -> None:
    a["box"].new = [torch.ones(3), {"k": 2}]


def removes(a: Any) -> None:
    del a["box"].u
    del a["map"]["h"]


def grows(a: Any) -> None:
    a["list"].append(a["list"][0] * 2)
    a["map"]["more"] = a["list"][0]


def empties(a: Any) -> None:
    a["list"].clear()


def moves(a: Any) -> None:
    a["list"].insert(0, a["map"])
    a["map"]["h"], a["map"]["g"] = a["map"]["g"], a["box"].t


def rotates(a: Any) -> None:
    a["queue"].append(torch.ones(2))


def reorders(a: Any) -> None:
    a["map"]["h"] = a["map"].pop("h") + 1
    a["ordered"].move_to_end("first")


def joins(a: Any) -> None:
    a["set"] |= {5}


BODIES = [sets, swaps, counts, adds, removes, grows, empties, moves, rotates, joins, reorders]


def arguments() -> dict[str, Any]:
    return {
        "box": Box(), "list": [torch.zeros(2), torch.ones(2)], "map": {"h": torch.zeros(2), "g": torch.ones(2)},
        "queue": collections.deque([torch.zeros(2)] * 2, maxlen=2), "set": {1, 2},
        "ordered": collections.OrderedDict(first=torch.zeros(2), second=3),
    }  # fmt: skip


def said(value: Any) -> Any:
    leaves, paths, tree = flatten(value)
    return [leaf.tolist() for leaf in leaves], paths, tree


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_the_callers_are_as_ours(body: Any) -> None:
    ours, callers = arguments(), arguments()
    before = ArgumentsBefore.of(ours)
    body(ours)
    leaves, effects = before.effects()
    assert len(leaves) == len(effects.names) == len(set(effects.names))
    kept = copy.copy(callers)
    effects.apply(callers, leaves)
    assert said(callers) == said(ours)
    assert all(callers[name] is each for name, each in kept.items())


def test_nothing_changed() -> None:
    ours = arguments()
    before = ArgumentsBefore.of(ours)
    ours["box"].n += 0
    leaves, effects = before.effects()
    assert not leaves and not effects.edits


def test_new_tensors_are_called_by_where_they_are() -> None:
    ours = arguments()
    before = ArgumentsBefore.of(ours)
    adds(ours)
    grows(ours)
    _, effects = before.effects()
    assert set(effects.names) == {"box.new.0", "list.2"}
