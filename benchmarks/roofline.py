"""What matrix products and convolutions alone take at the machine's best: no form of a model can be faster."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx

Shapes = Sequence[Sequence[int] | None]

SQUARES = ((256, 768, 768), (512, 1024, 1024), (128, 2048, 2048))  # rows, depth, columns
ROUNDS = 30


def peak(threads: int) -> float:
    """The most floating-point operations a second that a product of matrices in ONNX Runtime comes to."""
    return max(_rate(*size, threads) for size in SQUARES)


def _rate(rows: int, depth: int, columns: int, threads: int) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
        product (float[{rows},{depth}] x, float[{depth},{columns}] w) => (float[{rows},{columns}] y) {{
            y = MatMul(x, w) }}"""
    model = onnx.parser.parse_model(text)
    weight = onnx.numpy_helper.from_array(np.ones((depth, columns), np.float32), "w")
    model.graph.initializer.append(weight)
    del model.graph.input[1]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed, seconds = {"x": np.ones((rows, depth), np.float32)}, []
    for _ in range(ROUNDS):
        start = perf_counter()
        session.run(None, feed)
        seconds.append(perf_counter() - start)
    return 2 * rows * depth * columns / min(seconds)


def _product(inputs: Shapes, output: Sequence[int], attributes: Mapping[str, Any]) -> int:
    return 2 * prod(output) * inputs[0][-2 if attributes.get("transA") else -1]  # type: ignore[index]


def _convolution(inputs: Shapes, output: Sequence[int], attributes: Mapping[str, Any]) -> int:
    return 2 * prod(output) * prod(inputs[1][1:])  # type: ignore[index]


def _transposed_convolution(inputs: Shapes, output: Sequence[int], attributes: Mapping[str, Any]) -> int:
    return 2 * prod(inputs[0]) * prod(inputs[1][1:])  # type: ignore[arg-type, index]


def _attention(inputs: Shapes, output: Sequence[int], attributes: Mapping[str, Any]) -> int:
    query, key, past = inputs[0], inputs[1], inputs[4] if len(inputs) > 4 else None
    keys = key[-2] + (past[-2] if past else 0)  # type: ignore[index]
    return 4 * prod(query) * keys  # type: ignore[arg-type]


def _recurrent(inputs: Shapes, output: Sequence[int], attributes: Mapping[str, Any]) -> int:
    steps, batch = inputs[0][:2]  # type: ignore[index]
    return 2 * steps * batch * (prod(inputs[1]) + prod(inputs[2]))  # type: ignore[arg-type]


COUNTED: Mapping[str, Callable[[Shapes, Sequence[int], Mapping[str, Any]], int]] = {
    "MatMul": _product, "Gemm": _product, "Conv": _convolution, "ConvTranspose": _transposed_convolution,
    "Attention": _attention, "LSTM": _recurrent, "GRU": _recurrent, "RNN": _recurrent,
}  # fmt: skip


def operations(path: Path) -> int:
    """Floating-point operations of the products and convolutions in a file with fixed sizes.

    Those whose sizes shape inference cannot tell, and those in branches and loops, are not counted.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
    graph = model.graph
    shapes: dict[str, list[int]] = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = [dim.dim_value for dim in dims]
    return sum(_operations(node, shapes) for node in graph.node if node.op_type in COUNTED)


def _operations(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    present = [name for name in (*node.input, node.output[0]) if name]
    if not all(name in shapes for name in present):
        return 0
    inputs = [shapes.get(name) for name in node.input]
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return COUNTED[node.op_type](inputs, shapes[node.output[0]], attributes)
