"""Torch's database of operators as cases: which dtypes, which samples, and what it means to agree with torch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from typing import Any
from zlib import crc32

import numpy as np
import torch
from tests.conformance.gaps import EIGENVALUES_IN_ANY_ORDER, EXCLUDED, NOT_REPEATABLE, POSITIONS_AMONG_EQUALS
from tests.lowering.database import of_tensors, operators_by_name
from torch.utils import _pytree as pytree

import fxonnx

LOOKED_AT = 192  # the samples to choose from: some operators have thousands
DTYPES = tuple(
    getattr(torch, name)
    for name in ("float32", "int64", "float64", "float16", "bfloat16", "int32", "uint8", "bool", "complex64")
)
FORMS = ("function", "method", "in-place")
DIMS = ("static", "dynamic")
OPSETS = (None, 21, 17, 13)

# torch.testing's, but for float32, of which the sums of a runtime run in another order.
TOLERANCES = {torch.float16: 1e-3, torch.bfloat16: 1.6e-2, torch.float64: 1e-7, torch.complex128: 1e-7}
SINGLE = 1e-5
SEEDS = (1, 2, 3)  # by which what torch draws is known: of a few windows two draws may be the same
WORSE_THAN_EAGER = 1.5  # by what our error may be larger than torch's own, both beside float64


@dataclass(frozen=True, slots=True)
class Case:
    """A variant of an operator, in one dtype, called in one form, for an opset (None: the
    default), with its dims fixed or free."""

    info: Any
    dtype: torch.dtype
    count: int
    form: str = "function"
    dims: str = "static"
    opset: int | None = None

    @property
    def operator(self) -> str:
        """The name, and the variant where an operator has several."""
        return operator_name(self.info)

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.operator}-{dtype}-{self.form}-{self.dims}-{self.opset or 'default'}"

    def samples(self, seed: int = 0) -> Iterator[Sample]:
        """Samples spread over those of the database, the same ones in every run of a seed."""
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (the database draws from it)
        torch.manual_seed(seed)
        every = list(islice(self.info.sample_inputs("cpu", self.dtype, requires_grad=False), LOOKED_AT))
        for sample in every[seed % len(every) :: max(1, -(-len(every) // self.count))] if every else ():
            made = Sample(self, sample, *of_tensors(CALLS[self.form](self.info), sample))
            if self.form == "function" or made.runs():
                yield made


# How an operator is called in each form; None where it has no such form.
CALLS: dict[str, Callable[[Any], Any]] = {
    "function": lambda info: info.op,
    "method": lambda info: info.method_variant,
    "in-place": lambda info: info.inplace_variant,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A function of tensors alone, tensors for it, and the sample of the database they were made of."""

    case: Case
    given: Any
    function: Callable[..., Any]
    tensors: list[torch.Tensor]

    def expected(self, seed: int = 0) -> Any:
        """What torch says."""
        torch.manual_seed(seed)
        return self.function(*(tensor.clone() for tensor in self.tensors))

    def runs(self) -> bool:
        """Whether torch itself takes the sample: in place there is no room for another dtype or shape."""
        try:
            self.expected()
        except (RuntimeError, TypeError, IndexError, ValueError):
            return False
        return True

    def compiled(self) -> fxonnx.Compiled:
        """Its function compiled for its tensors; raises fxonnx's errors."""
        dims = "auto" if self.case.dims == "dynamic" else None
        return fxonnx.compile(self.function, tuple(self.tensors), dynamic_shapes=dims, opset=self.case.opset)

    def found(self) -> Any:
        """What fxonnx says; raises its errors."""
        return self.compiled()(*(tensor.clone() for tensor in self.tensors))

    def check(self, found: Any) -> None:
        """Raise AssertionError unless dtype, shape and values are torch's; dtype and shape where torch itself says
        something else every time."""
        expected = self.expected()
        if self.case.operator in NOT_REPEATABLE or not all(is_equal(expected, self.expected(seed)) for seed in SEEDS):
            assert kinds(found) == kinds(expected)
        elif self.case.operator in POSITIONS_AMONG_EQUALS:
            assert_close(self._pointed_at(found), self._pointed_at(expected))
        elif self.case.operator in EIGENVALUES_IN_ANY_ORDER:
            assert_close(self._matched(found, expected), self._matched(expected, expected))
        else:
            settled = self.given.output_process_fn_grad  # what torch leaves no choice of: signs of vectors are none
            assert_close(settled(found), settled(expected), lambda: settled(self.in_double()))

    def in_double(self) -> Any:
        """What torch says in float64, or complex128."""
        return self.function(*(_doubled(tensor) for tensor in self.tensors))

    def _matched(self, result: Any, expected: Any) -> Any:
        """Eigenvalues in the order of the expected ones, and what the matrix makes of the vectors, over them."""
        values, *vectors = result if isinstance(result, tuple) else (result,)
        wanted = expected[0] if isinstance(expected, tuple) else expected
        x = self.tensors[0].to(values.dtype)
        rest = [(x @ V - V * values.unsqueeze(-2), torch.linalg.vector_norm(V, dim=-2)) for V in vectors]
        return [nearest(values, wanted), rest]

    def _pointed_at(self, result: Any) -> Any:
        """The result with positions replaced by the elements at them."""
        x, place = self.tensors[0], POSITIONS_AMONG_EQUALS[self.case.operator]
        arguments = (*self.given.args, *(-1,) * 3)
        dim = self.given.kwargs.get("dim", arguments[place])
        *values, positions = result if isinstance(result, tuple) else (result,)
        whole = positions if positions.dim() == x.dim() else positions.unsqueeze(dim)
        assert positions.dtype is torch.int64
        return [*values, *positions.shape, x.gather(dim, whole)]


def operator_name(info: Any) -> str:
    """As the database writes it: `name`, `name.variant`."""
    return f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name


def _doubled(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.to(torch.float64) if tensor.is_floating_point() else tensor.clone()


def assert_close(found: Any, expected: Any, exact: Callable[[], Any] | None = None) -> None:
    """Equal dtypes, shapes and structure, and values but for rounding.

    Rounding is counted against the largest number of a tensor: of sums that cancel nobody knows more digits. Where it
    is more than that, `exact`, what float64 says, decides: ours may be as far from it as torch's own.
    """
    ours, structure = pytree.tree_flatten(found)
    theirs, wanted = pytree.tree_flatten(expected)
    assert [structure.num_leaves, *kinds(found)] == [wanted.num_leaves, *kinds(expected)]
    for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if not isinstance(other, torch.Tensor) or not (other.is_floating_point() or other.is_complex()):
            torch.testing.assert_close(mine, other)
            continue
        tolerance = TOLERANCES.get(other.dtype, SINGLE)
        try:
            torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance * largest(other), equal_nan=True)
        except AssertionError:
            if exact is None or not is_as_close(mine, other, pytree.tree_leaves(exact())[place]):
                raise


def nearest(values: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The same numbers along the last axis, for each wanted one the nearest that is left."""
    found = []
    rows = (each.flatten(0, -2).tolist() if each.numel() else [] for each in (values[None], wanted[None]))
    for left, others in zip(*rows, strict=True):
        for other in others:
            distances = [abs(each - other) for each in left]
            found.append(left.pop(distances.index(min(distances))))
    return torch.tensor(found, dtype=values.dtype).reshape(wanted.shape)


def largest(tensor: torch.Tensor) -> float:
    """The greatest absolute value of a tensor's finite numbers, at least 1."""
    finite = tensor.abs()[tensor.isfinite()]
    return max(1.0, finite.max().item()) if finite.numel() else 1.0


def is_as_close(found: torch.Tensor, expected: torch.Tensor, exact: torch.Tensor) -> bool:
    """Whether a result is about as near to the exact one as torch's own, which may have overflowed on its way."""
    if exact.shape != expected.shape or not is_equal(found.isnan(), exact.isnan()):
        return False
    wide, finite = exact.to(expected.dtype), exact.to(expected.dtype).isfinite()
    if not is_equal(found[~finite], wide[~finite]):
        return False
    kept = finite & expected.isfinite()
    theirs = (expected.to(exact.dtype) - exact)[kept].abs().max().item() if kept.any() else 0.0
    bound = max(WORSE_THAN_EAGER * theirs, TOLERANCES.get(expected.dtype, SINGLE) * largest(wide))
    return not finite.any() or (found.to(exact.dtype) - exact)[finite].abs().max().item() <= bound


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
def operators() -> list[Any]:
    """Every variant of every operator that takes part."""
    excluded = frozenset().union(*EXCLUDED.values())
    every = (info for same in operators_by_name().values() for info in same)
    return [info for info in every if operator_name(info) not in excluded]


def cases(count: int, dtypes: tuple[torch.dtype, ...] = DTYPES) -> Iterator[Case]:
    """Every case there is: each operator in each dtype it takes, in each form, for each opset, static and dynamic.

    All forms and dims at the newest opset; at the older ones the function alone.
    """
    for info, dtype in product(operators(), dtypes):
        if not info.supports_dtype(dtype, "cpu"):
            continue
        for form, dims, opset in product(FORMS, DIMS, OPSETS):
            plain = (form, dims) == ("function", "static")
            if CALLS[form](info) is not None and (plain or opset == OPSETS[0]):
                yield Case(info, dtype, count, form, dims, opset)


def share() -> list[Case]:
    """A share that meets every operator: two samples in its first dtype, one in its second, and one in another, which
    the operator's name chooses."""
    found = []
    for info in operators():
        taken = [dtype for dtype in DTYPES if info.supports_dtype(dtype, "cpu")]
        others = [dtype for dtype in taken[1:] if dtype not in (torch.int64, torch.complex64)] or taken[:1]
        found += [Case(info, dtype, 1 if place else 2) for place, dtype in enumerate(taken[:2])]
        if len(taken) > 2:
            found.append(Case(info, others[crc32(operator_name(info).encode()) % len(others)], 1))
    return found
