"""The pages that are made of results."""

from __future__ import annotations

from tests.conformance.accuracy import Error, measured
from tests.conformance.accuracy import page as accuracy_page
from tests.conformance.tables import page

RIGHT, REFUSED = [["right", ""]], [["refused", "NoKernel: a|b"]]


def test_operators_that_are_right_alike_share_a_row() -> None:
    cases = ("float32-function-static-default", "float32-function-static-13", "float32-method-dynamic-default")
    results = {f"{operator}-{case}": RIGHT for operator in ("sin", "cos") for case in cases}
    made = page(results | {"tan-float32-function-static-default": RIGHT, "tan-int64-in-place-static-default": REFUSED})
    assert "| float32 | default 13 | function dynamic | `cos` `sin` |" in made
    assert "| float32 | default | function | `tan` |" in made
    assert "| `tan` | int64 in-place static default | refused: NoKernel: a\\|b |" in made


def test_errors_are_told_where_they_are_greater_than_eagers() -> None:
    worse, less = Error("tanh", 3.0, 0.5, "Tanh"), Error("tanh", 2.0, 0.5, "Tanh")
    made = accuracy_page([worse, less, Error("exp", 0.7, 0.1, "Exp")])
    assert "Of 2 operators, 3 samples, 1 are." in made and "| `tanh` | 3.0 | 0.5 | Tanh |" in made
    assert {error.operator for error in measured("^(neg|randn_like)$")} == {"neg"}
