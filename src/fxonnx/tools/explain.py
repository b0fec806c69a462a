"""`fxonnx explain aten.gelu`: what fxonnx makes of an op, and where to find it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from textwrap import dedent
from types import CodeType, FunctionType
from typing import Any

import torch

import fxonnx.lowering as lowering_room
from fxonnx.capture.graph.decompose import decompositions
from fxonnx.ir import control, schema
from fxonnx.lowering.registry import Lowering, standard
from fxonnx.passes.legalize.registry import EXPANSIONS, FORMS, load
from fxonnx.target import NEWEST_OPSET, OLDEST_OPSET
from fxonnx.tools.outcome import Usage

# What a tensor records for an operator of Python (`fxonnx.ir.tensor`).
INFIX: dict[type[ast.AST], str] = {
    ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.Div: "Div", ast.Mod: "Mod", ast.Pow: "Pow",
    ast.MatMult: "MatMul", ast.USub: "Neg", ast.Lt: "Less", ast.LtE: "LessOrEqual", ast.Gt: "Greater",
    ast.GtE: "GreaterOrEqual",
}  # fmt: skip

SOURCE = Path(lowering_room.__file__).parents[2]
HIGHER_ORDER = "higher_order."
TESTS = SOURCE.parent / "tests"


def explain(name: str) -> str:
    """All overloads of an op, each lowering once with what it serves. Raises Usage for an op torch does not have."""
    packet, overloads = find_op(name)
    if packet.endswith("_") and not packet.endswith("__"):
        return f"{packet} writes in place: capture makes it {packet[:-1]}\n{explain(packet[:-1])}"
    lines = [packet]
    if packet.startswith(HIGHER_ORDER):
        found = standard().find(packet, None, NEWEST_OPSET)
        return "\n".join([packet, *(["  not lowered"] if found is None else lowering_lines(found, []))])
    served: dict[int, tuple[Lowering, list[str]]] = {}
    for overload in overloads:
        lowerings = lowerings_of(overload)
        for each in lowerings:
            served.setdefault(id(each), (each, []))[1].append(overload._overloadname)
        if not lowerings and not overload._schema.is_mutable:
            lines += entry("not lowered", str(overload._schema), without_lowering(overload))
    for each, names in served.values():
        schemas = [str(overload._schema) for overload in overloads if overload._overloadname in names]
        lines += ["", *lowering_lines(each, schemas)]
    return "\n".join(lines)


def lowering_lines(lowering: Lowering, schemas: list[str]) -> list[str]:
    """What there is to say about one lowering."""
    *folders, family = lowering.family.split(".")
    test = TESTS.joinpath("lowering", "aten", *folders, f"test_{family}.py")
    body = f"{place(lowering.body)}  {lowering.name}{' for complex tensors' * lowering.complex}"
    return [
        *entry("schema", *schemas),
        *entry("lowering", body),
        *entry("computes", *lowering.description.splitlines()),
        *entry("promotes", *promotion(lowering)),
        *entry("ONNX", *operator_lines(recorded(lowering))),
        *entry("tests", *([relative(test)] if test.exists() else [])),
    ]


def entry(label: str, *lines: str) -> list[str]:
    """A label with its lines under each other; nothing without lines."""
    return [f"  {label if index == 0 else '':11} {line}".rstrip() for index, line in enumerate(lines)]


# ── torch's side ──


def find_op(name: str) -> tuple[str, list[Any]]:
    """(`namespace.op`, its overloads): of a packet all that take part, of an overload that one. Raises Usage.

    A higher-order op (`torch.cond` is `higher_order.cond`) has none.
    """
    parts = name.replace("::", ".").removeprefix("torch.ops.").split(".")
    namespace, op, *overload = parts if len(parts) > 1 else ["aten", *parts]
    packet = getattr(getattr(torch.ops, namespace), op, None)
    if isinstance(packet, torch._ops.HigherOrderOperator):
        return f"{HIGHER_ORDER}{op}", []
    if packet is None or (overload and overload[0] not in packet.overloads()):
        near = get_close_matches(f"{namespace}.{op}", standard().targets(), n=4)
        raise Usage(f"torch has no op {name!r}" + (f"; there are {', '.join(near)}" if near else ""))
    every = [getattr(packet, each) for each in overload or packet.overloads()]
    return f"{namespace}.{op}", [each for each in every if overload or takes_part(each)]


def takes_part(overload: Any) -> bool:
    """Whether an overload can be met in a captured graph: it writes to no `out`, and torch's dispatcher knows it.

    The dispatcher does not know TorchScript's overloads for Python numbers, strings and lists.
    """
    writes_out = any(each.is_out for each in overload._schema.arguments)
    return torch._C._dispatch_has_kernel(overload.name()) and not writes_out


def lowerings_of(overload: Any) -> list[Lowering]:
    """The real and the complex lowering of an overload, as far as there are any."""
    names = [argument.name for argument in overload._schema.arguments]
    found = (standard().find(str(overload), names, NEWEST_OPSET, kind) for kind in (False, True))
    return [each for each in found if each is not None]


def without_lowering(overload: Any) -> str:
    """What becomes of an op that has none."""
    known = bool(decompositions(overload))
    return "torch takes it apart into smaller ops" if known else "and torch knows no smaller ops: error FX010"


def promotion(lowering: Lowering) -> list[str]:
    """What the importer does to the arguments before, in words; nothing where the lowering declares nothing."""
    if lowering.promote is None:
        return []
    names = [each for each in lowering.promote.arguments if each in lowering.accepted]
    common = "a common" if len(names) > 1 else "a"
    if lowering.promote.to_float:
        return [f"{', '.join(names)} to {common} floating dtype"]
    return [f"{', '.join(names)} to {common} dtype"] if len(names) > 1 else []


# ── ONNX's side ──


def operator_lines(operators: Iterable[str]) -> list[str]:
    """The operators that every opset has in one line, then each other one with its opset and what older ones get."""
    load()
    told = {operator: notes(operator) for operator in sorted(operators)}
    plain = ", ".join(operator for operator, text in told.items() if not text)
    return [*([plain] if plain else []), *(f"{operator}  {text}" for operator, text in told.items() if text)]


def notes(operator: str) -> str:
    """Since when an operator and its forms exist, who says them in older words; empty where all opsets have them."""
    since = schema.versions(operator)[0]
    found = [f"from opset {since}"] if since > OLDEST_OPSET else []
    if operator in EXPANSIONS:
        found.append(f"else {place(EXPANSIONS[operator])}")
    found += [f"some forms from opset {form.since}, else {place(form.body)}" for form in FORMS.get(operator, ())]
    return ", ".join(found)


def recorded(lowering: Lowering) -> set[str]:
    """The ONNX operators that a lowering may record: those it gives its body by name, and what is read from the body's
    code and that of what it calls in `lowering`."""
    given = (each if isinstance(each, tuple) else (each,) for each in lowering.given.values())
    named = (each for each in chain.from_iterable(given) if isinstance(each, str))
    return {name for name in {*words(inspect.unwrap(lowering.body), set()), *named} if schema.versions(name)}


def words(function: Any, seen: set[Any]) -> Iterator[str]:
    """Attribute names, strings and operators of Python in a function's code, its closure and its callees."""
    if not isinstance(function, FunctionType) or function in seen:
        return
    if not function.__module__.startswith((lowering_room.__name__, control.__name__)):
        return
    seen.add(function)
    yield from infix(function)
    for name in code_words(function.__code__):
        yield name
        yield from words(function.__globals__.get(name), seen)
    for cell in function.__closure__ or ():
        content = cell.cell_contents
        yield from [content] if isinstance(content, str) else words(content, seen)


def code_words(code: CodeType) -> Iterator[str]:
    """Names and string constants of a code object and those inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_words(constant)
        elif isinstance(constant, str):
            yield constant


def infix(function: FunctionType) -> Iterator[str]:
    """What the operators of Python between a function's tensors record."""
    if function.__name__ == "<lambda>":
        return
    tree = ast.parse(dedent(inspect.getsource(function)))
    arguments = (each for each in ast.walk(tree) if isinstance(each, ast.arg))
    tensors = {each.arg for each in arguments if each.annotation and "Tensor" in ast.unparse(each.annotation)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and gives_tensor(node.value, tensors, function):
            names = (each for target in node.targets for each in ast.walk(target))
            tensors |= {each.id for each in names if isinstance(each, ast.Name)}
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(op=sign) | ast.UnaryOp(op=sign) if gives_tensor(node, tensors, function):
                yield INFIX.get(type(sign), "")
            case ast.Compare(left=left, ops=[sign, *_]) if gives_tensor(left, tensors, function):
                yield INFIX.get(type(sign), "")


def gives_tensor(node: ast.expr, tensors: set[str], function: FunctionType) -> bool:
    """Whether an expression gives a tensor: a name of one, what `op` or a function that returns one gives, and what is
    computed with it."""
    match node:
        case ast.Name(id=name):
            return name in tensors
        case ast.Call(func=ast.Attribute(value=ast.Name(id="op" | "inner"))):
            return True
        case ast.Call(func=ast.Name(id=name)):
            returned = getattr(function.__globals__.get(name), "__annotations__", {}).get("return", "")
            return any(kind in str(returned) for kind in ("Tensor", "Any"))
        case ast.BinOp() | ast.UnaryOp() | ast.IfExp() | ast.Tuple() | ast.GeneratorExp():
            inner = (each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))
            return any(gives_tensor(each, tensors, function) for each in inner)
    return False


# ── places ──


def place(function: Any) -> str:
    """`src/fxonnx/lowering/aten/nn/activation.py:19`, as one would type it."""
    code = inspect.unwrap(function).__code__
    return f"{relative(Path(code.co_filename))}:{code.co_firstlineno}"


def relative(path: Path) -> str:
    """A path from the working directory where it lies below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
