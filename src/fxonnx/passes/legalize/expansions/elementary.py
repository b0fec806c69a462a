"""Inverse functions for dtypes without a kernel, float64 above all: by exp, log, sin and cos, which have them, and
correct to a few units in the last place.

Source where none is named: Abramowitz & Stegun, "Handbook of Mathematical Functions" (1964), chapter 4.
"""

from __future__ import annotations

import math

from fxonnx.dtypes import FLOAT32
from fxonnx.ir.build import Builder, Tensor
from fxonnx.passes.legalize.registry import expands

# ── inverses of hyperbolic functions ─────────────────────────────────────────────────────────────────────────────────


@expands("Asinh", opmath=True)
def asinh(op: Builder, x: Tensor) -> Tensor:
    """±log(1 + (a + a²/(1 + √(a² + 1)))) for a = |x|; log(2a) where a² is all there is."""
    a = op.Abs(x)
    far = a > 1e8
    square = op.Where(far, 1.0, a * a)
    near = log1p(op, op.Where(far, 1.0, a) + square / (op.Sqrt(square + 1.0) + 1.0))
    return _signed(op, op.Where(far, op.Log(a) + math.log(2), near), x)


@expands("Acosh", opmath=True)
def acosh(op: Builder, x: Tensor) -> Tensor:
    """log(1 + (t + √(2t + t²))) for t = x - 1; log(2x) where x² is all there is."""
    far = x > 1e8
    t = op.Where(far, 1.0, x - 1.0)
    return op.Where(far, op.Log(x) + math.log(2), log1p(op, t + op.Sqrt(t * (t + 2.0))))


@expands("Atanh", opmath=True)
def atanh(op: Builder, x: Tensor) -> Tensor:
    """±½log(1 + 2a/(1 - a)) for a = |x|."""
    a = op.Abs(x)
    return _signed(op, log1p(op, a * 2.0 / (1.0 - a)) * 0.5, x)


def log1p(op: Builder, x: Tensor) -> Tensor:
    """log(1 + x), with what rounding the sum lost."""
    total = x + 1.0
    kept = total - 1.0
    logarithm = op.Log(total)
    return op.Where(op.Equal(kept, x), logarithm, logarithm + (x - kept) / total)


def _signed(op: Builder, size: Tensor, x: Tensor) -> Tensor:
    """An odd function of x by what it is for |x|; x itself where that is 0, which keeps its sign."""
    return op.Where(op.Equal(x, 0.0), x, size * op.Sign(x))


# ── angles ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@expands("Atan")
def atan(op: Builder, x: Tensor) -> Tensor:
    """The angle y of single precision, and the small rest: atan(x) - y = atan((x - tan y) / (1 + x·tan y)).

    The rest is below 2⁻²², so that its own arctangent is itself in double.
    """
    y = op.Cast(op.Atan(op.Cast(x, to=FLOAT32)), to=x.dtype)
    sine, cosine = op.Sin(y), op.Cos(y)
    bounded = op.Where(op.IsInf(x), 0.0, x)
    rest = (bounded * cosine - sine) / (bounded * sine + cosine)
    return op.Where(op.IsInf(x), op.Sign(x) * (math.pi / 2), op.Where(op.Equal(x, 0.0), x, y + rest))


@expands("Asin")
def asin(op: Builder, x: Tensor) -> Tensor:
    """atan(x / √((1 - x)(1 + x)))."""
    return op.Atan(x / op.Sqrt((1.0 - x) * (x + 1.0)))


@expands("Acos")
def acos(op: Builder, x: Tensor) -> Tensor:
    """2·atan(√((1 - x) / (1 + x)))."""
    return op.Atan(op.Sqrt((1.0 - x) / (x + 1.0))) * 2.0


# ── the error function ───────────────────────────────────────────────────────────────────────────────────────────────

# fmt: off
# Numerators and denominators, from the constant term on: of erf(x)/x in x² up to 1, and of exp(x²)·erfc(x) in x to 8.
# Moshier, "Methods and Programs for Mathematical Functions" (1989); Cephes, ndtr.
_NEAR = (
    (5.55923013010394962768e4, 7.00332514112805075473e3, 2.23200534594684319226e3, 9.00260197203842689217e1,
     9.60497373987051638749e0),
    (4.92673942608635921086e4, 2.26290000613890934246e4, 4.59432382970980127987e3, 5.21357949780152679795e2,
     3.35617141647503099647e1, 1.0),
)
_FAR = (
    (5.57535335369399327526e2, 1.02755188689515710272e3, 9.34528527171957607540e2, 5.26445194995477358631e2,
     1.96520832956077098242e2, 4.86371970985681366614e1, 7.46321056442269912687e0, 5.64189564831068821977e-1,
     2.46196981473530512524e-10),
    (5.57535340817727675546e2, 1.65666309194161350182e3, 2.24633760818710981792e3, 1.82390916687909736289e3,
     9.75708501743205489753e2, 3.54937778887819891062e2, 8.67072140885989742329e1, 1.32281951154744992508e1, 1.0),
)
# fmt: on
_ALL_OF_IT = 6.0  # from here on erf is 1 in double


@expands("Erf", opmath=True)
def erf(op: Builder, x: Tensor) -> Tensor:
    """Near 0 a quotient of polynomials times x, further out 1 less what is left."""
    a = op.Min(op.Abs(x), _ALL_OF_IT)
    far = 1.0 - op.Exp(-(a * a)) * _quotient(op, a, _FAR)
    return op.Where(a < 1.0, x * _quotient(op, x * x, _NEAR), op.Sign(x) * far)


def _quotient(op: Builder, x: Tensor, polynomials: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    above, below = (_polynomial(x, coefficients) for coefficients in polynomials)
    return above / below


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Σ cᵢ·xⁱ by Horner's rule."""
    total = x * coefficients[-1] + coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        total = total * x + coefficient
    return total


@expands("PRelu", opmath=True)
def p_relu(op: Builder, x: Tensor, slope: Tensor) -> Tensor:
    """x from 0 on, slope·x below. He et al. 2015."""
    return op.Where(op.Less(x, 0.0), x * slope, x)
