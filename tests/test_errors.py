"""Errors: their picture, their grouping, their pages."""

import pickle
from pathlib import Path

import pytest

from fxonnx import errors
from fxonnx.errors import BY_CODE, Error, Failures, InternalError, raise_all
from fxonnx.location import Location

WARP = Location("backbone.warp", "Warp", "encoder.py", 57, "forward", "    return F.grid_sample(feat, grid)",
                "aten.grid_sampler_2d", "grid_sampler")  # fmt: skip

CODES = {
    "FX001": errors.NotAModel,
    "FX002": errors.InputMismatch,
    "FX003": errors.ModelRaised,
    "FX004": errors.DataDependentControlFlow,
    "FX005": errors.CaptureRefused,
    "FX006": errors.FrozenDimension,
    "FX007": errors.InvalidDynamicShapes,
    "FX008": errors.InvalidOption,
    "FX010": errors.UnsupportedOperator,
    "FX011": errors.UnsupportedArguments,
    "FX012": errors.NotInOpset,
    "FX013": errors.OpsetOutOfRange,
    "FX014": errors.NoKernel,
    "FX015": errors.WrongLowering,
    "FX016": errors.WrongRule,
    "FX020": errors.NameClash,
    "FX021": errors.CannotWrite,
    "FX022": errors.TooLarge,
    "FX023": errors.CannotRead,
    "FX030": errors.CallMismatch,
    "FX031": errors.RuntimeFailed,
    "FX032": errors.ModelChanged,
    "FX033": errors.CheckFailed,
    "FX034": errors.WeightsMismatch,
    "FX040": errors.VerificationFailed,
    "FX050": errors.UnsupportedDtype,
    "FX099": errors.InternalError,
}


def test_codes_are_stable():
    assert BY_CODE == CODES


@pytest.mark.parametrize("each", [*CODES.values(), Failures], ids=lambda each: each.__name__)
def test_every_docstring_is_a_page(each):
    summary, _, rest = each.__doc__.partition("\n\n")
    assert summary.rstrip().endswith(".")
    assert "Example: " in rest
    assert "What to do: " in rest


def test_the_picture():
    error = errors.NotInOpset(
        "aten.grid_sampler_2d cannot be written in opset 13",
        cause="GridSample exists from opset 16; fxonnx has no expansion",
        cure="fxonnx.compile(model, args, opset=16)",
        location=WARP,
        value="f32[n,64,h,w]",
    )
    assert str(error) == """\
error[FX012] aten.grid_sampler_2d cannot be written in opset 13
  --> encoder.py:57 in forward:   return F.grid_sample(feat, grid)
      module backbone.warp (Warp),  fx node %grid_sampler : f32[n,64,h,w]
  cause  GridSample exists from opset 16; fxonnx has no expansion
  cure   fxonnx.compile(model, args, opset=16)"""


@pytest.mark.parametrize(
    ("location", "lines"),
    [
        (None, []),
        (Location(), []),
        (Location(file=str(Path.cwd() / "models" / "net.py"), line=3), [f"  --> {Path('models') / 'net.py'}:3"]),
        (Location(file="/elsewhere/net.py", line=3, function="f"), ["  --> /elsewhere/net.py:3 in f"]),
        (Location(kind="Net", node="add+mul"), ["      module (Net),  fx node %add+%mul"]),
        (Location("fc", node="linear"), ["      module fc,  fx node %linear"]),
    ],
)
def test_a_place_shows_what_is_known(location, lines):
    assert str(Error("it broke", location=location)).split("\n")[1:] == lines


def test_long_causes_hang_under_their_label():
    assert str(Error("it broke", cause="one\ntwo", cure="three")).split("\n")[1:] == [
        "  cause  one", "         two", "  cure   three"]  # fmt: skip


def missing(op, layer):
    place = Location(f"layers.{layer}")
    return errors.UnsupportedOperator(f"{op} has no lowering", cure="register one", location=place)


def test_repeated_errors_are_shown_once_with_their_places():
    failures = Failures([missing("aten.a", n) for n in range(15)] + [missing("aten.b", 0)])
    assert len(failures.errors) == len(failures.locations) + 1 == 16
    assert str(failures) == """
error[FX010] aten.a has no lowering  (15 times)
      module layers.0
      module layers.1
      module layers.2
      and 12 more
  cure   register one

error[FX010] aten.b has no lowering
      module layers.0
  cure   register one

2 different errors, 16 in all"""


def test_same_words_of_another_class_are_another_error():
    text = str(Failures([errors.NameClash("x"), errors.CallMismatch("x"), errors.CallMismatch("x")]))
    assert text.endswith("2 different errors, 3 in all")


def test_groups_in_groups_are_flattened():
    inner = Failures([missing("aten.a", 0), missing("aten.b", 0)])
    assert Failures([inner, missing("aten.c", 0)]).errors[:2] == inner.errors


def test_raise_all():
    assert raise_all([]) is None
    with pytest.raises(errors.UnsupportedOperator, match=r"aten\.a"):
        raise_all([missing("aten.a", 0)])
    with pytest.raises(Failures):
        raise_all([missing("aten.a", 0), missing("aten.b", 1)])


def test_internal_error_says_whose_fault_it_is_and_is_no_error_of_the_user():
    error = InternalError("a pass broke the graph", cause="%3 is never made", text="graph(x: f32[2])", location=WARP)
    assert not isinstance(error, Error)
    assert str(error).startswith("error[FX099] a pass broke the graph\n  --> encoder.py:57")
    assert "the fault is in fxonnx, not in your model" in str(error)
    assert str(error).endswith("\n\ngraph(x: f32[2])")


@pytest.mark.parametrize(
    "error",
    [missing("aten.a", 0), Failures([missing("aten.a", 0)] * 2), InternalError("x", text="graph", location=WARP)],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_processes(error):
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back)) == (type(error), str(error))
