"""Rewrite rules by what they are about; one rule is one picture."""

from __future__ import annotations

from fxonnx.passes.rewrite import Rule

ALGEBRA: tuple[Rule, ...] = ()
SHAPE: tuple[Rule, ...] = ()
FUSION: tuple[Rule, ...] = ()
