"""Packed sequences in models: lengths of every kind, around every layer, at other sizes than the example's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.lowering.support import operators
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence
from torch.utils import _pytree as tree

import fxonnx
from fxonnx import errors

torch.manual_seed(0)
SIZES = {"x": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}
LENGTHS = [4, 6, 2], [1, 5, 3, 7], [3], [7, 7], [1, 1, 1], [1]


def calls(width: int = 2, *, is_sorted: bool = False, room: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Padded tensors and lengths, the example first; `room` steps more than the longest has."""
    found = []
    for lengths in LENGTHS:
        each = sorted(lengths, reverse=True) if is_sorted else lengths
        found.append((torch.randn(len(each), max(each) + room, width), torch.tensor(each)))
    return found


def check(
    model: nn.Module, inputs: list[tuple[Any, ...]], sizes: dict[str, Any] | None = SIZES, **options: Any
) -> fxonnx.Compiled:
    compiled = fxonnx.compile(model, inputs[0], dynamic_shapes=sizes, **options)
    for call in inputs:
        with torch.no_grad():
            wanted, found = model(*call), compiled(*call)
        assert type(found) is type(wanted)
        for one, other in zip(tree.tree_leaves(found), tree.tree_leaves(wanted), strict=True):
            torch.testing.assert_close(one, other)
    return compiled


class Layer(nn.Module):
    """One layer between packing and padding, to the length of the padded tensor where it is to be `whole`."""

    def __init__(
        self, kind: Any, *, batch_first: bool = True, is_sorted: bool = False, whole: bool = True, **rest: Any
    ) -> None:
        super().__init__()
        self.rnn = kind(2, 3, batch_first=batch_first, **rest)
        self.batch_first, self.is_sorted, self.whole = batch_first, is_sorted, whole

    def forward(self, x: Tensor, lengths: Tensor, states: Any = None) -> Any:
        x = x if self.batch_first else x.transpose(0, 1)
        packed = pack_padded_sequence(x, lengths, self.batch_first, enforce_sorted=self.is_sorted)
        output, last = self.rnn(packed, states)
        total = x.shape[self.batch_first] if self.whole else None
        return pad_packed_sequence(output, self.batch_first, total_length=total), last


LAYERS = {
    "lstm": (nn.LSTM, {}),
    "as long as the longest": (nn.LSTM, {"whole": False}),
    "sorted before": (nn.LSTM, {"is_sorted": True}),
    "time first": (nn.LSTM, {"batch_first": False, "whole": False}),
    "bidirectional": (nn.LSTM, {"bidirectional": True}),
    "deep": (nn.LSTM, {"num_layers": 2, "dropout": 0.5, "bidirectional": True}),
    "gru": (nn.GRU, {"bidirectional": True, "whole": False}),
    "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu", "num_layers": 2, "is_sorted": True}),
    "projected": (nn.LSTM, {"proj_size": 2, "bidirectional": True}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    kind, options = LAYERS[name]
    compiled = check(Layer(kind, **options).eval(), calls(is_sorted=options.get("is_sorted", False), room=1))
    assert not {"Compress", "GatherND", "CumSum"} & set(operators(compiled))


@pytest.mark.parametrize("is_static", [False, True], ids=["dynamic", "static"])
def test_initial_states(is_static: bool) -> None:
    model = Layer(nn.LSTM, bidirectional=True).eval()
    inputs = [(x, lengths, (torch.randn(2, len(lengths), 3),) * 2) for x, lengths in calls()]
    sizes = {**SIZES, "states": ({1: "batch"}, {1: "batch"})}
    check(model, inputs[:1] if is_static else inputs, None if is_static else sizes)


def test_lengths_in_32_bits() -> None:
    """What they come in is what the runtime's layers take: there and back is no way into the body of a branch."""
    check(Layer(nn.GRU).eval(), [(x, lengths.to(torch.int32)) for x, lengths in calls()])


class OnData(nn.Module):
    """What PackedSequence.data is good for: layers of single steps, and sums of two sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after, self.dropout = nn.Linear(2, 4), nn.Linear(4, 5), nn.Dropout(0.5)
        self.first, self.second = nn.LSTM(4, 4), nn.LSTM(4, 4)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        packed = packed._replace(data=self.before(packed.data).relu())
        first, _ = self.first(packed)
        second, _ = self.second(first._replace(data=self.dropout(first.data) + packed.data))
        data = self.after(self.dropout(second.data))
        output = PackedSequence(data, second.batch_sizes, second.sorted_indices, second.unsorted_indices)
        return pad_packed_sequence(output, batch_first=True, padding_value=-1.0)


class OfMask(nn.Module):
    """Lengths that are counted, and a maximum over what is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(10, 2), nn.LSTM(2, 4, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        lengths = (ids != 0).sum(1).cpu()
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        output, _ = self.rnn(packed)
        padded, _ = pad_packed_sequence(output, True, padding_value=float("-inf"), total_length=ids.shape[1])
        return padded.amax(1)


class Attention(nn.Module):
    """A mask as wide as the longest sequence; the last step of each."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(2, 4, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        output, _ = self.rnn(pack_padded_sequence(x, lengths.int(), batch_first=True, enforce_sorted=False))
        y, lengths = pad_packed_sequence(output, batch_first=True)
        inside = torch.arange(y.size(1)) < lengths[:, None]
        weights = y.mean(-1).masked_fill(~inside, -1e9).softmax(1)
        last = y.gather(1, (lengths - 1).view(-1, 1, 1).expand(-1, 1, y.size(2))).squeeze(1)
        return (weights[..., None] * y).sum(1), last, output


def ids(*rows: list[int]) -> tuple[Tensor]:
    return (torch.tensor(rows),)


MODELS: dict[str, tuple[type[nn.Module], list[tuple[Any, ...]], dict[str, Any]]] = {
    "data": (OnData, calls(), SIZES),
    "mask": (
        OfMask, [ids([1, 2, 0], [4, 5, 6]), ids([1, 2, 3, 0]), ids([1], [2])], {"ids": {0: "batch", 1: "time"}},
    ),
    "attention": (Attention, calls(), SIZES),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    make, inputs, sizes = MODELS[name]
    check(make().eval(), inputs, sizes)


TAKEN = {
    "list": lambda lengths: lengths.tolist(),
    "array": lambda lengths: lengths.cpu().numpy(),
    "numbers": lambda lengths: [int(each) for each in lengths],
    "tensors": lambda lengths: list(lengths),
}


@pytest.mark.parametrize("name", TAKEN)
def test_lengths_that_leave_torch(name: str) -> None:
    """A list of tolist() and an array of NumPy's are the tensor again, however many there are."""
    is_counted = name in ("numbers", "tensors")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(2, 4, batch_first=True)

        def forward(self, x: Tensor, lengths: Tensor) -> Any:
            packed = pack_padded_sequence(x, TAKEN[name](lengths), batch_first=True, enforce_sorted=False)
            return pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=12)

    inputs = calls()
    inputs = [each for each in inputs if len(each[1]) == 3] if is_counted else inputs
    check(Model().eval(), inputs, {"x": {1: "time"}} if is_counted else SIZES)


def test_a_total_length_that_is_too_short() -> None:
    """torch asks in Python whether the longest sequence fits, and raises: a check."""

    def pad(x: Tensor, lengths: Tensor) -> Any:
        return pad_packed_sequence(pack_padded_sequence(x, lengths, batch_first=True), total_length=7)

    example, call, *_ = calls(is_sorted=True)
    compiled = fxonnx.compile(pad, example, dynamic_shapes=SIZES)
    torch.testing.assert_close(compiled(*call), pad(*call))
    with pytest.raises(errors.CheckFailed, match="total_length"):
        compiled(torch.randn(1, 9, 2), torch.tensor([8]))


def test_a_list_of_sequences() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(2, 4)

        def forward(self, sequences: list[Tensor]) -> Any:
            return pad_packed_sequence(self.rnn(pack_sequence(sequences, enforce_sorted=False))[0])

    inputs = [([torch.randn(length, 2) for length in lengths],) for lengths in ([4, 6, 2], [3, 5, 7])]
    check(Model().eval(), inputs, {"sequences": [{0: "a"}, {0: "b"}, {0: "c"}]})


def test_a_packed_sequence_as_an_argument() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(2, 4)

        def forward(self, packed: PackedSequence) -> Any:
            output, last = self.rnn(packed)
            return output, last, pad_packed_sequence(output)

    inputs = [
        (pack_padded_sequence(torch.randn(max(each), len(each), 2), torch.tensor(each), enforce_sorted=False),)
        for each in LENGTHS
    ]
    check(Model().eval(), inputs, {"packed": ({0: "rows"}, {0: "time"}, {0: "batch"}, {0: "batch"})})
    check(Model().eval(), inputs[:1], None)


def test_lengths_that_torch_refuses() -> None:
    """A check of the model's, which its caller is told of; ONNX Runtime stops by itself where one is too long."""
    model = Layer(nn.LSTM, is_sorted=True).eval()
    compiled = check(model, calls(is_sorted=True)[:2])
    for lengths in ([2, 5, 1], [5, 2, 0]):
        with pytest.raises(errors.CheckFailed, match="in decreasing order"):
            compiled(torch.randn(3, 6, 2), torch.tensor(lengths))
    with pytest.raises(errors.RuntimeFailed, match="sequence_lens"):
        compiled(torch.randn(3, 6, 2), torch.tensor([7, 2, 1]))
