"""What `optimize=True` does, in order."""

from __future__ import annotations

from functools import cache

from fxonnx.passes.cse import cse
from fxonnx.passes.dce import dce
from fxonnx.passes.fold import fold
from fxonnx.passes.pipeline import Pass, Pipeline, pipeline, repeat
from fxonnx.passes.rewrite import Rule, rewrite
from fxonnx.passes.rules import ALGEBRA, CAST, FUSION, SHAPE

CLEAN = pipeline(dce)


@cache
def optimizer(users: tuple[Rule, ...] = ()) -> Pipeline:
    """The optimizing pipeline; a user's rules are tried first."""
    simplify = repeat(fold, cse, dce, rewrite(*ALGEBRA, *SHAPE, *CAST))
    steps: tuple[Pass, ...] = (dce, simplify, rewrite(*FUSION, name="fuse"), simplify, dce)
    return pipeline(*([rewrite(*users, name="users")] if users else ()), *steps)
