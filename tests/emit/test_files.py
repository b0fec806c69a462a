"""Saved models are whole at every moment: old with old data or new with new, whatever ends a save."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import fxonnx
from fxonnx import errors
from fxonnx.emit import files

X = torch.ones(1, 64)


def model(value: float) -> fxonnx.Compiled:
    linear = nn.Linear(64, 64, bias=False)
    nn.init.constant_(linear.weight, value)
    return fxonnx.compile(linear, X)


ONE, TWO = model(1.0), model(2.0)


def read(path: Path) -> float:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return float(session.run(None, {session.get_inputs()[0].name: X.numpy()})[0][0, 0]) / 64


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


def test_data_are_named_by_content_and_removed_with_their_model(path: Path) -> None:
    made = ONE.save(path, weights="external")
    assert [str(each) for each in made] == [str(path), str(made[1])] and sorted(made) == sorted(path.parent.iterdir())
    assert ONE.save(path, weights="external") == made and read(path) == 1
    other = TWO.save(path, weights="external")
    assert other[1] != made[1] and sorted(other) == sorted(path.parent.iterdir()) and read(path) == 2
    ONE.save(path)
    assert names(path.parent) == ["m.onnx"] and read(path) == 1


def test_files_of_others_stay(path: Path) -> None:
    others = ["m.onnx.data", "m.onnx.0123.data", "other.onnx.0123456789abcdef.data", ".fxonnx-other.tmp"]
    for name in others:
        (path.parent / name).write_bytes(b"")
    ONE.save(path, weights="external")
    ONE.save(path)
    assert names(path.parent) == sorted([*others, "m.onnx"])


def test_same_model_same_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        model(3.0).save(tmp_path / folder / "m.onnx", weights="external")
    assert names(tmp_path / "a") == names(tmp_path / "b")
    for name in names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


# ── what ends a save ────────────────────────────────────────


class Full:
    """A disk without room from the n-th write, or the n-th flush, on."""

    def __init__(self, file: Any, writes: int, closes: bool) -> None:
        self.file, self.writes, self.closes = file, writes, closes

    def write(self, piece: Any) -> int:
        self.writes -= 1
        if self.writes < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(piece)

    def close(self) -> None:
        self.file.close()
        if self.closes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("weights", ["inline", "external"])
@pytest.mark.parametrize(("writes", "closes"), [(0, False), (1, False), (99, True)])
def test_a_full_disk_leaves_the_old_model(
    path: Path, monkeypatch: pytest.MonkeyPatch, weights: str, writes: int, closes: bool
) -> None:
    ONE.save(path, weights="external")
    before = names(path.parent)
    plain = files.Draft
    monkeypatch.setattr(files, "Draft", lambda name, file: plain(name, Full(file, writes, closes)))
    with pytest.raises(errors.CannotWrite, match="No space left"):
        TWO.save(path, weights=weights)
    assert names(path.parent) == before and read(path) == 1


@pytest.mark.parametrize("weights", ["inline", "external"])
@pytest.mark.parametrize("renames", [0, 1])
def test_an_end_between_two_renames_leaves_a_whole_model(
    path: Path, monkeypatch: pytest.MonkeyPatch, weights: str, renames: int
) -> None:
    ONE.save(path, weights="external")
    plain, left = os.replace, [renames]

    def replace(old: Path, new: Path) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        plain(old, new)

    monkeypatch.setattr(os, "replace", replace)
    if weights == "inline" and renames:
        TWO.save(path, weights=weights)
        assert read(path) == 2
        return
    with pytest.raises(KeyboardInterrupt):
        TWO.save(path, weights=weights)
    assert read(path) == 1 and not [name for name in names(path.parent) if name.startswith(".")]
    monkeypatch.undo()
    ONE.save(path, weights="external")
    assert len(names(path.parent)) == 2, "data that no model names are removed by the next save"


def test_a_draft_whose_process_has_ended_is_removed_by_the_next_save(path: Path) -> None:
    abandoned = path.with_name(f"{files._prefix(path)}00000000.tmp")
    abandoned.write_bytes(b"half a model")
    with files.draft(path) as living:
        ONE.save(path)
        assert living.temporary.exists() and not abandoned.exists()
    assert names(path.parent) == ["m.onnx"]


def test_savers_at_once_leave_one_model_whole(path: Path) -> None:
    def save(compiled: fxonnx.Compiled) -> None:
        for _ in range(8):
            compiled.save(path, weights="external")

    with ThreadPoolExecutor() as pool:
        saving = [pool.submit(save, each) for each in (ONE, TWO, ONE, TWO)]
        while not all(each.done() for each in saving):
            if path.exists():
                assert_whole(path)
    assert [each.result() for each in saving] == [None] * 4
    assert read(path) in (1, 2) and len(names(path.parent)) == 2


def assert_whole(path: Path) -> None:
    """What is read is one of both, or the data were removed in between: never another model's."""
    try:
        loaded = onnx.load(path)
    except (onnx.checker.ValidationError, FileNotFoundError):
        return
    values = np.unique(onnx.numpy_helper.to_array(loaded.graph.initializer[0]))
    assert values.tolist() in ([1.0], [2.0])


# ── where a file cannot be ────────────────────────────────────────

PLACES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda folder: "",
    "dot": lambda folder: ".",
    "folder": lambda folder: folder,
    "above": lambda folder: folder / "..",
    "nul": lambda folder: str(folder / "a\0b.onnx"),
    "long": lambda folder: folder / ("n" * 300),
    "deep": lambda folder: folder / ("n" * 200 + "/") / ("m" * 300),
    "missing folder": lambda folder: folder / "missing" / "m.onnx",
    "a file for a folder": lambda folder: Path(__file__) / "m.onnx",
    "device": lambda folder: "/dev/null",
    "none": lambda folder: None,
    "number": lambda folder: 3,
    "model": lambda folder: ONE,
}


@pytest.mark.parametrize("weights", ["auto", "external"])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_place_for_a_file(tmp_path: Path, place: str, weights: str) -> None:
    with pytest.raises(errors.CannotWrite) as caught:
        ONE.save(PLACES[place](tmp_path), weights=weights)
    assert caught.value.cause and "model.onnx" in caught.value.cure
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["n" * 255, "sp ace.onnx", "[brackets].onnx", "ünïcode.onnx", "plain", ".hidden"])
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    assert ONE.save(os.fspath(tmp_path / name)) == (tmp_path / name,) and read(tmp_path / name) == 1


def test_a_file_that_may_not_be_written_to(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ONE.save(path)
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(errors.CannotWrite, match="may not be written"):
        TWO.save(path)


@pytest.mark.parametrize("weights", ["both", None, 3, ["inline"]])
def test_weights_are_one_of_four_words(path: Path, weights: Any) -> None:
    with pytest.raises(errors.InvalidOption, match="'inline'"):
        ONE.save(path, weights=weights)
