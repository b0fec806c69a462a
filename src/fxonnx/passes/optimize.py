"""What `optimize=True` does, in order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from fxonnx.passes.channels import channels_in_vectors
from fxonnx.passes.cse import cse
from fxonnx.passes.dce import dce
from fxonnx.passes.fold import fold
from fxonnx.passes.integer_kernels import integer_kernels, weights_in_floats
from fxonnx.passes.movements import expands_into_readers, movements, slices_into_split, transposes_behind_linear
from fxonnx.passes.past import past_into_attention
from fxonnx.passes.pipeline import Pass, Pipeline, pipeline, repeat
from fxonnx.passes.precision import Observe, Precision, half_in_float32, halved, narrow, static
from fxonnx.passes.rewriting.rewrite import Rule, rewrite
from fxonnx.passes.rules import ALGEBRA, CAST, FUSION, SHAPE
from fxonnx.passes.unsigned import unsigned_activations

CLEAN = pipeline("optimized", dce)


@cache
def optimizer(users: tuple[Rule, ...] = (), without: frozenset[str] = frozenset()) -> Pipeline:
    """The optimizing pipeline; a user's rules are tried first. `without` names rules that are left out, to see what
    they do.

    Once through what changes no bit, so that patterns find what they expect; then all rules until none fits, and at
    last what rules would take back.
    """
    every = users, (*ALGEBRA, *SHAPE, *CAST), FUSION
    users, exact, fusion = (tuple(each for each in rules if each.name not in without) for rules in every)
    simplify = repeat(fold, cse, dce, rewrite(*exact), unsigned_activations, name="simplify", rounds=1)
    patterns = rewrite(*fusion, *exact)
    moves = expands_into_readers, transposes_behind_linear, movements, slices_into_split
    integers = integer_kernels, channels_in_vectors
    settle = repeat(patterns, fold, cse, dce, *moves, past_into_attention, *integers, name="fuse")
    fuse = repeat(settle, weights_in_floats, fold, cse, dce, name="fuse", rounds=1)
    first = [rewrite(*users, name="users")] if users else []
    return pipeline("optimized", *first, dce, half_in_float32, simplify, fuse)


def pipeline_for(
    users: tuple[Rule, ...], precision: Precision | None, observe: Observe, *, optimize: bool | Mapping[str, bool]
) -> Pipeline:
    """The optimizing pipeline, without the rules that are switched off by name, or the one that does nothing but what
    is asked for. `observe` tells what values are in the runs of a calibration."""
    base = CLEAN if optimize is False else optimizer(users, switched_off(optimize))
    return pipeline("optimized", *base.passes, *_asked(precision, observe))


def switched_off(optimize: bool | Mapping[str, bool]) -> frozenset[str]:
    """The names of the rules that are to be left out, forms among them."""
    wishes = optimize if isinstance(optimize, Mapping) else {}
    return frozenset(name for name, wanted in wishes.items() if not wanted)


def _asked(precision: Precision | None, observe: Observe) -> tuple[Pass, ...]:
    """The passes that do what is asked for."""
    if precision is None:
        return ()
    if precision.dtype.is_float:
        return (halved(precision),)
    quantized = narrow(precision) if precision.calibration is None else static(precision, observe)
    return half_in_float32, quantized, integer_kernels, channels_in_vectors, weights_in_floats, fold, dce
