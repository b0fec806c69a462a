"""Whether two runs of a model agree, by how much not, and fresh inputs to try them on.

A whole model is compared, not one operator: two correct implementations add in different orders, and the error that
makes is relative to the *largest* values that were added, not to each result. So an element passes where

    |actual - expected| ≤ tolerance · (|expected| + scale)

where scale is the output's root mean square, and at least the dtype's epsilon.

Elements ten thousand times the median do not count in the scale: a mask of -1e9 must not excuse what stands beside it.
The tolerance is a number of units in the last place of the dtype:

    dtype       tolerance   = ulps · epsilon   why
    float64     2.3e-13       2¹⁰              sums of thousands of terms through some tens of layers
    float32     1.2e-4        2¹⁰              the same
    float16     1.6e-2        2⁴               each op rounds once, in both; the runtime may stay in float32 between ops
    bfloat16    6.3e-2        2³               the same, with three bits less
    float8…     2 epsilon     2                one rounding to either side
    quantized   6.3e-2        as bfloat16      each layer rounds once to one of 256 steps, in both: floats, and bytes;
                                               a value that lies on steps of a known size may be off by one
    float32 of values in 16 bits               as those: casting to float32 takes back no rounding
    complex     as its parts
    integer     0                              indices, counts and quantized values are right or wrong
    bool        0

NaN must meet NaN, and infinity an infinity of the same sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from fxonnx import errors

_ULPS = {torch.float64: 2**10, torch.float32: 2**10, torch.float16: 2**4, torch.bfloat16: 2**3}
_ULPS_OF_FLOAT8 = 2
_STEPPED = (torch.uint8, torch.int8)  # dtypes of quantized values
_OUTLIER = 1e4
_ONE = 1 + 1e-3  # step: what is computed of steps has a rounding of its own
_WHERE = (
    "compiled.locate() of a compile without verify=True names the first value that differs; "
    "python -m fxonnx bisect package.module:factory says whose doing it is"
)


def tolerance(dtype: torch.dtype, *, quantized: bool = False, computed_in: torch.dtype | None = None) -> float:
    """The default tolerance of a dtype, from the table above; of a model whose layers round to few steps, or of a value
    that is computed in another dtype."""
    if dtype.is_complex:
        dtype = dtype.to_real()
    if quantized and (dtype.is_floating_point or dtype in _STEPPED):
        return tolerance(torch.bfloat16)
    if computed_in is not None and dtype.is_floating_point:
        return max(tolerance(dtype), tolerance(computed_in))
    return torch.finfo(dtype).eps * _ULPS.get(dtype, _ULPS_OF_FLOAT8) if dtype.is_floating_point else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """How one output differs.

    `max_relative` is against |expected| + scale, as the tolerance is. Errors are infinite where an element is NaN or
    infinite in one alone, or another infinity.

    `step` is that of the quantization whose steps the values lie on, one of which an element may be off.
    `absolute_tolerance` is what was asked for beside it; None for the output's scale. `worst` is the index of the
    element that misses its tolerance by most; `problem` says what cannot be told in numbers.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    tolerance: float
    absolute_tolerance: float | None = None
    step: float | None = None
    max_absolute: float = 0.0
    max_relative: float = 0.0
    mismatches: int = 0
    worst: tuple[int, ...] | None = None
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether every element is within its tolerance."""
        return not self.problem and self.mismatches == 0

    def __str__(self) -> str:
        what = f"{self.name}: {str(self.dtype).removeprefix('torch.')}{list(self.shape)}"
        if self.problem:
            return f"✗ {what}  {self.problem}"
        errors = f"max error {self.max_absolute:.2g} absolute, {self.max_relative:.2g} relative"
        beside = f" and {self.absolute_tolerance:.2g} absolute" if self.absolute_tolerance is not None else ""
        errors += f", {self.max_absolute / self.step:.3g} steps of {self.step:.2g}" if self.step else ""
        numbers = f"{errors}, tolerance {self.tolerance:.2g}{beside}"
        wrong = "" if self.ok else f", {self.mismatches:,} elements beyond it, worst at {list(self.worst or ())}"
        return f"{'✓' if self.ok else '✗'} {what}  {numbers}{wrong}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of all outputs, in order; `drawn` are the ops of the model that draw random numbers."""

    outputs: tuple[Difference, ...]
    drawn: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every output agrees."""
        return all(output.ok for output in self.outputs)

    def check(self) -> Comparison:
        """Itself where all agree. Raises VerificationFailed."""
        if self.ok:
            return self
        wrong = [output for output in self.outputs if not output.ok]
        said = [f"{', '.join(self.drawn)}: two draws of random numbers never agree"] if self.drawn else []
        raise errors.VerificationFailed(
            f"{len(wrong)} of {len(self.outputs)} outputs differ from the model's",
            cause="\n".join([*said, *map(str, wrong)]),
            cure='compile with mode="eval", or leave the random ops out of what is verified' if said else _WHERE,
        )

    def __str__(self) -> str:
        return "\n".join(map(str, self.outputs)) or "no outputs"


def compare(actual: Sequence[object], expected: Sequence[object], *, names: Sequence[str] | None = None,
            rtol: float | None = None, atol: float | None = None, quantized: bool = False,
            computed_in: Sequence[torch.dtype | None] | None = None,
            steps: Sequence[float | None] | None = None) -> Comparison:  # fmt: skip
    """Compare outputs, leaf by leaf; leaves that are no tensors must be equal.

    Args:
        actual, expected: the leaves, in the same order.
        names: of the leaves; by default "output 0" and so on.
        rtol, atol: instead of the table, for every dtype: an element passes where the error is at most
            atol + rtol · |expected|. One alone has the other at 0.
        quantized: whether the model rounds to few steps on its way.
        computed_in: the narrowest dtype on the way to each leaf.
        steps: of the quantization that each leaf comes from.
    """
    if len(actual) != len(expected):
        problem = f"there are {len(actual)} outputs instead of {len(expected)}"
        return Comparison((Difference("outputs", torch.float32, (), 0.0, problem=problem),))
    names = names or [f"output {index}" for index in range(len(expected))]
    none = [None] * len(expected)
    leaves = zip(names, actual, expected, computed_in or none, steps or none, strict=True)
    how = partial(difference, rtol=rtol, atol=atol, quantized=quantized)
    found = (how(name, one, other, computed_in=narrow, step=step) for name, one, other, narrow, step in leaves)
    return Comparison(tuple(found))


def difference(
    name: str, actual: object, expected: object, *, rtol: float | None = None, atol: float | None = None,
    quantized: bool = False, computed_in: torch.dtype | None = None, step: float | None = None,
) -> Difference:  # fmt: skip
    """How one output differs; `rtol` and `atol` instead of the table's tolerance, see `compare`."""
    if not isinstance(actual, torch.Tensor) or not isinstance(expected, torch.Tensor):
        same = type(actual) is type(expected) and actual == expected
        return Difference(name, torch.float32, (), 0.0, problem="" if same else f"{actual!r} instead of {expected!r}")
    is_given = rtol is not None or atol is not None
    allowed = (rtol or 0.0) if is_given else tolerance(expected.dtype, quantized=quantized,
                                                                          computed_in=computed_in)  # fmt: skip
    found = Difference(
        name, expected.dtype, tuple(expected.shape), allowed, (atol or 0.0) if is_given else None, step,
        problem=_misfit(actual, expected),
    )  # fmt: skip
    if found.problem or not expected.numel():
        return found
    if expected.dtype.is_complex:
        return _measure(
            found,
            torch.view_as_real(actual.detach().resolve_conj()),
            torch.view_as_real(expected.detach().resolve_conj()),
        )
    return _measure(found, actual.detach(), expected.detach())


def _misfit(actual: torch.Tensor, expected: torch.Tensor) -> str:
    if actual.dtype is not expected.dtype:
        return f"its dtype is {actual.dtype} instead of {expected.dtype}"
    if actual.shape != expected.shape:
        return f"its shape is {list(actual.shape)} instead of {list(expected.shape)}"
    return ""


def _measure(found: Difference, actual: torch.Tensor, expected: torch.Tensor) -> Difference:
    """The numbers, in float64; 64-bit integers, which that would round, are told apart before."""
    exact = not expected.dtype.is_floating_point and found.tolerance == 0 and not found.absolute_tolerance
    wrong = _bits(actual) != _bits(expected) if exact else torch.zeros(expected.shape, dtype=torch.bool)
    one, other = actual.cpu().to(torch.float64), expected.cpu().to(torch.float64)
    finite = one.isfinite() & other.isfinite()
    same = (one == other) | (one.isnan() & other.isnan())
    error = torch.where(finite, (one - other).abs(), torch.inf).masked_fill(same, 0.0)
    size = other.abs() + max(_scale(other), _epsilon(found.dtype))
    relative = torch.where(error == 0, 0.0, error / size)
    if found.absolute_tolerance is None:
        allowed = (found.tolerance * size).clamp(min=(found.step or 0.0) * _ONE)
    else:
        allowed = found.absolute_tolerance + found.tolerance * other.abs()
    excess = torch.where(finite, error - allowed, torch.where(same, -1.0, torch.inf))
    wrong |= excess > 0
    return _summary(
        found,
        error,
        torch.where(error.isinf(), torch.inf, relative),
        torch.where(wrong, excess / size, -1.0),
        wrong,
    )


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Integers and bools as signed ones of their width, which torch can compare: it lacks the wide unsigned ones."""
    signed = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.cpu().contiguous().view(signed[tensor.element_size()])


def _scale(values: torch.Tensor) -> float:
    """The root mean square of the finite values, but those far above the others; 0 where there are none."""
    sizes = values[values.isfinite()].abs()
    nonzero = sizes[sizes > 0]
    if not nonzero.numel():
        return 0.0
    unit = nonzero.median()
    return float((sizes[sizes <= unit * _OUTLIER] / unit).square().mean().sqrt() * unit)


def _epsilon(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps if dtype.is_floating_point or dtype.is_complex else 1.0


def _summary(
    found: Difference, error: torch.Tensor, relative: torch.Tensor, excess: torch.Tensor, wrong: torch.Tensor
) -> Difference:
    worst = torch.unravel_index(excess.argmax(), excess.shape) if wrong.any() else None
    return replace(
        found,
        max_absolute=error.max().item(),
        max_relative=relative.max().item(),
        mismatches=int(wrong.sum()),
        worst=None if worst is None else tuple(int(index) for index in worst),
    )


def fresh_like(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random values of the kind the example holds: same dtype and shape, another content, contiguous.

    Floats are normal with the example's mean and deviation, within its smallest and largest value; integers lie between
    those; bools are true as often. What is constant stays so (a mask of ones, a scale), and so do elements that are not
    finite (a mask of -inf).
    """
    example = tensor.detach().resolve_conj().resolve_neg()
    if not example.numel():
        return example.clone()
    if example.dtype.is_complex:
        parts = torch.view_as_real(example)
        return torch.view_as_complex(torch.stack([fresh_like(parts[..., part], generator) for part in (0, 1)], dim=-1))
    if example.dtype is torch.bool:
        return torch.rand(example.shape, generator=generator) < example.double().mean()
    if not example.dtype.is_floating_point:
        return _fresh_integers(example, generator)
    return _fresh_floats(example, generator)


def _fresh_integers(example: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Uniform between the example's smallest and largest value, both included.

    Drawn in int64, which holds all but the top of uint64.
    """
    wide = example.to(torch.int64)
    low, high = int(wide.min()), int(wide.max())
    if high - low >= 2**63 - 1:  # the span itself is beyond int64: any value will do
        return (
            wide.flatten()[torch.randperm(wide.numel(), generator=generator)].reshape(example.shape).to(example.dtype)
        )
    span = torch.randint(high - low + 1, example.shape, generator=generator)
    return (span + low).to(example.dtype)


def _fresh_floats(example: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Normal values in the example's range; drawn in float64, so that all widths see the same numbers."""
    wide = example.to(torch.float64)
    finite = wide.isfinite()
    known = wide[finite]
    if not known.numel():
        return example.clone()
    drawn = (
        torch.randn(example.shape, dtype=torch.float64, generator=generator) * known.std(correction=0) + known.mean()
    )
    return torch.where(finite, drawn.clamp(known.min(), known.max()), wide).to(example.dtype)
