"""The recording opset: lowerings and rules call it as they would call an onnxscript opset, and it writes IR.

`op.Gelu(x, approximate="tanh")` checks the call against the operator's schema, infers the type of every output and
appends a node; what comes back are `Tensor`s, which carry dtype and shape and know Python's operators, as onnxscript's
eager tensors do. The body of a lowering therefore runs both ways: `gelu(onnxscript.opset23, array)` computes,
`gelu(Builder(), tensor)` records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, groupby
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import INT64, DType
from fxonnx.ir import schema
from fxonnx.ir.calls import (
    InvalidCall,
    UnknownSize,
    attribute_value,
    attribute_values,
    check_arity,
    check_dtypes,
    output_count,
    result_type,
    sibling_dtype,
    tensor_array,
)
from fxonnx.ir.data import ArrayData, Data, array_of
from fxonnx.ir.dims import Algebra, Atom, Bounds, Dim, Expr, Shape, fold, linear, non_negative, symbol, symbols_of
from fxonnx.ir.dims import Call as SizeCall
from fxonnx.ir.graph import NOWHERE, Graph, Node, Value
from fxonnx.ir.infer import Call, CannotInfer, infer, known_elements
from fxonnx.ir.schema import OpFacts
from fxonnx.ir.tensor import Number, Tensor
from fxonnx.ir.types import TensorType
from fxonnx.location import Location


class Builder:
    """Records a graph in the newest operator set.

    `location` is where in the user's model the next nodes come from, `bounds` what the model's sizes may be, and
    `bounds_of_many` what they may be where all of the inputs are 2 or more. Small constants are shared, and sizes
    are materialized once.
    """

    def __init__(self, opset: int = schema.NEWEST, parent: Builder | None = None) -> None:
        self.version = opset
        self.domain = ""
        self.parent = parent
        self.location: Location = parent.location if parent else NOWHERE
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self.constants: dict[object, Value] = parent.constants if parent else {}
        self.sizes_made: dict[Expr | Atom, Tensor] = dict(parent.sizes_made) if parent else {}
        self.sources: dict[str, tuple[Value, int | None]] = dict(parent.sources) if parent else {}
        self.multiples: dict[str, tuple[Value, int, int, int]] = dict(parent.multiples) if parent else {}
        self.numbers: Iterator[int] = parent.numbers if parent else count()
        self.bounds: Bounds = parent.bounds if parent else Bounds({}, {})
        self.bounds_of_many: Bounds = parent.bounds_of_many if parent else self.bounds
        self._recorders: dict[str, Callable[..., Any]] = {}

    # ── what a graph begins and ends with ──

    def input(self, type: TensorType, name: str) -> Tensor:
        """A graph input called `name`."""
        value = Value(type, name)
        self.inputs.append(value)
        self.note_sizes(value)
        return Tensor(self, value)

    def use(self, value: Value) -> Tensor:
        """A value from elsewhere (an older graph, an enclosing one) as a tensor of this builder."""
        return Tensor(self, value)

    def constant(self, content: object, dtype: DType | None = None, name: str | None = None) -> Tensor:
        """A constant: a `Data` by reference, or a number, list or array. Equal small ones are one value."""
        data: Data = content if isinstance(content, Data) else ArrayData(array_of(content, dtype))
        key = (data.identity, name)
        value = self.constants.get(key)
        if value is None:
            value = self.constants[key] = Value(TensorType(data.dtype, tuple(data.shape)), name, data)
        return Tensor(self, value)

    def finish(self, outputs: Sequence[Tensor], output_names: Sequence[str] = (), name: str = "main") -> Graph:
        """The graph recorded so far."""
        values = tuple(tensor.value for tensor in outputs)
        return Graph(tuple(self.inputs), tuple(self.nodes), values, self.version, tuple(output_names), name)

    def nested(self) -> Builder:
        """A builder for a subgraph, which may read what this one has recorded."""
        return Builder(self.version, parent=self)

    @contextmanager
    def at(self, location: Location) -> Iterator[None]:
        """Record with another location."""
        before, self.location = self.location, location
        try:
            yield
        finally:
            self.location = before

    # ── sizes ──

    def sizes(self, dims: Sequence[Dim]) -> Tensor:
        """A 1-D int64 tensor that holds `dims` when the model runs; a constant where all are ints."""
        if all(isinstance(dim, int) for dim in dims):
            return self.constant(np.array(dims, np.int64))
        pieces: list[Tensor] = []
        for are_ints, run in groupby(dims, lambda dim: isinstance(dim, int)):
            group = list(run)
            pieces += [self.constant(np.array(group, np.int64))] if are_ints else [self._size(dim) for dim in group]
        return pieces[0] if len(pieces) == 1 else self.call("Concat", pieces, {"axis": 0})[0]

    def size(self, dim: Dim) -> Tensor:
        """A scalar int64 tensor that holds `dim` when the model runs."""
        if isinstance(dim, int):
            return self.constant(np.array(dim, np.int64))
        return self.call("Squeeze", (self._size(dim), [0]), {})[0]

    def _size(self, dim: Dim) -> Tensor:
        """`dim` as an int64[1] tensor, made once."""
        return fold(dim, _Sizes(self))

    def read_size(self, name: str) -> Tensor:
        """The size called `name` as an int64[1] tensor. Raises UnknownSize where nothing tells it."""
        if name not in self.sources and name in self.multiples:
            whole, at, slope, offset = self.multiples[name]
            return (self._axis(whole, at) - offset) / slope
        if name not in self.sources:
            raise UnknownSize(f"no value in this graph has the size {name!r}")
        value, axis = self.sources[name]
        return self.call("Reshape", (self.use(value), [1]), {})[0] if axis is None else self._axis(value, axis)

    def tells(self, dims: Iterable[Dim]) -> bool:
        """Whether the sizes that these dims are made of can be read here."""
        return symbols_of(dims) <= self.sources.keys() | self.multiples.keys()

    def _axis(self, value: Value, axis: int) -> Tensor:
        return self.call("Shape", (self.use(value),), {"start": axis, "end": axis + 1})[0]

    def define_size(self, name: str, tensor: Tensor) -> None:
        """Say that the scalar `tensor` holds the size `name`: what `.item()` gives."""
        self.sources.setdefault(name, (tensor.value, None))
        self.refine(tensor, tensor.type, (symbol(name),))

    def define_number(self, dim: Expr, tensor: Tensor) -> None:
        """Say that the scalar `tensor` holds `dim`: a size, or n - m, a number of either sign whose parts above and
        below 0 are the sizes n and m."""
        if dim.name is not None:
            self.define_size(dim.name, tensor)
            return
        pairs = [(n, m) for n in dim.symbols for m in dim.symbols if dim == symbol(n) - symbol(m)]
        for above, below in pairs:
            self.sizes_made[dim] = self.call("Reshape", (tensor, [1]), {})[0]
            self.define_size(above, self.call("Max", (tensor, 0), {})[0])
            self.define_size(below, self.call("Max", (-tensor, 0), {})[0])

    def drop(self, mark: int) -> None:
        """Forget the nodes from this one on; no size is read of what they return."""
        dropped = {id(value) for node in self.nodes[mark:] for value in node.outputs}
        del self.nodes[mark:]
        for sources in (self.sources, self.multiples):
            for name in [name for name, (value, *_) in sources.items() if id(value) in dropped] if dropped else ():
                del sources[name]

    def note_sizes(self, value: Value) -> None:
        """Remember `value` as the place to read the sizes in its shape from, where there is none yet: n, or 3*n + 4
        where n itself is nowhere."""
        for axis, dim in enumerate(value.type.shape):
            if isinstance(dim, Expr) and dim.name is not None:
                self.sources.setdefault(dim.name, (value, axis))
            elif (found := linear(dim)) is not None:
                self.multiples.setdefault(found[0], (value, axis, *found[1:]))

    def note_number(self, value: Value) -> None:
        """Remember `value` as the place to read the size from that it holds: a number from data, which no shape may
        tell."""
        if value.known is not None and len(value.known) == 1 and value.dtype is INT64:
            (dim,) = value.known
            if isinstance(dim, Expr) and dim.name is not None:
                self.sources.setdefault(dim.name, (value, None))

    def may_be_zero(self, dim: Dim) -> bool:
        """Whether a size is 0, or can be when the model runs."""
        return self.bounds.interval(dim)[0] <= 0

    def may_vanish(self, dim: Dim) -> bool:
        """Whether a size can be 0 in the midst of a model, where those of the inputs are 2 or more."""
        return self.bounds_of_many.interval(dim)[0] <= 0

    def new_dim(self) -> Expr:
        """A size that nobody knows before the model runs."""
        return symbol(f"_{next(self.numbers)}")

    def refine(self, tensor: Tensor, type: TensorType, known: Shape | None = None) -> Tensor:
        """The same tensor with a type that says more (torch's fake tensor knows a dim that inference could not tell).

        The only place that changes a value: it is still under construction, and has no identity to the outside yet.
        """
        if tensor.value.type != type:
            object.__setattr__(tensor.value, "type", type)
            self.note_sizes(tensor.value)
        if known is not None and tensor.value.known is None:
            object.__setattr__(tensor.value, "known", known)
        return tensor

    # ── operators ──

    def custom(self, operator: str, *inputs: Any, like: Any, **attributes: Any) -> Any:
        """Record an operator of a domain of the user's, `op.custom("my.domain::Fancy", x, k=3, like=x)`.

        `like` says what the result is, which nothing here can infer: a tensor of that type, or (dtype, shape), whose
        sizes may be those of tensors; a list of these for several results, which come as a list. The target has to know
        the domain (`Target.knowing`). Raises InvalidCall.
        """
        domain, name = schema.split_name(operator)
        if not domain or not name:
            raise InvalidCall(f'{operator!r} names no operator of a domain, as "my.domain::Fancy" does')
        types = list(map(result_type, like if isinstance(like, list) else [like]))
        results = self.call(operator, inputs, attributes, len(types), types)
        return list(results) if isinstance(like, list) else results[0]

    def __getattr__(self, op: str) -> Callable[..., Any]:
        if not op[:1].isupper():
            raise AttributeError(f"op has no {op!r}{schema.suggestion(op)}")
        recorder = self._recorders.get(op)
        if recorder is None:
            recorder = self._recorders[op] = self._recorder(op)
        return recorder

    def _recorder(self, op: str) -> Callable[..., Any]:
        def record(*inputs: Any, _outputs: int | None = None, **attributes: Any) -> Any:
            results = self.call(op, inputs, attributes, _outputs)
            return results[0] if len(results) == 1 else results

        if op == "Constant":
            return self._constant_operator
        return record

    def _constant_operator(self, **attributes: Any) -> Tensor:
        """onnxscript's `op.Constant(value_ints=[…])`, `value_float=…`, `value=…`."""
        ((name, content),) = attributes.items()
        if name == "value":
            return self.constant(content if isinstance(content, np.ndarray) else tensor_array(content))
        return self.constant(content, dtypes.FLOAT32 if "float" in name else dtypes.INT64 if "int" in name else None)

    def call(
        self,
        op: str,
        inputs: Sequence[Any],
        attributes: dict[str, Any],
        outputs: int | None = None,
        types: Sequence[TensorType] | None = None,
    ) -> tuple[Tensor, ...]:
        """Record `op` and return all its outputs.

        Inputs are tensors, None for an absent optional one, or Python numbers, lists and arrays, which become constants
        of the dtype that the schema wants beside the tensors; sizes and lists of them are of int64. `types` are needed
        only for operators that inference cannot know. Raises InvalidCall.
        """
        facts = schema.facts(op, self.version)
        if facts is None and types is None and "::" in op:
            raise InvalidCall(
                f'nothing says what {op} returns: a lowering says it with op.custom("{op}", x, like=x), '
                "see @fxonnx.register_lowering"
            )
        if facts is None and types is None:
            raise InvalidCall(f"opset {self.version} has no operator {op}{schema.suggestion(op)}")
        values = self._input_values(op, facts, inputs)
        given = attribute_values(op, facts, attributes)
        call = Call(op, facts, values, given, outputs or output_count(op, facts, given, values), self.new_dim)
        try:
            result_types = tuple(types) if types is not None else infer(call)
        except CannotInfer as error:
            raise InvalidCall(f"{op}({', '.join(map(str, values))}): {error}") from error
        known = known_elements(call, result_types[0])
        results = tuple(Value(type, None, None, None if index else known) for index, type in enumerate(result_types))
        for value in results:
            self.note_sizes(value)
        self.nodes.append(Node(op, values, results, given, self.location))
        kind = _kind(op, inputs)
        return tuple(kind(self, value) for value in results)

    def _input_values(self, op: str, facts: OpFacts | None, inputs: Sequence[Any]) -> tuple[Value | None, ...]:
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        numbers_only = _kind(op, inputs) is Number
        is_tensor = [isinstance(item, Tensor) and (numbers_only or not isinstance(item, Number)) for item in inputs]
        values: list[Value | None] = [
            item.value if known else None for item, known in zip(inputs, is_tensor, strict=True)
        ]
        if facts is not None:
            check_arity(op, facts, inputs)
        for index, item in enumerate(inputs):
            if item is not None and not is_tensor[index]:
                values[index] = self._input_constant(facts, index, item, values).value
        if facts is not None:
            check_dtypes(op, facts, values)
        return tuple(values)

    def _input_constant(self, facts: OpFacts | None, index: int, item: Any, values: Sequence[Value | None]) -> Tensor:
        """A number or list takes the dtype of a tensor under the same type variable, or the only one admitted."""
        if isinstance(item, Number):
            return self._cast(item, sibling_dtype(facts, index, values))
        if isinstance(item, (Data, np.ndarray)):
            return self.constant(item)
        if isinstance(item, Value):
            return self.use(item)
        if isinstance(item, (tuple, list)) and any(isinstance(element, Expr) for element in item):
            return self.sizes(item)
        if isinstance(item, Expr):
            return self.size(item)
        return self.constant(item, sibling_dtype(facts, index, values))

    def _cast(self, number: Number, dtype: DType | None) -> Tensor:
        tensor = self.use(number.value)
        return tensor if dtype in (None, number.dtype) else self.call("Cast", (tensor,), {"to": dtype})[0]


def _kind(op: str, inputs: Sequence[Any]) -> type[Tensor]:
    """What a call's results are: of numbers only, numbers."""
    tensors = [item for item in inputs if isinstance(item, Tensor)]
    is_number = bool(tensors) and op != "Cast" and all(isinstance(item, Number) for item in tensors)
    return Number if is_number else Tensor


class _Sizes(Algebra[Tensor]):
    """Sizes as int64[1] tensors of one graph."""

    def __init__(self, builder: Builder) -> None:
        super().__init__(builder.sizes_made)
        self._builder = builder

    def find(self, part: Expr | Atom) -> Tensor | None:
        """A size that was made, here or around this graph; what is made of it is made here."""
        found = super().find(part)
        return None if found is None else self._builder.use(found.value)

    def constant(self, value: int) -> Tensor:
        return self._builder.constant(np.array([value], np.int64))

    def symbol(self, name: str) -> Tensor:
        return self._builder.read_size(name)

    def call(self, atom: SizeCall, left: Tensor, right: Tensor) -> Tensor:
        """ONNX's integer Div rounds towards zero, Python's // down: they agree for sizes that are not negative."""
        if atom.function == "//" and not non_negative(atom.left):
            return (left - left % right) / right
        operator = {"//": "Div", "%": "Mod", "max": "Max", "min": "Min"}[atom.function]
        return self._builder.call(operator, (left, right), {})[0]


__all__ = ["Builder", "InvalidCall", "Tensor", "attribute_value"]
