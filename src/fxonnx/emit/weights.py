"""Files: the model in one piece or with its weights beside it, streamed from the tensors where they lie.

Protobuf lets a message be written piece by piece as long as every length stands before its bytes. So the model is
serialized without its large weights, their lengths are added up, and their bytes go from torch's memory to the file,
one tensor at a time: memory does not grow.
Source: https://protobuf.dev/programming-guides/encoding/, onnx.proto (ModelProto.graph = 7, GraphProto.initializer
    = 5, TensorProto.raw_data = 9).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from fxonnx import errors
from fxonnx.emit.files import checked_path, commit, data_name, draft, saying_what
from fxonnx.emit.onnx import Emitted
from fxonnx.ir.data import Data, byte_size

LIMIT = 2**31 - 1  # bytes that a protobuf message may have
PIECE = 2**20  # bytes; what is made when asked for (a transposed, cast or scaled weight) is made in pieces of this size
ALIGNMENT = 64  # bytes; external tensors start on a cache line, so that runtimes may map them

WEIGHTS = ("auto", "inline", "external")

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def write_model(emitted: Emitted, path: str | os.PathLike[str], weights: str = "auto") -> tuple[Path, ...]:
    """Write the model and return the files made.

    weights: "inline" (one file, at most 2 GB), "external" (`<name>.<hash>.data` beside it) or "auto" (inline where it
        fits). Files appear when they are complete, the model last. Raises CannotWrite, TooLarge, InvalidOption.
    """
    if weights not in WEIGHTS:
        raise errors.InvalidOption.among("weights", weights, WEIGHTS)
    place = checked_path(path)
    fits = _size(emitted) <= LIMIT
    if weights == "inline" and not fits:
        raise _too_large(emitted, place.name)
    with saying_what(place):
        if weights == "external" or not fits:
            return _write_external(emitted, place)
        return _write_inline(emitted, place)


def _size(emitted: Emitted) -> int:
    """Bytes that the model would have in one piece."""
    return emitted.proto.ByteSize() + emitted.weight_bytes + 64 * len(emitted.weights)


def _too_large(emitted: Emitted, name: str) -> errors.TooLarge:
    return errors.TooLarge(
        f"{name} would have {_size(emitted):,} bytes",
        cause="a protobuf message has at most 2 GB",
        cure='compiled.save(path, weights="external")',
    )


def inline_model(emitted: Emitted) -> onnx.ModelProto:
    """The whole model in memory, weights copied into it. Raises TooLarge."""
    if _size(emitted) > LIMIT:
        raise _too_large(emitted, "the model")
    model = onnx.ModelProto()
    model.CopyFrom(emitted.proto)
    for name, data in emitted.weights.items():
        model.graph.initializer.append(tensor_header(name, data))
        model.graph.initializer[-1].raw_data = b"".join(raw_data(data))
    return model


def tensor_header(name: str, data: Data) -> onnx.TensorProto:
    """A TensorProto without content."""
    return onnx.TensorProto(name=name, data_type=data.dtype.code, dims=data.shape)


def raw_data(data: Data) -> Iterator[bytes | memoryview]:
    """The bytes of a tensor as ONNX's raw_data wants them: little endian, row-major, elements below a byte packed."""
    if data.dtype.bits < 8 or not data.shape:
        yield onnx.numpy_helper.from_array(np.asarray(data.array())).raw_data
        return
    rows = data.shape[0]
    step = max(1, PIECE * rows // max(byte_size(data), 1))
    for start in range(0, rows, step):
        yield np.ascontiguousarray(data.part(start, min(start + step, rows))).reshape(-1).view(np.uint8).data


def reference(name: str, data: Data, file: str, offset: int) -> onnx.TensorProto:
    """A TensorProto whose content lies in another file (ONNX "External data")."""
    header = tensor_header(name, data)
    header.data_location = onnx.TensorProto.EXTERNAL
    for key, item in (("location", file), ("offset", offset), ("length", byte_size(data))):
        header.external_data.add(key=key, value=str(item))
    return header


def _with_references(emitted: Emitted, file: str) -> onnx.ModelProto:
    """The model with every large weight in `file`, in the order in which `_laid_out` writes them."""
    model, end = onnx.ModelProto(), 0
    model.CopyFrom(emitted.proto)
    for name, data in emitted.weights.items():
        model.graph.initializer.append(reference(name, data, file, end))
        end += byte_size(data) + _padding(data)
    return model


def _padding(data: Data) -> int:
    """Bytes between a weight and the next one."""
    return -byte_size(data) % ALIGNMENT


def _laid_out(emitted: Emitted) -> Iterator[bytes | memoryview]:
    """The bytes of a data file."""
    for data in emitted.weights.values():
        yield from raw_data(data)
        yield bytes(_padding(data))


def _write_external(emitted: Emitted, path: Path) -> tuple[Path, ...]:
    with draft(path) as data, draft(path) as model:
        data.write(_laid_out(emitted))
        proto = _with_references(emitted, data_name(path, data.digest))
        model.write([proto.SerializeToString(deterministic=True)])
        return commit(path, model, data)


def _write_inline(emitted: Emitted, path: Path) -> tuple[Path, ...]:
    shell = onnx.ModelProto()
    shell.CopyFrom(emitted.proto)
    graph = shell.graph.SerializeToString(deterministic=True)
    shell.ClearField("graph")
    headers = {name: _tensor_head(name, data) for name, data in emitted.weights.items()}
    entries = {name: len(head) + byte_size(emitted.weights[name]) for name, head in headers.items()}
    total = len(graph) + sum(len(_tag(_INITIALIZER, size)) + size for size in entries.values())
    with draft(path) as model:
        model.write([shell.SerializeToString(deterministic=True), _tag(_GRAPH, total), graph])
        for name, data in emitted.weights.items():
            model.write([_tag(_INITIALIZER, entries[name]), headers[name]])
            model.write(raw_data(data))
        return commit(path, model)


def _tensor_head(name: str, data: Data) -> bytes:
    """A TensorProto up to the bytes of its raw_data."""
    return tensor_header(name, data).SerializeToString() + _tag(_RAW_DATA, byte_size(data))


def _tag(field: int, length: int) -> bytes:
    """The key of a length-delimited field and its length, both varints."""
    return _varint(field << 3 | 2) + _varint(length)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes((*encoded, number))
