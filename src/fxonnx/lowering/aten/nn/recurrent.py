"""Recurrent layers, kept whole: ONNX LSTM, GRU and RNN, for any sequence length, or one for each sequence; and their
cells by formula.

torch packs the gates' weights along axis 0 in another order than ONNX: i, f, g, o against i, o, f, c for LSTM, and
r, z, n against z, r, h for GRU. They are reordered by nodes over the weights, which fold away.

Sources: Hochreiter & Schmidhuber 1997; Cho et al. 2014; Sak et al. 2014 (projections); torch.nn.LSTM, torch.nn.GRU,
torch.nn.RNN; ONNX operators LSTM, GRU and RNN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_if, record_scan
from fxonnx.ir.dims import Dim
from fxonnx.lowering.aten.nn.packed import Lengths, lengths_of, pack, padded_of
from fxonnx.lowering.aten.tensor import joining
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, full, may_be_zero, number, reshape


@dataclass(frozen=True, slots=True)
class Recurrence:
    """An ONNX operator, one step of it by formula, and the order in which it wants torch's gates.

    `states` is how many it carries from step to step; `step(op, given, kept, *states)` returns them.
    """

    operator: str
    step: Callable[..., tuple[Tensor, ...]]
    gates: tuple[int, ...]
    states: int = 1
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stack:
    """What nn.RNNBase says of its layers, besides the weights."""

    recurrence: Recurrence
    has_biases: bool
    layers: int
    directions: int
    batch_first: bool


def _run(
    op: Builder,
    stack: Stack,
    x: Tensor,
    initial: Sequence[Tensor],
    params: Sequence[Tensor],
    lengths: Lengths | None = None,
) -> tuple[Tensor, ...]:
    """All layers: outputs, then the last states, [layers * directions, batch, hidden] each. With `lengths` a sequence
    ends there, and zeros come after it."""
    x = op.Transpose(x, perm=[1, 0, 2]) if stack.batch_first else x
    split = [joining.even_parts(op, state, stack.layers, 0) for state in initial]
    per_cell = len(params) // (stack.layers * stack.directions)
    cells = [params[start : start + per_cell] for start in range(0, len(params), per_cell)]
    is_projected = per_cell % 2 == 1  # an LSTM whose hidden state has fewer features than its cell state
    run_layer = (
        _scan_layer if is_projected or dtype_of(x).name == "float64" else _layer
    )  # ORT has no recurrence in float64
    finals: list[Sequence[Tensor]] = []
    for layer in range(stack.layers):
        own = cells[layer * stack.directions : (layer + 1) * stack.directions]
        x, *last = run_layer(op, stack, x, [states[layer] for states in split], own, lengths)
        finals.append(last)
    x = op.Transpose(x, perm=[1, 0, 2]) if stack.batch_first else x
    return (x, *(joining.joined(op, states, 0) for states in zip(*finals, strict=True)))


def _layer(
    op: Builder,
    stack: Stack,
    x: Tensor,
    initial: Sequence[Tensor],
    cells: Sequence[Sequence[Tensor]],
    lengths: Lengths | None,
) -> tuple[Tensor, ...]:
    """One layer by its operator: [length, batch, features] to [length, batch, directions * hidden], and last states."""
    recurrence = stack.recurrence
    packed = [[_reordered(op, weight, recurrence.gates) for weight in cell] for cell in cells]
    input_weight, hidden_weight = (joining.stack(op, [cell[i] for cell in packed]) for i in range(2))
    bias = None
    if stack.has_biases:
        bias = joining.stack(op, [op.Concat(cell[2], cell[3], axis=0) for cell in packed])
    attributes = dict(recurrence.attributes)
    if "activations" in attributes:
        attributes["activations"] = attributes["activations"] * stack.directions
    hidden = cells[0][1].shape[1]
    attributes |= {"hidden_size": hidden, "direction": "bidirectional" if stack.directions == 2 else None}
    ends = None if lengths is None else cast(op, lengths.each, dtypes.INT32)
    inputs = [x, input_weight, hidden_weight, bias, ends, *initial]

    def run(inner: Builder) -> tuple[Tensor, ...]:
        given = [None if item is None else inner.use(item.value) for item in inputs]
        y, *last = inner.call(recurrence.operator, given, attributes, 1 + recurrence.states)
        if stack.directions == 1:
            return (inner.Squeeze(y, [1]), *last)
        joined = inner.Transpose(y, perm=[0, 2, 1, 3])
        return (reshape(inner, joined, (*x.shape[:2], stack.directions * hidden)), *last)

    return _unless_empty(op, x, initial, run, stack.directions * hidden)


def _unless_empty(
    op: Builder,
    x: Tensor,
    initial: Sequence[Tensor],
    run: Callable[[Builder], tuple[Tensor, ...]],
    features: Dim,
) -> tuple[Tensor, ...]:
    """What `run` returns, of a sequence or a batch of nothing zeros and the initial states: ONNX Runtime's operators
    end the process there."""
    length, batch = x.shape[:2]
    if not may_be_zero(op, length * batch):
        return run(op)

    def empty(inner: Builder) -> tuple[Tensor, ...]:
        zeros = full(inner, (length, batch, features), 0, dtype_of(x))
        return (zeros, *(inner.Identity(inner.use(state.value)) for state in initial))

    if length * batch == 0:  # an If would do, but the runtime folds what hangs on constants in either branch
        return empty(op)
    return record_if(op, op.Equal(op.size(length * batch), 0), empty, run)


def _scan_layer(
    op: Builder,
    stack: Stack,
    x: Tensor,
    initial: Sequence[Tensor],
    cells: Sequence[Sequence[Tensor]],
    lengths: Lengths | None,
) -> tuple[Tensor, ...]:
    """The same by a Scan for each direction: for what the operators do not do."""
    results = []
    inside = None if lengths is None else op.Unsqueeze(lengths.inside(op), [2])
    for direction, cell in enumerate(cells):
        states = [op.Gather(tensor, direction, axis=0) for tensor in initial]
        results.append(_scan(op, stack, x, states, cell, inside, reverse=direction == 1))
    outputs, *last = zip(*results, strict=True)
    y = outputs[0] if stack.directions == 1 else op.Concat(*outputs, axis=-1)
    return (y, *(joining.stack(op, states) for states in last))


def _scan(
    op: Builder,
    stack: Stack,
    x: Tensor,
    states: Sequence[Tensor],
    cell: Sequence[Tensor],
    inside: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """One direction of one layer: outputs [length, batch, hidden], last states [batch, hidden]. Outside a sequence
    states stay, and outputs are zeros."""
    input_bias, hidden_bias = cell[2:4] if stack.has_biases else (None, None)
    projection = cell[-1] if len(cell) % 2 else None
    given = x @ op.Transpose(cell[0], perm=[1, 0])
    given = given if input_bias is None else given + input_bias

    def body(inner: Builder, *arguments: Tensor) -> Sequence[Tensor]:
        before, (gates, *is_inside) = arguments[: len(states)], arguments[len(states) :]
        kept = inner.Gemm(before[0], cell[1], hidden_bias, transB=1)
        hidden, *others = stack.recurrence.step(inner, gates, kept, *before)
        hidden = hidden if projection is None else inner.Gemm(hidden, projection, transB=1)
        after = [hidden, *others]
        if not is_inside:
            return *after, hidden
        stay = [inner.Where(is_inside[0], new, old) for new, old in zip(after, before, strict=True)]
        return *stay, inner.Where(is_inside[0], hidden, number(inner, 0, hidden))

    *last, outputs = record_scan(op, states, [given] if inside is None else [given, inside], body, reverse)
    return (outputs, *last)


# ── one step, from what the input and the hidden state give to each gate ──


def _lstm_step(op: Builder, given: Tensor, kept: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = op.Split(given + kept, axis=-1, num_outputs=4)
    memory = op.Sigmoid(f) * memory + op.Sigmoid(i) * op.Tanh(g)
    return op.Sigmoid(o) * op.Tanh(memory), memory


def _gru_step(op: Builder, given: Tensor, kept: Tensor, hidden: Tensor) -> tuple[Tensor]:
    given_parts, kept_parts = (op.Split(gates, axis=-1, num_outputs=3) for gates in (given, kept))
    reset, update = (op.Sigmoid(given_parts[i] + kept_parts[i]) for i in range(2))
    new = op.Tanh(given_parts[2] + reset * kept_parts[2])
    return (update * (hidden - new) + new,)


def _tanh_step(op: Builder, given: Tensor, kept: Tensor, hidden: Tensor) -> tuple[Tensor]:
    return (op.Tanh(given + kept),)


def _relu_step(op: Builder, given: Tensor, kept: Tensor, hidden: Tensor) -> tuple[Tensor]:
    return (op.Relu(given + kept),)


RECURRENCES = {
    "LSTM": Recurrence("LSTM", _lstm_step, (0, 3, 1, 2), states=2),
    "GRU": Recurrence("GRU", _gru_step, (1, 0, 2), attributes={"linear_before_reset": 1}),
    "RNN": Recurrence("RNN", _tanh_step, (0,)),
    "RNN_RELU": Recurrence("RNN", _relu_step, (0,), attributes={"activations": ["Relu"]}),
}


# ── what torch calls ──


@lower("aten.lstm.input", given={"kind": "LSTM"}, opmath=True)
@lower("aten.gru.input", given={"kind": "GRU"}, opmath=True)
@lower("aten.rnn_tanh.input", given={"kind": "RNN"}, opmath=True)
@lower("aten.rnn_relu.input", given={"kind": "RNN_RELU"}, opmath=True)
def recurrent(
    op: Builder, input: Tensor, hx: Any, params: Sequence[Tensor], has_biases: bool, num_layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool, *, kind: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The outputs of the last layer, and every layer's last hidden state; of an LSTM its last cell state as well."""
    stack = _stack(kind, has_biases, num_layers, dropout, train, bidirectional, batch_first)
    return _run(op, stack, input, _states(hx), params)


@lower("aten.lstm.data", given={"kind": "LSTM"}, opmath=True)
@lower("aten.gru.data", given={"kind": "GRU"}, opmath=True)
@lower("aten.rnn_tanh.data", given={"kind": "RNN"}, opmath=True)
@lower("aten.rnn_relu.data", given={"kind": "RNN_RELU"}, opmath=True)
def recurrent_over_packed(
    op: Builder, data: Tensor, batch_sizes: Tensor, hx: Any, params: Sequence[Tensor], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool, *, kind: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The outputs of the last layer over a PackedSequence, packed; every layer's states at the end of each sequence."""
    stack = _stack(kind, has_biases, num_layers, dropout, train, bidirectional, batch_first=False)
    lengths = lengths_of(op, batch_sizes)
    output, *last = _run(op, stack, padded_of(op, data, lengths), _states(hx), params, lengths)
    return (pack(op, output, lengths, is_clean=True), *last)


def _stack(
    kind: str, has_biases: bool, layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool
) -> Stack:
    if train and dropout and layers > 1:
        raise Unsupported(f"dropout={dropout} between the layers is random; compile with mode='eval'")
    return Stack(RECURRENCES[kind], has_biases, layers, 1 + bidirectional, batch_first)


@lower("aten.lstm_cell", given={"kind": "LSTM"}, opmath=True)
@lower("aten.gru_cell", given={"kind": "GRU"}, opmath=True)
@lower("aten.rnn_tanh_cell", given={"kind": "RNN"}, opmath=True)
@lower("aten.rnn_relu_cell", given={"kind": "RNN_RELU"}, opmath=True)
def cell(
    op: Builder, input: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor,
    b_ih: Tensor | None = None, b_hh: Tensor | None = None, *, kind: str,
) -> Tensor | tuple[Tensor, ...]:  # fmt: skip
    """One step: the hidden state, [batch, hidden]; of an LSTM the cell state as well."""
    states = _states(hx)
    given, kept = op.Gemm(input, w_ih, b_ih, transB=1), op.Gemm(states[0], w_hh, b_hh, transB=1)
    after = RECURRENCES[kind].step(op, given, kept, *states)
    return after if len(after) > 1 else after[0]


def _states(hx: Any) -> Sequence[Tensor]:
    """The hidden state alone, or with an LSTM's cell state."""
    return [hx] if isinstance(hx, Tensor) else hx


# ── weights and states ──


def _reordered(op: Builder, weight: Tensor, gates: Sequence[int]) -> Tensor:
    if len(gates) == 1:
        return weight
    parts = op.Split(weight, axis=0, num_outputs=len(gates))
    return op.Concat(*(parts[gate] for gate in gates), axis=0)
