"""Asks ONNX Runtime which kernels it has, and writes the snapshots that `fxonnx.kernels` reads.

python -m fxonnx.runtime.kernels               # the installed runtime's, beside the releases already known
python -m fxonnx.runtime.kernels --check       # exit 1 where the file is not what the installed runtime says
python -m fxonnx.runtime.kernels 1.17 1.18     # those of other releases too, each installed into a folder before:
                                               # pip install --no-deps --target 1.17 onnxruntime==1.17.3 numpy==1.26.4
python -m fxonnx.runtime.kernels --provider cuda gpu    # another provider's, from onnxruntime-gpu, where CUDA is
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from fxonnx import dtypes, kernels
from fxonnx.kernels import Kernel, KernelTable, Parameter, Schema, minor_version
from fxonnx.target import PROVIDERS

SOURCE = "the runtime itself (get_all_opkernel_def), by python -m fxonnx.runtime.kernels"

_OPEN_END = 2**31 - 1  # the last version of a kernel without an end
_DOMAINS_LEFT_OUT = frozenset({"ai.onnx.ml"})  # classical models: nothing that torch has is said in it


class _Sets:
    """Sets of dtypes, each kept once, in the order they are met."""

    def __init__(self) -> None:
        self.index: dict[tuple[str, ...], int] = {}

    def add(self, types: Iterable[dtypes.DType]) -> int:
        """The index of a set."""
        return self.index.setdefault(tuple(sorted(each.name for each in types)), len(self.index))


def installed(provider: str = "cpu") -> KernelTable:
    """The kernels and the own operators of the ONNX Runtime that can be imported."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    schemas = state.get_all_operator_schema()
    found = _kernels(each for each in state.get_all_opkernel_def() if each.provider == PROVIDERS[provider])
    return KernelTable(
        "onnxruntime", onnxruntime.__version__, PROVIDERS[provider],
        max(schema.since_version for schema in schemas if not schema.domain),
        found, _schemas(schema for schema in schemas if (schema.domain, schema.name) in found),
    )  # fmt: skip


def content(tables: Sequence[KernelTable], source: str = SOURCE) -> dict[str, Any]:
    """Releases of one provider, the newest first, in the form that `fxonnx.kernels` documents."""
    sets, nothing = _Sets(), KernelTable("", "", "", 0, {}, {})
    releases = [_release(table, before, sets) for before, table in pairwise([nothing, *tables])]
    head = {"runtime": tables[0].runtime, "provider": tables[0].provider, "source": source}
    return {**head, "releases": releases, "types": [list(names) for names in sets.index]}


def _release(table: KernelTable, before: KernelTable, sets: _Sets) -> dict[str, Any]:
    """What is different in a release from the one told before."""
    rows = _differences(before.kernels, table.kernels, lambda found: [_row(each, sets) for each in found])
    schemas = _differences(
        before.schemas, table.schemas, lambda found: {str(each.since): _schema_row(each, sets) for each in found}
    )
    return {"version": table.version, "opset": table.opset, "kernels": rows, "schemas": schemas}


def render(found: Mapping[str, Any]) -> str:
    """JSON with one line per operator, so that a new version reads as a diff."""
    head = [f'  "{key}": {_compact(value)}' for key, value in found.items() if key != "releases"]
    releases = ",\n".join(_render_release(each) for each in found["releases"])
    return "{\n" + ",\n".join(head) + ',\n  "releases": [\n' + releases + "\n  ]\n}\n"


def _render_release(release: Mapping[str, Any]) -> str:
    lines = [f'    "{key}": {_compact(value)}' for key, value in release.items() if not isinstance(value, dict)]
    for key in ("kernels", "schemas"):
        domains = (
            f'      "{domain}": {{\n'
            + ",\n".join(f'        "{op}": {_compact(row)}' for op, row in sorted(ops.items()))
            + "\n      }"
            for domain, ops in sorted(release[key].items())
        )
        lines.append(f'    "{key}": {{\n' + ",\n".join(domains) + "\n    }")
    return "   {\n" + ",\n".join(lines) + "\n   }"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _differences(
    before: Mapping[Any, Any], after: Mapping[Any, Any], row: Callable[[Any], Any]
) -> dict[str, dict[str, Any]]:
    """domain -> operator -> what `after` has of it, None where it has nothing, for the operators that differ."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for domain, op in dict.fromkeys((*after, *before)):
        rows = after.get((domain, op))
        if rows != before.get((domain, op)):
            found[domain][op] = None if rows is None else row(rows)
    return dict(found)


def _row(kernel: Kernel, sets: _Sets) -> list[Any]:
    return [kernel.first, kernel.last, {name: sets.add(allowed) for name, allowed in sorted(kernel.types.items())}]


def _schema_row(schema: Schema, sets: _Sets) -> dict[str, Any]:
    types = {name: sets.add(allowed) for name, allowed in schema.types.items()}
    return {"inputs": [*map(list, schema.inputs)], "outputs": [*map(list, schema.outputs)], "types": types}


def _kernels(definitions: Iterable[Any]) -> dict[tuple[str, str], tuple[Kernel, ...]]:
    """The kernels of each operator, in the order of their first version; one that is registered twice is told once."""
    found: dict[tuple[str, str], list[Kernel]] = defaultdict(list)
    for each in definitions:
        if each.domain in _DOMAINS_LEFT_OUT:
            continue
        first, last = each.version_range
        types = {name: _tensors(allowed) for name, allowed in each.type_constraints.items()}
        kernel = Kernel(first, None if last == _OPEN_END else last, types)
        if kernel not in found[each.domain, each.op_name]:
            found[each.domain, each.op_name].append(kernel)
    return {key: tuple(sorted(rows, key=_order)) for key, rows in sorted(found.items())}


def _order(kernel: Kernel) -> tuple[Any, ...]:
    types = sorted((name, sorted(each.name for each in allowed)) for name, allowed in kernel.types.items())
    return kernel.first, kernel.last or _OPEN_END, types


def _tensors(type_strings: Iterable[str]) -> frozenset[dtypes.DType]:
    """The tensor dtypes among types such as "tensor(float)"."""
    return frozenset(dtypes.dtype(text[7:-1]) for text in type_strings if text.startswith("tensor("))


def _schemas(schemas: Iterable[Any]) -> dict[tuple[str, str], tuple[Schema, ...]]:
    """The versions of operators that have a kernel here and no schema in `onnx.defs`: LayerNormalization-1, for one."""
    from onnx import defs

    known = {(schema.domain, schema.name, schema.since_version) for schema in defs.get_all_schemas_with_history()}
    found: dict[tuple[str, str], list[Schema]] = defaultdict(list)
    for schema in sorted(schemas, key=lambda each: (each.domain, each.name, each.since_version)):
        if (schema.domain, schema.name, schema.since_version) not in known:
            inputs, outputs = (tuple(map(_parameter, side)) for side in (schema.inputs, schema.outputs))
            types = {each.type_param_str: _tensors(each.allowed_type_strs) for each in schema.type_constraints}
            found[schema.domain, schema.name].append(Schema(schema.since_version, inputs, outputs, types))
    return {key: tuple(rows) for key, rows in found.items()}


def _parameter(parameter: Any) -> Parameter:
    mark = {"Optional": "?", "Variadic": "*"}.get(parameter.option.name, "")
    return Parameter(parameter.name, parameter.typeStr, mark)


def _in_folder(folder: str, provider: str) -> KernelTable:
    """The kernels of a release that lies in a folder, asked in a process of its own."""
    path = os.pathsep.join((folder, str(Path(kernels.__file__).parents[2])))
    command = [sys.executable, "-m", __spec__.name, "--provider", provider, "--print"]
    told = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    return next(kernels.tables(json.loads(told.stdout)))


def main(arguments: Sequence[str]) -> int:
    """Write the snapshots, or with `--check` compare them; the exit code."""
    parser = argparse.ArgumentParser(prog=__name__)
    parser.add_argument("folders", nargs="*", help="releases of ONNX Runtime, each installed into a folder")
    parser.add_argument("--provider", choices=PROVIDERS, default="cpu")
    parser.add_argument("--check", action="store_true", help="exit 1 where the file is not what the runtime says")
    parser.add_argument("--print", action="store_true", help="print the installed runtime's own, alone")
    options = parser.parse_args(arguments)
    asked = [_in_folder(each, options.provider) for each in options.folders]
    asked += [installed(options.provider)] if options.provider == "cpu" or options.print else []
    if options.print:
        print(render(content(asked)))
        return 0
    path = Path(kernels.__file__).with_name(f"onnxruntime-{options.provider}.json")
    known = list(kernels.tables(json.loads(path.read_text()))) if path.exists() else []
    releases = {minor_version(each.version): each for each in (*known, *asked)}
    text = render(content([releases[version] for version in sorted(releases, reverse=True)]))
    if options.check:
        return int(not path.exists() or path.read_text() != text)
    path.write_text(text)
    print(f"{path}: {len(text):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
