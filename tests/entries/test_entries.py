"""Several models at once, whose files share one set of weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors


class Steps(nn.Module):
    """Rows at once, and one row beside what was computed before."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.first, self.second = nn.Embedding(60, 64), nn.Linear(64, 128), nn.Linear(128, 64)

    def forward(self, ids: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(self.embed(ids)))).cumsum(1)

    def decode(self, token: Tensor, total: Tensor) -> Tensor:
        return total + self.second(torch.relu(self.first(self.embed(token))))


IDS, TOKEN, TOTAL = torch.randint(0, 60, (2, 5)), torch.randint(0, 60, (2,)), torch.randn(2, 64)


def steps(model: Steps, **options: Any) -> Any:
    return fxonnx.compile(
        {
            "prefill": (model, IDS, {}, {"dynamic_shapes": {"ids": {0: "batch", 1: "length"}}}),
            "decode": (model.decode, (TOKEN,), {"total": TOTAL}),
        },
        **options,
    )


def run(path: Path, *inputs: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = {each.name: value.numpy() for each, value in zip(session.get_inputs(), inputs, strict=True)}
    return torch.from_numpy(session.run(None, given)[0])


@pytest.mark.parametrize("weights", ["auto", "external", "safetensors"])
def test_one_set_of_weights(tmp_path: Path, weights: str) -> None:
    model = Steps().eval()
    entries = steps(model)
    assert list(entries) == ["prefill", "decode"] and repr(entries) == "<fxonnx entries: prefill, decode>"
    torch.testing.assert_close(entries["prefill"](IDS), model(IDS))
    torch.testing.assert_close(entries["decode"](TOKEN, total=TOTAL), model.decode(TOKEN, TOTAL))
    prefill, decode, data = entries.save(tmp_path / "both", weights)
    assert sorted(tmp_path.joinpath("both").iterdir()) == sorted([prefill, decode, data])
    whole = sum(each.numel() * 4 for each in model.state_dict().values())
    assert os.path.getsize(data) < whole + 2000, "each weight is there once"
    torch.testing.assert_close(run(prefill, IDS[:, :3]), model(IDS[:, :3]))
    torch.testing.assert_close(run(decode, TOKEN, TOTAL), model.decode(TOKEN, TOTAL))
    with torch.no_grad():
        model.first.weight.mul_(2)
    for each in entries.values():
        each.rebind()
    other = entries.save(tmp_path / "both", weights)
    assert sorted(tmp_path.joinpath("both").iterdir()) == sorted(other) and other[2] != data
    torch.testing.assert_close(run(prefill, IDS), model(IDS))


class BothWays(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, 80))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight

    def back(self, y: Tensor) -> Tensor:
        return y @ self.weight.T


def test_what_one_reads_as_another_has_it_transposed_is_there_once(tmp_path: Path) -> None:
    model, x, y = BothWays().eval(), torch.randn(2, 3, 64), torch.randn(2, 3, 80)
    there, back, data = fxonnx.compile({"there": (model, x), "back": (model.back, y)}).save(tmp_path)
    assert os.path.getsize(data) == 64 * 80 * 4
    torch.testing.assert_close(run(there, x), model(x))
    torch.testing.assert_close(run(back, y), model.back(y))
    assert [node.op_type for node in onnx.load(back, load_external_data=False).graph.node] == ["FusedMatMul"]


def test_options_hold_for_all_and_an_entrys_own_for_it(tmp_path: Path) -> None:
    model = Steps().eval()
    entries = fxonnx.compile({"a": (model, IDS), "b": (model, IDS, {}, {"opset": 18})}, opset=17)
    opsets = {name: onnx.load(tmp_path / f"{name}.onnx").opset_import for name in entries if entries.save(tmp_path)}
    assert {name: found[0].version for name, found in opsets.items()} == {"a": 17, "b": 18}


def test_other_entries_in_the_folder_stay(tmp_path: Path) -> None:
    one, two = Steps().eval(), Steps().eval()
    fxonnx.compile({"a": (one, IDS), "b": (one, IDS)}).save(tmp_path)
    fxonnx.compile({"a": (two, IDS)}).save(tmp_path)
    torch.testing.assert_close(run(tmp_path / "a.onnx", IDS), two(IDS))
    torch.testing.assert_close(run(tmp_path / "b.onnx", IDS), one(IDS))


NO_ENTRIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "no tuple": ({"a": Steps()}, {}),
    "no arguments": ({"a": (Steps(),)}, {}),
    "kwargs are a list": ({"a": (Steps(), IDS, [1])}, {}),
    "no name": ({3: (Steps(), IDS)}, {}),
    "an example beside": ({"a": (Steps(), IDS)}, {"example_inputs": IDS}),
}


@pytest.mark.parametrize("case", NO_ENTRIES)
def test_what_are_no_entries(case: str) -> None:
    entries, options = NO_ENTRIES[case]
    with pytest.raises(errors.InvalidOption, match="no entries"):
        fxonnx.compile(entries, **options)


def test_no_place_for_entries(tmp_path: Path) -> None:
    entries = fxonnx.compile({"a": (Steps().eval(), IDS)})
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "missing" / "folder", 3, "a\0b"):
        with pytest.raises(errors.CannotWrite):
            entries.save(place)
    with pytest.raises(errors.InvalidOption, match="'safetensors'"):
        entries.save(tmp_path, "inline")
