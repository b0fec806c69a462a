"""An ONNX file as the rows of a page, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto

from fxonnx import dtypes
from fxonnx.errors import InvalidOption
from fxonnx.inspection.page import Page, Row, Section
from fxonnx.ir.text.html import hover
from fxonnx.ir.text.literal import format_attribute, format_name
from fxonnx.location import Location


def file_page(path: Path) -> Page:
    """The page of a file. Raises InvalidOption where it is none of ONNX's."""
    model = _read(path)
    return Page(path.name, _facts(model), _sections(model))


def _read(path: Path) -> onnx.ModelProto:
    """The model in a file, without its external weights. Raises InvalidOption where it is none."""
    try:
        return onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise InvalidOption(
            f"{path} cannot be read as an ONNX file", cause=str(error), cure="give the path of a model.onnx"
        ) from error


def _facts(model: onnx.ModelProto) -> str:
    """What the file says of itself, a line each."""
    opsets = ", ".join(f"{each.domain or 'onnx'} {each.version}" for each in model.opset_import)
    said = [f"made by {model.producer_name} {model.producer_version}", f"opset {opsets}", model.doc_string]
    return "\n".join(filter(None, (*said, *(f"{each.key}: {each.value}" for each in model.metadata_props))))


def _sections(model: onnx.ModelProto) -> list[Section]:
    """The graph of the file, and its functions."""
    nodes = sum(1 for _ in _all_nodes(model.graph))
    found = [Section(f"{model.graph.name or 'main'}  {nodes} nodes", list(_graph_rows(model.graph)))]
    for function in model.functions:
        rows = [Row(f"{function.name}({', '.join(function.input)})"), *_node_rows(function.node, {}, "  ")]
        rows.append(Row(f"  return {', '.join(function.output)}"))
        found.append(Section(f"{function.domain}::{function.name}", rows))
    return found


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for each in node.attribute:
            if each.type == AttributeProto.GRAPH:
                yield from _all_nodes(each.g)


def _graph_rows(graph: GraphProto) -> Iterator[Row]:
    """The rows of a graph: inputs, weights, nodes, outputs."""
    weights = {each.name for each in graph.initializer}
    yield Row(f"graph({', '.join(map(_declared, (each for each in graph.input if each.name not in weights)))})")
    for each in graph.initializer:
        yield Row(f"  {format_name(each.name)}: {_tensor_type(each)}")
    yield Row("")
    types = {each.name: f": {_type(each)}" for each in (*graph.value_info, *graph.output)}
    yield from _node_rows(graph.node, types, "  ")
    yield Row(f"  return {', '.join(format_name(each.name) for each in graph.output)}")


def _node_rows(nodes: Iterable[NodeProto], types: Mapping[str, str], indent: str) -> Iterator[Row]:
    for node in nodes:
        module, said = _place(node)
        yield Row(indent + _line(node, types), module, said)
        for each in node.attribute:
            for graph in (*([each.g] if each.type == AttributeProto.GRAPH else ()), *each.graphs):
                inner = {**types} | {value.name: f": {_type(value)}" for value in (*graph.value_info, *graph.output)}
                yield Row(f"{indent}  {each.name} = graph({', '.join(map(_declared, graph.input))})", module, said)
                yield from _node_rows(graph.node, inner, indent + "    ")
                yield Row(f"{indent}    return {', '.join(value.name for value in graph.output)}", module, said)


def _place(node: NodeProto) -> tuple[str, str]:
    """The module of a node, and what is known of its line: as fxonnx says it, as torch.onnx does, or by the node's name
    where that is a path, `/encoder/layer.0/Add`."""
    metadata = {each.key: each.value for each in node.metadata_props}
    place = Location.from_metadata(metadata)
    scopes = re.findall("'([^']*)'", metadata.get(_TORCH_SCOPES, ""))[:-1]  # the last one is the call itself
    path = node.name.strip("/").rpartition("/")[0].replace("/", ".")
    trace = metadata.get(_TORCH_TRACE, "").strip().splitlines()[-2:]
    said = hover(place) or "  ".join(line.strip() for line in trace) or node.doc_string.strip()
    return place.module or (scopes[-1] if scopes else path), said


_TORCH_SCOPES, _TORCH_TRACE = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.stack_trace"


def _line(node: NodeProto, types: Mapping[str, str]) -> str:
    results = ", ".join(f"{format_name(name)}{types.get(name, '')}" for name in node.output if name)
    inputs = ", ".join(format_name(name) if name else "_" for name in node.input)
    plain = ", ".join(filter(None, map(_attribute, node.attribute)))
    domain = f"{node.domain}::" if node.domain else ""
    return f"{results} = {domain}{node.op_type}({inputs})" + (f" {{{plain}}}" if plain else "")


def _attribute(attribute: AttributeProto) -> str:
    """`axis=1`; tensors without their elements, and nothing of a graph, which has lines of its own."""
    match attribute.type:
        case AttributeProto.GRAPH | AttributeProto.GRAPHS:
            return ""
        case AttributeProto.TENSOR:
            return f"{attribute.name}={_tensor_type(attribute.t)}"
        case AttributeProto.INT | AttributeProto.FLOAT | AttributeProto.INTS | AttributeProto.FLOATS:
            return f"{attribute.name}={format_attribute(onnx.helper.get_attribute_value(attribute))}"
        case AttributeProto.STRING:
            return f"{attribute.name}={format_attribute(attribute.s.decode(errors='replace'))}"
    return f"{attribute.name}=…"


def _declared(value: ValueInfoProto) -> str:
    return f"{format_name(value.name)}: {_type(value)}"


def _type(value: ValueInfoProto) -> str:
    """`f32[n,4]`, as far as the file knows it."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return value.type.WhichOneof("value") or "?"
    dims = [each.dim_param or (str(each.dim_value) if each.HasField("dim_value") else "?") for each in tensor.shape.dim]
    return f"{_short(tensor.elem_type)}[{','.join(dims) if tensor.HasField('shape') else '…'}]"


def _tensor_type(tensor: TensorProto) -> str:
    return f"{_short(tensor.data_type)}[{','.join(map(str, tensor.dims))}]"


def _short(code: int) -> str:
    return _SHORT.get(code, "?")


_SHORT = {each.code: each.short for each in dtypes.DTYPES if each.code}
