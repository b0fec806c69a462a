"""All values of a run beside PyTorch's: what is matched, what differs first, within what memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.verification import Found
from fxonnx.verification.locate import locate


class Block(nn.Module):
    """A residual block with an activation that is a chain of operators."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out, self.norm = nn.Linear(8, 16), nn.Linear(16, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.out(nn.functional.gelu(self.fc(x))))


def blocks(count: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(Block() for _ in range(count))).eval()


def wrong_gelu(op: Any, self: Any, *, approximate: str = "none") -> Any:
    return op.Gelu(self, approximate=approximate) * 1.5


X = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))

MODELS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "blocks": (blocks(), (X,)),
    "convolution": (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).eval(),
        (torch.randn(2, 3, 6, 6),),
    ),
    "several results": (lambda x: torch.stack(torch.split(torch.sort(x, dim=1).values, 2, dim=1)), (X,)),
    "complex": (lambda x: torch.fft.ifft(torch.fft.fft(x) * 2).real, (X,)),
    "sizes": (lambda x: x.reshape(x.shape[0] * 2, -1) + torch.arange(x.shape[0] * 2)[:, None], (X,)),
    "data": (lambda x: x[x > 0] * 2, (X,)),
    "branch": (lambda x: torch.cond(x.sum() > 0, lambda x: x.exp(), lambda x: x - 1, (x,)) * 2, (X,)),
    "input returned": (lambda x: (x, x + 1), (X,)),
    "integers": (lambda x: (x * 3).to(torch.int64) % 5, (X,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_all_values_agree(name: str) -> None:
    model, args = MODELS[name]
    found = fxonnx.compile(model, args).locate(*args)
    assert found.ok and found.first is None and found.pairs, found
    assert f"{len(found.pairs)} values, 0 differ" in repr(found)


def test_sizes_that_vary_are_those_of_the_call() -> None:
    compiled = fxonnx.compile(MODELS["sizes"][0], X, dynamic_shapes={"x": {0: "n"}})
    for count in (5, 1, 2):
        assert compiled.locate(torch.ones(count, 8)).ok


def test_a_model_that_writes_is_left_as_it_was() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(8))

        def forward(self, x: Tensor) -> Tensor:
            self.seen += x.sum(0)
            return self.seen * 2

    model = Counting()
    assert fxonnx.compile(model, X).locate(X).ok
    assert not model.seen.any()


def test_the_first_that_differs_is_the_op_that_is_wrong() -> None:
    found = fxonnx.compile(blocks(), X, lowerings={"aten.gelu": wrong_gelu}).locate(X)
    assert found.first is not None and not found.ok
    assert (found.first.location.module, found.first.location.op) == ("0", "aten.gelu.default")
    assert found.first.location.file.endswith("test_locate.py")
    before = found.pairs[: found.pairs.index(found.first)]
    assert before and all(pair.ok for pair in before)
    assert found.worst[0].difference.max_relative >= found.first.difference.max_relative
    for told in ("first", "aten.gelu.default", "test_locate.py", "PyTorch", "mean"):
        assert told in str(found)


def test_a_difference_that_goes_nowhere_is_not_the_first() -> None:
    def model(x: Tensor) -> Tensor:
        return nn.functional.gelu(x) * 0 + nn.functional.softplus(x)

    found = fxonnx.compile(model, X, lowerings={"aten.gelu": wrong_gelu}, optimize=False).locate(X)
    assert [pair.ok for pair in found.pairs if "gelu" in pair.location.op] == [False]
    assert found.first is None


def test_where_nan_begins() -> None:
    def model(x: Tensor) -> Tensor:
        return torch.relu(torch.log(x + 0.5) * 2) + 1

    found = fxonnx.compile(model, X).locate(X)
    assert found.ok and found.first_not_finite is not None
    assert found.first_not_finite.location.op == "aten.log.default" and "NaN" in str(found)


def test_values_are_held_by_chunks() -> None:
    compiled = fxonnx.compile(blocks(), X)
    found = [locate(compiled, [X], chunk_bytes=chunk_bytes) for chunk_bytes in (1, 200, 10**9)]
    assert all(len(each.pairs) == len(found[0].pairs) and each.ok for each in found)
    assert isinstance(found[0], Found)


def test_tolerances_are_the_callers() -> None:
    compiled = fxonnx.compile(blocks(), X, lowerings={"aten.gelu": wrong_gelu})
    assert not compiled.verify(X).ok and compiled.verify(X, atol=10).ok and compiled.locate(X, rtol=0.0, atol=10).ok
    exact = fxonnx.compile(lambda x: x * 2, X)
    assert exact.verify(X, rtol=0, atol=0).ok and exact.verify(rtol=0).ok
    with pytest.raises(errors.InvalidOption, match="rtol is -1"):
        exact.verify(X, rtol=-1)


def test_everything_public_is_a_line() -> None:
    compiled = fxonnx.compile(blocks(), X)
    public = [compiled, compiled.target, *compiled.stages, compiled.verify(X), compiled.locate(X)]
    assert [each for each in map(repr, public) if len(each) > 200 or "\n" in each or " at 0x" in each] == []


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        if x.abs().sum() > 0:
            return nn.functional.gelu(self.fc(x)) + 1
        return x.tanh()


class Turns(Branch):
    def forward(self, x: Tensor) -> Tensor:
        for column in range(x.shape[0]):
            x = nn.functional.gelu(self.fc(x[column] + x)) * 0.5
        return x * 2


class While(Branch):
    def forward(self, x: Tensor) -> Tensor:
        def going(turn: Tensor, x: Tensor) -> Tensor:
            return turn < 3

        def body(turn: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            return turn + 1, nn.functional.gelu(self.fc(x))

        start = torch.zeros((), dtype=torch.int64)
        return torch._higher_order_ops.while_loop(going, body, (start, x))[1].relu()


@pytest.mark.parametrize(("kind", "operator"), [(Branch, "If"), (Turns, "Loop"), (While, "Loop")])
def test_the_first_is_found_inside_of_branches_and_loops(kind: type[Branch], operator: str) -> None:
    torch.manual_seed(0)
    model, shapes = kind().eval(), {"x": {0: "n"}} if kind is Turns else None
    right = fxonnx.compile(model, X, dynamic_shapes=shapes)
    assert operator in [node.op for node in right.graph.nodes] and right.locate(X).ok
    found = fxonnx.compile(model, X, dynamic_shapes=shapes, lowerings={"aten.gelu": wrong_gelu}).locate(X)
    assert found.first is not None and found.first.location.op == "aten.gelu.default"
    assert "gelu" in found.first.location.code
    assert [pair.ok for pair in found.pairs if pair.location.op == "aten.tanh.default"] == []
