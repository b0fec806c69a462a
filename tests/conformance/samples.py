"""Torch's database of operators as cases: which dtypes, which samples, and what it means to agree with torch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from tests.conformance.gaps import EXCLUDED, NOT_REPEATABLE, POSITIONS_AMONG_EQUALS
from tests.lowering.database import of_tensors, operators_by_name
from torch.utils import _pytree as pytree

import fxonnx

SAMPLES = 3  # of the first dtype an operator takes; one of the other
LOOKED_AT = 48  # the samples to choose from: some operators have thousands
DTYPES = (torch.float32, torch.int64)  # complex64 where an operator takes neither


@dataclass(frozen=True, slots=True)
class Case:
    """A variant of an operator, in one dtype."""

    info: Any
    dtype: torch.dtype
    count: int

    @property
    def operator(self) -> str:
        """The name, and the variant where an operator has several."""
        return operator_name(self.info)

    def __str__(self) -> str:
        return f"{self.operator}-{str(self.dtype).removeprefix('torch.')}"

    def samples(self) -> Iterator[Sample]:
        """Samples spread over the first ones of the database, the same ones in every run."""
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002  (the database draws from it)
        torch.manual_seed(0)
        every = list(islice(self.info.sample_inputs("cpu", self.dtype, requires_grad=False), LOOKED_AT))
        for sample in every[:: max(1, -(-len(every) // self.count))]:
            yield Sample(self.operator, sample, *of_tensors(self.info.op, sample))


@dataclass(frozen=True, slots=True)
class Sample:
    """A function of tensors alone, tensors for it, and the sample of the database they were made of."""

    operator: str
    given: Any
    function: Callable[..., Any]
    tensors: list[torch.Tensor]

    def expected(self, seed: int = 0) -> Any:
        """What torch says."""
        torch.manual_seed(seed)
        return self.function(*(tensor.clone() for tensor in self.tensors))

    def found(self) -> Any:
        """What fxonnx says; raises its errors."""
        return fxonnx.compile(self.function, tuple(self.tensors))(*(tensor.clone() for tensor in self.tensors))

    def check(self, found: Any) -> None:
        """Raise AssertionError unless dtype, shape and values are torch's; dtype and shape where torch itself says
        something else every time."""
        expected = self.expected()
        if self.operator in NOT_REPEATABLE or not is_equal(expected, self.expected(seed=1)):
            assert kinds(found) == kinds(expected)
        elif self.operator in POSITIONS_AMONG_EQUALS:
            assert_close(self._pointed_at(found), self._pointed_at(expected))
        else:
            settled = self.given.output_process_fn_grad  # what torch leaves no choice of: signs of vectors are none
            assert_close(settled(found), settled(expected))

    def _pointed_at(self, result: Any) -> Any:
        """The result with positions replaced by the elements at them."""
        x, place = self.tensors[0], POSITIONS_AMONG_EQUALS[self.operator]
        arguments = (*self.given.args, *(-1,) * 3)
        dim = self.given.kwargs.get("dim", arguments[place])
        *values, positions = result if isinstance(result, tuple) else (result,)
        whole = positions if positions.dim() == x.dim() else positions.unsqueeze(dim)
        assert positions.dtype is torch.int64
        return [*values, *positions.shape, x.gather(dim, whole)]


def operator_name(info: Any) -> str:
    """As the database writes it: `name`, `name.variant`."""
    return f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name


def assert_close(found: Any, expected: Any) -> None:
    """Equal dtypes, shapes and structure, and values but for rounding.

    Rounding is counted against the largest number of a tensor: of sums that cancel nobody knows more digits.
    """
    ours, structure = pytree.tree_flatten(found)
    theirs, wanted = pytree.tree_flatten(expected)
    assert [structure.num_leaves, *kinds(found)] == [wanted.num_leaves, *kinds(expected)]
    for mine, other in zip(ours, theirs, strict=True):
        if not isinstance(other, torch.Tensor) or not (other.is_floating_point() or other.is_complex()):
            torch.testing.assert_close(mine, other)
            continue
        finite = other.abs()[other.isfinite()]
        size = max(1.0, finite.max().item()) if finite.numel() else 1.0
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5 * size, equal_nan=True)


def kinds(result: Any) -> list[Any]:
    """Dtypes and shapes of tensors, types of numbers."""
    leaves = pytree.tree_leaves(result)
    return [(leaf.dtype, leaf.shape) if isinstance(leaf, torch.Tensor) else type(leaf) for leaf in leaves]


def is_equal(one: Any, other: Any) -> bool:
    """Whether two results of torch are the same, bit for bit but for NaN."""
    try:
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    except AssertionError:
        return False
    return True


@cache
def cases() -> list[Case]:
    """Every variant of every operator that takes part, in each dtype it takes."""
    excluded = frozenset().union(*EXCLUDED.values())
    found = []
    for info in (info for same in operators_by_name().values() for info in same):
        if operator_name(info) in excluded:
            continue
        taken = [dtype for dtype in DTYPES if info.supports_dtype(dtype, "cpu")] or [torch.complex64]
        found += [Case(info, dtype, 1 if place else SAMPLES) for place, dtype in enumerate(taken)]
    return found
