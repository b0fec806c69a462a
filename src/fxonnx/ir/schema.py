"""Facts about ONNX operators, read from `onnx.defs`: signatures, attributes, admitted dtypes, and since when.

The only room (with `target` and `passes/legalize`) that knows opset versions. Everything above asks for the newest.
Source: ONNX operator schemas (https://onnx.ai/onnx/operators/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import TypeVar

import onnx
from onnx.defs import OpSchema

from fxonnx import dtypes
from fxonnx.dtypes import DType

V = TypeVar("V")

NEWEST = onnx.defs.onnx_opset_version()
MICROSOFT = "com.microsoft"

# What operators were called before.
FORMER_NAMES = {"ScatterElements": "Scatter"}

_OPTIONAL = OpSchema.FormalParameterOption.Optional
_VARIADIC = OpSchema.FormalParameterOption.Variadic


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input or output of an operator: its name, its type variable (`T`) or fixed type, how often it may stand."""

    name: str
    type: str
    optional: bool = False
    variadic: bool = False
    homogeneous: bool = True


@dataclass(frozen=True, slots=True)
class AttributeFacts:
    """An attribute: the kind of its value (`INT`, `FLOATS`, `GRAPH` …), whether it must be given, and its default."""

    kind: str
    required: bool
    default: object


@dataclass(frozen=True, slots=True)
class OpFacts:
    """One version of an operator. `types` maps each type variable to the dtypes it admits, in the schema's order."""

    domain: str
    name: str
    since: int
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]
    attributes: Mapping[str, AttributeFacts]
    types: Mapping[str, tuple[DType, ...]]
    minimum_inputs: int
    minimum_outputs: int
    deterministic: bool
    deprecated: bool

    def input(self, index: int) -> Parameter | None:
        """The parameter that the input at `index` fills; the last one again when it is variadic, None past the end."""
        return _parameter(self.inputs, index)

    def output(self, index: int) -> Parameter | None:
        """The parameter that the output at `index` fills."""
        return _parameter(self.outputs, index)

    def filled(self, inputs: Sequence[V | None], outputs: Sequence[V] = ()) -> Iterator[tuple[Parameter, V]]:
        """The parameters that a call gives, with their values: inputs, then outputs."""
        for parameters, values in ((self.inputs, inputs), (self.outputs, outputs)):
            for index, value in enumerate(values):
                parameter = _parameter(parameters, index)
                if value is not None and parameter is not None:
                    yield parameter, value


def split_name(op: str) -> tuple[str, str]:
    """`com.microsoft::Gelu` as (domain, name); the default domain is the empty string."""
    domain, _, name = op.rpartition("::")
    return domain, name


@cache
def facts(op: str, opset: int = NEWEST) -> OpFacts | None:
    """The facts of `op` in operator set `opset`, under the name that it has there; None where it has no such operator,
    or the domain is not ONNX's."""
    domain, name = split_name(op)
    if domain:
        return None
    try:
        schema = onnx.defs.get_schema(name, opset, domain)
    except onnx.defs.SchemaError:
        return facts(FORMER_NAMES[op], opset) if op in FORMER_NAMES else None
    return _read(schema)


@cache
def versions(op: str) -> tuple[int, ...]:
    """Every opset at which the operator's schema changed, ascending; empty for an operator that ONNX does not know."""
    return _history().get(split_name(op), ())


def has_blocks(opset: int) -> bool:
    """Whether an opset knows scales of blocks, and with them integers of 4 bits."""
    dequantize = facts("DequantizeLinear", opset)
    return dequantize is not None and "block_size" in dequantize.attributes


def suggestion(op: str) -> str:
    """What a misspelt operator was to be, as the end of a sentence; empty where none is like it."""
    known = {name.lower(): name for domain, name in _history() if not domain}
    return "".join(f", but {known[each]}" for each in get_close_matches(op.lower(), known, n=1))


@cache
def _history() -> dict[tuple[str, str], tuple[int, ...]]:
    """(domain, name) -> since-versions, of all operators."""
    found: dict[tuple[str, str], list[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        found.setdefault((schema.domain, schema.name), []).append(schema.since_version)
    return {operator: tuple(sorted(since)) for operator, since in found.items()}


def _parameter(parameters: tuple[Parameter, ...], index: int) -> Parameter | None:
    if index < len(parameters):
        return parameters[index]
    return parameters[-1] if parameters and parameters[-1].variadic else None


def _read(schema: OpSchema) -> OpFacts:
    variables = {c.type_param_str: _tensor_dtypes(c.allowed_type_strs) for c in schema.type_constraints}
    inputs = tuple(_read_parameter(p) for p in schema.inputs)
    outputs = tuple(_read_parameter(p) for p in schema.outputs)
    for parameter in (*inputs, *outputs):  # a parameter may have a fixed type instead of a variable
        if parameter.type not in variables:
            variables[parameter.type] = _tensor_dtypes([parameter.type])
    return OpFacts(
        domain=schema.domain,
        name=schema.name,
        since=schema.since_version,
        inputs=inputs,
        outputs=outputs,
        attributes={name: _read_attribute(a) for name, a in schema.attributes.items()},
        types=variables,
        minimum_inputs=schema.min_input,
        minimum_outputs=schema.min_output,
        deterministic=schema.name not in _RANDOM,
        deprecated=schema.deprecated,
    )


_RANDOM = frozenset({
    "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip


def _read_parameter(parameter: OpSchema.FormalParameter) -> Parameter:
    return Parameter(
        parameter.name,
        parameter.type_str,
        optional=parameter.option == _OPTIONAL,
        variadic=parameter.option == _VARIADIC,
        homogeneous=parameter.is_homogeneous,
    )


def _read_attribute(attribute: OpSchema.Attribute) -> AttributeFacts:
    given = attribute.default_value
    default = onnx.helper.get_attribute_value(given) if given is not None and given.type else None
    if isinstance(default, bytes):
        default = default.decode()
    if isinstance(default, list):
        default = tuple(item.decode() if isinstance(item, bytes) else item for item in default)
    kind: str = attribute.type.name  # type: ignore[attr-defined]  # a pybind enum: mypy takes it for an int
    return AttributeFacts(kind, attribute.required, default)


def _tensor_dtypes(type_strings: Sequence[str]) -> tuple[DType, ...]:
    """The dtypes among types such as `tensor(float)`; sequences, maps and optionals are no tensors and left out."""
    names = (text.removeprefix("tensor(").removesuffix(")") for text in type_strings if text.startswith("tensor("))
    return tuple(_TYPE_NAMES[name] for name in names if name in _TYPE_NAMES)


_TYPE_NAMES = {row.name: row for row in dtypes.DTYPES} | {"float": dtypes.FLOAT32, "double": dtypes.FLOAT64}
