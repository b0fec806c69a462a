"""The floors inside capture: its folders import only what is below them, and have no circles among themselves."""

from graphlib import TopologicalSorter

import pytest
from tests.repo.test_floors import INSIDE

FLOORS = [
    {"locate", "surroundings", "assumption"},
    {"failures", "retry"},
    {"call"},
    {"graph"},
    {"program"},
    {"constraints", "equivalence"},
    {"export", "tracer"},
    {"__init__"},
]
TRACER = [
    {"torch_private", "locations", "sizes"},
    {"size_functions", "fake_inputs"},
    {"functions"},
    {"results"},
    {"record"},
    {"retrace", "state"},
    {"run"},
    {"attempts"},
    {"strategy"},
    {"__init__"},
]


def rooms(house):
    """What each room of a package imports of the others in it: {"export": {"graph", "program"}}."""
    found = {}
    for module, imported in INSIDE.items():
        if module == house or module.startswith(f"{house}."):
            inside = {room(each, house) for each in imported if each.startswith(f"{house}.")}
            found.setdefault(room(module, house), set()).update(inside)
    return {name: others - {name} for name, others in found.items()}


def room(module, house):
    """fxonnx.capture.export.guards is in export."""
    return module.removeprefix(house).lstrip(".").partition(".")[0] or "__init__"


@pytest.mark.parametrize("house", ["fxonnx.capture", "fxonnx.capture.tracer"])
def test_rooms_have_no_circles(house):
    TopologicalSorter(rooms(house)).prepare()


@pytest.mark.parametrize(("house", "floors"), [("fxonnx.capture", FLOORS), ("fxonnx.capture.tracer", TRACER)])
def test_imports_go_down(house, floors):
    floor = {each: number for number, rooms_there in enumerate(floors) for each in rooms_there}
    found = rooms(house)
    assert found.keys() == floor.keys()
    wrong = [(here, there) for here, others in found.items() for there in others if floor[there] >= floor[here]]
    assert not wrong
