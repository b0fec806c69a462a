"""The safetensors format: named tensors whose bytes lie in a file as they are.

    8 bytes     length of the header, little endian
    header      JSON: {"fc.weight": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}, …}, padded with spaces
    data        one tensor behind the other, without gaps; offsets count from here

A folder of several has an index, JSON as well: {"weight_map": {"fc.weight": "model-00001-of-00002.safetensors", …}}.
Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from fxonnx import dtypes, errors
from fxonnx.dtypes import DType
from fxonnx.ir.data import Data, byte_size
from fxonnx.ir.extent import Extent, Layout

SUFFIX = ".safetensors"
INDEX = f"{SUFFIX}.index.json"

_PREFIX = 8  # bytes of the header's length, to a multiple of which it is padded
_LONGEST = 100_000_000  # bytes that a header may have
_METADATA = "__metadata__"  # an entry that is no tensor

_CODES: Mapping[DType, str] = {
    dtypes.FLOAT64: "F64", dtypes.FLOAT32: "F32", dtypes.FLOAT16: "F16", dtypes.BFLOAT16: "BF16",
    dtypes.INT64: "I64", dtypes.INT32: "I32", dtypes.INT16: "I16", dtypes.INT8: "I8",
    dtypes.UINT64: "U64", dtypes.UINT32: "U32", dtypes.UINT16: "U16", dtypes.UINT8: "U8", dtypes.BOOL: "BOOL",
    dtypes.FLOAT8E4M3FN: "F8_E4M3", dtypes.FLOAT8E5M2: "F8_E5M2", dtypes.FLOAT8E8M0: "F8_E8M0",
    dtypes.COMPLEX64: "C64",
}  # fmt: skip
_DTYPES: Mapping[str, DType] = {code: dtype for dtype, code in _CODES.items()}


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file."""

    dtype: DType
    shape: tuple[int, ...]
    extent: Extent


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def stored_tensors(given: Any) -> dict[str, Stored]:
    """The tensors of a safetensors file, of the shards that an index names, or of a folder with either, by name.

    Nothing but the headers is read. Raises CannotRead.
    """
    try:
        path = Path(os.fsdecode(given))
        return {name: each for file in _files(path) for name, each in _tensors(file).items()}
    except (OSError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise _cannot_read(given, reason) from error


def _cannot_read(given: Any, reason: str) -> errors.CannotRead:
    return errors.CannotRead(
        f"weights cannot be read from {str(given)!r}",
        cause=reason,
        cure='give a safetensors file, its "….safetensors.index.json", or the folder that has one of them',
    )


def _files(path: Path) -> list[Path]:
    """The files with tensors behind a path."""
    if path.is_dir():
        indices = sorted(path.glob(f"*{INDEX}"))
        found = [file for each in indices for file in _files(each)] or sorted(path.glob(f"*{SUFFIX}"))
        if not found:
            raise ValueError(f"the folder has no *{SUFFIX}")
        return found
    if path.name.endswith(".json"):
        names = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        return [path.with_name(name) for name in sorted(set(names))]
    return [path]


def _tensors(path: Path) -> dict[str, Stored]:
    """The tensors of one file. Raises ValueError, KeyError, OSError for what is none."""
    with open(path, "rb") as file:
        header, start = _header(file)
        end = os.fstat(file.fileno()).st_size
    found = {name: _stored(each, path, start) for name, each in header.items() if name != _METADATA}
    for name, each in found.items():
        if each.extent.length != prod(each.shape) * each.dtype.bits // 8:
            raise ValueError(f"{name} has {each.extent.length} bytes for {each.dtype}{list(each.shape)}")
        if each.extent.offset < start or each.extent.offset + each.extent.length > end:
            raise ValueError(f"the file ends at {end} bytes, before {name} does")
    return found


def _header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The header, and where the data begin."""
    length = int.from_bytes(file.read(_PREFIX), "little")
    if not 0 < length <= _LONGEST:
        raise ValueError("it does not begin like a safetensors file")
    return json.loads(file.read(length)), _PREFIX + length


def _stored(entry: Mapping[str, Any], path: Path, start: int) -> Stored:
    begin, end = entry["data_offsets"]
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"there is no dtype for {entry['dtype']}")
    return Stored(_DTYPES[entry["dtype"]], tuple(entry["shape"]), Extent(path, start + begin, end - begin))


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def layout(contents: Mapping[str, Data]) -> Layout:
    """How a file with these contents lies: those with the widest elements first, so that all are aligned to them.

    Elements below a byte, and those that the format has no name for, stand as bytes u8.
    """
    ordered = dict(sorted(contents.items(), key=lambda item: -item[1].dtype.bits))
    entries: dict[str, Any] = {_METADATA: {"format": "pt"}}
    end = 0
    for name, data in ordered.items():
        start, end = end, end + byte_size(data)
        code = _CODES.get(data.dtype)
        shape = list(data.shape) if code else [end - start]
        entries[name] = {"dtype": code or "U8", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _PREFIX)
    head = len(text).to_bytes(_PREFIX, "little") + text
    return Layout(head, ordered, {name: len(head) + entries[name]["data_offsets"][0] for name in ordered})
