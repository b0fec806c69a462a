"""What `optimize=True` does, in order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from fxonnx.passes.cse import cse
from fxonnx.passes.dce import dce
from fxonnx.passes.fold import fold
from fxonnx.passes.integer_kernels import integer_kernels
from fxonnx.passes.movements import movements, slices_into_split, transposes_behind_linear
from fxonnx.passes.past import past_into_attention
from fxonnx.passes.pipeline import Pass, Pipeline, pipeline, repeat
from fxonnx.passes.precision import Precision, half_in_float32, halved, narrow
from fxonnx.passes.rewrite import Rule, rewrite
from fxonnx.passes.rules import ALGEBRA, CAST, FUSION, SHAPE
from fxonnx.passes.unsigned import unsigned_activations

CLEAN = pipeline("optimized", dce)


@cache
def optimizer(
    users: tuple[Rule, ...] = (), without: frozenset[str] = frozenset(), precision: Precision | None = None
) -> Pipeline:
    """The optimizing pipeline; a user's rules are tried first. `without` names rules that are left out, to see what
    they do; `precision` says what is stored in few bits.

    Once through what changes no bit, so that patterns find what they expect; then all rules until none fits.
    """
    every = users, (*ALGEBRA, *SHAPE, *CAST), FUSION
    users, exact, fusion = (tuple(each for each in rules if each.name not in without) for rules in every)
    simplify = repeat(fold, cse, dce, rewrite(*exact), unsigned_activations, name="simplify", rounds=1)
    patterns, moves = rewrite(*fusion, *exact), (transposes_behind_linear, movements, slices_into_split)
    fuse = repeat(patterns, fold, cse, dce, *moves, past_into_attention, integer_kernels, name="fuse")
    first = [rewrite(*users, name="users")] if users else []
    return pipeline("optimized", *first, dce, half_in_float32, simplify, fuse, *_narrowed(precision))


def pipeline_for(
    users: tuple[Rule, ...], precision: Precision | None, *, optimize: bool | Mapping[str, bool]
) -> Pipeline:
    """The optimizing pipeline, without the rules that are switched off by name, or the one that does nothing but what
    is asked for."""
    if isinstance(optimize, Mapping):
        return optimizer(users, frozenset(name for name, wanted in optimize.items() if not wanted), precision)
    if optimize:
        return optimizer(users, precision=precision)
    return CLEAN if precision is None else pipeline("optimized", dce, *_narrowed(precision))


def _narrowed(precision: Precision | None) -> tuple[Pass, ...]:
    """The passes that do what is asked for."""
    if precision is None:
        return ()
    return (halved(precision),) if precision.dtype.is_float else (half_in_float32, narrow(precision), integer_kernels)
