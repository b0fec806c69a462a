"""Which lowering serves which call: by target, opset and names of arguments."""

from __future__ import annotations

from typing import Any

from fxonnx.lowering.registry import Lowering, Registry, make_lowering


def swap(op: Any, self: Any, dim0: int, dim1: int = 0) -> Any:
    """Two axes exchanged."""
    return op.Transpose(self, perm=[dim0, dim1])


def registry(*lowerings: Lowering) -> Registry:
    """A registry of these alone."""
    made = Registry()
    for each in lowerings:
        made.add(each)
    return made


def test_a_body_serves_the_overloads_whose_arguments_it_takes() -> None:
    every = registry(make_lowering("aten.swap", swap))
    assert every.find("aten.swap.default", ["self", "dim0", "dim1"], 23)
    assert every.find("aten.swap.layout", ["self", "dim0", "memory_format"], 23)
    assert every.find("aten.swap.more", ["self", "dim0", "dim1", "more"], 23) is None
    assert every.find("aten.swap.less", ["self"], 23) is None


def test_arguments_are_renamed_as_declared() -> None:
    (lowering,) = registry(make_lowering("aten.swap", swap, rename={"axis0": "dim0", "axis1": "dim1"})).lowerings[
        "aten.swap", False
    ]
    assert lowering.fits(["self", "axis0", "axis1"])
    assert not lowering.fits(["self", "axis0", "axis2"])
    assert lowering.named("axis1") == "dim1" and lowering.named("self") == "self"


def test_what_a_target_gives_is_no_argument_of_its_calls() -> None:
    (lowering,) = registry(make_lowering("aten.swap", swap, given={"dim0": 0})).lowerings["aten.swap", False]
    assert lowering.fits(["self"]) and lowering.fits(["self", "dim1"])
    assert not lowering.fits(["self", "dim0"])
    assert lowering.name == "swap(dim0=0)"


def test_only_what_is_declared_is_ignored() -> None:
    lowering = make_lowering("aten.swap", swap, ignored=frozenset({"sparse_grad"}))
    assert lowering.fits(["self", "dim0", "sparse_grad"])
    assert not lowering.fits(["self", "dim0", "sparse"])


def test_the_newest_body_that_the_target_has_serves() -> None:
    old, new = make_lowering("aten.swap", swap), make_lowering("aten.swap", swap, since=24)
    every = registry(old, new)
    assert every.find("aten.swap.default", ["self", "dim0"], 23) is old
    assert every.find("aten.swap.default", ["self", "dim0"], 24) is new


def test_a_complex_body_stands_beside_the_real_one() -> None:
    real, pairs = make_lowering("aten.swap", swap), make_lowering("aten.swap", swap, complex=True)
    every = registry(real, pairs)
    assert every.find("aten.swap.default", ["self", "dim0"], 23, complex=True) is pairs
    assert every.find("aten.swap.default", ["self", "dim0"], 23) is real
