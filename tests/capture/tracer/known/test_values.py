"""What hangs on no input is known: numbers, truths and text of it are those of eager, and nothing else is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.capture.interpret import run
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture

X = torch.arange(12.0).reshape(4, 3)


class Model(nn.Module):
    """Weights of all kinds, and a forward that is given."""

    def __init__(self, forward: Callable[[Model, Tensor], Any]) -> None:
        super().__init__()
        self.body = forward
        self.sigma = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("flag", torch.tensor([0, 1]))
        self.register_buffer("initted", torch.tensor(True))
        self.register_buffer("table", torch.arange(6.0).reshape(2, 3))
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("count", torch.tensor(3))
        self.stride = torch.tensor([8.0, 16.0])
        self.shape = torch.tensor([3, -1])

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


def filled_by_rows(self: Model, x: Tensor) -> Tensor:
    table = torch.empty(3, 2)
    for row in range(3):
        table[row] = row
    first = table.sum()
    table[0].add_(self.sigma)
    return x * float(first) + table.sum().item()


def asked_in_reverse(self: Model, x: Tensor) -> Tensor:
    table, sums = torch.zeros(4), []
    for at in range(4):
        sums.append(table.sum())
        table[at] = at + 1
    return x + sum(factor * float(each) for factor, each in enumerate(reversed(sums), start=1))


def read_before_something_unknown_is_written(self: Model, x: Tensor) -> Tensor:
    table = torch.ones(3)
    before = table * 2
    table[0] = x[0, 0]
    return x * before.sum().item() + table


def compared(self: Model, x: Tensor) -> Tensor:
    if torch.equal(self.flag, torch.tensor([0, 1])) and torch.allclose(self.stride, 2 * self.stride / 2):
        x = x + 1
    if 1 in self.flag and self.flag.any() and not self.flag.all():
        x = x * 3
    return x if max(self.stride) > min(self.stride) else -x


def selected(self: Model, x: Tensor) -> Tensor:
    rows = torch.nonzero(self.mask).squeeze(1)
    return x[:, rows] * len(rows) + self.table[self.table > 2].sum() + torch.unique(self.flag).numel()


def under_autocast(self: Model, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        product = self.table @ self.table.T
        return x * float(product[1, 1]) + (product.dtype is torch.bfloat16)


def said(self: Model, x: Tensor) -> Tensor:
    return x * len(f"{self.stride}") + len(str(self.sigma.item()))


def where_a_mask_is_known(self: Model, x: Tensor) -> Tensor:
    kept = x[:, self.mask]
    y = x.clone()
    y[:, self.mask] = 0.0
    values = self.table.masked_select(self.table > 1).expand(x.shape[0], 4)
    return torch.cat((kept, y, x[..., torch.eye(3)[1] > 0], values), 1)


def repeated(self: Model, x: Tensor) -> Any:
    counts = torch.tensor([2, 0, 1])
    parts = x.tensor_split(self.flag, dim=1)
    return x.repeat_interleave(counts, dim=1), x.repeat_interleave(self.flag[1:] + 1, 1), *parts


KNOWN: dict[str, Callable[[Model, Tensor], Any]] = {
    "literal": lambda self, x: x * float(torch.tensor([3.0, 4.0])[1]),
    "flag": lambda self, x: x * 2 if self.flag[1] == 1 and self.initted else x,
    "parameter as a size": lambda self, x: nn.functional.pad(x, (0, int(self.sigma))),
    "item": lambda self, x: x * self.sigma.item() + self.count.item(),
    "index": lambda self, x: x[: self.count, self.count - 1],
    "range": lambda self, x: sum((x * at for at in range(self.count)), x),
    "list": lambda self, x: x * self.stride.tolist()[1] + sum(self.table.tolist()[1]),
    "list of a literal": lambda self, x: x * torch.linspace(0, 1, 5).tolist()[3],
    "list comprehension": lambda self, x: x * [each.item() for each in torch.linspace(0, 0.1, 4)][-1],
    "shape": lambda self, x: x.reshape(tuple(self.shape)),
    "torch.Size": lambda self, x: x.reshape(torch.Size(self.shape.tolist())),
    "fill": lambda self, x: sum((x + x.new_full((x.shape[1],), each) for each in self.stride), x),
    "numpy": lambda self, x: x * float(self.table.numpy().sum()) + float(np.asarray(self.stride)[0]),
    "math": lambda self, x: x * math.sqrt(self.stride[0]) + round(float(self.stride.mean())),
    "complex": lambda self, x: x * abs(complex(torch.tensor(3 + 4j))),
    "norm": lambda self, x: x / self.table.norm().item(),
    "assert": lambda self, x: torch._assert(self.initted, "first") or x * 2,
    "zeros like a static size": lambda self, x: x * (1 + torch.zeros_like(x[0]).sum().item()),
    "dtype of an input": lambda self, x: x * self.flag.type_as(x)[1].item(),
    "dropout": lambda self, x: x * nn.functional.dropout(self.table, 0.5, training=False).sum().item(),
    "by rows": filled_by_rows,
    "in reverse": asked_in_reverse,
    "read before": read_before_something_unknown_is_written,
    "compared": compared,
    "selected": selected,
    "mask": where_a_mask_is_known,
    "repeats": repeated,
    "classes": lambda self, x: x * nn.functional.one_hot(self.flag + 1)[1, 2],
    "autocast": under_autocast,
    "text": said,
    "inverse": lambda self, x: x @ torch.inverse(self.table.T @ self.table + torch.eye(3)),
    "inverse of a larger one": lambda self, x: x * (torch.eye(5) * 2 + 1).inverse().sum(),
    "singular values": lambda self, x: x * torch.linalg.svdvals(self.table).sum() + torch.svd(self.table)[1][0],
    "eigenvalues": lambda self, x: x * torch.linalg.eigh(self.table @ self.table.T)[0][1],
    "solved": lambda self, x: x @ torch.linalg.solve(self.table.T @ self.table + torch.eye(3), torch.eye(3)),
    "factors": lambda self, x: x @ torch.linalg.qr(self.table.T)[0] @ torch.linalg.pinv(self.table).T,
    "matrix exponential": lambda self, x: x @ torch.linalg.matrix_exp(self.table.T @ self.table / 50),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_value_is_that_of_eager(name: str) -> None:
    model = Model(KNOWN[name])
    program = capture(model, (X,), dynamic_shapes={"x": {0: "n"}})
    for rows in (4, 2, 7):
        x = torch.rand(rows, 3)
        torch.testing.assert_close(run(program, (x,))[0], model(x))


@pytest.mark.parametrize("quantizes", [False, True])
@pytest.mark.parametrize("per_row", [False, True])
def test_a_fake_quantization_that_observes_no_more(quantizes: bool, per_row: bool) -> None:
    off, on = torch.zeros(1, dtype=torch.int64), torch.tensor([int(quantizes)])
    channels = 3 if per_row else 1
    low, high = -torch.arange(1.0, channels + 1), torch.arange(2.0, channels + 2)
    scale, zero = torch.ones(channels), torch.zeros(channels, dtype=torch.int32)
    given = (low, high, scale, zero) if per_row else (low[0], high[0], scale, zero)
    torch.fused_moving_avg_obs_fake_quant(X, off, torch.ones(1), *given, 0.1, 0, 255, 1, per_row)  # sets the scales

    def model(x: Tensor) -> Tensor:
        return torch.fused_moving_avg_obs_fake_quant(x, off, on, *given, 0.1, 0, 255, 1, per_row)

    program = capture(model, (X,), dynamic_shapes={"x": {0: "n"}})
    x = torch.rand(7, 3)
    torch.testing.assert_close(run(program, (x,))[0], model(x))


def written_before(self: Model, x: Tensor) -> Tensor:
    self.count.add_(1)
    return x * self.count.item()


def replaced(self: Model, x: Tensor) -> Tensor:
    self.count, before = self.count + 1, self.count.item()
    return x * before


def written_through_a_view(self: Model, x: Tensor) -> Tensor:
    table = torch.zeros(3)
    table[1:].copy_(x[0, 1:])
    return x * table[2].item()


UNKNOWN: dict[str, Callable[[Model, Tensor], Any]] = {
    "input": lambda self, x: x * x.sum().item(),
    "input in a list": lambda self, x: x * x[0].tolist()[0],
    "size that varies": lambda self, x: x * torch.arange(x.shape[0]).sum().item(),
    "written before": written_before,
    "through a view": written_through_a_view,
    "state in a list": lambda self, x: self.flag.add_(1) * 0 + x[:, :2] * self.flag.tolist()[0],
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_hangs_on_an_input_or_a_state_is_not_known(name: str) -> None:
    model = Model(UNKNOWN[name])
    try:
        program = capture(model, (X,), dynamic_shapes={"x": {0: "n"}})
    except errors.Error as error:
        assert error.locations[0].file == __file__
        return
    x = torch.rand(7, 3)
    assert program.known == ()
    torch.testing.assert_close(run(program, (x,))[0], model(x))


def test_what_is_drawn_is_not_known() -> None:
    def model(x: Tensor) -> Tensor:
        return x * torch.rand(3).sum().item()

    program = capture(model, (X,))
    assert any(node.target is torch.ops.aten.rand.default for node in program.graph.nodes)


def settled(self: Model, x: Tensor) -> Tensor:
    if not self.initted:
        self.sigma.data.copy_(x.mean())
        self.initted.fill_(True)
    return x * self.sigma


@pytest.mark.parametrize("initted", [False, True])
def test_a_flag_that_forward_sets_is_asked_at_each_call(initted: bool) -> None:
    eager, compiled = Model(settled), Model(settled)
    eager.initted.fill_(initted)
    compiled.initted.fill_(initted)
    ours = fxonnx.compile(compiled, (X,), dynamic_shapes={"x": {0: "n"}})
    for _ in range(2):
        x = torch.rand(7, 3)
        torch.testing.assert_close(ours(x), eager(x))
        torch.testing.assert_close(compiled.state_dict(), eager.state_dict())


def test_a_flag_that_chooses_what_is_returned_is_refused_where_it_is_asked() -> None:
    def forward(self: Model, x: Tensor) -> Any:
        if self.initted:
            self.initted.fill_(False)
            return x, x
        return x

    with pytest.raises(errors.CaptureRefused, match="asks for the value of initted, and writes to it") as caught:
        capture(Model(forward), (X,))
    assert caught.value.locations[0].code == "if self.initted:"


def test_the_model_raises_by_a_known_value() -> None:
    def forward(self: Model, x: Tensor) -> Tensor:
        assert self.flag.all(), "not all"
        return x

    with pytest.raises(errors.ModelRaised, match="not all"):
        capture(Model(forward), (X,))


def test_a_value_is_computed_once() -> None:
    calls = []

    @torch.library.custom_op("fxonnx_known::counted", mutates_args=())
    def counted(x: Tensor) -> Tensor:
        calls.append(1)
        return x.clone()

    counted.register_fake(torch.empty_like)

    def forward(self: Model, x: Tensor) -> Tensor:
        table = torch.ops.fxonnx_known.counted(self.table)
        return x * sum(each.item() for each in table.flatten())

    capture(Model(forward), (X,))
    assert len(calls) == 1


def test_a_file_says_for_which_values_it_holds() -> None:
    model = Model(KNOWN["flag"])
    compiled = fxonnx.compile(model, (X,))
    proto = compiled.model_proto()
    assert {each.key: each.value for each in proto.metadata_props}["fxonnx.known"] == "flag = [0, 1]; initted = True"
    assert "Holds for flag = [0, 1]; initted = True." in proto.doc_string
    assert "holds for flag = [0, 1]; initted = True" in compiled.report()


def test_a_value_that_changes_later_is_seen() -> None:
    model = Model(KNOWN["item"])
    compiled = fxonnx.compile(model, (X,))
    torch.testing.assert_close(compiled(X), model(X))
    model.count.add_(1)
    with pytest.raises(errors.ModelChanged, match="count"):
        compiled(X)


def test_memory_that_is_asked_for_is_a_copy() -> None:
    def forward(self: Model, x: Tensor) -> Tensor:
        array = self.table.numpy()
        assert not array.flags.writeable
        return x * float(array[0, 1])

    capture(Model(forward), (X,))


def counted(self: Model, x: Tensor) -> Tensor:
    x = x * self.count.item()
    self.count.add_(1)
    return x


def read_before(self: Model, x: Tensor) -> Tensor:
    before = self.count * 1
    self.count.add_(1)
    return x * before.item()


@pytest.mark.parametrize("forward", [counted, replaced, read_before])
def test_a_state_that_forward_asks_for_and_writes_to_is_data(forward: Callable[[Model, Tensor], Any]) -> None:
    program = capture(Model(forward), (X,))
    assert program.known == ()
    assert [each.key for each in program.states] == ["count"]
    result, _, states = run(program, (X,))
    torch.testing.assert_close(result, X * 3)
    torch.testing.assert_close(states, [torch.tensor(4)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_dtype_of_torchs_kernels(dtype: torch.dtype) -> None:
    """Fake tensors promote where kernels write in place."""

    def model(x: Tensor, other: Tensor) -> Any:
        loss = nn.functional.binary_cross_entropy(x, x, weight=other)
        return loss, torch.normal(x, other) * 0

    x, other = torch.rand(4, 3, dtype=dtype), torch.rand(4, 3, dtype=torch.float64)
    torch.testing.assert_close(fxonnx.compile(model, (x, other))(x, other), model(x, other))


def test_a_start_that_counts_from_the_end() -> None:
    def function(x: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        return torch.narrow(x, 0, start, 2)

    compiled = fxonnx.compile(function, (torch.randn(7, 2), torch.tensor(-3)), dynamic_shapes={"x": {0: "n"}})
    x = torch.randn(9, 2)
    for start in (-9, -2, 0, 7):
        torch.testing.assert_close(compiled(x, torch.tensor(start)), function(x, torch.tensor(start)))
    for start in (-10, 8):
        with pytest.raises(errors.Error):
            compiled(x, torch.tensor(start))


def test_as_many_parts_as_a_number_in_a_tensor_says_are_refused() -> None:
    with pytest.raises(errors.CaptureRefused, match="as many as a number in a tensor says"):
        fxonnx.compile(lambda x, count: x.tensor_split(count), (torch.randn(7), torch.tensor(3)))


def test_tensors_of_other_shapes_are_not_equal() -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + 1 if torch.equal(x, y) else x - 1

    x = torch.randn(3)
    others = (torch.randn(4), torch.randn(3, 1), x.clone(), x.double())
    for y, sizes in (*((each, None) for each in others), (others[0], "auto")):
        compiled = fxonnx.compile(function, (x, y), dynamic_shapes=sizes)
        torch.testing.assert_close(compiled(x, y), function(x, y))
