"""Sequences that repeat a body more often the longer they are, taken apart."""

import pytest

from fxonnx.capture.tracer.loops.periods import NotPeriodic, Period, Straight, segments

LENGTHS = (7, 8, 11, 13)
SHAPES = {
    "one loop": (lambda n: "ab" + "cd" * n + "e", [(2, 0), (2, 1)]),
    "first peeled": (lambda n: "ax" + "cd" * (n - 1) + "e", [(2, -1)]),
    "two loops": (lambda n: "ab" * n + "x" + "cd" * n, [(2, 0), (2, 0)]),
    "equal neighbours in the body": (lambda n: "aab" * n + "x", [(3, 0)]),
    "what follows begins like the body": (lambda n: "abc" * n + "abx", [(3, 0)]),
    "what comes before ends like the body": (lambda n: "xbc" + "abc" * n + "y", [(3, 0)]),
    "one step": (lambda n: "x" + "a" * n, [(1, 0)]),
    "layers": (lambda n: ("ab" * n + "x") * 3, [(2, 0)] * 3),
    "static loops inside": (lambda n: "aaaab" * n + "x", [(5, 0)]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_loops_are_found(name):
    make, expected = SHAPES[name]
    sequences = [make(n) for n in LENGTHS]
    found = segments(sequences)
    periods = [each for each in found if isinstance(each, Period)]
    assert [each.length for each in periods] == [length for length, _ in expected][: len(periods)]
    assert [_said_again(found, at, each) for at, each in enumerate(sequences)] == sequences


def test_what_is_alike_need_not_repeat():
    assert segments(["abc", "abc"]) == [Straight((0, 0), 3)]


@pytest.mark.parametrize("make", [lambda n: "".join(map(chr, range(97, 97 + n))), lambda n: "ab" * 5 + "c" * (n % 2)])
def test_what_does_not_repeat_is_refused(make):
    with pytest.raises(NotPeriodic):
        segments([make(n) for n in LENGTHS])


def _said_again(found, at, sequence):
    """The sequence as its segments say."""
    parts = []
    for each in found:
        text = sequence[each.starts[at] : each.starts[at] + each.length]
        parts.append(text if isinstance(each, Straight) else text * each.trips[at])
    return "".join(parts)
