"""Sums of products over named axes, said with MatMul: what einsum and its relatives share.

An operand is a tensor and one letter per axis. A pair of operands is contracted by bringing both into the order
(batch, rows, columns), merging the letters of each part into one axis, and one MatMul. Source: the letter classes of
ATen/native/Linear.cpp, `sumproduct_pair`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fxonnx import dtypes
from fxonnx.dtypes import promote
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, product
from fxonnx.lowering.registry import Unsupported
from fxonnx.lowering.vocabulary import cast, dtype_of, positions, reshape, transpose

_ELLIPSIS = "0123456789"  # letters for the axes under `...`, counted from the last one


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor and one letter per axis."""

    tensor: Tensor
    letters: str

    def sizes(self) -> dict[str, Dim]:
        """The size of every letter."""
        return dict(zip(self.letters, self.tensor.shape, strict=True))


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """(a term per operand, the result's term) of an einsum equation, `...` replaced by a digit per axis from the last.

    Without `->` the result has the axes under `...`, then every letter that occurs once, in alphabetical order
    (torch.einsum).
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    written = left.split(",")
    if len(written) != len(ranks):
        raise Unsupported(f"the equation {equation!r} has {len(written)} terms for {len(ranks)} operands")
    hidden = [rank - len(term.replace("...", "")) for term, rank in zip(written, ranks, strict=True)]
    terms = [term.replace("...", _ellipsis(count)) for term, count in zip(written, hidden, strict=True)]
    widest = _ellipsis(max((count for term, count in zip(written, hidden, strict=True) if "..." in term), default=0))
    if arrow:
        return terms, right.replace("...", widest)
    counts = Counter("".join(written).replace(".", ""))
    return terms, widest + "".join(sorted(letter for letter, count in counts.items() if count == 1))


def _ellipsis(count: int) -> str:
    if count > len(_ELLIPSIS):
        raise Unsupported(f"`...` over {count} axes")
    return _ELLIPSIS[:count][::-1]


def contract_all(op: Builder, operands: Sequence[Operand], result: str, path: Sequence[int] | None = None) -> Tensor:
    """All operands contracted to `result`, two at a time: by `path` (positions in what is left), else in order."""
    remaining = [_without_repeats(op, operand) for operand in operands]
    steps = list(path or ())
    while len(remaining) > 1:
        pair = (steps.pop(0), steps.pop(0)) if steps else (0, 1)
        first, second = (remaining[index] for index in pair)
        remaining = [operand for index, operand in enumerate(remaining) if index not in pair]
        needed = set(result).union(*(operand.letters for operand in remaining))
        kept = "".join(letter for letter in dict.fromkeys(first.letters + second.letters) if letter in needed)
        if not remaining:
            kept = result
        contracted = contract(op, first, second, kept)
        remaining = [*remaining, contracted] if path else [contracted, *remaining]
    return _arranged(op, _summed(op, remaining[0], result), result).tensor


def contract(op: Builder, left: Operand, right: Operand, result: str) -> Operand:
    """Two operands contracted to `result`, each of whose letters one of them has."""
    left, right = _without_broadcast(op, left, right), _without_broadcast(op, right, left)
    left, right = _summed(op, left, right.letters + result), _summed(op, right, left.letters + result)
    shared = [letter for letter in left.letters if letter in right.letters]
    batch = "".join(letter for letter in result if letter in shared)
    summed = "".join(letter for letter in shared if letter not in result)
    rows = "".join(letter for letter in result if letter in left.letters and letter not in batch)
    columns = "".join(letter for letter in result if letter in right.letters and letter not in batch)
    if not summed:
        return _arranged(op, _elementwise(op, left, right, result), result)
    sizes = {**right.sizes(), **left.sizes()}
    first, second = _arranged(op, left, batch + rows + summed), _arranged(op, right, batch + summed + columns)
    letters = batch + rows + columns
    if len(summed) == len(columns) == 1 and (len(rows) == 1 or not batch):  # MatMul itself runs over all rows
        return _arranged(op, Operand(first.tensor @ second.tensor, letters), result)
    matrix = _grouped(op, first, len(batch), rows, summed) @ _grouped(op, second, len(batch), summed, columns)
    return _arranged(op, Operand(reshape(op, matrix, [sizes[letter] for letter in letters]), letters), result)


def _grouped(op: Builder, operand: Operand, batch: int, first: str, second: str) -> Tensor:
    """The tensor with the axes of each group merged to one; the groups follow the batch axes."""
    shape = operand.tensor.shape
    groups = (product(shape[batch : batch + len(first)]), product(shape[batch + len(first) :]))
    return reshape(op, operand.tensor, (*shape[:batch], *groups))


def _elementwise(op: Builder, left: Operand, right: Operand, result: str) -> Operand:
    """The product where nothing is summed: both broadcast over the letters of the result."""
    common = promote(dtype_of(left.tensor), dtype_of(right.tensor))  # a sum of integers is one of int64
    left, right = (Operand(cast(op, each.tensor, common), each.letters) for each in (left, right))
    return Operand(_spread(op, left, result) * _spread(op, right, result), result)


def _spread(op: Builder, operand: Operand, letters: str) -> Tensor:
    """The operand with axes of size 1 for the letters it has not (no leading ones)."""
    own = "".join(letter for letter in letters if letter in operand.letters)
    first = letters.index(own[0]) if own else len(letters)
    missing = [index - first for index, letter in enumerate(letters) if letter not in own and index >= first]
    tensor = _arranged(op, operand, own).tensor
    return op.Unsqueeze(tensor, missing) if missing else tensor


def _arranged(op: Builder, operand: Operand, letters: str) -> Operand:
    """The same operand with its axes in the order of `letters`."""
    return Operand(transpose(op, operand.tensor, [operand.letters.index(letter) for letter in letters]), letters)


def _summed(op: Builder, operand: Operand, needed: str) -> Operand:
    """The operand summed over the letters that nobody needs."""
    gone = [axis for axis, letter in enumerate(operand.letters) if letter not in needed]
    if not gone:
        return operand
    kept = "".join(letter for letter in operand.letters if letter in needed)
    whole = operand.tensor if dtype_of(operand.tensor).is_float else cast(op, operand.tensor, dtypes.INT64)
    return Operand(op.ReduceSum(whole, gone, keepdims=0), kept)


def _without_broadcast(op: Builder, operand: Operand, other: Operand) -> Operand:
    """The operand without axes of size 1 that the other one has larger: torch broadcasts them, MatMul does not."""
    others = other.sizes()
    gone = [
        axis
        for axis, letter in enumerate(operand.letters)
        if operand.tensor.shape[axis] == 1 and others.get(letter, 1) != 1
    ]
    if not gone:
        return operand
    kept = "".join(letter for axis, letter in enumerate(operand.letters) if axis not in gone)
    return Operand(op.Squeeze(operand.tensor, gone), kept)


def _without_repeats(op: Builder, operand: Operand) -> Operand:
    """The operand's diagonal over letters that occur twice in its term.

    ONNX's Einsum says just that, and of a tensor without elements ONNX Runtime's ends the process.
    """
    while twice := next((letter for letter, count in Counter(operand.letters).items() if count > 1), None):
        pair = [axis for axis, letter in enumerate(operand.letters) if letter == twice][:2]
        rest = [axis for axis in range(len(operand.letters)) if axis not in pair]
        *kept, size, _ = (moved := transpose(op, operand.tensor, [*rest, *pair])).shape
        square = reshape(op, moved, (*kept, size * size))
        every = positions(op, size) * (op.size(size) + 1)
        letters = "".join(operand.letters[axis] for axis in rest) + twice
        operand = Operand(op.Gather(square, every, axis=len(rest)), letters)
    return operand
