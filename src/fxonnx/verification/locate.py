"""The first value that differs: all intermediate values of one run beside PyTorch's, matched by their places.

A node of the file knows the fx nodes it was made for, the one whose value it gives last (`Location.node`). So the last
node of the file that ends in `%gelu` is compared with `%gelu` in PyTorch, where dtype and shape agree. That is a guess
for nodes that rules have mixed; one that differs while everything computed of it agrees is held for a wrong guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import onnx
import torch
from torch import fx

from fxonnx import markup
from fxonnx.capture import Program
from fxonnx.dtypes import BFLOAT16, FLOAT16, FLOAT32
from fxonnx.emit.onnx import Emitted, emit
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.types import TensorType
from fxonnx.location import Location
from fxonnx.lowering.importer import tensor_type
from fxonnx.runtime.configuration import Configuration
from fxonnx.runtime.others import open_session
from fxonnx.runtime.shapes import as_real
from fxonnx.target import Target
from fxonnx.verification.check import NO_TOLERANCES, Tolerances, computed_in
from fxonnx.verification.compare import Difference, difference
from fxonnx.verification.eager import eager_values
from fxonnx.verification.regions import eager_inside, exposed
from fxonnx.verification.steps import rounds_to_steps, steps_of

CHUNK_BYTES = 2**29
"""How many bytes of intermediate values are held at once, by default: the model is run once for each such chunk."""

_SHOWN = 20


class Located(Protocol):
    """A compiled model, as far as its values are asked for."""

    program: Program
    configuration: Configuration
    target: Target

    @property
    def graph(self) -> Graph:
        """The final graph."""

    @property
    def emitted(self) -> Emitted:
        """The file."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a tensor's elements are like; of the finite ones, but for the counts."""

    minimum: float
    maximum: float
    mean: float
    nan: int
    infinite: int

    @staticmethod
    def of(tensor: torch.Tensor) -> Statistics:
        """Those of a tensor; zeros where no element is finite."""
        wide = as_real(tensor).to(torch.float64)
        finite = wide[wide.isfinite()]
        least, most, mean = (finite.min(), finite.max(), finite.mean()) if finite.numel() else (0.0, 0.0, 0.0)
        return Statistics(float(least), float(most), float(mean), int(wide.isnan().sum()), int(wide.isinf().sum()))

    def __str__(self) -> str:
        more = "".join(f", {count} {kind}" for count, kind in ((self.nan, "NaN"), (self.infinite, "inf")) if count)
        return f"{self.minimum:.3g} … {self.maximum:.3g}, mean {self.mean:.3g}{more}"


@dataclass(frozen=True, slots=True)
class Pair:
    """A value of the file beside PyTorch's: the node that gives it, by its name in the file and its operator, the fx
    node, all that the node of the file was `made_for`, the place, how they differ, and what each is like.

    `carries` tells whether what is computed of it differs as well, or it is what the model returns.
    """

    node: str
    operator: str
    fx_node: str
    made_for: str
    location: Location
    difference: Difference
    expected: Statistics
    actual: Statistics
    carries: bool = False

    @property
    def ok(self) -> bool:
        """Whether every element is within its tolerance."""
        return self.difference.ok

    @property
    def is_finite(self) -> bool:
        """Whether no element is NaN or infinite, on either side."""
        return not any((self.expected.nan, self.expected.infinite, self.actual.nan, self.actual.infinite))

    def __str__(self) -> str:
        rules = f"  by {'+'.join(self.location.rules)}" if self.location.rules else ""
        lines = [
            f"{self.difference}",
            f"  node     {self.node}  {self.operator}{rules}",
            f"  place    {self.location}  %{self.fx_node}  {self.location.op}",
            f"  line     {self.location.code}" if self.location.code else "",
            f"  PyTorch  {self.expected}",
            f"  file     {self.actual}",
        ]
        return "\n".join(filter(None, lines))


@dataclass(frozen=True, slots=True, repr=False)
class Found:
    """What `locate` found: all values that are in the file and in PyTorch, in the order of the model.

    `missing` counts the tensors of the model that are no value of the file: they went into larger operators.
    """

    pairs: tuple[Pair, ...]
    missing: int

    @property
    def ok(self) -> bool:
        """Whether all values agree."""
        return all(pair.ok for pair in self.pairs)

    @property
    def first(self) -> Pair | None:
        """The first value that differs and whose difference goes on; None where there is none."""
        return next((pair for pair in self.pairs if pair.carries), None)

    @property
    def first_not_finite(self) -> Pair | None:
        """The first value with NaN or infinity in it, in the file or in PyTorch; None where there is none."""
        return next((pair for pair in self.pairs if not pair.is_finite), None)

    @property
    def worst(self) -> tuple[Pair, ...]:
        """The values, those with the largest error first."""
        return tuple(sorted(self.pairs, key=_badness, reverse=True))

    @property
    def summary(self) -> str:
        """How many values were compared, and how many differ."""
        count = f"{len(self.pairs)} values compared, {sum(not pair.ok for pair in self.pairs)} differ"
        return f"{count}; {self.missing} of PyTorch's are inside larger operators"

    def _highlights(self) -> dict[str, Pair]:
        """The values that are told in full, under what they are."""
        first, not_finite = self.first, self.first_not_finite
        said = {"first": first} if first else {}
        return said | ({"first with NaN or infinity": not_finite} if not_finite not in (None, first) else {})

    def __str__(self) -> str:
        lines = [self.summary]
        for what, pair in self._highlights().items():
            lines += ["", what, str(pair)]
        return "\n".join([*lines, "", *_columns(_rows(self.worst[:_SHOWN]))])

    def __repr__(self) -> str:
        differing = sum(not pair.ok for pair in self.pairs)
        first = f", first at {self.first.node}" if self.first else ""
        return f"<fxonnx found: {len(self.pairs)} values, {differing} differ{first}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        told = [markup.fold(what, markup.pre(str(pair))) for what, pair in self._highlights().items()]
        header, *rows = _rows(self.worst)
        values = markup.fold(f"{len(rows)} values", markup.table(header, rows), is_open=len(rows) <= _SHOWN)
        return markup.bundle(str(self), "".join((markup.pre(self.summary), *told, values)))


def _badness(pair: Pair) -> tuple[bool, bool, float]:
    return bool(pair.difference.problem), not pair.ok, pair.difference.max_relative


def _rows(pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    """The values with their errors, under a header."""
    rows: list[tuple[str, ...]] = [("", "relative", "absolute", "node", "module", "line", "PyTorch", "file")]
    for pair in pairs:
        found, place = pair.difference, pair.location
        numbers = (f"{found.max_relative:.1e}", f"{found.max_absolute:.1e}")
        where = (pair.node, place.module or "-", place.source, str(pair.expected), str(pair.actual))
        rows.append(("✓" if pair.ok else "✗", *numbers, *where))
    return rows


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, their cells below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def locate(
    compiled: Located,
    leaves: Sequence[torch.Tensor],
    tolerances: Tolerances = NO_TOLERANCES,
    chunk_bytes: int = CHUNK_BYTES,
) -> Found:
    """Compare all values of one run on these inputs, the flat tensors of a call.

    PyTorch runs once, the file once for each chunk of values; what is read in place of a fused operator may make the
    runtime fuse less than it does in a call. Raises RuntimeFailed.
    """
    program, steps = compiled.program, steps_of(compiled.graph)
    tolerances = {**tolerances, "quantized": rounds_to_steps(program, compiled.graph)}
    matched = match_values(compiled.graph, program)
    running, pairs, missing = eager_values(program, leaves), dict[fx.Node, Pair](), 0
    narrow = computed_in(program)
    order = [node for node in program.graph.nodes if node.op == "call_function"]
    for chunk in _chunks(order, matched, chunk_bytes):
        wanted = [value for node in chunk for value in matched.get(node, (None, ()))[1]]
        actual = dict(zip(wanted, _observe(compiled, leaves, wanted), strict=True)) if wanted else {}
        for node, result in (next(running) for _ in chunk):
            how = {**tolerances, "computed_in": narrow[node]}
            compared = _compared(compiled, node, result, matched.get(node), actual, how, steps)
            pairs |= {node: compared} if compared is not None else {}
            missing += compared is None and isinstance(result, torch.Tensor)
    found = Found(_carried(program, order, pairs), missing)
    return _looked_into(compiled, leaves, found, tolerances)


def _looked_into(compiled: Located, leaves: Sequence[torch.Tensor], found: Found, tolerances: Tolerances) -> Found:
    """The same with the values inside of the branch or loop that is the first to differ, before it."""
    control = _control(compiled.program, found)
    if control is None:
        return found
    expected = eager_inside(compiled.program, leaves, control)
    graph, inside = exposed(compiled.graph, compiled.program, control, list(expected))
    emitted = emit(graph)
    real = [*map(as_real, leaves)]
    session = open_session(compiled.target, emitted, graph, compiled.configuration)
    results = session.run([*real, *(state.tensor for state in compiled.program.states)])
    pairs, begins = [], []
    for each, actual in zip(inside, results[len(compiled.graph.outputs) :], strict=True):
        wanted = expected[each.fx_node]
        differing = difference(emitted.names.values[each.value], actual, wanted, **tolerances)
        name, place = emitted.names.nodes[each.node], each.node.location
        numbers = Statistics.of(wanted), Statistics.of(actual)
        pairs.append(Pair(name, each.node.op, each.fx_node.name, place.node, place, differing, *numbers))
        begins.append(0 if differing.ok or not each.is_stacked else _first_iteration(actual, wanted, tolerances))
    least = min((begin for pair, begin in zip(pairs, begins, strict=True) if not pair.ok), default=0)
    told = [replace(pair, carries=not pair.ok and begin == least) for pair, begin in zip(pairs, begins, strict=True)]
    at = found.pairs.index(found.first) if found.first else 0
    return replace(found, pairs=(*found.pairs[:at], *told, *found.pairs[at:]))


def _control(program: Program, found: Found) -> fx.Node | None:
    """The branch or loop that the first value to differ is, or is computed of with nothing compared on the way."""
    compared = {pair.fx_node for pair in found.pairs}
    pending = [node for node in program.graph.nodes if found.first and node.name == found.first.fx_node]
    for node in pending:  # grows
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            return node
        pending += [each for each in node.all_input_nodes if each.name not in compared]
    return None


def _first_iteration(actual: torch.Tensor, expected: torch.Tensor, tolerances: Tolerances) -> int:
    """The first iteration in which a value differs: the later ones may only follow from it."""
    turns = enumerate(zip(actual, expected, strict=False))
    return next((turn for turn, pair in turns if not difference("", *pair, **tolerances).ok), 0)


def match_values(graph: Graph, program: Program) -> dict[fx.Node, tuple[Node, tuple[Value, ...]]]:
    """The node of the final graph that gives the value of each fx node, and its outputs: one for a tensor, as many for
    several. fx nodes whose values are inside larger operators are not there."""
    by_name = {node.name: node for node in program.graph.nodes}
    found: dict[fx.Node, tuple[Node, tuple[Value, ...]]] = {}
    for node in graph.nodes:
        made_for = by_name.get(node.location.node.rpartition("+")[2])
        if made_for is not None and (outputs := _fitting(node.outputs, made_for.meta.get("val"), program)):
            found[made_for] = node, outputs
    producers, returned = graph.producers(), [each for each in program.results if each is not None]
    for leaf, value in zip(returned, graph.outputs, strict=False):
        if isinstance(leaf, fx.Node) and value in producers:
            found[leaf] = producers[value], (value,)
    return found


def _fitting(outputs: Sequence[Value], fake: Any, program: Program) -> tuple[Value, ...]:
    """The outputs that have the dtypes and shapes of fake tensors; none where one differs."""
    fakes = list(fake) if isinstance(fake, (list, tuple)) else [fake]
    tensors = all(isinstance(each, torch.Tensor) for each in fakes)
    if not tensors or not fakes or len(outputs) < len(fakes):
        return ()
    types = [tensor_type(each, program.dim) for each in fakes]
    return tuple(outputs[: len(types)]) if all(map(_same, outputs, types)) else ()


def _same(value: Value, type: TensorType) -> bool:
    """Whether a value has a type, or is what 16 bits are computed in."""
    in_float32 = value.dtype is FLOAT32 and type.dtype in (FLOAT16, BFLOAT16)
    return (value.dtype is type.dtype or in_float32) and value.shape == type.shape


def _chunks(
    order: Sequence[fx.Node], matched: Mapping[fx.Node, tuple[Node, tuple[Value, ...]]], chunk_bytes: int
) -> Iterator[list[fx.Node]]:
    """The fx nodes in order, so many at a time as have values of that many bytes at the example's sizes."""
    chunk, held = list[fx.Node](), 0
    for node in order:
        size = _bytes(node.meta.get("val")) if node in matched else 0
        if chunk and held + size > chunk_bytes:
            yield chunk
            chunk, held = [], 0
        chunk.append(node)
        held += size
    if chunk:
        yield chunk


def _bytes(fake: Any) -> int:
    if isinstance(fake, (list, tuple)):
        return sum(map(_bytes, fake))
    if not isinstance(fake, torch.Tensor):
        return 0
    count = 1
    for size in fake.shape:
        count *= size if isinstance(size, int) else int(getattr(size.node, "hint", None) or 1)
    return count * fake.element_size()


def _observe(compiled: Located, leaves: Sequence[torch.Tensor], wanted: Sequence[Value]) -> list[torch.Tensor]:
    """What values of the graph are in one run of the file, given out as further outputs."""
    emitted, graph = compiled.emitted, compiled.graph
    model, names = onnx.ModelProto(), [emitted.names.values[value] for value in wanted]
    model.CopyFrom(emitted.proto)
    given = {each.name for each in model.graph.output}
    extra = {name: value for name, value in zip(names, wanted, strict=True) if name not in given}
    for name, value in extra.items():
        dims = [dim if isinstance(dim, int) else str(dim) for dim in value.type.shape]
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, value.type.dtype.code, dims))
    shown = replace(graph, outputs=(*graph.outputs, *extra.values()))
    session = open_session(compiled.target, replace(emitted, proto=model), shown, compiled.configuration)
    real = [*map(as_real, leaves)]
    results = session.run([*real, *(state.tensor for state in compiled.program.states)])
    by_name = dict(zip([each.name for each in model.graph.output], results, strict=True))
    return [by_name[name] for name in names]


def _compared(
    compiled: Located, node: fx.Node, result: Any, found: tuple[Node, tuple[Value, ...]] | None,
    actual: Mapping[Value, torch.Tensor], tolerances: Tolerances, steps: Mapping[Value, float],
) -> Pair | None:  # fmt: skip
    """The value of an fx node beside the file's; of several, the one that differs most."""
    if found is None:
        return None
    made, values = found
    results = list(result) if isinstance(result, (list, tuple)) else [result]
    names, location = compiled.emitted.names, replace(compiled.program.location(node), rules=made.location.rules)
    pairs = []
    for value, expected in zip(values, results, strict=False):
        if expected.is_complex():  # in the file it is real, with a last axis of 2
            expected = torch.view_as_real(expected.resolve_conj())
        given = actual[value].to(expected.dtype)  # the dtype that it was matched for
        differing = difference(names.values[value], given, expected, step=steps.get(value), **tolerances)
        numbers = Statistics.of(expected), Statistics.of(given)
        pairs.append(Pair(names.nodes[made], made.op, node.name, made.location.node, location, differing, *numbers))
    return max(pairs, key=_badness, default=None)


def _carried(program: Program, order: Sequence[fx.Node], pairs: Mapping[fx.Node, Pair]) -> tuple[Pair, ...]:
    """The pairs, which know whether their difference goes on: to what is computed of them, or out of the model."""
    (output,) = program.graph.find_nodes(op="output")
    differs = {output: True}
    carries: dict[fx.Node, bool] = {}
    for node in reversed(order):
        goes_on = any(differs.get(user, False) for user in node.users)
        carries[node] = goes_on and node in pairs and not pairs[node].ok
        differs[node] = carries[node] if node in pairs else goes_on
    return tuple(replace(pairs[node], carries=carries[node]) for node in order if node in pairs)
