"""What comes from data: selections, counts and numbers that the model reads, with no hit, one, and as many as there
are."""

from __future__ import annotations

import math
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from tests.capture.tracer.compare import _NOISE
from torch import Tensor, nn

import fxonnx
from fxonnx import errors

ROWS = torch.linspace(-1, 1, 24).view(6, 4)
HITS = {"some": ROWS, "none": -ROWS.abs() - 1, "one": ROWS - ROWS[4, 0] + 0.01, "all": ROWS.abs() + 1}
COUNTS = {
    "several": torch.tensor([1, 2, 3, 0, 2]),
    "nothing": torch.tensor([0, 0, 0, 0, 0]),
    "one": torch.tensor([0, 0, 0, 1, 0]),
    "equal": torch.tensor([4, 4, 4, 4, 4]),
}
LENGTHS = {"mixed": [2, 3, 5], "empty": [0, 10, 0], "ones": [1, 8, 1]}


def same(model: Callable[..., Any], calls: Sequence[tuple[Tensor, ...]], path: Path, dynamic: Any = None) -> None:
    """The model is captured by the tracer, and says what eager says in every call, twice, and in its file."""
    compiled = fxonnx.compile(model, calls[0], dynamic_shapes=dynamic)
    compiled.save(path / "model.onnx")
    session = onnxruntime.InferenceSession(path / "model.onnx")
    names = [each.name for each in session.get_inputs()]
    for call in (*calls, calls[0]):
        wanted = [torch.as_tensor(each) for each in torch.utils._pytree.tree_leaves(model(*call))]
        got = torch.utils._pytree.tree_leaves(compiled(*call))
        results = session.run(None, dict(zip(names, map(Tensor.numpy, call), strict=True)))
        assert len(got) == len(wanted)
        for mine, theirs, result in zip(got, wanted, results, strict=False):
            torch.testing.assert_close(torch.as_tensor(mine), theirs, equal_nan=True, check_dtype=False)
            torch.testing.assert_close(torch.from_numpy(np.asarray(result)), theirs, equal_nan=True, check_dtype=False)


def written_mask(x: Tensor) -> Tensor:
    mask = x[:, 0] > 0
    before = x[mask].sum(0)
    mask[0] = True
    return before + 2 * x[mask].sum(0)


def kept_rows(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    rows = torch.where(x[:, 0] > 0)[0]
    y[rows] = x[rows]
    return y


SELECTIONS: dict[str, Callable[[Tensor], Any]] = {
    "nonzero": lambda x: x.relu().nonzero(),
    "nonzero as a tuple": lambda x: x.relu().nonzero(as_tuple=True),
    "argwhere": lambda x: torch.argwhere(x > 0),
    "where": lambda x: torch.where(x > 0),
    "masked_select": lambda x: torch.masked_select(x, x[:, :1] > 0),
    "elements": lambda x: x[x > 0].sum(),
    "rows": lambda x: x[x[:, 0] > 0] * 2,
    "columns of rows": lambda x: x[x[:, 0] > 0, 1],
    "one mask, one size": lambda x: (lambda mask: x[mask] + x.sin()[mask] + x[mask.nonzero().squeeze(1)])(x[:, 0] > 0),
    "a mask that is written to": written_mask,
    "rows kept": kept_rows,
    "both parts": lambda x: torch.cat([x[x[:, 0] > 0], x[x[:, 0] <= 0]]),
    "pairs": lambda x: (lambda k: (k[:, None] - k[None]).abs().sum(-1))(x[x[:, 0] > 0]),
    "distances": lambda x: torch.cdist(x[x[:, 0] > 0], x),
    "reshaped": lambda x: x[x[:, 0] > 0].view(-1, 2, 2).permute(1, 0, 2).reshape(2, -1),
    "as large as": lambda x: (lambda k: x[0].expand(k.shape[0], 4) + torch.zeros(k.shape[0], 4))(x[x[:, 0] > 0]),
    "sorted": lambda x: x[x > 0].sort(descending=True)[0][:3],
    "a mean of none": lambda x: x[x[:, 0] > 0].mean(0),
    "causal": lambda x: (lambda k: (k @ k.T).tril().softmax(-1) @ k)(x[x[:, 0] > 0]),
    "scattered back": lambda x: (lambda m: x.masked_scatter(m[:, None].expand_as(x), x[m] * 3))(x[:, 0] > 0),
    "unique": lambda x: torch.unique(x.round(), return_inverse=True, return_counts=True),
    "unique rows": lambda x: torch.unique(x.sign(), dim=0),
    "runs": lambda x: torch.unique_consecutive(x.flatten().sign(), return_counts=True),
    "how many": lambda x: x * x[x > 0].shape[0],
}  # fmt: skip


@pytest.mark.parametrize("name", SELECTIONS)
def test_selections(name: str, tmp_path: Path) -> None:
    calls = [(x,) for x in (*HITS.values(), ROWS[4:5], ROWS[:1])]
    same(SELECTIONS[name], calls, tmp_path, {"x": {0: "n"}})


COUNTED: dict[str, Callable[[Tensor], Any]] = {
    "bincount": lambda x: torch.bincount(x),
    "bincount, at least": lambda x: torch.bincount(x, minlength=3),
    "weighted": lambda x: torch.bincount(x, weights=x / 2),
    "one_hot": lambda x: F.one_hot(x),
    "repeat_interleave": lambda x: torch.repeat_interleave(x),
    "rows repeated": lambda x: torch.arange(10).view(5, 2).repeat_interleave(x, dim=0),
    "its own rows repeated": lambda x: torch.stack([x, -x], 1).repeat_interleave(x, dim=0),
    "its own elements repeated": lambda x: (x * 2).repeat_interleave(x),
    "all repeated alike": lambda x: x.repeat_interleave(x.max()[None], dim=0),
    "arange": lambda x: torch.arange(x.max().item()),
    "arange of a tensor": lambda x: torch.arange(x.max()) * 2,
    "arange up to more": lambda x: torch.arange(2, x.max().item() + 3),
    "arange in halves": lambda x: torch.arange(0.0, x.max().item(), 0.5),
    "mask of lengths": lambda x: torch.arange(x.max().item())[None] < x[:, None],
    "zeros": lambda x: torch.zeros(x.max().item(), 3),
    "a row for each": lambda x: torch.zeros(x.max().item() + 1).index_add_(0, x, torch.ones(5)),
    "slice to": lambda x: torch.arange(8)[: x.max().item()],
    "slice from": lambda x: torch.arange(8)[x.max() :],
    "slice from the back": lambda x: torch.arange(8)[: x.max().item() - 2],
    "slice between": lambda x: torch.arange(8)[x.min().item() : x.max().item()],
    "row": lambda x: torch.arange(16).view(8, 2)[x.max()],
    "row of columns": lambda x: torch.arange(64).view(8, 8)[x.max(), x],
    "padded": lambda x: F.pad(x, (0, 9 - x.max().item())),
    "sum": lambda x: x + sum(x.tolist()),
    "arithmetic": lambda x: x * (x.min().item() - 3) // 2,
    "results": lambda x: (x.max().item(), x.float().mean().item(), (x.max() > 2).item()),
    "as a tensor": lambda x: torch.tensor([x.max().item(), 1]),
    "truth as a number": lambda x: x * (x.max() > 2).item(),
    "rounded": lambda x: x + round(x.float().mean().item()) + math.ceil(x.float().mean().item()),
}


@pytest.mark.parametrize("name", COUNTED)
def test_counts_and_numbers(name: str, tmp_path: Path) -> None:
    same(COUNTED[name], [(x,) for x in COUNTS.values()], tmp_path)


BOUNDS = {"few": (1.5, 8.5, 0.5), "others": (-2.0, 3.7, 1.25), "none": (2.0, 2.0, 0.5)}
BETWEEN: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "up to": lambda low, high, step: torch.arange(high.abs()),
    "from a number on": lambda low, high, step: torch.arange(-3, high, 1.5).reshape(-1, 1) + torch.zeros(2),
    "from a size on": lambda low, high, step: torch.arange(step.dim() - 3, high),
    "between": lambda low, high, step: torch.arange(low, high).sum() + torch.arange(low, high, 0.75),
    "by steps": lambda low, high, step: torch.arange(low, high, step) * 2,
    "downwards": lambda low, high, step: torch.arange(high, low, -step),
    "whole numbers": lambda low, high, step: torch.arange(low, high, 2, dtype=torch.int32),
    "whole numbers of whole ones": lambda low, high, step: torch.arange(low, high, 2, dtype=torch.int64),
    "of numbers computed": lambda low, high, step: torch.arange(low.item() - 1, high.item() * 2, 0.5),
    "by whole steps": lambda low, high, step: torch.arange(low.long(), high.long(), (step * 2).long()),
    "evenly": lambda low, high, step: torch.linspace(low, high, (high - low).long() + 2),
    "evenly between numbers": lambda low, high, step: torch.linspace(-1.0, 1.0, (high - low).long() + 2),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_numbers_between_bounds(name: str, tmp_path: Path) -> None:
    same(BETWEEN[name], [tuple(map(torch.tensor, each)) for each in BOUNDS.values()], tmp_path)


def test_bounds_that_lie_the_other_way() -> None:
    compiled = fxonnx.compile(lambda low, high: torch.arange(low, high, 0.5), tuple(map(torch.tensor, (1.0, 3.0))))
    with pytest.raises(errors.CheckFailed):
        compiled(*map(torch.tensor, (3.0, 1.0)))


OF_LENGTHS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "split": lambda x, lengths: torch.split(x, lengths.tolist()),
    "sums": lambda x, lengths: torch.stack([each.sum() for each in x.split(lengths.tolist())]),
    "padded": lambda x, lengths: nn.utils.rnn.pad_sequence(list(x.split(lengths.tolist())), batch_first=True),
    "tensor_split": lambda x, lengths: torch.tensor_split(x, lengths.cumsum(0)[:-1]),
    "tensor_split at numbers": lambda x, lengths: torch.tensor_split(x, lengths[:2].tolist()),
    "narrow": lambda x, lengths: x.narrow(0, lengths[0].item(), lengths[2].item()),
    "cut": lambda x, lengths: torch.cat([x[:n] for n in lengths.tolist()]),
    "put together": lambda x, lengths: torch.cat(x.split(lengths.tolist())[::-1]).view(5, -1) + x.view(5, -1),
    "read twice": lambda x, lengths: x[: lengths[2].item()] + x[: int(lengths[2])],
    "array": lambda x, lengths: torch.cat([x[:n] for n in lengths.numpy()]) + lengths.numpy()[0] + len(lengths.numpy()),
    "array again": lambda x, lengths: x.sum() + torch.as_tensor(lengths.numpy(), dtype=torch.float32),
    "numbers of tensors": lambda x, lengths: x.sum() + torch.tensor([lengths[0], lengths.max(), 1]),
}


@pytest.mark.parametrize("name", OF_LENGTHS)
def test_lengths(name: str, tmp_path: Path) -> None:
    calls = [(torch.arange(10.0), torch.tensor(each)) for each in LENGTHS.values()]
    same(OF_LENGTHS[name], calls, tmp_path)


def read_and_written(x: Tensor, lengths: Tensor) -> Tensor:
    before = lengths[1].item()
    lengths = lengths.clone()
    first = lengths[0].item()
    lengths[0] = 1
    return x.sum() + torch.arange(first).sum() + 10 * torch.arange(lengths[0].item()).sum() + before


def test_a_number_that_is_written_over_is_another(tmp_path: Path) -> None:
    same(read_and_written, [(torch.arange(10.0), torch.tensor(each)) for each in LENGTHS.values()], tmp_path)


def set_by_length(x: Tensor, lengths: Tensor) -> Tensor:
    mask = torch.zeros(3, 10)
    for row, length in enumerate(lengths.tolist()):
        mask[row, length:] = float("-inf")
    return x + mask


def test_slices_that_are_written_to(tmp_path: Path) -> None:
    same(set_by_length, [(torch.ones(3, 10), torch.tensor(each)) for each in LENGTHS.values()], tmp_path)


# ── what an op takes for granted ────────────────────────────────────────

FEW, MANY = COUNTS["one"], COUNTS["equal"]
ONE, THREE = torch.tensor([1.0, -1.0, -1.0]), torch.tensor([1.0, 2.0, 3.0])
TAKEN: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...], tuple[Tensor, ...]]] = {
    "sizes that agree": (lambda x, y: x[x > 0] + y[y > 0], (THREE, THREE), (THREE, ONE)),
    "a size that is known": (lambda x, y: x[x > 0] + y, (THREE, THREE), (ONE, THREE)),
    "a whole quotient": (lambda x, y: x[x > 0].view(3, -1) + y.sum(), (THREE, THREE), (ONE, THREE)),
    "no negative size": (lambda x, y: torch.arange(x.max().item()) + y, (FEW, ONE[0]), (-MANY, ONE[0])),
    "a row that is there": (lambda x, y: x[y.item()], (THREE, torch.tensor(1)), (THREE, torch.tensor(3))),
    "torch._check": (lambda x, y: (torch._check(x.max().item() < 4), x + y)[1], (FEW, ONE[0]), (MANY, ONE[0])),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken_for_granted_is_checked_at_each_call(name: str) -> None:
    model, good, bad = TAKEN[name]
    compiled = fxonnx.compile(model, good)
    torch.testing.assert_close(compiled(*good), model(*good))
    with pytest.raises((errors.CheckFailed, errors.RuntimeFailed)) as caught:
        compiled(*bad)
    assert caught.value.locations[0].file == __file__
    torch.testing.assert_close(compiled(*good), model(*good))


def some(x: Tensor) -> Tensor:
    kept = x[x > 0]
    if kept.shape[0] == 0:
        raise ValueError("nothing is left")
    return kept.sum()


def test_a_size_that_is_asked_to_raise_is_a_check() -> None:
    compiled = fxonnx.compile(some, (ROWS,))
    torch.testing.assert_close(compiled(ROWS), some(ROWS))
    with pytest.raises(errors.CheckFailed, match="nothing is left"):
        compiled(HITS["none"])


@pytest.mark.parametrize("extremum", [torch.max, torch.amin, torch.argmax, torch.aminmax, lambda v: v.unfold(0, 1, 1)])
def test_nothing_has_no_extremum(extremum: Callable[[Tensor], Any]) -> None:
    compiled = fxonnx.compile(lambda x: extremum(x[x > 0]), (ROWS,))
    torch.testing.assert_close(compiled(HITS["one"]), extremum(HITS["one"][HITS["one"] > 0]))
    with pytest.raises((errors.CheckFailed, errors.RuntimeFailed)):
        compiled(HITS["none"])


def test_many_boxes_are_suppressed_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's way for many boxes is a loop over the classes that data has."""
    boxes = types.ModuleType("torchvision.ops.boxes")
    boxes._batched_nms_vanilla = lambda x: torch.stack([each * 2 for each in torch.unique(x)])  # type: ignore[attr-defined]
    boxes._batched_nms_coordinate_trick = lambda x: torch.unique(x) * 2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision.ops.boxes", boxes)
    before = boxes._batched_nms_vanilla

    def model(x: Tensor) -> Any:
        kept = x[x > 0]
        suppressed = boxes._batched_nms_vanilla if kept.numel() > 4 else boxes._batched_nms_coordinate_trick
        return suppressed(kept)

    compiled = fxonnx.compile(model, (ROWS,))
    assert boxes._batched_nms_vanilla is before
    for x in HITS.values():
        torch.testing.assert_close(compiled(x), torch.unique(x[x > 0]) * 2)


def test_the_one_element_that_is_left() -> None:
    def lone(x: torch.Tensor) -> torch.Tensor:
        return x * x[x > 2].item()

    compiled = fxonnx.compile(lone, (torch.tensor([1.0, 3.0, 0.5]),), dynamic_shapes={"x": {0: "n"}})
    for values in ([1.0, 3.0, 0.5], [4.0], [0.0, 0.0, 0.0, 9.0]):
        x = torch.tensor(values)
        torch.testing.assert_close(compiled(x), lone(x))
    for values in ([1.0, 1.0], [4.0, 5.0]):
        with pytest.raises((errors.CheckFailed, errors.RuntimeFailed)):
            compiled(torch.tensor(values))


# ── the two captures ────────────────────────────────────────

ALIKE = ("nonzero", "rows", "both parts", "pairs", "reshaped", "sorted", "causal", "unique", "how many")


@pytest.mark.parametrize("name", ALIKE)
def test_torch_export_leads_to_the_same_graph(name: str) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return SELECTIONS[name](x)

    program = torch.export.export(Model(), (ROWS,), strict=False)
    one, other = (fxonnx.compile(each, (ROWS,)).show(-1).splitlines()[1:] for each in (Model(), program))
    assert [_NOISE.sub("", line) for line in one] == [_NOISE.sub("", line) for line in other]


# ── what it costs ────────────────────────────────────────


def test_a_layer_of_selected_rows_loads_nothing_more() -> None:
    code = (
        "import sys, torch, fxonnx\n"
        "model = torch.nn.Linear(4, 3)\n"
        "fxonnx.compile(lambda x: model(x[x.sum(1) > 0]), (torch.rand(5, 4),))\n"
        "assert not {'sympy', 'torch._dynamo'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_complex_numbers_stay_tensors() -> None:
    x = torch.tensor([2 - 3j])
    with pytest.raises(errors.CaptureRefused, match="complex number"):
        fxonnx.compile(lambda x: torch.ones(3) * x.item(), (x,))
    compiled = fxonnx.compile(lambda x: torch.ones(3) * x.reshape(()), (x,))
    torch.testing.assert_close(compiled(x), torch.ones(3) * x.item())


# ── a number that a tensor holds, beside what picks ──


def written_beside_tensors(x: Tensor, number: Tensor, picked: Tensor) -> Tensor:
    x = x.clone()
    x[number, :, picked] = 7.0
    x[:, number, picked] += 1
    x[number, [0, 2], 1:3] = x[number, picked, :2] * 2
    x[number, x[0, :, 0] > 0] = 0
    return x


def read_beside_lists(x: Tensor, number: Tensor, picked: Tensor) -> tuple[Tensor, ...]:
    return x[number, [0, 2]], x[:, number, [1, 0]], x[[1, 0], number], x[number, None, picked], x[..., [0], number]


@pytest.mark.parametrize("model", [written_beside_tensors, read_beside_lists])
def test_a_number_beside_tensors_in_an_index(model: Callable[..., Any], tmp_path: Path) -> None:
    calls = [(torch.randn(4, 5, 6), torch.tensor(n), torch.tensor(picked)) for n, picked in ((1, [0, 2]), (-1, [4, 1]))]
    same(model, calls, tmp_path, {"x": {0: "n"}, "picked": {0: "k"}} if model is read_beside_lists else None)


# ── several masks ──


def mask(size: int, places: list[int]) -> Tensor:
    """True at the places."""
    return torch.zeros(size, dtype=torch.bool).index_fill(0, torch.tensor(places), True)


def of_several_masks(x: Tensor, mask: Tensor, other: Tensor) -> tuple[Tensor, ...]:
    written = x.clone()
    written[mask, other].fill_(3.0)
    picked = x[mask, other]
    picked.fill_(2.0)
    return x[mask, other] * 2, picked, written, x[:, None][mask, :, other], x[mask, torch.tensor([2, 0, 1])]


@pytest.mark.parametrize("dynamic", [None, "auto"])
def test_several_masks_in_an_index(dynamic: Any, tmp_path: Path) -> None:
    places = (([0, 2, 3], [0, 2, 3]), ([1, 2, 3], [0, 1, 4]))
    calls = [(torch.randn(4, 5), mask(4, rows), mask(5, columns)) for rows, columns in places]
    same(of_several_masks, calls, tmp_path, dynamic)
