"""Bits of sizes are arithmetic of them."""

from hypothesis import given
from hypothesis import strategies as st

from fxonnx.capture.tracer.python.bits import _and


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_the_bits_of_a_mask_are_remainders(number: int, mask: int) -> None:
    assert _and(number, mask) == number & mask
