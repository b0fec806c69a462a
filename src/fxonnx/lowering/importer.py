"""fx graph -> IR: every aten call becomes what its lowering records.

The importer walks the captured graph once. For each call it binds the arguments by the names in the aten schema,
promotes them as the lowering declares, runs the body under the call's place, and checks the result against the fake
tensor that torch computed: a wrong dtype or shape is caught at its op. An op without a lowering is decomposed
alone, on demand. All failures are gathered, so that a user sees every unsupported op at once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import fx

from fxonnx import dtypes, errors
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, InvalidCall, Tensor
from fxonnx.ir.calls import SymbolicAttribute, UnknownSize
from fxonnx.ir.data import Data, ReplaceableData
from fxonnx.ir.dims import Bounds, Dim, Expr, Undecided, substitute
from fxonnx.ir.graph import NOWHERE, Graph, Value
from fxonnx.ir.infer import Contradiction
from fxonnx.ir.tensor import Number
from fxonnx.ir.types import TensorType, compatible
from fxonnx.location import Location
from fxonnx.lowering.complex_shape import as_real
from fxonnx.lowering.own import LoweringRaised, OfTheirs
from fxonnx.lowering.promote import as_pair, as_tensor, in_opmath, out_of_opmath
from fxonnx.lowering.registry import Lowering, Registry, Unsupported
from fxonnx.lowering.symbolic import ROUNDINGS, SYMBOLIC_FUNCTIONS, rounded
from fxonnx.lowering.weights import TorchData


class Program(Protocol):
    """What the importer reads of a captured program (`fxonnx.capture.Program` is one)."""

    @property
    def graph(self) -> fx.Graph:
        """The functional aten graph."""

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What the caller brings."""

    @property
    def weights(self) -> Mapping[fx.Node, Any]:
        """Placeholder -> the tensor that the model owns."""

    @property
    def states(self) -> tuple[Any, ...]:
        """Buffers that the model changes."""

    @property
    def writebacks(self) -> tuple[Any, ...]:
        """Inputs that the model changes."""

    @property
    def results(self) -> tuple[Any, ...]:
        """What a call computes for the caller."""

    @property
    def checks(self) -> tuple[Any, ...]:
        """What the model checks of its data."""

    @property
    def symbols(self) -> Mapping[str, Any]:
        """Dynamic sizes by name, with the least one that the program was captured for."""

    @property
    def multiples(self) -> Mapping[str, Dim]:
        """{n: 4*n} for each size n that is always a multiple of a number."""

    @property
    def subgraphs(self) -> Mapping[fx.Node, fx.GraphModule]:
        """Bodies of higher-order ops."""

    def dim(self, size: Any) -> Dim:
        """A torch size as a dim with the user's names."""

    def location(self, node: fx.Node) -> Location:
        """Where in the user's model the node comes from."""


READS_OF_DATA = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default)

Decompose = Callable[[fx.Node], "fx.Graph | None"]


# How torch writes the types of numbers in a schema.
NUMBERS = frozenset(each for kind in ("number", "float", "int", "bool") for each in (kind, f"Optional[{kind}]"))


@dataclass(frozen=True, slots=True)
class Arguments:
    """The names of an op's arguments: all, those that may be given by position, those that are numbers."""

    all: tuple[str, ...]
    positional: tuple[str, ...]
    numbers: tuple[str, ...]


@cache
def arguments_of(target: Any) -> Arguments:
    """What an OpOverload's schema says of its arguments."""
    arguments = target._schema.arguments
    return Arguments(
        tuple(each.name for each in arguments),
        tuple(each.name for each in arguments if not each.kwarg_only),
        tuple(each.name for each in arguments if str(each.type) in NUMBERS),
    )


@dataclass(slots=True, eq=False)
class Importer:
    """One walk over one program."""

    program: Program
    registry: Registry
    decompose: Decompose
    opset: int
    builder: Builder
    values: dict[fx.Node, Any]
    failures: list[errors.Error]

    def run(self, nodes: Iterable[fx.Node]) -> None:
        """Import every call, in order."""
        for node in nodes:
            if node.op == "call_function":
                self.builder.location = self.program.location(node)
                self.values[node] = self._call(node)
            elif node.op == "get_attr":
                self.values[node] = self._region(node)

    def _region(self, node: fx.Node) -> Callable[..., list[Tensor]]:
        """A higher-order op's branch or body: called with a builder and arguments, it imports itself there."""
        module = self.program.subgraphs.get(node) or getattr(node.graph.owning_module, str(node.target))

        def region(builder: Builder, *arguments: Any) -> list[Tensor]:
            given = [item.within(builder) if isinstance(item, Tensor) else item for item in arguments]
            inner = replace(self, builder=builder, values={})
            inner.values.update(zip(module.graph.find_nodes(op="placeholder"), given, strict=True))
            (result,) = module.graph.find_nodes(op="output")
            leaves = result.args[0] if isinstance(result.args[0], (list, tuple)) else [result.args[0]]
            with builder.at(builder.location):  # a condition may be recorded beside what it decides about
                inner.run(module.graph.nodes)
                return [result_tensor(inner, item) for item in leaves]

        return region

    def _call(self, node: fx.Node) -> Any:
        symbolic = node.meta.get("val")
        if isinstance(symbolic, (torch.SymInt, int)) and not isinstance(symbolic, bool):
            return self._size(node, symbolic)
        if isinstance(symbolic, tuple) and symbolic and all(isinstance(size, (int, torch.SymInt)) for size in symbolic):
            return [self.program.dim(size) for size in symbolic]
        if node.target is operator.getitem:
            return self._part(node, self.read(node.args[0]))
        try:
            if node.target in READS_OF_DATA:
                return self._number(self.builder.Reshape(self.read(node.args[0]), []))
            if node.target in SYMBOLIC_FUNCTIONS:
                return self._number(SYMBOLIC_FUNCTIONS[node.target](self.builder, *self.read(node.args)))
            return self._lower(node)
        except Unsupported as reason:
            return self._failed(node, errors.UnsupportedArguments, str(reason))
        except UnknownSize as reason:
            cause = f"{reason}: it is computed in a way that only Python can say"
            return self._failed(node, errors.UnsupportedArguments, cause)
        except (SymbolicAttribute, Undecided) as reason:
            return self._failed(node, errors.UnsupportedArguments, str(reason), f"leave the dim static, or {_OTHERS}")
        except LoweringRaised as reason:
            return self._failed(node, errors.WrongLowering, str(reason), "correct this lowering", reason.place)
        except (InvalidCall, Contradiction, dtypes.DTypeError) as reason:
            return self._failed(node, errors.WrongLowering, str(reason))

    def _part(self, node: fx.Node, results: Any) -> Any:
        """One result of several. A lowering leaves out those that inference has no use for; who reads one is told."""
        whole, index = node.args
        assert isinstance(whole, fx.Node) and isinstance(index, int)
        found = results[index] if index < len(results) else None
        if found is None and node.users and isinstance(node.meta.get("val"), torch.Tensor):
            cause = f"its lowering does not compute result {index}, which the model uses"
            return self._failed(whole, errors.UnsupportedArguments, cause)[index]
        return _as_torch_has_it(found, node.meta.get("val"))

    def _size(self, node: fx.Node, size: Any) -> Dim:
        """A size is an expression; it is materialized where it is used. One that comes from data is defined by its
        tensor, and one that is a float rounded by that."""
        dim = self.program.dim(size)
        if node.target in READS_OF_DATA and isinstance(dim, Expr):
            self.builder.define_number(dim, as_int64(self.builder, self.read(node.args[0])))
        elif node.target in ROUNDINGS and isinstance(dim, Expr):
            self.builder.define_number(dim, rounded(self.builder, node.target, self.read(node.args[0])))
        return dim

    def _number(self, scalar: Tensor) -> Number:
        return Number(self.builder, scalar.value)

    def _lower(self, node: fx.Node) -> Any:
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            return self._higher_order(node)
        if not hasattr(node.target, "_schema"):
            return self._failed(node, errors.UnsupportedOperator, "it is a function of Python's or torch's, no aten op")
        lowering = self._find(str(node.target), arguments_of(node.target).all, touches_complex(node))
        if lowering is None:
            return self._decomposed(node)
        with OfTheirs(lowering):
            return self._checked(self._run_body(node, lowering), node.meta.get("val"))

    def _higher_order(self, node: fx.Node) -> Any:
        """Control flow: `higher_order.cond`, … take their arguments in order, branches and bodies as callables."""
        lowering = self.registry.find(f"higher_order.{node.target}", None, self.opset)
        if lowering is None:
            return self._failed(
                node, errors.UnsupportedOperator, f"fxonnx has no lowering for torch.ops.higher_order.{node.target}"
            )
        named = {name: self.read(item) for name, item in node.kwargs.items()}
        with OfTheirs(lowering):
            results, expected = lowering.body(self.builder, *self.read(node.args), **named), node.meta.get("val")
            return self._checked(results[0] if isinstance(expected, torch.Tensor) else results, expected)

    def _find(self, target: str, names: Iterable[str], is_complex: bool) -> Lowering | None:
        """The lowering of an overload; for complex tensors one of their own, else the real one told about their last
        axis."""
        lowering = self.registry.find(target, names, self.opset, is_complex)
        if lowering is None and is_complex:
            real = self.registry.find(target, names, self.opset)
            return None if real is None else as_real(real, target)
        return lowering

    def _run_body(self, node: fx.Node, lowering: Lowering) -> Any:
        given = arguments(node, lowering)
        bound = {name: self.read(item) for name, item in given.items()}
        _refuse_read_numbers(node, lowering, bound)
        if lowering.layout:
            bound["layout"] = self._layout(node.args[0])
        is_wide = lowering.opmath is True or lowering.opmath in bound
        if lowering.promote is not None and lowering.complex:
            self._pair_up(node, lowering.promote.arguments, given, bound)
        elif lowering.promote is not None:
            is_wide |= lowering.promote.apply(self.builder, bound, _dtypes_of(node.meta.get("val")))
        if is_wide:
            return self._in_opmath(node, lowering, bound)
        return lowering.body(self.builder, **bound, **lowering.given)

    def _in_opmath(self, node: fx.Node, lowering: Lowering, bound: Mapping[str, Any]) -> Any:
        """What the body returns for narrow floats as float32, rounded once to the dtypes that torch gives."""
        wide = {name: in_opmath(self.builder, item) for name, item in bound.items()}
        result = lowering.body(self.builder, **wide, **lowering.given)
        return out_of_opmath(self.builder, result, _dtypes_of(node.meta.get("val")))

    def _pair_up(self, node: fx.Node, names: Iterable[str], given: Mapping[str, Any], bound: dict[str, Any]) -> None:
        """The named arguments in the result's precision; what is real among them gets a last axis of 1."""
        part = part_dtype(node)
        for name in names:
            if bound.get(name) is not None:
                bound[name] = self._paired(given[name], bound[name], part)

    def _paired(self, item: Any, read: Any, part: DType) -> Any:
        if isinstance(item, (list, tuple)):
            return [self._paired(*each, part) for each in zip(item, read, strict=True)]
        if isinstance(item, fx.Node) and _is_complex(item.meta.get("val")):
            return as_tensor(self.builder, read, part)
        return as_pair(self.builder, read, part)

    def _layout(self, item: Any) -> tuple[Any, Any] | None:
        """(strides, offset) of a tensor in torch's memory, which a value has not. Strides are said as the sizes are,
        where these are multiples: 4*(n//4) for n."""
        if not isinstance(item, fx.Node):
            return None
        fake = item.meta["val"]
        sizes, strides = self.read(list(fake.shape)), self.read(list(fake.stride()))
        dense = [*accumulate(reversed(sizes), operator.mul, initial=1)][-2::-1]
        pairs = zip(dense, strides, strict=True)
        same = [each if substitute(each - stride, self.program.multiples) == 0 else stride for each, stride in pairs]
        return same, self.read(fake.storage_offset())

    def read(self, item: Any) -> Any:
        """An fx argument as a lowering sees it: nodes as tensors, sizes as dims, torch dtypes as ours."""
        if isinstance(item, fx.Node):
            return self.values[item]
        if isinstance(item, (list, tuple)):
            return [self.read(element) for element in item]
        if isinstance(item, torch.dtype):
            return dtypes.dtype(item)
        if isinstance(item, torch.SymInt):
            return self.program.dim(item)
        return item

    def _decomposed(self, node: fx.Node) -> Any:
        graph = self.decompose(node)
        if graph is None:
            return self._failed(
                node, errors.UnsupportedOperator, "fxonnx has no lowering for it, and torch no decomposition"
            )
        given = fx_inputs(node)
        placeholders = [inner for inner in graph.nodes if inner.op == "placeholder"]
        self.values.update(zip(placeholders, (self.read(item) for item in given), strict=True))
        location = self.builder.location
        for inner in graph.nodes:
            if inner.op == "call_function":
                self.builder.location = location
                self.values[inner] = self._call(inner)
            elif inner.op == "get_attr":
                raise Unsupported(f"its decomposition needs a constant tensor, {inner.target}")
        (result,) = graph.find_nodes(op="output")
        return self._checked(self.read(result.args[0]), node.meta.get("val"))

    # ── results ──

    def _checked(self, result: Any, expected: Any) -> Any:
        """The result with the dtype, rank and dims that torch computed; raises InvalidCall where they contradict each
        other."""
        if isinstance(expected, (list, tuple)):
            results = list(result) if isinstance(result, (list, tuple)) else [result]
            return [
                item if item is None else self._checked(item, fake)
                for item, fake in zip(results, expected, strict=False)
            ]
        return self._check(result, expected) if isinstance(expected, torch.Tensor) else result

    def _check(self, tensor: Any, fake: Any) -> Any:
        if not isinstance(tensor, Tensor):
            raise InvalidCall(f"the lowering returned {tensor!r}, not a tensor")
        wanted = self.type_of(fake)
        if tensor.dtype is not wanted.dtype:
            raise InvalidCall(f"the lowering gives {tensor.type}, torch {wanted}")
        if tensor.shape != wanted.shape:
            if not compatible(tensor.type, wanted):
                raise InvalidCall(f"the lowering gives {tensor.type}, torch {wanted}")
            if tensor.value.data is None and not any(value is tensor.value for value in self.builder.inputs):
                self.builder.refine(tensor, wanted)
        return _as_torch_has_it(tensor, fake)

    def type_of(self, fake: Any) -> TensorType:
        """The IR type of a fake tensor; a complex one is real with a last axis of 2."""
        return tensor_type(fake, self.program.dim)

    def _failed(
        self, node: fx.Node, kind: type[errors.Error], cause: str, cure: str = "", further: Location = NOWHERE
    ) -> Any:
        """Note the failure, with a further place that it is about, and go on with values of the right type, so that
        every failure is found in one run."""
        location = self.program.location(node) or self.builder.location
        self.failures.append(failure(kind, node, cause, [location, further], cure))
        return self._stand_in(node.meta.get("val"))

    def _stand_in(self, fake: Any) -> Any:
        if isinstance(fake, (list, tuple)):
            return list(map(self._stand_in, fake))
        return Tensor(self.builder, Value(self.type_of(fake))) if isinstance(fake, torch.Tensor) else None


def import_program(program: Program, registry: Registry, decompose: Decompose, opset: int) -> Graph:
    """The IR graph of a captured program, in the newest operator set.

    Inputs come first, then the states the model keeps; outputs likewise, with the inputs the model wrote to in between,
    and at the end a bool for each of its checks.
    Raises the errors of every op that could not be lowered, at once (`errors.Failures` when there are several).
    """
    builder = Builder()
    least = {name: info.minimum for name, info in program.symbols.items()}
    builder.bounds = Bounds(least, {})
    builder.bounds_of_many = Bounds({name: max(size, 2) for name, size in least.items()}, {})
    importer = Importer(program, registry, decompose, opset, builder, {}, [])
    for item in program.inputs:
        importer.values[item.node] = builder.input(tensor_type(item.node.meta["val"], program.dim), item.name)
    for state in program.states:
        importer.values[state.node] = builder.input(tensor_type(state.node.meta["val"], program.dim), state.key)
    for node, weight in program.weights.items():
        importer.values[node] = builder.constant(_content(weight), name=weight.key)
    importer.run(program.graph.nodes)
    results = [*program.results, *(w.result for w in program.writebacks), *(s.result for s in program.states)]
    results += [check.node for check in program.checks]
    finished = [result_tensor(importer, item) for item in results if item is not None]
    errors.raise_all(importer.failures)
    return builder.finish(finished)


def _content(weight: Any) -> Data:
    """The content of a weight, which passes may look at or not."""
    data = TorchData(weight.tensor)
    return ReplaceableData(data.dtype, data.shape, weight.key, data) if weight.replaceable else data


_OTHERS = "change the arguments, or register a lowering that can say them"


def failure(
    kind: type[errors.Error], node: fx.Node, cause: str, location: Iterable[Location], cure: str = ""
) -> errors.Error:
    """The error about one op: what it is, why it cannot be lowered, and what the user can do."""
    is_op = isinstance(node.target, torch._ops.OpOverload | torch._ops.HigherOrderOperator)
    name = str(node.target).removesuffix(".default") if is_op else getattr(node.target, "__name__", str(node.target))
    lowering = f'write a lowering: @fxonnx.register_lowering("{name}")'
    cures = {
        errors.UnsupportedOperator: lowering if is_op else "compute the same with plain torch operations",
        errors.UnsupportedArguments: _OTHERS,
        errors.WrongLowering: "correct the lowering; if it is fxonnx's own, please report it with this message",
    }
    what = f"{node.target if is_op else name} cannot be lowered"
    return kind(what, cause=cause, cure=cure or cures[kind], location=location)


def result_tensor(importer: Importer, item: Any) -> Tensor:
    """An output leaf as a tensor: a value, a size, or a Python constant that the model returns."""
    result = importer.read(item)
    if isinstance(result, Tensor):
        return result
    try:
        return importer.builder.size(result) if isinstance(result, Expr) else importer.builder.constant(result)
    except UnknownSize as reason:
        cause = f"{reason}: it is computed in a way that only Python can say"
        importer.failures.append(
            errors.UnsupportedArguments(
                "a size that the model returns cannot be computed", cause=cause, cure="compute it with // and *"
            )
        )
        return importer.builder.constant(0)


def tensor_type(fake: Any, dim: Callable[[Any], Dim]) -> TensorType:
    """The IR type of a fake tensor: complex dtypes as real ones with a last axis of 2."""
    dtype = dtypes.dtype(fake.dtype)
    shape = tuple(size if type(size) is int else dim(size) for size in fake.shape)
    return TensorType(dtypes.to_real(dtype), (*shape, 2)) if dtype.is_complex else TensorType(dtype, shape)


def arguments(node: fx.Node, lowering: Lowering) -> dict[str, Any]:
    """The fx arguments that the body takes, by its own names."""
    given = {**dict(zip(arguments_of(node.target).positional, node.args, strict=False)), **node.kwargs}
    if lowering.rename:
        given = {lowering.named(name): item for name, item in given.items()}
    return {name: item for name, item in given.items() if name in lowering.accepted}


def _as_torch_has_it(result: Any, expected: Any) -> Any:
    """What was computed of numbers alone (an If asks for one), as the tensor that torch has there."""
    is_number = isinstance(result, Number) and isinstance(expected, torch.Tensor)
    return Tensor(result.builder, result.value) if is_number else result


def _refuse_read_numbers(node: fx.Node, lowering: Lowering, bound: Mapping[str, Any]) -> None:
    """A number that is known when the model runs (`x.item()`, `n / 2`) is a tensor: for bodies that promote it, or say
    that they take one."""
    promoted = lowering.promote.arguments if lowering.promote else ()
    for argument in arguments_of(node.target).numbers:
        name = lowering.named(argument)
        if isinstance(bound.get(name), Tensor) and name not in promoted and name not in lowering.runtime:
            cause = "is read from a tensor or made of sizes, and has to be known when the model is compiled"
            raise Unsupported(f"{argument} {cause}")


def fx_inputs(node: fx.Node) -> list[fx.Node]:
    """The node's distinct fx arguments, in order of appearance: what a decomposition's placeholders stand for."""
    return list(dict.fromkeys(node.all_input_nodes))


def touches_complex(node: fx.Node) -> bool:
    """Whether an argument or the result is a complex tensor."""
    return _is_complex(node.meta.get("val")) or any(_is_complex(item.meta.get("val")) for item in node.all_input_nodes)


def part_dtype(node: fx.Node) -> DType:
    """The dtype of the parts of the complex result; of the widest complex argument where the result is not complex."""
    fakes = [node.meta.get("val"), *(item.meta.get("val") for item in node.all_input_nodes)]
    flat = [
        each for fake in fakes for each in (fake if isinstance(fake, (list, tuple)) else [fake]) if _is_complex(each)
    ]
    if _is_complex(fakes[0]):
        flat = flat[:1]
    return max((dtypes.to_real(dtypes.dtype(fake.dtype)) for fake in flat), key=lambda dtype: dtype.bits)


def _dtypes_of(fake: Any) -> Any:
    """The dtypes of a fake result, or of each of several; None of what is no tensor."""
    if isinstance(fake, (list, tuple)):
        return [_dtypes_of(item) for item in fake]
    return dtypes.dtype(fake.dtype) if isinstance(fake, torch.Tensor) else None


def _is_complex(fake: Any) -> bool:
    if isinstance(fake, (list, tuple)):
        return any(_is_complex(item) for item in fake)
    return isinstance(fake, torch.Tensor) and fake.dtype.is_complex


def as_int64(op: Builder, tensor: Tensor) -> Tensor:
    """The tensor in int64, the dtype of sizes."""
    return tensor if tensor.dtype is dtypes.INT64 else op.Cast(tensor, to=dtypes.INT64)
