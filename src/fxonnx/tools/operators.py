"""Asks OpenVINO, and ONNX's reference evaluator, which operators of ONNX they have, and writes what `fxonnx.kernels`
reads.

python -m fxonnx.tools.operators openvino      # where it is installed
python -m fxonnx.tools.operators reference
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import defs, helper

from fxonnx import dtypes, kernels
from fxonnx.ir.schema import NEWEST, facts
from fxonnx.kernels import Kernel, KernelTable
from fxonnx.runtime.kernels import content, render

# OpenVINO's plugin for the CPU computes float64 in float32, which is another result, and has no strings.
NOT_IN_OPENVINO = frozenset({dtypes.FLOAT64, dtypes.STRING, dtypes.COMPLEX64, dtypes.COMPLEX128})

_UNKNOWN = "No conversion rule found"
_ANY_VALUE = {"INT": 1, "FLOAT": 1.0, "STRING": "x", "INTS": [1], "FLOATS": [1.0], "STRINGS": ["x"]}


def openvino() -> KernelTable:
    """The operators that the installed OpenVINO converts, each asked for in a model of its own."""
    import openvino as runtime

    core = runtime.Core()

    def has(schema: Any) -> bool:
        try:
            core.read_model(_model_of(schema).SerializeToString())
        except RuntimeError as error:  # any other complaint is about the model, which says nothing
            return _UNKNOWN not in str(error)
        return True

    version = runtime.__version__.partition("-")[0]
    return KernelTable("openvino", version, "CPU", NEWEST, _rows(has, NOT_IN_OPENVINO), {})


def reference() -> KernelTable:
    """The operators that ONNX's reference evaluator implements."""
    from onnx.reference.op_run import RuntimeImplementationError
    from onnx.reference.ops import load_op

    def has(schema: Any) -> bool:
        if schema.has_function or schema.has_context_dependent_function:
            return True
        try:
            load_op("", schema.name, schema.since_version)
        except (RuntimeError, RuntimeImplementationError):
            return False
        return True

    return KernelTable("onnx", onnx.__version__, "reference", NEWEST, _rows(has, frozenset()), {})


def _rows(has: Callable[[Any], bool], without: frozenset[Any]) -> dict[tuple[str, str], tuple[Kernel, ...]]:
    """A kernel for each version of an operator that there is, for all its dtypes but those."""
    rows: dict[tuple[str, str], list[Kernel]] = defaultdict(list)
    for schema in sorted(defs.get_all_schemas_with_history(), key=lambda each: (each.name, each.since_version)):
        if schema.domain == "" and not schema.deprecated and has(schema):
            known = facts(schema.name, schema.since_version)
            types = known.types if known else {}
            limited = {name: frozenset(each) - without for name, each in types.items() if without.intersection(each)}
            rows["", schema.name].append(Kernel(schema.since_version, schema.since_version, limited))
    return {key: tuple(found) for key, found in rows.items()}


def _model_of(schema: Any) -> onnx.ModelProto:
    """A model of one call of an operator, whose sizes nothing is said of."""
    given = [each for each in schema.inputs if each.option.name != "Optional"]
    inputs = [_value(f"x{place}", each) for place, each in enumerate(given)]
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    body = helper.make_graph([helper.make_node("Constant", [], ["y"], value_float=1.0)], "body", [], [result])
    attributes: dict[str, Any] = {
        name: _ANY_VALUE.get(each.type.name, body) for name, each in schema.attributes.items()
        if each.required and each.type.name != "TENSOR"
    }  # fmt: skip
    node = helper.make_node(schema.name, [each.name for each in inputs], ["y"], **attributes)
    graph = helper.make_graph([node], "graph", inputs, [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", schema.since_version)])


def _value(name: str, parameter: Any) -> onnx.ValueInfoProto:
    """An input of float32 where it may be, or of another dtype of its own."""
    admitted = sorted(text for text in parameter.types if text.startswith("tensor("))
    first = "tensor(float)" if "tensor(float)" in admitted else next(iter(admitted), "tensor(float)")
    return helper.make_tensor_value_info(name, dtypes.dtype(first[7:-1]).code, None)


def main(arguments: Sequence[str]) -> int:
    """Write the table of a runtime; the exit code."""
    (name,) = arguments
    table = {"openvino": openvino, "reference": reference}[name]()
    source = f"{table.runtime} itself, by python -m {__spec__.name} {name}"
    path = Path(kernels.__file__).with_name(f"{table.runtime}-{table.provider.lower()}.json")
    path.write_text(render(content([table], source)))
    print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
