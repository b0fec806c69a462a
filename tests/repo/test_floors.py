"""The floor plan: imports only go down, rooms on the same floor never import each other, there are no circles."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

FLOORS = [
    {"errors", "location", "dtypes"},
    {"ir", "target", "kernels"},
    {"lowering", "passes", "emit"},
    {"capture", "runtime"},
    {"compiler", "compiled", "verification"},
    {"tools", "__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ALONG = {  # target reads the kernel tables; compile() makes a Compiled; the command is the tool
    ("target", "kernels"),
    ("compiler", "compiled"),
    ("compiled", "verification"),
    ("__main__", "tools"),
}
TORCH_ROOMS = {"capture", "runtime", "compiler", "compiled", "verification", "tools"}
TORCH_MODULES = {"fxonnx.lowering.importer", "fxonnx.lowering.symbolic", "fxonnx.lowering.weights"}

FILES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def is_type_checking(node):
    """Whether this is `if TYPE_CHECKING:`, whose imports never run."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def running(node):
    """A node and all nodes below that can run, those inside functions too."""
    if is_type_checking(node):
        children = node.orelse
    else:
        yield node
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from running(child)


def base(node, module, is_package):
    """The absolute name of what a `from … import` names, relative or not."""
    if not node.level:
        return node.module
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, *filter(None, [node.module])])


def imports(module, text, is_package=False):
    """The modules that a text imports when it runs, our own down to the submodule."""
    for node in running(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            source = base(node, module, is_package)
            inner = [f"{source}.{alias.name}" for alias in node.names if alias.name != "__version__"]
            submodules = [name for name in inner if name in FILES]
            yield from submodules
            if len(submodules) < len(inner):
                yield source


IMPORTS = {
    module: set(imports(module, path.read_text(encoding="utf-8"), path.name == "__init__.py"))
    for module, path in FILES.items()
}
INSIDE = {module: {each for each in found if each in FILES} for module, found in IMPORTS.items()}
HOUSE = [module for module in FILES if module != "fxonnx"]  # fxonnx/__init__.py is the door, it has no floor


def room(module):
    """The room of one of our modules: fxonnx.ir.graph is in ir."""
    return module.split(".")[1]


def allowed(importer, imported):
    """Whether one module may import another of ours."""
    here, there = room(importer), room(imported)
    return here == there or (here, there) in ALONG or FLOOR[here] > FLOOR[there]


@pytest.mark.parametrize("module", HOUSE)
def test_every_room_is_on_a_floor(module):
    assert room(module) in FLOOR, f"{module}: give the room {room(module)} a floor"


@pytest.mark.parametrize("module", HOUSE)
def test_imports_go_down(module):
    wrong = sorted(each for each in INSIDE[module] if each != "fxonnx" and not allowed(module, each))
    assert not wrong, f"{module} is on floor {FLOOR[room(module)]} and imports {wrong}"


@pytest.mark.parametrize("module", HOUSE)
def test_nobody_goes_through_the_door(module):
    """`import fxonnx` loads everything on demand; inside the house the module itself is imported."""
    assert "fxonnx" not in IMPORTS[module], f"{module} imports the package fxonnx, not the module it needs"


def test_no_circles():
    TopologicalSorter(INSIDE).prepare()


@pytest.mark.parametrize("module", HOUSE)
def test_torch_stays_in_its_rooms(module):
    if room(module) in TORCH_ROOMS or module in TORCH_MODULES:
        return
    wrong = sorted(each for each in IMPORTS[module] if each.split(".")[0] in ("torch", "torchvision"))
    assert not wrong, f"{module} imports {wrong}"


@pytest.mark.parametrize("module", [each for each in HOUSE if FLOOR.get(room(each)) == 0])
def test_the_ground_floor_is_standard_library(module):
    foreign = {each.split(".")[0] for each in IMPORTS[module]} - sys.stdlib_module_names - {"fxonnx"}
    assert not foreign


def test_the_reader_of_imports_sees_everything_that_runs():
    text = """
import a
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import hidden
else:
    import b
def function():
    from fxonnx import dtypes, __version__
    try:
        from . import location
        from .ir import graph
    except ImportError:
        import c.d
"""
    found = set(imports("fxonnx.compiler", text))
    assert {"a", "b", "c.d", "typing", "fxonnx.dtypes", "fxonnx.location", "fxonnx.ir.graph"} == found
    assert list(imports("fxonnx.ir", "from . import nothing", is_package=True)) == ["fxonnx.ir"]
    assert list(imports("fxonnx.ir.graph", "from ..nowhere import x")) == ["fxonnx.nowhere"]
