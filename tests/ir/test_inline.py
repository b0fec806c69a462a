"""ONNX functions recorded in the newest spelling compute what they compute where they were written."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from onnxscript import opset15, opset18, script

from fxonnx.emit.onnx import emit
from fxonnx.ir.build import Builder
from fxonnx.ir.calls import InvalidCall
from fxonnx.ir.inline import inline
from fxonnx.ir.types import parse_type

X = np.array([[-2, -1, 0], [1, 2, 3]], np.float32)


@script()
def branches_and_loops(x, alpha: float = 2.0, times: int = 3):
    y = opset15.ReduceSum(x, keepdims=1)
    if opset15.ReduceSum(x, keepdims=0) > 0.0:
        z = x * alpha
    else:
        z = x
    for _ in range(times):
        z = z + y
    return z


@script()
def while_and_call(x, n):
    i = opset18.Constant(value_int=0)
    going = i < n
    while going:
        x = x * 2.0
        i = i + 1
        going = i < n
    return x, branches_and_loops(x, alpha=3.0)


@script()
def growing(x, n):
    for _ in range(n):
        x = opset18.Concat(x, x, axis=0)
    return x


CLIP = onnx.parser.parse_function(
    '<domain: "own", opset_import: ["": 13]> clip (x, low, high) => (y) { y = Clip (x, low, high) }'
)


def record(function, *types, functions=(), **arguments):
    """A graph of one call of the function; inputs are named after its parameters."""
    op = Builder()
    proto = function if isinstance(function, onnx.FunctionProto) else function.to_function_proto()
    inputs = {name: op.input(parse_type(type), name) for name, type in zip(proto.input, types, strict=False)}
    results = inline(op, proto, inputs | arguments, functions)
    return op.finish(results, [f"y{index}" for index in range(len(results))])


def run(graph, *arrays):
    """The graph's outputs in ONNX Runtime, after ONNX's own checker has seen it."""
    model = emit(replace(graph, opset=24)).proto
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {value.name: array for value, array in zip(graph.inputs, arrays, strict=True)})


@pytest.mark.parametrize("arguments", [{}, {"alpha": 0.5}, {"times": 0}, {"alpha": -1.0, "times": 5}], ids=str)
@pytest.mark.parametrize("x", [X, -X], ids=["then", "else"])
def test_attributes_branches_and_loops(arguments, x):
    (result,) = run(record(branches_and_loops, "f32[n,3]", **arguments), x)
    np.testing.assert_allclose(result, branches_and_loops(x, **arguments))


def test_a_function_calls_another():
    graph = record(while_and_call, "f32[n,3]", "i64[]", functions=[branches_and_loops.to_function_proto()])
    for result, expected in zip(run(graph, X, np.array(3)), while_and_call(X, np.array(3)), strict=True):
        np.testing.assert_allclose(result, expected)


def test_a_carried_value_may_grow():
    graph = record(growing, "f32[n,3]", "i64[]")
    (type,) = (value.type for value in graph.outputs)
    assert type.shape[0] != graph.inputs[0].shape[0] and type.shape[1] == 3
    (result,) = run(graph, X, np.array(2))
    assert result.shape == (8, 3)


def test_absent_inputs_and_numbers():
    (result,) = run(record(CLIP, "f32[n,3]", high=1.0), X)
    np.testing.assert_array_equal(result, X.clip(None, 1))
    (result,) = run(record(CLIP, "f32[n,3]", low=-1, high=2.0), X)
    np.testing.assert_array_equal(result, X.clip(-1, 2))


OLD = [  # opset, the body as it was written there, how many nodes it is now
    (11, "t = ReduceSum <axes=[1]> (x) y = Squeeze <axes=[1]> (t)", 2),
    (17, "y = ReduceMean <axes=[0], keepdims=0> (x)", 1),
    (6, "y = Clip <max=2.0, min=-1.0> (x)", 1),
    (2, "y = Pad <pads=[0,1,0,1], value=4.0> (x)", 1),
    (9, "y = Slice <axes=[1], starts=[1], ends=[3]> (x)", 1),
    (11, "y = LogSoftmax <axis=1> (x)", 1),
    (11, "y = Softmax (x)", 1),
    (17, "a = Constant <value_ints=[2]> () t = Unsqueeze (x, a) y = DFT <axis=1> (t)", 2),
]


@pytest.mark.parametrize(("opset", "text", "count"), OLD, ids=[text for _, text, _ in OLD])
def test_what_was_an_attribute_is_an_input(opset, text, count):
    function = onnx.parser.parse_function(f'<domain: "old", opset_import: ["": {opset}]> old (x) => (y) {{ {text} }}')
    graph = record(function, "f32[2,3]")
    assert len(graph.nodes) == count
    (result,) = run(graph, X)
    (expected,) = ReferenceEvaluator(function).run(None, {"x": X}, attributes={})
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["Mish", "ThresholdedRelu", "MeanVarianceNormalization", "HardSwish"])
def test_bodies_of_onnx_schemas(name):
    facts = onnx.defs.get_schema(name)
    defaults = {a.name: onnx.helper.get_attribute_value(a.default_value) for a in facts.attributes.values()}
    shape = {"MeanVarianceNormalization": (2, 3, 2, 2)}.get(name, (2, 3))
    x = np.linspace(-3, 3, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    body = facts.function_body
    given = {key: defaults[key] for key in body.attribute}
    (result,) = run(record(body, f"f32[{','.join(map(str, shape))}]", **given), x)
    node = onnx.helper.make_node(name, ["x"], ["y"])
    (expected,) = ReferenceEvaluator(node).run(None, {"x": x})
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_a_split_without_sizes():
    text = '<domain: "old", opset_import: ["": 13]> old (x) => (a, b) { a, b = Split <axis=0> (x) }'
    results = run(record(onnx.parser.parse_function(text), "f32[2,3]"), X)
    np.testing.assert_array_equal(np.concatenate(results), X)


REFUSED = [
    ("opset 11 flattens", '["": 11]> f (x) => (y) { y = Softmax <axis=0> (x) }', {}),
    ("not in opset", '["": 9]> f (x, s) => (y) { y = Upsample (x, s) }', {"s": [1.0, 2.0]}),
    ("no argument beta", '["": 20]> f (x) => (y) { y = Relu (x) }', {"beta": 1}),
    ("nothing in the function defines 'z'", '["": 20]> f (x) => (y) { y = Relu (z) }', {}),
    ("needs its input", '["": 20]> f (x, z) => (y) { y = Add (x, z) }', {}),
    ("no 'broadcast' any more", '["": 6]> f (x) => (y) { y = Add <broadcast=1> (x, x) }', {}),
]


@pytest.mark.parametrize(("message", "text", "arguments"), REFUSED, ids=[message for message, _, _ in REFUSED])
def test_refusals(message, text, arguments):
    function = onnx.parser.parse_function(f'<domain: "old", opset_import: {text}')
    with pytest.raises(InvalidCall, match=message):
        record(function, "f32[2,3]", **arguments)
