"""Contents as text: tensors `i64[2](0, -1)`, numbers, strings, lists. All read back bit for bit, NaN payloads aside."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.text.scanner import Scanner
from fxonnx.ir.types import parse_type

_PLAIN_NAME = re.compile(r"[^\W\d][\w.\-/~]*")
_UNQUOTED = re.compile(r"[^\s\"]+")
_RESERVED = frozenset({"_", "graph", "return"})
_TENSOR = re.compile(r"(\w+(?:\[[^\]]*\])?)\(")
_ELEMENT = re.compile(r"\([^)]*\)|[^\s,()\[\]{}\"]+")
_INTEGER = re.compile(r"[-+]?\d+")


def format_name(name: str) -> str:
    """A name as it stands in the text: plain, or quoted where it could be taken for something else."""
    return name if _PLAIN_NAME.fullmatch(name) and name not in _RESERVED else format_string(name)


def format_word(text: str) -> str:
    """A text without spaces or quotes as it is, any other one quoted."""
    return text if _UNQUOTED.fullmatch(text) else format_string(text)


def format_string(text: str) -> str:
    """A string in double quotes, escaped as in JSON."""
    return json.dumps(text, ensure_ascii=False)


def format_tensor(array: np.ndarray) -> str:
    """A tensor with all its elements in row-major order: `f32(0.5)`, `i64[2](0, -1)`, `f32[0]()`."""
    dtype = dtypes.dtype(array.dtype)
    shape = f"[{','.join(map(str, array.shape))}]" if array.ndim else ""
    return f"{dtype.short}{shape}({', '.join(map(_formatter(dtype), array.reshape(-1)))})"


def format_attribute(value: object) -> str:
    """An attribute's value: `1`, `0.5`, `"text"`, `[1, 2]`, or a tensor."""
    match value:
        case str():
            return format_string(value)
        case tuple() | list():
            return f"[{', '.join(map(format_attribute, value))}]"
        case np.ndarray():
            return format_tensor(value)
        case np.generic():
            return repr(value.item())
        case _:
            return repr(value)


def parse_tensor(scanner: Scanner) -> np.ndarray | None:
    """The tensor that stands here; None, and nothing consumed, where something else does."""
    head = scanner.match(_TENSOR)
    if head is None:
        return None
    spelled = head[1] if "[" in head[1] else f"{head[1]}[]"
    with scanner.expecting(f"no type: {spelled}"):
        type = parse_type(spelled)
        shape = tuple(int(dim) for dim in type.shape if isinstance(dim, int))
    read = _reader(type.dtype)
    elements = scanner.items(")", lambda: read(scanner))
    with scanner.expecting(f"{len(elements)} elements do not make a {type}"):
        content = np.empty(len(elements), np.dtype(type.dtype.numpy))
        content[:] = elements
        return content.reshape(shape)


def parse_attribute(scanner: Scanner) -> int | float | str | np.ndarray | tuple[object, ...]:
    """The attribute value that stands here."""
    if scanner.peek('"'):
        return scanner.string()
    if scanner.take("["):
        return tuple(scanner.items("]", lambda: parse_attribute(scanner)))
    tensor = parse_tensor(scanner)
    return tensor if tensor is not None else _number(scanner)


def _number(scanner: Scanner) -> int | float:
    word = _word(scanner)
    with scanner.expecting(f"no number: {word}"):
        return int(word) if _INTEGER.fullmatch(word) else float(word)


def _word(scanner: Scanner) -> str:
    return scanner.expect(_ELEMENT, "a value")[0]


def _formatter(dtype: DType) -> Callable[[object], str]:
    match dtype.kind:
        case "bool":
            return lambda element: "true" if element else "false"
        case "int" | "uint":
            return lambda element: str(int(element))  # type: ignore[call-overload]
        case "string":
            return lambda element: format_string(str(element))
        case "float" if dtype.name.startswith("bfloat") or dtype.bits < 16:
            return lambda element: repr(float(element))  # type: ignore[arg-type]  # their own str() rounds
        case _:
            return str  # numpy prints the shortest digits that read back


def _reader(dtype: DType) -> Callable[[Scanner], object]:
    match dtype.kind:
        case "string":
            return Scanner.string
        case "bool":
            return lambda scanner: _word(scanner) == "true"
    convert = {"int": int, "uint": int, "float": float, "complex": complex}[dtype.kind]

    def read(scanner: Scanner) -> object:
        word = _word(scanner)
        with scanner.expecting(f"no {dtype.name}: {word}"):
            return convert(word)

    return read
