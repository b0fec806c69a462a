"""Random graphs, when two graphs are the same, and what a graph computes."""

import sys

import numpy as np
from hypothesis import strategies as st

from fxonnx import dtypes
from fxonnx.ir.data import ArrayData
from fxonnx.ir.dims import ceil_divide, maximum, symbol
from fxonnx.ir.evaluate import evaluate_node
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.text.places import format_origin, format_place
from fxonnx.ir.types import TensorType
from fxonnx.location import Location

n, m = symbol("n"), symbol("m")
DIMS = st.sampled_from([0, 1, 2, 7, 512, n, m, 2 * n + 1, n * m, ceil_divide(n, 2), n % 4, maximum(n, m - 8)])
STORED = [row for row in dtypes.DTYPES if row.numpy]
NAMES = st.one_of(
    st.sampled_from(
        ["x", "y", "layers.0.fc.weight", "_", "graph", "return", "%0", "%c0", "a b", 'q"', "i64", "x~2", "é"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
KEYS = st.sampled_from(["axis", "alpha", "mode", "value", "to"])


@st.composite
def arrays(draw, shapes=st.lists(st.integers(0, 3), max_size=2)):  # noqa: B008
    """Contents of every dtype, NaN and infinity among them."""
    dtype = draw(st.sampled_from(STORED))
    shape = tuple(draw(shapes))
    size = int(np.prod(shape))
    if dtype is dtypes.STRING:
        texts = draw(st.lists(st.text(max_size=3), min_size=size, max_size=size))
        return np.array([*texts, None], object)[:size].reshape(shape)
    wide = draw(st.lists(st.floats(width=32), min_size=size, max_size=size))
    if dtype.is_integer or dtype is dtypes.BOOL:
        wide = draw(st.lists(st.integers(int(dtype.lowest), int(dtype.highest)), min_size=size, max_size=size))
    with np.errstate(all="ignore"):
        return np.array(wide, np.float32 if dtype.is_float else None).reshape(shape).astype(dtype.numpy)


NUMBERS = st.one_of(st.integers(-(2**63), 2**63), st.floats(), st.text(st.characters(exclude_categories=["Cs"])))
ATTRIBUTES = st.one_of(NUMBERS, st.lists(NUMBERS, max_size=3).map(tuple), arrays())


@st.composite
def types(draw):
    """A dtype and up to three dims."""
    return TensorType(draw(st.sampled_from(dtypes.DTYPES)), tuple(draw(st.lists(DIMS, max_size=3))))


@st.composite
def constants(draw):
    """A constant with or without a name, small or large."""
    array = draw(arrays(st.lists(st.integers(0, 9), max_size=1)))
    data = ArrayData(array)
    return Value(TensorType(data.dtype, data.shape), draw(st.none() | NAMES), data)


LOCATIONS = st.builds(
    Location,
    module=st.sampled_from(["", "layers.0.fc", "model"]),
    kind=st.sampled_from(["", "Linear"]),
    file=st.sampled_from(["", "/somewhere/encoder.py"]),
    line=st.integers(0, 99),
    op=st.sampled_from(["", "aten.linear.default", "aten.add.Tensor+aten.gelu.default"]),
    rules=st.lists(st.sampled_from(["erf_gelu", "share"]), unique=True, max_size=2).map(tuple),
)


@st.composite
def graphs(draw, depth=2, opset=None, around=()):
    """A graph of nonsense operators, well formed as far as who writes and reads what."""
    opset = opset or draw(st.integers(9, 28))
    inputs = tuple(draw(st.lists(st.builds(Value, types(), st.none() | NAMES), max_size=3)))
    visible = [*around, *inputs, *draw(st.lists(constants(), max_size=3))]
    nodes = []
    for _ in range(draw(st.integers(0, 4))):
        reads = st.none() | st.sampled_from(visible) if visible else st.none()
        attributes = draw(st.dictionaries(KEYS, ATTRIBUTES, max_size=2))
        if depth and draw(st.integers(0, 3)) == 0:
            attributes["body"] = draw(graphs(depth - 1, opset, tuple(visible)))
        node = Node(
            draw(st.sampled_from(["Add", "Shape", "Concat", "If", "com.microsoft::FusedMatMul"])),
            tuple(draw(st.lists(reads, max_size=3))),
            tuple(draw(st.lists(st.builds(Value, types(), st.none() | NAMES), min_size=1, max_size=2))),
            attributes,
            draw(LOCATIONS),
        )
        nodes.append(node)
        visible += node.outputs
    outputs = tuple(draw(st.lists(st.sampled_from(visible), max_size=3))) if visible else ()
    names = draw(st.lists(NAMES.filter(bool), min_size=len(outputs), max_size=len(outputs), unique=True))
    name = draw(st.sampled_from(["main", "body", "a b"]))
    return Graph(inputs, tuple(nodes), outputs, opset, tuple(names) if draw(st.booleans()) else (), name)


def same_graph(a, b, pairs=None):
    """Whether two graphs have the same structure, types, contents and places. Names of clashing values may differ."""
    pairs = {} if pairs is None else pairs
    pairs.update(zip(a.inputs, b.inputs, strict=True))
    assert [v.type for v in a.inputs] == [v.type for v in b.inputs]
    for left, right in zip(a.nodes, b.nodes, strict=True):
        same_node(left, right, pairs)
    for left, right in zip(a.outputs, b.outputs, strict=True):
        same_value(left, right, pairs)
    assert (a.opset, a.output_names, a.name) == (b.opset, b.output_names, b.name)
    return True


def same_node(a, b, pairs):
    """Whether two nodes are the same call at the same place."""
    assert a.op == b.op
    for left, right in zip(a.inputs, b.inputs, strict=True):
        same_value(left, right, pairs)
    assert a.attributes.keys() == b.attributes.keys()
    for key, item in a.attributes.items():
        same_item(item, b.attributes[key], pairs)
    assert [v.type for v in a.outputs] == [v.type for v in b.outputs]
    pairs.update(zip(a.outputs, b.outputs, strict=True))
    assert format_place(a.location) == format_place(b.location)
    assert format_origin(a.location) == format_origin(b.location)


def same_value(a, b, pairs):
    """Whether a read is of the same value, or of constants of the same content."""
    if a is None or a in pairs:
        assert b is (None if a is None else pairs[a])
        return
    assert a.is_constant
    assert b.is_constant
    assert a.type == b.type
    assert (a.name is None) == (b.name is None)
    if isinstance(b.data, ArrayData):
        same_item(a.data.array(), b.data.array(), pairs)


def same_item(a, b, pairs):
    """Whether two attribute values are the same, NaN being itself."""
    match a:
        case Graph():
            same_graph(a, b, pairs)
        case np.ndarray():
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            assert a.dtype.hasobject or np.array_equal(np.isnan(a), np.isnan(b))
            assert all(x == y or (x != x and y != y) for x, y in zip(a.ravel(), b.ravel(), strict=True))
        case tuple():
            for x, y in zip(a, b, strict=True):
                same_item(x, y, pairs)
        case _:
            assert type(a) is type(b)
            assert a == b or (a != a and b != b)


def evaluate(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a graph without subgraphs for its inputs. Raises CannotEvaluate."""
    known = dict(zip(graph.inputs, arrays, strict=True))

    def read(value: Value) -> np.ndarray:
        return known[value] if value.data is None else value.data.array()

    for node in graph.nodes:
        inputs = [None if value is None else read(value) for value in node.inputs]
        known.update(zip(node.outputs, evaluate_node(node, inputs), strict=False))
    return [read(value) for value in graph.outputs]


def chain(count, op):
    """A graph of so many nodes in a row, ten to a module, each made for an fx node at a line of its own."""
    value_type = TensorType(dtypes.FLOAT32, (2, 4))
    x = last = Value(value_type, "x")
    nodes = []
    for index in range(count):
        name = f"act_{index}"
        location = Location(f"layers.{index // 10}.act", op, "net.py", index + 1, "forward",
                            f"x = self.{name}(x)  # </script>", f"aten.{op.lower()}.default", name)  # fmt: skip
        made = Value(value_type)
        nodes.append(Node(op, (last,), (made,), {}, location))
        last = made
    return Graph((x,), tuple(nodes), (last,), 24, ("y",))


def work(function):
    """How many calls a function makes: a measure of time that no machine disturbs."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event.endswith("call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count
