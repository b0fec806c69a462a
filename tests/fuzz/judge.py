"""What becomes of a random program: eager beside every way in which fxonnx compiles and runs it."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime
import torch
from tests.fuzz.eager import Case, Leaves, leaves
from tests.fuzz.program import Program, seed
from tests.fuzz.rounding import explained

import fxonnx
from fxonnx import errors
from fxonnx.passes.optimize import optimizer
from fxonnx.saved.interface import Interface
from fxonnx.saved.model import INTERFACE
from fxonnx.verification.compare import difference


class Verdict(IntEnum):
    """How a program fares, the better first; the worst of its runs counts."""

    RIGHT = 0
    EAGER_RAISES = 1
    REFUSED = 2  # with an error that is about the program
    RAW = 3  # with an exception that is none of fxonnx's
    INTERNAL = 4  # with an error that says "please report it"
    STOPPED = 5  # by the runtime, in a run
    UNLOADABLE = 6  # by the runtime, before
    WRONG = 7
    CRASH = 8

    @property
    def fails(self) -> bool:
        """Whether this is a fault of fxonnx."""
        return self > Verdict.REFUSED


@dataclass(frozen=True)
class Configuration:
    """A way to compile."""

    dynamic: bool
    optimize: bool

    def __str__(self) -> str:
        return f"{'dynamic' if self.dynamic else 'static'}, {'optimized' if self.optimize else 'as lowered'}"


ALL = tuple(Configuration(dynamic, optimize) for dynamic in (True, False) for optimize in (False, True))
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")


@dataclass(frozen=True)
class Judgement:
    """A verdict, the run it is about, what was said, and a short form of that for the tally."""

    verdict: Verdict
    configuration: Configuration = ALL[0]
    run: str = ""
    text: str = ""

    @property
    def kind(self) -> str:
        """The first line said, without what differs from program to program."""
        if self.verdict is Verdict.WRONG:
            return "WRONG"
        line = self.text.strip().partition("\n")[0]
        return f"{self.verdict.name} {re.sub(r'[0-9]+|0x[0-9a-f]+', '#', line)[:100]}"

    def __str__(self) -> str:
        return f"{self.verdict.name}: {self.configuration}, {self.run}\n{self.text}"


def judge(program: Program, configurations: Sequence[Configuration] = ALL) -> Judgement:
    """The first failure of a program, else the worst of its judgements."""
    with TemporaryDirectory() as directory, warnings.catch_warnings(action="ignore"), torch.no_grad():
        path = Path(directory) / "program.py"
        path.write_text(program.module, encoding="utf-8")
        names: dict[str, Any] = {"__name__": "program"}
        exec(compile(program.module, str(path), "exec"), names)

        def make() -> torch.nn.Module:
            seed(0)
            model: torch.nn.Module = names["Model"]().eval()
            return model

        sizes = list({program.call(each): each for each in program.sizes}.values())
        cases = [Case(program, make, each) for each in sizes]
        worst = Judgement(Verdict.RIGHT if cases[0].left else Verdict.EAGER_RAISES)
        for found in _judged(cases, configurations):
            worst = max(worst, found, key=lambda each: each.verdict)
            if worst.verdict.fails:
                break
    return worst


def _judged(cases: Sequence[Case], configurations: Sequence[Configuration]) -> Iterator[Judgement]:
    """Dynamic: compile at the first sizes, run at all. Static: compile and run at the first and at the last ones."""
    if cases[0].program.dynamic_shapes:
        yield from compiled_at(cases, [each for each in configurations if each.dynamic])
    for case in {id(each): each for each in (cases[0], cases[-1])}.values():
        yield from compiled_at([case], [each for each in configurations if not each.dynamic])


def compiled_at(cases: Sequence[Case], configurations: Sequence[Configuration]) -> Iterator[Judgement]:
    """Compile at the first sizes, then run at all of them. The model is captured once for all configurations."""
    first, where = cases[0], f"compile at {cases[0].sizes}"
    if not first.left or not configurations:
        return
    model, one = first.make(), configurations[0]
    try:
        compiled = fxonnx.compile(
            model,
            first.arguments,
            dynamic_shapes=first.program.dynamic_shapes if one.dynamic else None,
            optimize=one.optimize,
        )
    except Exception as error:  # noqa: BLE001 - whatever is raised is what is judged
        yield failure(error, one, where)
        return
    for each in configurations:
        try:
            made = compiled if each is one else _optimized(compiled, first)
            proto = made.model_proto()
        except Exception as error:  # noqa: BLE001 - whatever is raised is what is judged
            yield failure(error, each, where)
            return
        yield from _run(made, proto, model, cases, each)


def _optimized(compiled: fxonnx.Compiled, case: Case) -> fxonnx.Compiled:
    """What was compiled as lowered, optimized: of the same capture, which takes most of the time."""
    build: Any = replace(compiled._build, pipeline=optimizer())  # type: ignore[type-var]
    made: fxonnx.Compiled = build.lower(compiled.program, case.arguments).finish()
    return made


def _run(
    compiled: fxonnx.Compiled, proto: onnx.ModelProto, model: torch.nn.Module, cases: Sequence[Case],
    configuration: Configuration,
) -> Iterator[Judgement]:  # fmt: skip
    session = cache(partial(opened, proto.SerializeToString()))
    for case in cases:
        if not case.left:
            continue
        yield (found := called(compiled, model, case, configuration))
        if found.verdict is not Verdict.REFUSED and file_holds(proto, case):
            yield from (loaded(session, level, case, configuration) for level in LEVELS)


def called(compiled: fxonnx.Compiled, model: torch.nn.Module, case: Case, configuration: Configuration) -> Judgement:
    """Call a compiled model as often as eager was."""
    for mine, start in zip(model.buffers(), case.make().buffers(), strict=True):
        if not torch.equal(mine, start):  # a state of the file: what else is written to makes the compiled model refuse
            mine.copy_(start)
    arguments = case.arguments
    for call in range(len(case.left)):
        run = f"call {call + 1} at {case.sizes}"
        try:
            result = compiled(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever is raised is what is judged
            return failure(error, configuration, run)
        if wrong := differences(leaves(case.program, model, result, arguments), case, call):
            return Judgement(Verdict.WRONG, configuration, run, wrong)
    return Judgement(Verdict.RIGHT)


def file_holds(proto: onnx.ModelProto, case: Case) -> bool:
    """Whether a file says that it holds for these sizes, as `fxonnx.load` reads it. A call asks the model where it does
    not."""
    said = {each.key: each.value for each in proto.metadata_props}
    return Interface.from_text(said[INTERFACE]).admits(case.sizes)


def opened(file: bytes, level: str) -> onnxruntime.InferenceSession:
    """A plain session of a file, the runtime's optimizers off or on."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def loaded(
    open_at: Callable[[str], onnxruntime.InferenceSession], level: str, case: Case, configuration: Configuration
) -> Judgement:
    """Run the file in its session of a level."""
    run = f"the file at {case.sizes}, {level}"
    try:
        session = open_at(level)
    except Exception as error:  # noqa: BLE001 - the runtime's own
        return Judgement(Verdict.UNLOADABLE, configuration, run, str(error))
    inputs = dict(zip([spec.name for spec in case.program.inputs], case.arguments, strict=True))
    inputs |= case.make().state_dict()
    try:
        results = session.run(None, {each.name: inputs[each.name].numpy() for each in session.get_inputs()})
    except Exception as error:  # noqa: BLE001 - the runtime's own
        return Judgement(Verdict.STOPPED, configuration, run, str(error))
    names = [output.name for output in session.get_outputs()]
    if missing := [name for name, result in zip(names, results, strict=True) if result is None]:
        return Judgement(Verdict.WRONG, configuration, run, f"there is no value of {', '.join(missing)}")
    wrong = differences(_leaves_of_file(names, results, case.left[0]), case, 0)
    return Judgement(Verdict.WRONG, configuration, run, wrong) if wrong else Judgement(Verdict.RIGHT)


def _leaves_of_file(names: Sequence[str], results: Sequence[Any], expected: Leaves) -> Leaves:
    """What a file leaves, under eager's names. A file has no output for None, nor for a number that no call changes;
    for other numbers of Python it has tensors."""
    wanted = [name for name, leaf in expected.items() if name.startswith("result") and leaf is not None]
    tensors = dict(zip(names, map(torch.from_numpy, results), strict=True))
    tensors = {name: leaf for name, leaf in tensors.items() if not name.startswith("must_be_true.")}
    written = {name: leaf for name, leaf in tensors.items() if name.endswith(".after")}
    returned = [leaf for name, leaf in tensors.items() if name not in written]
    if len(returned) < len(wanted):
        wanted = [name for name in wanted if isinstance(expected[name], torch.Tensor)]
    found = {
        name: leaf if isinstance(expected[name], torch.Tensor) else leaf.item()
        for name, leaf in zip(wanted, returned, strict=True)
    }
    return {**found, **written}


def differences(actual: Leaves, case: Case, call: int) -> str:
    """What a call leaves that eager does not, and that rounding does not explain; nothing where all agree."""
    expected = case.left[call]
    for name, leaf in actual.items():
        if _equal(leaf, expected[name]):
            continue
        found = difference(name, leaf, expected[name])
        if not found.ok and (found.problem or not explained(leaf, expected[name], case.spread[call][name])):
            return f"{found}\nfound {leaf}\nwanted {expected[name]}"
    return ""


def _equal(actual: Any, expected: Any) -> bool:
    """Whether two tensors are equal in all elements, as most are; to measure a difference takes ten times as long."""
    return (
        isinstance(actual, torch.Tensor)
        and isinstance(expected, torch.Tensor)
        and actual.dtype is expected.dtype
        and torch.equal(actual, expected)
    )


def failure(error: BaseException, configuration: Configuration, run: str) -> Judgement:
    """The judgement of an exception."""
    if isinstance(error, errors.Failures):
        return max((failure(each, configuration, run) for each in error.errors), key=lambda each: each.verdict)
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, errors.RuntimeFailed):
        verdict = Verdict.STOPPED
    elif isinstance(error, errors.InternalError | errors.WrongLowering) or "please report it" in text:
        verdict = Verdict.INTERNAL
    elif isinstance(error, errors.Error):
        verdict = Verdict.REFUSED
    else:
        verdict = Verdict.RAW
        text += "\n" + "".join(traceback.format_tb(error.__traceback__)[-3:])
    return Judgement(verdict, configuration, run, text)
