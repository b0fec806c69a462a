"""Turns are taken, and figures have units."""

from fxonnx.runtime.measure import Latency, latency


def test_calls_take_turns():
    order = []
    found = latency({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    turns = [name for previous, name in zip([None, *order], order, strict=False) if name != previous]
    assert turns == ["a", "b"] * 4  # warming up, then three rounds
    assert list(found) == ["a", "b"]
    assert all(len(each.rounds) == 3 and each.best <= each.median for each in found.values())


def test_figures_read():
    assert [str(Latency((seconds,))) for seconds in (2.0, 0.0123, 4.5e-6, 7e-9)] == ["2 s", "12.3 ms", "4.5 µs", "7 ns"]
