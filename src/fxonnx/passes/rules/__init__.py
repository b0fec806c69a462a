"""Rewrite rules, a file per subject; one rule is one picture.

ALGEBRA, SHAPE and CAST change no bit of a result, NaNs, infinities and signed zeros included, and are applied until
none fits. FUSION turns several operators into one that runs faster; results differ by rounding at most. FORMS are
chosen between by what a machine was measured to take, as the last thing of all.
"""

from __future__ import annotations

from types import ModuleType

from fxonnx.passes.rewriting.rewrite import Rule
from fxonnx.passes.rules import (
    activation,
    algebra,
    attention,
    branches,
    cast,
    convolution,
    forms,
    linear,
    normalization,
    quantized,
    rotary,
    shape,
)


def rules_in(module: ModuleType) -> tuple[Rule, ...]:
    """The rules of a file, in its order."""
    return tuple(each for each in vars(module).values() if isinstance(each, Rule))


ALGEBRA = rules_in(algebra)
SHAPE = rules_in(shape)
CAST = rules_in(cast)
FORMS = rules_in(forms)
_FUSING = (activation, normalization, convolution, branches, linear, attention, rotary, quantized)
FUSION = tuple(rule for module in _FUSING for rule in rules_in(module))
