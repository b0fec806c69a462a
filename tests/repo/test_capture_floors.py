"""The floors inside capture: the rooms of it, and of the tracer in it, import only what is below them."""

import pytest
from tests.repo.test_floors import inside

CAPTURE = [
    {"scripted", "samples"},
    {"wrappers"},
    {"locate", "assumption", "syntax"},
    {"state"},
    {"surroundings"},
    {"failures", "retry", "assertions"},
    {"call"},
    {"graph", "modules", "next_call"},
    {"program"},
    {"versions"},
    {"weights"},
    {"constraints", "equivalence"},
    {"tracer"},
    {"__init__"},
]
TRACER = [
    {"torch_private", "lists", "locations", "sizes"},
    {"python", "fake_inputs"},
    {"decisions"},
    {"size_functions"},
    {"sized_operators"},
    {"functions"},
    {"known", "quantized", "results", "size_checks", "transformed"},
    {"record"},
    {"higher_order"},
    {"retrace", "replay"},
    {"run"},
    {"program"},
    {"paths"},
    {"loops"},
    {"earlier_call"},
    {"plain"},
    {"attempts"},
    {"strategy"},
    {"__init__"},
]


@pytest.mark.parametrize(("house", "floors"), [("fxonnx.capture", CAPTURE), ("fxonnx.capture.tracer", TRACER)])
def test_imports_go_down(house, floors):
    floor = {room: number for number, rooms in enumerate(floors) for room in rooms}
    found = inside(house)
    assert found.keys() == floor.keys(), "give each room a floor"
    assert [(here, each) for here, others in found.items() for each in others if floor[each] >= floor[here]] == []
