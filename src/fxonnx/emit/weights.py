"""Files: the model in one piece or with its weights beside it, streamed from the tensors where they lie.

Protobuf lets a message be written piece by piece as long as every length stands before its bytes. So the model is
serialized without its large weights, their lengths are added up, and their bytes go from torch's memory to the file,
one tensor at a time: memory does not grow.
Source: https://protobuf.dev/programming-guides/encoding/, onnx.proto (ModelProto.graph = 7, GraphProto.initializer
    = 5, TensorProto.raw_data = 9).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx

from fxonnx import errors
from fxonnx.emit.onnx import Emitted
from fxonnx.ir.data import Data, byte_size

LIMIT = 2**31 - 1  # bytes that a protobuf message may have
PIECE = 2**20  # bytes; what is made when asked for (a transposed, cast or scaled weight) is made in pieces of this size
ALIGNMENT = 64  # bytes; external tensors start on a cache line, so that runtimes may map them

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def write_model(emitted: Emitted, path: Path, weights: str = "auto") -> tuple[Path, ...]:
    """Write the model and return the files made.

    weights: "inline" (one file, at most 2 GB), "external" (`<name>.data` beside it) or "auto" (inline where it
        fits). Files appear under temporary
    names and are renamed when complete. Raises CannotWrite, TooLarge.
    """
    size = emitted.proto.ByteSize() + emitted.weight_bytes + 64 * len(emitted.weights)
    if weights == "inline" and size > LIMIT:
        raise errors.TooLarge(
            f"{path.name} would have {size:,} bytes",
            cause="a protobuf message has at most 2 GB", cure='compiled.save(path, weights="external")',
        )  # fmt: skip
    if weights not in ("auto", "inline", "external"):
        raise ValueError(f'weights must be "auto", "inline" or "external", not {weights!r}')
    external = weights == "external" or (weights == "auto" and size > LIMIT)
    try:
        return _write_external(emitted, path) if external else _write_inline(emitted, path)
    except OSError as error:
        raise errors.CannotWrite(
            f"{path} cannot be written",
            cause=error.strerror or str(error), cure="give a path that exists, is writable and has room",
        ) from error  # fmt: skip


def inline_model(emitted: Emitted) -> onnx.ModelProto:
    """The whole model in memory, weights copied into it."""
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


def with_references(emitted: Emitted, file: str) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The model with every large weight in `file`, and where each lies."""
    model, offsets, end = onnx.ModelProto(), {}, 0
    model.CopyFrom(emitted.proto)
    for name, data in emitted.weights.items():
        offsets[name] = end
        model.graph.initializer.append(reference(name, data, file, end))
        end += -(-byte_size(data) // ALIGNMENT) * ALIGNMENT
    return model, offsets


def _write_external(emitted: Emitted, path: Path) -> tuple[Path, ...]:
    data_path = path.with_name(path.name + ".data")
    model, offsets = with_references(emitted, data_path.name)
    with _replacing(data_path) as data_file, _replacing(path) as model_file:
        for name, data in emitted.weights.items():
            data_file.seek(offsets[name])
            data_file.writelines(raw_data(data))
        model_file.write(model.SerializeToString(deterministic=True))
    return path, data_path


def _write_inline(emitted: Emitted, path: Path) -> tuple[Path, ...]:
    shell = onnx.ModelProto()
    shell.CopyFrom(emitted.proto)
    graph = shell.graph.SerializeToString(deterministic=True)
    shell.ClearField("graph")
    headers = {name: _tensor_head(name, data) for name, data in emitted.weights.items()}
    entries = {name: len(head) + byte_size(emitted.weights[name]) for name, head in headers.items()}
    total = len(graph) + sum(len(_tag(_INITIALIZER, size)) + size for size in entries.values())
    with _replacing(path) as file:
        file.write(shell.SerializeToString(deterministic=True) + _tag(_GRAPH, total) + graph)
        _stream(file, emitted.weights, headers, entries)
    return (path,)


def _stream(
    file: BinaryIO, weights: Mapping[str, Data], headers: Mapping[str, bytes], entries: Mapping[str, int]
) -> None:
    for name, data in weights.items():
        file.write(_tag(_INITIALIZER, entries[name]) + headers[name])
        file.writelines(raw_data(data))


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


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file under a temporary name beside `path`, renamed to it when all went well and removed when not."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
