"""House rules that a machine can check: docstrings, sizes, no traces of a machine, an import that costs nothing."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import fxonnx
from fxonnx.lowering.registry import STANDARD, standard

ROOT = Path(__file__).parents[2]
FILE_LINES, FUNCTION_LINES, FOLDER_FILES = 500, 60, 15
NO_NAMES = ("utils", "util", "helpers", "helper", "common", "misc")

MADE = re.compile(
    r"\.git|\.venv(?:-\w+)?|__pycache__|\.\w+_cache|\.hypothesis|\.ipynb_checkpoints|build|dist|.*\.egg-info"
)


def made(path):
    """Whether a path is, or lies in, what tools make and git ignores (in a worktree, `.git` is a file)."""
    return any(MADE.fullmatch(part) for part in path.relative_to(ROOT).parts)


FILES = sorted(path for path in ROOT.rglob("*") if path.is_file() and not made(path))
PYTHON = [path for path in FILES if path.suffix == ".py"]
PACKAGE = [path for path in PYTHON if ROOT / "src" in path.parents]

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
# The parts are apart so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:" + "|".join(("work", "root", "home")) + r")/")


def name(path):
    """A path as it is written in the repository."""
    return path.relative_to(ROOT).as_posix()


def parse(path):
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def is_rule(node):
    """A rewrite rule is a picture: its class has the docstring, `before` and `after` speak for themselves."""
    return any(ast.unparse(each).split("(")[0].split(".")[-1].endswith("rule") for each in node.decorator_list)


def public(body):
    """The public functions, classes and methods of a module or class; not overloads, whose words are the last one's."""
    for node in body:
        if not isinstance(node, FUNCTION | ast.ClassDef) or node.name.startswith("_"):
            continue
        if any(ast.unparse(each).endswith(("overload", ".setter")) for each in node.decorator_list):
            continue
        yield node
        if isinstance(node, ast.ClassDef) and not is_rule(node):
            yield from public(node.body)


def undocumented(path):
    """What is public in a file and has no docstring, the file itself included."""
    tree = parse(path)
    yield from () if ast.get_docstring(tree) else ("the module itself",)
    yield from (each.name for each in public(tree.body) if not ast.get_docstring(each))


def lines_of(node):
    """The lines of a function; its docstring is not counted, which a public one needs a line of for each argument."""
    first = node.body[0]
    words = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
    return node.end_lineno - node.lineno + 1 - words


def long_functions(path):
    """The functions of a file that are longer than one job takes, with their lines."""
    for each in ast.walk(parse(path)):
        if isinstance(each, FUNCTION) and (size := lines_of(each)) > FUNCTION_LINES:
            yield f"{each.name}: {size} lines"


def test_what_is_public_has_a_docstring():
    assert [f"{name(path)}: {each}" for path in PACKAGE for each in undocumented(path)] == []


def test_a_file_is_one_sitting_long():
    assert [name(path) for path in PYTHON if len(path.read_text(encoding="utf-8").splitlines()) > FILE_LINES] == []


def test_a_function_has_one_job():
    assert [f"{name(path)}: {each}" for path in PYTHON for each in long_functions(path)] == []


def test_a_file_is_named_by_what_is_in_it():
    assert [name(path) for path in PACKAGE if path.stem in NO_NAMES] == []


def test_a_folder_is_seen_at_a_glance():
    files = Counter(name(path.parent) for path in PYTHON if path.name != "__init__.py")
    assert {folder: count for folder, count in files.items() if count > FOLDER_FILES} == {}


def test_every_dependency_is_pinned_within_its_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = [Requirement(each) for each in sum(project["optional-dependencies"].values(), project["dependencies"])]
    lines = [line for lock in ROOT.glob("requirements*.lock") for line in lock.read_text(encoding="utf-8").splitlines()]
    pins = dict(line.lower().split("==") for line in lines if "==" in line)
    wrong = [str(each) for each in ranges if each.name != "fxonnx" and pins.get(each.name) not in each.specifier]
    assert wrong == []


def test_nothing_names_a_machine():
    found = [name(path) for path in FILES if MACHINE_PATH.search(path.read_bytes().decode("utf-8", "ignore"))]
    assert found == []


def test_the_reader_of_machine_paths_can_read():
    assert MACHINE_PATH.search('open("/' + 'home/someone/x")')
    assert not MACHINE_PATH.search("https://example.org/" + "home/x and src/" + "work/x")


HEAVY = {"onnx_ir", "onnxscript", "onnxruntime", "transformers", "rich"}


def loaded(statement):
    """The top-level modules that are there after a statement in a new Python."""
    return {each.split(".")[0] for each in modules(statement)}


def modules(statement):
    """The modules that are there after a statement in a new Python."""
    program = f"{statement}\nimport sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_the_import_costs_nothing():
    assert not loaded("import fxonnx") & (HEAVY | {"torch", "onnx", "numpy"})


def test_looking_at_an_error_costs_nothing():
    assert not loaded("import fxonnx; fxonnx.errors.Error") & (HEAVY | {"torch", "onnx", "numpy"})


@pytest.mark.parametrize("public_name", ["compile", "export", "Compiled", "Target", "register_lowering"])
def test_public_names_load_nothing_heavy(public_name):
    assert not loaded(f"import fxonnx; fxonnx.{public_name}") & HEAVY


@pytest.mark.parametrize("model", ["Linear(2, 3)", "LSTM(2, 3)"])
def test_a_first_compile_loads_no_other_compiler(model):
    """torch.export is not among them: `import torch` loads it. Of other models torch's meta kernels load sympy
    (`torch._check` does, and whatever promotes dtypes in torch._refs); so do symbolic sizes."""
    compiled = modules(f"import fxonnx, torch; fxonnx.compile(torch.nn.{model}.eval(), (torch.ones(4, 2),))")
    assert "torch.export" in modules("import torch")
    assert not compiled & {"sympy", "torch._dynamo", "torch._inductor", "torch.onnx", *HEAVY}


@pytest.mark.parametrize("dims", [None, {"x": {0: "n"}}])
def test_a_first_compile_does_not_load_torch_compile(dims):
    """Kernels that torch has in Python, and tensors made of sizes."""
    model = "lambda x: torch.where(x > 0, x ** 2, 0.0).cumsum(0) + torch.arange(x.shape[0])[:, None]"
    compiled = modules(f"import fxonnx, torch; fxonnx.compile({model}, torch.ones(3, 4), dynamic_shapes={dims})")
    assert "torch._dynamo" not in compiled


def test_loading_leaves_the_garbage_collector_on():
    assert "gc" in loaded("import fxonnx, gc; fxonnx.compile; assert gc.isenabled()")


def test_what_is_not_there_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fxonnx.nothing
    assert {"compile", "errors", "__version__"} <= set(dir(fxonnx))


# ── versions of ONNX have rooms of their own ──

OPSET_ROOMS = ("ir/schema.py", "target.py", "passes/legalize/")


def opset_numbers(tree):
    """Where a number is compared with an opset, or the since-version of one of ONNX's operators is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(isinstance(each, ast.Constant) and isinstance(each.value, int) for each in sides) and any(
                "opset" in ast.unparse(each).lower() for each in sides
            ):
                yield node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("has_kernel", "get_schema")):
            domain = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if "" in domain and any(isinstance(each, int) for each in domain):
                yield node.lineno


@pytest.mark.parametrize("text", ["t.opset < 24", "13 <= opset", 't.has_kernel("", "Scan", 9, {})'])
def test_a_number_of_an_opset_is_found(text):
    assert list(opset_numbers(ast.parse(text))) == [1]


def test_numbers_of_opsets_stay_in_their_rooms():
    package = ROOT / "src" / "fxonnx"
    elsewhere = [path for path in PACKAGE if not path.relative_to(package).as_posix().startswith(OPSET_ROOMS)]
    assert [f"{name(path)}:{line}" for path in elsewhere for line in opset_numbers(parse(path))] == []


def test_few_lowerings_have_a_second_body():
    standard()
    second = [target for (target, _), bodies in STANDARD.lowerings.items() if len({each.since for each in bodies}) > 1]
    assert len(second) <= 15, sorted(second)
