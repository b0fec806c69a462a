"""The floor plan: imports only go down, rooms on the same floor never import each other, there are no circles.

Every import counts: those inside functions, and those for annotations alone, since who reads a file follows them too.
Only files of one folder may name each other's types: an expression has terms, and a term has expressions in it.
"""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"

FLOORS = [
    {"collection", "errors", "location", "dtypes", "markup", "progress", "version"},
    {"ir", "target", "kernels", "machines"},
    {"lowering", "passes", "emit"},
    {"capture", "runtime", "options"},
    {"compiler", "compiled", "entries", "facts", "file", "inspection", "saved", "verification"},
    {"compat", "tools", "__main__", "hf"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# An error names places; a target has kernels and a machine, which is asked about dims; compile() makes a Compiled; the
# command is the tool.
ALONG = {
    ("errors", "location"),
    ("target", "kernels"),
    ("target", "machines"),
    ("machines", "ir"),
    ("compiler", "compiled"),
    ("compiler", "entries"),
    ("compiler", "file"),
    ("entries", "compiled"),
    ("compiled", "verification"),
    ("compiled", "facts"),
    ("compiled", "saved"),
    ("compiled", "inspection"),
    ("compiled", "file"),
    ("file", "inspection"),
    ("file", "facts"),
    ("inspection", "facts"),
    ("inspection", "verification"),
    ("facts", "saved"),
    ("compiler", "saved"),
    ("__main__", "tools"),
}
TORCH_ROOMS = {
    "capture", "runtime", "compiler", "compiled", "facts", "file", "saved", "verification", "compat", "tools", "hf",
}  # fmt: skip
TORCH_MODULES = {f"fxonnx.lowering.{name}" for name in ("importer", "own", "symbolic", "weights")}

FILES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def base(node, module, is_package):
    """The absolute name of what a `from … import` names, relative or not."""
    if not node.level:
        return node.module
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, *filter(None, [node.module])])


def running(node):
    """A node and all nodes below that can run: not what is below `if TYPE_CHECKING:`."""
    yield node
    for_annotations = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in node.orelse if for_annotations else ast.iter_child_nodes(node):
        yield from running(child)


def imports(module, text, is_package=False, nodes=ast.walk):
    """The modules that a text imports, our own down to the submodule."""
    for node in nodes(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            source = base(node, module, is_package)
            inner = [f"{source}.{alias.name}" for alias in node.names]
            submodules = [name for name in inner if name in FILES]
            yield from submodules
            if len(submodules) < len(inner):
                yield source


IMPORTS = {
    module: set(imports(module, path.read_text(encoding="utf-8"), path.name == "__init__.py"))
    for module, path in FILES.items()
}
RUNNING = {
    module: set(imports(module, path.read_text(encoding="utf-8"), path.name == "__init__.py", running))
    for module, path in FILES.items()
}
HOUSE = [module for module in FILES if module != "fxonnx"]  # fxonnx/__init__.py is the door, it has no floor


def room(module):
    """The room of one of our modules: fxonnx.ir.graph is in ir."""
    return module.split(".")[1]


def allowed(importer, imported):
    """Whether one module may import another of ours."""
    here, there = room(importer), room(imported)
    return here == there or (here, there) in ALONG or FLOOR[here] > FLOOR[there]


def wrong(imported, modules=HOUSE):
    """What modules import and may not: `imported(module, each)` says so of one import."""
    return [
        f"{module} imports {each}" for module in modules for each in sorted(IMPORTS[module]) if imported(module, each)
    ]


def test_every_room_is_on_a_floor():
    assert {room(module) for module in HOUSE} <= FLOOR.keys(), "give each room a floor"


def test_imports_go_down():
    assert wrong(lambda module, each: each in FILES and each != "fxonnx" and not allowed(module, each)) == []


def test_nobody_goes_through_the_door():
    """`import fxonnx` loads everything on demand; inside the house the module itself is imported."""
    assert wrong(lambda module, each: each == "fxonnx") == []


def test_torch_stays_in_its_rooms():
    quiet = [module for module in HOUSE if room(module) not in TORCH_ROOMS and module not in TORCH_MODULES]
    assert wrong(lambda module, each: each.split(".")[0] in ("torch", "torchvision"), quiet) == []


def test_the_ground_floor_is_standard_library():
    known, ground = sys.stdlib_module_names | {"fxonnx"}, [each for each in HOUSE if FLOOR[room(each)] == 0]
    assert wrong(lambda module, each: each.split(".")[0] not in known, ground) == []


def circle(graph):
    """A circle in a graph of imports; None where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " → ".join(reversed(error.args[1]))
    return None


def part(folder, module):
    """The file of a folder that a module is, or the folder in it that it lies in."""
    return module.removeprefix(folder).split(".")[1] if module != folder else "__init__"


def inside(folder):
    """The files and folders in a folder -> those of them that they import."""
    below = [module for module in HOUSE if f"{module}.".startswith(f"{folder}.")]
    graph = {part(folder, module): set() for module in below}
    for module in below:
        is_file = module == folder or module.rpartition(".")[0] == folder
        imported = RUNNING[module] if is_file else IMPORTS[module]
        graph[part(folder, module)] |= {part(folder, each) for each in imported if each in below}
    return {name: imported - {name} for name, imported in graph.items()}


FOLDERS = [module for module, path in FILES.items() if path.name == "__init__.py"]


def test_no_circles():
    """Neither between modules, nor in any folder between its files and the folders in it."""
    assert {folder: path for folder in FOLDERS if (path := circle(inside(folder)))} == {}
    assert circle({module: RUNNING[module] & set(HOUSE) for module in HOUSE}) is None


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert circle({"a": {"b"}, "b": {"c"}, "d": {"a"}}) is None


def test_the_reader_of_imports_sees_everything():
    text = """
import a
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import annotated
else:
    import b
def function():
    from fxonnx import dtypes
    try:
        from . import location
        from .ir import graph
    except ImportError:
        import c.d
"""
    found = set(imports("fxonnx.compiler", text))
    assert {"a", "annotated", "b", "c.d", "typing", "fxonnx.dtypes", "fxonnx.location", "fxonnx.ir.graph"} == found
    assert found - set(imports("fxonnx.compiler", text, nodes=running)) == {"annotated"}
    assert list(imports("fxonnx.ir", "from . import nothing", is_package=True)) == ["fxonnx.ir"]
    assert list(imports("fxonnx.ir.graph", "from ..nowhere import x")) == ["fxonnx.nowhere"]
