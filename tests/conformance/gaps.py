"""What torch's database of operators has and fxonnx does not compile: every difference, with its reason.

`test_op_db.py` asserts the table: an operator with a row may raise that error, and no other, and agrees with torch
where it does not; one without a row agrees on all. A number that differs from torch's is never a row.
"""

from __future__ import annotations

from dataclasses import dataclass

from fxonnx import errors


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# ── what does not take part ──

EXCLUDED = {
    "compiles CUDA source at run time": _names(
        """jiterator_2inputs_2outputs jiterator_4inputs_with_extra_args jiterator_binary jiterator_binary_return_by_ref
        jiterator_unary"""
    ),
    "runs on CUDA only": _names(
        """nn.functional.batch_norm.without_cudnn torch._scaled_mm torch._scaled_mm_v2
        torch.ops.aten._efficient_attention_forward torch.ops.aten._flash_attention_forward"""
    ),
    "sparse tensors: ONNX has none but constants": _names("sparse.mm.reduce sparse.sampled_addmm to_sparse"),
    "reads memory outside of its tensor": frozenset(["as_strided.partial_views"]),
    "returns sizes, no tensor": frozenset(["broadcast_shapes"]),
}

# Random numbers and uninitialized memory: only dtype and shape can agree. (Operators that draw in some of their forms
# only are found by a second seed; most of these set the seed themselves.)
NOT_REPEATABLE = _names(
    """bernoulli cauchy empty empty_like empty_permuted empty_strided exponential geometric log_normal multinomial
    new_empty new_empty_strided nn.functional.alpha_dropout nn.functional.dropout nn.functional.dropout2d
    nn.functional.dropout3d nn.functional.feature_alpha_dropout.with_train nn.functional.rrelu normal normal.in_place
    normal.number_mean rand_like randint randint_like randn randn_like uniform"""
)

# Operators that give positions, of which torch leaves open which one among equal elements it is, and where `dim` stands
# among their arguments after the tensor: compared is what the positions point at.
POSITIONS_AMONG_EQUALS = {"argsort": 0, "kthvalue": 1, "mode": 0, "sort": 0, "topk": 1}

# Operators that give eigenvalues in the order in which LAPACK's iterations happen to find them, and vectors of any
# phase: compared are the values as a set, and that the vectors are theirs.
EIGENVALUES_IN_ANY_ORDER = frozenset(["linalg.eig", "linalg.eigvals"])

# ── gaps ──


@dataclass(frozen=True, slots=True)
class Gap:
    """Operators that raise one error for one reason; `dtype` where they do in one dtype only."""

    error: type[errors.Error]
    reason: str
    operators: frozenset[str]
    dtype: str | None = None


def _gap(error: type[errors.Error], reason: str, operators: str, dtype: str | None = None) -> Gap:
    return Gap(error, reason, _names(operators), dtype)


GAPS = (
    _gap(
        errors.CaptureRefused,
        "of other shapes it returns False whatever they hold, and ONNX Runtime loads no model without outputs",
        "equal",
    ),
    _gap(
        errors.CaptureRefused,
        "by a number in a tensor: as many tensors come out as it says, and a graph has a fixed number of outputs",
        "tensor_split",
    ),
    _gap(
        errors.ModelRaised,
        "in the place of what the sum broadcasts, which eager gives another shape while it still reads it",
        "addbmm",
    ),
    _gap(
        errors.CaptureRefused,
        "of a batch, drivers that find ranks tell residuals where all of these are full: without them the result has "
        "fewer axes, and a value of ONNX has always as many",
        "linalg.lstsq linalg.lstsq.grad_oriented",
    ),
    _gap(
        errors.CaptureRefused,
        "returns a complex number of Python, for which torch has no symbol",
        "item",
        dtype="complex64",
    ),
    _gap(
        errors.CaptureRefused,
        "of a shape without axes the result has no tensors, and ONNX Runtime loads no model without outputs",
        "unravel_index",
    ),
)


def gap_of(operator: str, dtype: str) -> Gap | None:
    """The row of an operator in a dtype."""
    rows = [gap for gap in GAPS if operator in gap.operators and gap.dtype in (None, dtype)]
    assert len(rows) < 2, f"{operator} has two rows"
    return rows[0] if rows else None
