"""The random-program test, and that it finds what it is for."""

import pytest
import torch
from tests.fuzz import judge as judging
from tests.fuzz import worker as working
from tests.fuzz.gaps import gap
from tests.fuzz.hunt import Tally, hunt, program_of, shrunk
from tests.fuzz.judge import ALL, Judgement, Verdict, judge
from tests.fuzz.kinds import FIXED, MEMBERS, OF_TENSOR, RELATIONS
from tests.fuzz.ops import FAMILIES
from tests.fuzz.program import Op, Program, Statement, TensorSpec, family
from tests.fuzz.worker import Worker

import fxonnx

X = TensorSpec("x", torch.float32, ("n", 3))
SHARE = 60  # programs, half a second each; `make fuzz` takes others
SIZES = ({"n": 4, "m": 4}, {"n": 1, "m": 5})


def program(*lines, result="y"):
    """A program of lines as they stand."""
    return Program((X,), (), tuple(Statement(Op("line", f"! {line}"), {}, "") for line in lines), result, SIZES)


def verdict(*lines):
    return judge(program(*lines)).verdict


def test_a_seed_is_a_program_and_prints_as_a_module():
    one = program_of(3)
    assert one.module == program_of(3).module != program_of(4).module
    names = {}
    exec(one.module, names)
    names["Model"]()(*one.makes(one.sizes[0]))


@pytest.mark.parametrize("op", [op for family in FAMILIES for op in family], ids=lambda op: op.template)
def test_the_table_is_written_in_known_kinds(op):
    fields = dict(op.fields)
    for word, *rest in (kind.replace("(", " (").split() for kind in fields.values()):
        assert word in {"=", "size", "weight", *FIXED, *RELATIONS, *OF_TENSOR} or MEMBERS.fullmatch(word)
        assert word not in {*RELATIONS, *OF_TENSOR} or rest[0] in fields
    arguments = {name: kind.split()[1] if kind.startswith("=") else "x" for name, kind in fields.items()}
    compile(op.source(arguments), op.template, "exec")


def test_what_is_right_is_right():
    assert verdict("y = x * 2") is Verdict.RIGHT


def test_another_value_is_wrong(monkeypatch):
    class Other(torch.nn.Module):
        def forward(self, x):
            return x * 2.01

    monkeypatch.setattr(judging.fxonnx, "compile", lambda model, *args, **options: COMPILE(Other(), *args, **options))
    assert verdict("y = x * 2") is Verdict.WRONG


COMPILE = fxonnx.compile


def test_rounding_is_not_wrong():
    """The sum is 1 but for the last place, and its floor is 0 or 1 as the order of its terms has it."""
    assert verdict("y = (x.softmax(1).sum(1) * 3 / 3).floor()") is Verdict.RIGHT


def test_what_is_written_is_looked_at(monkeypatch):
    class Pure(torch.nn.Module):
        def forward(self, x):
            return x + 1

    assert verdict("y = x.add_(1)") is Verdict.RIGHT
    monkeypatch.setattr(judging.fxonnx, "compile", lambda model, *args, **options: COMPILE(Pure(), *args, **options))
    assert verdict("y = x.add_(1)") is Verdict.WRONG


def test_a_process_that_ends_is_a_verdict():
    worker = Worker()
    crash = program("import os", "os._exit(7)", "y = x")
    assert worker(crash).verdict is Verdict.CRASH
    assert worker(program("y = x + 1")).verdict is Verdict.RIGHT
    worker.close()


def test_what_the_judge_raises_is_no_verdict(monkeypatch):
    def broken(program, configurations):
        raise SyntaxError("its own")

    monkeypatch.setattr(working, "judge", broken)
    worker = Worker()
    with pytest.raises(working.JudgeFailed, match="its own"):
        worker(program("y = x + 1"))
    worker.close()


def test_a_failure_shrinks_to_the_line_that_fails():
    def failing(program, configurations=ALL):
        wrong = any("cumsum" in str(each) for each in program.statements)
        return Judgement(Verdict.WRONG if wrong else Verdict.RIGHT)

    families = [family("few", "{x:any}.flip(0) \n {x:any}.clone() \n {x:number}.cumsum(0)")]
    seed = next(seed for seed in range(200) if failing(program_of(seed, families)).verdict.fails)
    smallest, _ = shrunk(seed, failing(program_of(seed, families)), failing, seconds=60, families=families)
    assert len(smallest.statements) < 4 < len(program_of(seed, families).statements)


def test_random_programs_are_right():
    worker = Worker()
    failures = list(hunt(range(SHARE), worker, Tally()))
    worker.close()
    assert not failures, "\n\n".join(failures)


@pytest.mark.parametrize("line", ["y = (x.half() * 1e4).prod(1)", "y = (x.half() / 1e3).cumprod(1)"])
def test_what_leaves_the_range_of_float16_is_a_gap(line):
    assert gap(program(line), Judgement(Verdict.WRONG))
    assert not gap(program(line), Judgement(Verdict.STOPPED))


@pytest.mark.parametrize("line", ["y = x.half().prod(1)", "y = (x.half() * 0).cumprod(1)", "y = (x * 1e4).prod(1)"])
def test_any_other_product_is_none(line):
    assert not gap(program(line), Judgement(Verdict.WRONG))
