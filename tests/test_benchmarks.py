"""Candidates are measured in turns."""

from benchmarks.latency import WARM_UP, take_turns


def test_calls_take_turns():
    order = []
    found = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a"] * WARM_UP + ["b"] * WARM_UP + ["a", "b"] * 3
    assert {name: len(rounds) for name, rounds in found.items()} == {"a": 3, "b": 3}
