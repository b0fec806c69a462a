"""Whatever is given where something else is wanted is an error of ours, with a cause and a cure: never a bare Python
error, never silence."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.tools.cli import main

X = torch.ones(2, 3)


class Net(nn.Module):
    """A layer and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor, n: int = 2) -> Tensor:
        return self.fc(x) * n


@cache
def compiled() -> fxonnx.Compiled:
    return fxonnx.compile(Net(), X)


def keeping() -> fxonnx.Compiled:
    """Of a model that keeps a state."""
    return fxonnx.compile(nn.BatchNorm1d(3), X, mode="train")


def plus(x: Tensor) -> Tensor:
    return x + 1


def asking(option: str, *values: Any) -> dict[str, Callable[[], object]]:
    """A compile with each of these values for an option."""
    return {f"{option}={value!r}": lambda value=value: fxonnx.compile(plus, X, **{option: value}) for value in values}


def giving(inputs: dict[str, Any]) -> dict[str, Callable[[], object]]:
    return {f"inputs: {name}": lambda given=given: fxonnx.compile(plus, given) for name, given in inputs.items()}


COMPILE: dict[str, Callable[[], object]] = {
    **{f"model: {each!r}": lambda each=each: fxonnx.compile(each, X) for each in (None, 3, "net", Net, {}, [plus], X)},
    "model: state_dict": lambda: fxonnx.compile(Net().state_dict(), X),
    "model: compiled": lambda: fxonnx.compile(compiled(), X),
    "model: no forward": lambda: fxonnx.compile(nn.ModuleList([nn.ReLU()]), X),
    "model: lazy": lambda: fxonnx.compile(nn.LazyLinear(2), X),
    **giving({"none": None, "number": 3, "text": "x", "array": X.numpy(), "array in a tuple": (X.numpy(),), "set": {X},
              "dict": {"x": X}, "two": (X, X), "nothing": (), "generator": (each for each in [X]), "object": object()}),
    **asking("example_kwargs", [X], 3, "x", {1: X}, {"y": X}),
    **asking("opset", "17", 17.5, b"17", [17], True, -1, 0, 99, float("nan"), 10**30),
    **asking("target", "onnxruntime", 3, fxonnx.Target, object()),
    **asking("rules", 3, None, "rule", [3], [plus], {"a": 1}),
    **asking("lowerings", 3, "aten.add", [plus], {"aten.add": 3}, {3: plus}, {"add": plus}, {"": plus}),
    **asking("input_names", "x", 3, [3], [None], [""], [b"x"], ["a\0"], ["\ud800"], ["a", "b"], {"x"}),
    **asking("output_names", "y", 3, [3], [None], [""], [b"y"], ["a\0"], ["x"], ["a", "b"], {"y"}),
    **asking("dynamic_shapes", 3, "batch", set(), {"x": {5: "b"}}, {"y": {0: "b"}}, {"x": {0: 3.5}}, {"x": {"0": "b"}},
             {"x": {0: ""}}, {"x": {0: "1b"}}, {"x": {0: "b c"}}, {"x": {0: "b/0"}}, {"x": {0: "3"}}, {"x": 3},
             {"x": {True: "b"}}, {"x": {0: True}}, {"x": {0: 7}}, {"x": {0: b"b"}}, {"x": ["b"]}, [{}, {}],
             {0: {0: "b"}}, {"x": {0: torch.export.Dim}}, {"x": {0: "b", 1: "b"}}),
    **asking("mode", "evaluate", 3, None, ["eval"]),
    **asking("capture", "fx", 3, None, ["trace"]),
    **asking("optimize", "no", 3, None),
    **asking("verify", "no", 3, None),
    **asking("dump", 3, "/dev/null/stages", "a\0", b"stages", X),
    "export: no path": lambda: fxonnx.export(plus, X, ""),
    "export: opset": lambda: fxonnx.export(plus, X, "m.onnx", opset="17"),
    "target: text": lambda: fxonnx.Target.onnx("17"),
    "target: at": lambda: fxonnx.Target.onnx().at(17.0),
    **{f"lowering of {each!r}": lambda each=each: fxonnx.register_lowering(each, plus) for each in (3, "gelu", "a b")},
    "lowering: no function": lambda: fxonnx.register_lowering("mylib.fancy", 3),
    **asking("precision", "fp16", "int8", torch.float16, 8),
    "precision: keep": lambda: fxonnx.compile(Net(), X, precision=fxonnx.int8_weights(keep=["nope"])),
    **{f"{each.__name__}: {options}": lambda each=each, options=options: each(**options)
       for each in (fxonnx.int4_weights, fxonnx.int8_static, fxonnx.sweep, fxonnx.load, fxonnx.observe,
                    fxonnx.machine, fxonnx.register_lowering, fxonnx.Target.onnx, fxonnx.Target.tensorrt)
       for options in ({"blocks": 32},)},
    "rule: of a function": lambda: fxonnx.rule(plus),
    "rule: without a picture": lambda: fxonnx.rule(Net),
    "lowering: any arguments": lambda: fxonnx.register_lowering("mylib.fancy", lambda op, *rest: op),
}  # fmt: skip

CALL: dict[str, Callable[[], object]] = {
    **{f"call: {args!r}": lambda args=args: compiled()(*args) for args in (
        (), (None,), (3,), ("x",), ([X],), (X.double().numpy(),), (X.numpy().astype("U"),),
        (X.double(),), (X.int(),), (X + 1j,), (torch.ones(5, 3),),
        (X[0],), (X.to("meta"),), (X, 3), (X, 2.0), (X, torch.tensor(2)), (X, 2, 2), ({"x": X},))},
    "call: keyword": lambda: compiled()(x=X, y=X),
    "call: twice": lambda: compiled()(X, x=X),
    **{f"verify: {args!r}": lambda args=args: compiled().verify(*args) for args in (
        (None,), (X.numpy(),), (X.double(),), (torch.ones(5, 3),), (X[0],), (X, 3))},
    "verify: keyword": lambda: compiled().verify(y=X),
    **{f"seed={seed!r}": lambda seed=seed: compiled().verify(seed=seed) for seed in ("a", None, 1.5, True, 2**70)},
    **{f"threads={each!r}": lambda each=each: compiled().configure(threads=each) for each in (
        -1, 0, "2", 2.5, True, [1], 10**9)},
    **{f"prepack={each!r}": lambda each=each: compiled().configure(prepack=each) for each in (3, "no", None)},
    **{f"source_lines={each!r}": lambda each=each: compiled().model_proto(source_lines=each) for each in (1, "no")},
    "weights": lambda: compiled().save("m.onnx", weights="both"),
    "rebind: meta": lambda: compiled().rebind({name: each.to("meta") for name, each in Net().state_dict().items()}),
    **{f"load: {each!r}": lambda each=each: fxonnx.load(each) for each in (b"\x08\x0c", 3, "/dev/null")},
    "pickle": lambda: pickle.dumps(keeping()),
    "deepcopy": lambda: copy.deepcopy(keeping()),
    "copy": lambda: copy.copy(keeping()),
}  # fmt: skip


_ALL = COMPILE | CALL


def _without_address(name: str) -> str:
    """A test's name that is one in all processes."""
    return re.sub(r" at 0x[0-9a-f]+", "", name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ask", [pytest.param(ask, id=_without_address(name)) for name, ask in _ALL.items()])
def test_bad_input_is_an_error_with_cause_and_cure(
    ask: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.Error) as caught:
        ask()
    for each in getattr(caught.value, "errors", (caught.value,)):
        assert each.what and each.cause and each.cure
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_what_is_wrong_is_told_all_at_once() -> None:
    with pytest.raises(errors.Failures) as caught:
        fxonnx.compile(plus, X, opset="17", rules=3, input_names="x")
    assert [each.what for each in caught.value.errors] == ["opset is '17'", "rules is 3", "input_names is 'x'"]


@pytest.mark.parametrize(
    ("option", "value", "cure"),
    [
        ("precision", "half", 'precision="float16"'),
        ("precision", "int8-static", "int8_static([(x,)])"),
        ("precision", torch.bfloat16, 'precision="bfloat16"'),
        ("threads", 2, "compiled.configure(threads=2)"),
        ("dtype", torch.float16, 'precision="float16"'),
        ("dynamo", True, "leave it out"),
        ("optimise", True, "write optimize=…"),
    ],
)
def test_a_cure_says_what_was_meant(option: str, value: Any, cure: str) -> None:
    with pytest.raises(errors.InvalidOption) as caught:
        fxonnx.compile(plus, X, **{option: value})
    assert cure in caught.value.cure


def test_what_is_compiled_is_no_model(tmp_path: Path) -> None:
    compiled().save(tmp_path / "m.onnx")
    for each in (compiled(), fxonnx.load(tmp_path / "m.onnx")):
        with pytest.raises(errors.NotAModel, match="is not a model") as caught:
            fxonnx.compile(each, X)
        assert "has been compiled" in caught.value.cause


def test_a_file_is_not_printed_where_its_path_was_meant() -> None:
    with pytest.raises(errors.CannotRead, match="a ModelProto cannot be read"):
        fxonnx.load(compiled().model_proto())


VIEW, RESULT = torch.randn(2, 3, dtype=torch.complex64).conj(), torch.ones(2, 3, requires_grad=True) * 2


@pytest.mark.parametrize("x", [VIEW, RESULT])
def test_views_and_results_of_torch_are_inputs(x: Tensor) -> None:
    made = fxonnx.compile(lambda x: x * 2, x)
    torch.testing.assert_close(made(x), (x * 2).detach().resolve_conj())
    made.verify(x).check()


def factory() -> tuple[Any, ...]:
    return Net(), (X,)


def sparse() -> tuple[Any, ...]:
    return plus, (X.to_sparse(),)


COMMANDS = {
    "no module": (["nowhere:factory"], 2),
    "no factory": (["tests.test_bad_input:nothing"], 2),
    "no colon": (["tests.test_bad_input"], 2),
    "not a model": (["tests.test_bad_input:X"], 1),
    "sparse": (["tests.test_bad_input:sparse"], 1),
    "opset": (["tests.test_bad_input:factory", "--opset", "99"], 1),
    "axis": (["tests.test_bad_input:factory", "--dynamic", "x:7=b"], 1),
    "no input": (["tests.test_bad_input:factory", "--dynamic", "y:0=b"], 1),
    "stage": (["tests.test_bad_input:factory", "--show", "none"], 2),
    "dump": (["tests.test_bad_input:factory", "--dump", "/dev/null/stages"], 1),
    "a folder": (["tests.test_bad_input:factory", "-o", "."], 1),
    "no folder": (["tests.test_bad_input:factory", "-o", "missing/m.onnx"], 1),
    "nothing": (["tests.test_bad_input:factory", "-o", ""], 1),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_says_what_is_wrong(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words, code = COMMANDS[name]
    assert main(["compile", "-o", "m.onnx", *words]) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said and ("error[" in said or "fxonnx: " in said)
    assert not list(tmp_path.iterdir())


def test_the_script_ends_without_a_traceback() -> None:
    result = subprocess.run([sys.executable, "-m", "fxonnx", "compile", "3", "-o", "m.onnx"], capture_output=True,
                            text=True, check=False)  # fmt: skip
    assert result.returncode == 2 and "Traceback" not in result.stderr
