"""Errors of results beside float64: ours, and eager's own.

`python -m tests.conformance.accuracy docs/reference [pattern]` compiles a sample of each operator in float32, and
writes `accuracy.md`: the operators whose error is more than 1.5 times eager's, and by which of ONNX's operators it
comes about. Where an operator takes one tensor, or one and an axis, long rows are a sample too: sums show by them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tests.conformance.gaps import EIGENVALUES_IN_ANY_ORDER, NOT_REPEATABLE
from tests.conformance.samples import WORSE_THAN_EAGER, Case, Sample, largest, operators
from tests.conformance.tables import NOTE
from tests.lowering.database import of_tensors
from torch.testing._internal.opinfo.core import SampleInput
from torch.utils import _pytree as pytree

from fxonnx import errors

SAMPLES = 2  # of each operator
LONG = (4, 4096)
ABOUT = f"""The largest error of a result in float32 beside PyTorch's in float64, in units of float32's last place
at the result's largest number. The operators that are more than {WORSE_THAN_EAGER} times as far off as eager, and as
half a unit; the operators of ONNX that compute them are the reason: the runtime's kernels sum in another order and
approximate by other polynomials than PyTorch's."""
MOVES_ONLY = frozenset(
    ("Cast", "Concat", "Constant", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Shape", "Slice")
) | {"Split", "Squeeze", "Transpose", "Unsqueeze"}


@dataclass(frozen=True, slots=True)
class Error:
    """How far a result and eager's are from float64's, in units in the last place."""

    operator: str
    ours: float
    eagers: float
    computed_by: str

    @property
    def is_worse(self) -> bool:
        """Whether ours is, by more than the last place's rounding."""
        return self.ours > WORSE_THAN_EAGER * max(self.eagers, 0.5)


def measured(pattern: str = "") -> Iterator[Error]:
    """The error of each sample of a floating-point operator that compiles and draws nothing."""
    for info in operators():
        case = Case(info, torch.float32, SAMPLES)
        if not info.supports_dtype(torch.float32, "cpu") or not re.search(pattern, case.operator):
            continue
        if case.operator not in NOT_REPEATABLE | EIGENVALUES_IN_ANY_ORDER:
            every = (*case.samples(), *_of_long_rows(case))
            yield from (error for sample in every if (error := error_of(sample)) is not None)


def _of_long_rows(case: Case) -> Iterator[Sample]:
    """The operator of long rows alone, and along them, where it takes that."""
    rows = 0.9 + torch.rand(LONG, generator=torch.manual_seed(0)) / 5
    for arguments in ((), (1,)):
        given = SampleInput(rows, args=arguments)
        sample = Sample(case, given, *of_tensors(case.info.op, given))
        if sample.runs():
            yield sample


def error_of(sample: Sample) -> Error | None:
    """Of one sample; None where it is refused, or what is settled about it is no float32."""
    settled = sample.given.output_process_fn_grad
    try:
        compiled = sample.compiled()
        found, eagers = settled(compiled(*(each.clone() for each in sample.tensors))), settled(sample.expected())
        exact = settled(sample.in_double())
    except (errors.Error, RuntimeError):  # torch has no kernel of float64 for some
        return None
    pairs = zip(*(pytree.tree_leaves(each) for each in (found, eagers, exact)), strict=False)
    worst = max((_units(*each) for each in pairs if is_measured(*each)), default=None)
    nodes = dict.fromkeys(node.op_type for node in compiled.model_proto().graph.node if node.op_type not in MOVES_ONLY)
    return worst and Error(sample.case.operator, *worst, " ".join(list(nodes)[:8]))


def is_measured(found: object, eagers: object, exact: object) -> bool:
    """Whether all three are tensors of floats alike in shape and in where they are finite."""
    tensors = [each for each in (found, eagers, exact) if isinstance(each, torch.Tensor) and each.is_floating_point()]
    if len(tensors) < 3 or not tensors[0].numel() or tensors[2].dtype is not torch.float64:
        return False
    return len({(each.shape, bytes(each.isfinite().numpy())) for each in tensors}) == 1


def _units(found: torch.Tensor, eagers: torch.Tensor, exact: torch.Tensor) -> tuple[float, float]:
    finite = exact.isfinite()
    unit = torch.finfo(torch.float32).eps * largest(exact) / 2
    return tuple(  # type: ignore[return-value]
        (each.double() - exact)[finite].abs().max().item() / unit if finite.any() else 0.0 for each in (found, eagers)
    )


def page(every: list[Error]) -> str:
    """The operators that are worse, the worst first."""
    worst: dict[str, Error] = {}
    for error in every:
        if error.is_worse and error.ours > worst.get(error.operator, error).ours - 1e-9:
            worst[error.operator] = error
    rows = sorted(worst.values(), key=lambda each: -each.ours / max(each.eagers, 0.5))
    lines = [f"| `{each.operator}` | {each.ours:.1f} | {each.eagers:.1f} | {each.computed_by} |" for each in rows]
    count = f"Of {len({each.operator for each in every})} operators, {len(every)} samples, {len(rows)} are."
    table = "\n".join(["| operator | ours | eager's | computed by |", "|---|---:|---:|---|", *lines])
    return "\n\n".join([NOTE, "# Accuracy", ABOUT, count, table]) + "\n"


def main(directory: str, pattern: str = "") -> None:
    """Write the page."""
    Path(directory, "accuracy.md").write_text(page(list(measured(pattern))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
