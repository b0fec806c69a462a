"""Primes: the sizes of a run, at which nothing comes out right by accident."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain, count

_LEAST = 11  # smaller ones are what models are made of: three channels, seven taps


def is_prime(number: int) -> bool:
    """Whether a number of 2 or more is prime."""
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def prime_near(size: int, taken: Iterable[int]) -> int:
    """The greatest prime up to a size, or the least one beyond, that is not taken."""
    used = set(taken)
    numbers = chain(range(size, _LEAST - 1, -1), count(max(size, _LEAST)))
    return next(number for number in numbers if number not in used and is_prime(number))


def prime_below(most: int, taken: Iterable[int]) -> int:
    """The greatest prime up to `most` that is not taken, `most` itself where there is none."""
    used = set(taken)
    return next((each for each in range(most, 1, -1) if is_prime(each) and each not in used), most)
