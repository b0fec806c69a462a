"""Asks the installed ONNX Runtime which kernels it has, and writes the snapshot that `fxonnx.kernels` reads.

python -m fxonnx.runtime.kernels            # write src/fxonnx/kernels/onnxruntime-1.32-cpu.json
python -m fxonnx.runtime.kernels --check    # exit 1 where the file is not what the installed runtime says
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fxonnx import dtypes, kernels

PROVIDER = "CPUExecutionProvider"

_OPEN_END = 2**31 - 1  # the last version of a kernel without an end
_DOMAINS_LEFT_OUT = frozenset({"ai.onnx.ml"})  # classical models: nothing that torch has is said in it


class _Sets:
    """Sets of dtypes, each kept once, in the order they are met."""

    def __init__(self) -> None:
        self.index: dict[tuple[str, ...], int] = {}

    def add(self, type_strings: Iterable[str]) -> int:
        """The index of the tensor dtypes among types such as "tensor(float)"."""
        tensors = (text[7:-1] for text in type_strings if text.startswith("tensor("))
        names = tuple(sorted(dtypes.dtype(name).name for name in tensors))
        return self.index.setdefault(names, len(self.index))


def snapshot() -> dict[str, Any]:
    """The installed runtime's kernels and own operators in the form that `fxonnx.kernels` documents."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    sets = _Sets()
    schemas = state.get_all_operator_schema()
    table = _kernels(state.get_all_opkernel_def(), sets)
    return {
        "runtime": "onnxruntime",
        "version": onnxruntime.__version__,
        "provider": PROVIDER,
        "opset": max(schema.since_version for schema in schemas if not schema.domain),
        "kernels": table,
        "schemas": _schemas((s for s in schemas if s.name in table.get(s.domain, {})), sets),
        "types": [list(names) for names in sets.index],
    }


def path() -> Path:
    """Where the snapshot of the installed runtime belongs."""
    import onnxruntime

    major, minor = kernels.minor_version(onnxruntime.__version__)
    return Path(kernels.__file__).with_name(f"onnxruntime-{major}.{minor}-cpu.json")


def render(table: dict[str, Any]) -> str:
    """JSON with one line per operator, so that a new version reads as a diff."""
    lines = [f'  "{key}": {_compact(value)}' for key, value in table.items() if not isinstance(value, dict)]
    for key in ("kernels", "schemas"):
        domains = (
            f'    "{domain}": {{\n'
            + ",\n".join(f'      "{op}": {_compact(row)}' for op, row in sorted(ops.items()))
            + "\n    }"
            for domain, ops in sorted(table[key].items())
        )
        lines.append(f'  "{key}": {{\n' + ",\n".join(domains) + "\n  }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _kernels(definitions: Iterable[Any], sets: _Sets) -> dict[str, dict[str, list[Any]]]:
    """domain -> operator -> rows, in the order of their first version.

    A kernel that is registered twice is told once.
    """
    rows: dict[tuple[str, str], dict[tuple[Any, ...], None]] = defaultdict(dict)
    for kernel in definitions:
        if kernel.provider != PROVIDER or kernel.domain in _DOMAINS_LEFT_OUT:
            continue
        first, last = kernel.version_range
        types = {name: sets.add(allowed) for name, allowed in sorted(kernel.type_constraints.items())}
        rows[kernel.domain, kernel.op_name][first, None if last == _OPEN_END else last, tuple(types.items())] = None
    table: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    for (domain, op), found in rows.items():
        table[domain][op] = [[first, last, dict(types)] for first, last, types in sorted(found, key=_row_order)]
    return dict(table)


def _row_order(row: tuple[int, int | None, tuple[tuple[str, int], ...]]) -> tuple[Any, ...]:
    first, last, types = row
    return first, last or _OPEN_END, types


def _schemas(schemas: Iterable[Any], sets: _Sets) -> dict[str, dict[str, dict[str, Any]]]:
    """The versions of operators that have a kernel here and no schema in `onnx.defs`: LayerNormalization-1, for one."""
    from onnx import defs

    known = {(schema.domain, schema.name, schema.since_version) for schema in defs.get_all_schemas_with_history()}
    table: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for schema in sorted(schemas, key=lambda each: each.since_version):
        if (schema.domain, schema.name, schema.since_version) in known:
            continue
        table[schema.domain][schema.name][str(schema.since_version)] = {
            "inputs": [_parameter(each) for each in schema.inputs],
            "outputs": [_parameter(each) for each in schema.outputs],
            "types": {each.type_param_str: sets.add(each.allowed_type_strs) for each in schema.type_constraints},
        }
    return {domain: dict(ops) for domain, ops in table.items()}


def _parameter(parameter: Any) -> list[str]:
    mark = {"Optional": "?", "Variadic": "*"}.get(parameter.option.name, "")
    return [parameter.name, parameter.typeStr, mark]


def main(arguments: list[str]) -> int:
    """Write the snapshot, or with `--check` compare it; the exit code."""
    text = render(snapshot())
    if "--check" in arguments:
        return int(not path().exists() or path().read_text() != text)
    path().write_text(text)
    print(f"{path()}: {len(text):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
