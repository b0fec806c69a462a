"""Files: the model in one piece or with its weights beside it, streamed from the tensors where they lie.

Protobuf lets a message be written piece by piece as long as every length stands before its bytes. So the model is
serialized without its large weights, their lengths are added up, and their bytes go from torch's memory to the file,
one tensor at a time: memory does not grow.
Source: https://protobuf.dev/programming-guides/encoding/, onnx.proto (ModelProto.graph = 7, GraphProto.initializer
    = 5, TensorProto.raw_data = 9).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fxonnx import errors
from fxonnx.emit.files import checked_path, commit, data_path, draft, saying_what
from fxonnx.emit.names import Names
from fxonnx.emit.onnx import Emitted
from fxonnx.emit.safetensors import layout
from fxonnx.ir.data import Data, byte_size
from fxonnx.ir.extent import NO_EXTENTS, Extents, Layout, extent_of

LIMIT = 2**31 - 1  # bytes that a protobuf message may have
PIECE = 2**20  # bytes; what is made when asked for (a transposed, cast or scaled weight) is made in pieces of this size
ALIGNMENT = 64  # bytes; external tensors start on a cache line, so that runtimes may map them

WEIGHTS = ("auto", "inline", "external", "safetensors")

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def write_model(
    emitted: Emitted, path: str | os.PathLike[str], weights: str = "auto", extents: Extents = NO_EXTENTS
) -> tuple[Path, ...]:
    """Write the model and return the files made.

    weights: "inline" (one file, at most 2 GB), "external" (`<name>.<hash>.data` beside it), "safetensors" (that in
        another form) or "auto" (inline where it fits).
    extents: the contents that files have already: the model refers to them.

    Files appear when they are complete, the model last. Raises CannotWrite, TooLarge, InvalidOption.
    """
    check_weights(weights)
    place = checked_path(path)
    emitted = _referring(emitted, extents, place.parent)
    fits = _size(emitted) <= LIMIT
    if weights == "inline" and not fits:
        raise _too_large(emitted, place.name)
    with saying_what(place):
        if weights == "inline" or (weights == "auto" and fits):
            return _write_inline(emitted, place)
        return _write_external({place: emitted}, place, weights)


def write_models(models: Mapping[Path, Emitted], path: Path, weights: str, extents: Extents) -> tuple[Path, ...]:
    """Write models of one folder that share a data file, which is named after `path`: "external", "safetensors", or
    "auto", which is external and refers to `extents`. Returns the files made. Raises CannotWrite, InvalidOption."""
    check_weights(weights, ("auto", "external", "safetensors"))
    extents = extents if weights == "auto" else NO_EXTENTS
    referring = {checked_path(place): _referring(each, extents, path.parent) for place, each in models.items()}
    with saying_what(path):
        return _write_external(referring, path, weights)


def check_weights(weights: object, known: Sequence[str] = WEIGHTS) -> None:
    """Raises InvalidOption for what is no way to write weights."""
    if weights not in known:
        raise errors.InvalidOption.among("weights", weights, known)


def is_path(weights: Any) -> bool:
    """Whether that says where weights are, not how they are written."""
    if isinstance(weights, os.PathLike):
        return True
    return isinstance(weights, str) and weights not in WEIGHTS and ("." in weights or Path(weights).is_dir())


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


def _with_references(emitted: Emitted, places: Mapping[str, tuple[str, int]]) -> onnx.ModelProto:
    """The model with large weights in other files: where (file, offset), by name."""
    model = onnx.ModelProto()
    model.CopyFrom(emitted.proto)
    for name, (file, offset) in places.items():
        model.graph.initializer.append(reference(name, emitted.weights[name], file, offset))
    return model


def _referring(emitted: Emitted, extents: Extents, folder: Path) -> Emitted:
    """The model in a folder as it refers to what files have already, with the other weights to be written.

    Raises CannotWrite where such a file is not below the folder.
    """
    found = {name: extent for name, data in emitted.weights.items() if (extent := extent_of(data, extents)) is not None}
    if not found:
        return emitted
    files = {path: _below(path, folder) for path in {extent.path for extent in found.values()}}
    proto = _with_references(emitted, {name: (files[each.path], each.offset) for name, each in found.items()})
    return replace(emitted, proto=proto, weights={n: each for n, each in emitted.weights.items() if n not in found})


def _below(path: Path, folder: Path) -> str:
    """A file as a model in a folder names it: runtimes follow no way that leaves the folder, not even by a link."""
    file, root = path.resolve(), folder.resolve()
    if file.is_relative_to(root):
        return file.relative_to(root).as_posix()
    raise errors.CannotWrite(
        f"a model in {str(folder)!r} cannot refer to {str(path)!r}",
        cause="runtimes read data of a model from its own folder and those below alone, and follow no link that leaves",
        cure=f'save into {str(file.parent)!r}, hard-link the file beside the model (os.link), or weights="external"',
    )


# ── data files ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _aligned(contents: Mapping[str, Data]) -> Layout:
    """Contents one behind the other, each on a cache line."""
    offsets, end = {}, 0
    for name, data in contents.items():
        offsets[name] = end
        end += byte_size(data) + -byte_size(data) % ALIGNMENT
    return Layout(b"", contents, offsets)


_LAYOUTS: Mapping[str, Callable[[Mapping[str, Data]], Layout]] = {"data": _aligned, "safetensors": layout}


def _pieces(layout: Layout) -> Iterator[bytes | memoryview]:
    """The bytes of a data file."""
    yield layout.head
    end = len(layout.head)
    for name, data in layout.contents.items():
        yield bytes(layout.offsets[name] - end)
        yield from raw_data(data)
        end = layout.offsets[name] + byte_size(data)


def _write_external(models: Mapping[Path, Emitted], path: Path, weights: str) -> tuple[Path, ...]:
    """Models that share a data file; what several have is there once."""
    form = "safetensors" if weights == "safetensors" else "data"
    names, contents = Names(), dict[Hashable, tuple[str, Data]]()
    for name, data in (item for each in models.values() for item in each.weights.items()):
        if data.identity not in contents:
            contents[data.identity] = names.unique(name), data
    laid = _LAYOUTS[form](dict(contents.values()))
    with ExitStack() as stack:
        written = stack.enter_context(draft(path))
        written.write(_pieces(laid))
        file, drafts = data_path(path, written, form), {}
        for place, emitted in models.items():
            at = {name: laid.offsets[contents[data.identity][0]] for name, data in emitted.weights.items()}
            proto = _with_references(emitted, {name: (file.name, offset) for name, offset in at.items()})
            drafts[place] = stack.enter_context(draft(path))
            drafts[place].write([proto.SerializeToString(deterministic=True)])
        return commit(path, drafts, {file: written} if contents else {})


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
        return commit(path, {path: model}, {})


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
