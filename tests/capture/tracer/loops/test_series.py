"""The lengths of runs for loops over chunks."""

import pytest

from fxonnx.capture.tracer.loops.lengths.series import of_chunks
from fxonnx.capture.tracer.sizes.primes import is_prime
from fxonnx.ir.dims import evaluate, parse_dim


@pytest.mark.parametrize("text", ["(n + 1023) // 1024", "(2*n + 63) // 64", "n // 7", "(n + 1) // 2"])
def test_there_are_some_chunks_and_parts_of_one(text):
    count = parse_dim(text)
    (lengths,) = of_chunks([parse_dim("n"), count], "n").series
    trips = [evaluate(count, {"n": length}) for length in lengths]
    assert min(trips) == 5
    assert len(set(trips)) >= 4
    assert evaluate(count, {"n": lengths[0] + 1}) == 6


@pytest.mark.parametrize("text", ["n", "n + 1", "(b*n + 3) // 64", "n % 3", "n // (n - 5)"])
def test_what_goes_by_single_elements_or_by_others_has_none(text):
    assert of_chunks([parse_dim(text)], "n") is None


def test_none_is_taken_by_another_size():
    (usual,) = of_chunks([parse_dim("(n + 15) // 16")], "n").series
    (others,) = of_chunks([parse_dim("(n + 15) // 16")], "n", {usual[1], usual[3]}).series
    assert set(usual) - set(others) == {usual[1], usual[3]}


@pytest.mark.parametrize("step", [3, 4, 6, 7, 10, 12, 16, 30, 64, 1024])
def test_the_last_chunk_of_the_run_that_is_played_is_a_part_of_one(step):
    lengths = of_chunks([parse_dim(f"(n + {step - 1}) // {step}")], "n")
    assert is_prime(lengths.played)
    assert lengths.played % step not in (0, 1)
