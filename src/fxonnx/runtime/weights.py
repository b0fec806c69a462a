"""Gives a session its weights out of torch's memory.

ONNX Runtime has three ways to take a weight that is not in the model, and each is right for some of them:

    written   contents of up to 1 KiB go into the model: shape inference and fusions look at them.
    shared    `SessionOptions.add_initializer`: kernels read torch's memory, nothing is copied. But optimizers do not
              see the value: they read the *file* that the placeholder names, and whatever lies there. So a weight is
              shared only where every consumer is an operator whose weights no optimizer looks into, and the placeholder
              names a directory: who reads it fails, and never computes with other numbers.
    handed    `SessionOptions.add_external_initializers`: right everywhere, and copied by the runtime.

Source: measured with ONNX Runtime 1.32, see tests/runtime/test_weights.py. A placeholder that names a sparse file of
zeros gives wrong results for Conv, BatchNormalization after MatMul, and block-quantized weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx
import torch

from fxonnx import dtypes, errors
from fxonnx.dtypes import DType, dtype

if TYPE_CHECKING:
    import onnxruntime

Weight: TypeAlias = torch.Tensor | np.ndarray

WRITTEN_BYTES = 1024
_PROTOBUF_BYTES = 2**31 - 1

# Inputs whose values only kernels read, by operator.
_SHARED_INPUTS: dict[tuple[str, str], tuple[int, ...]] = {
    ("", "MatMul"): (1,),
    ("", "Gemm"): (1,),
    ("", "MatMulInteger"): (1,),
    ("", "Gather"): (0,),
    ("", "LSTM"): (1, 2),
    ("", "GRU"): (1, 2),
    ("", "RNN"): (1, 2),
    ("com.microsoft", "FusedMatMul"): (1,),
    ("com.microsoft", "MatMulNBits"): (1, 2),
}

# Only these consumers have kernels for float16: before others the runtime inserts a Cast, which it then computes while
# it optimizes.
_HALF_SHARED = frozenset({("", "Gather"), ("com.microsoft", "MatMulNBits")})
_HALF = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})

# A directory, next to this file so that the working directory does not matter: it passes the runtime's check that the
# path of an external tensor exists, and reading it is an error.
_NOWHERE = "."
_FOLDER_KEY = "session.model_external_initializers_file_folder_path"


@dataclass(slots=True)
class Attached:
    """A model ready for a session. `kept` must live as long as the session, `passing` until it is made."""

    model: bytes
    kept: list[Any] = field(default_factory=list)
    passing: list[Any] = field(default_factory=list)


def attach(
    model: onnx.ModelProto, weights: Mapping[str, Weight], options: onnxruntime.SessionOptions, *, share: bool = True
) -> Attached:
    """Put `weights` into `options` and into a copy of `model`, whose initializers may be placeholders or missing.

    share: whether to share what can be shared; else everything large is handed over.

    Raises:
        UnsupportedDtype: a weight whose dtype ONNX does not have.
    """
    shareable = _shareable(model) if share else frozenset()
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    placeholders = {each.name: each for each in copy.graph.initializer}
    attached = Attached(b"")
    handed: dict[str, onnxruntime.OrtValue] = {}
    for name, weight in weights.items():
        proto = placeholders.get(name) or _declare(copy, name, weight)
        if _byte_size(proto) <= WRITTEN_BYTES:
            _write(proto, weight)
            continue
        value = ort_value(weight, proto.data_type, tuple(proto.dims))
        _point_nowhere(proto)
        if name in shareable:
            options.add_initializer(name, value)
            attached.kept.append(value)
        else:
            handed[name] = value
    if handed:
        options.add_external_initializers(list(handed), list(handed.values()))
        attached.passing.extend(handed.values())
    options.add_session_config_entry(_FOLDER_KEY, str(Path(__file__).parent))
    attached.model = copy.SerializeToString()
    return attached


def inlined(model: onnx.ModelProto, weights: Mapping[str, Weight]) -> onnx.ModelProto:
    """A copy of the model with all weights in it. Raises UnsupportedDtype, TooLarge."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    placeholders = {each.name: each for each in copy.graph.initializer}
    for name, weight in weights.items():
        _write(placeholders.get(name) or _declare(copy, name, weight), weight)
    if copy.ByteSize() > _PROTOBUF_BYTES:
        raise errors.TooLarge(
            f"the model has {copy.ByteSize():,} bytes",
            cause="this runtime takes it in one piece, a protobuf message, which has at most 2 GB",
            cure='compiled.save(path, weights="external"), and load that in the runtime',
        )
    return copy


def ort_value(weight: Weight, code: int, dims: tuple[int, ...]) -> onnxruntime.OrtValue:
    """The weight as a tensor of ONNX dtype `code` and shape `dims`, over the same memory where it is contiguous on the
    CPU.

    Elements below a byte may come packed (`ceil(count * bits / 8)` bytes) or one per byte, and are copied.
    """
    import onnxruntime

    row = dtype(code)
    if isinstance(weight, torch.Tensor):
        plain = _plain(weight)
        if _code(plain) == code and tuple(plain.shape) == dims and row.bits >= 8:
            return onnxruntime.OrtValue.from_dlpack(plain)
        weight = plain.view(torch.uint8).numpy() if row.bits < 8 else plain.numpy()
    if row.bits < 8:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(_spread(_packed(weight, row, dims), dims), code)
    bits = np.ascontiguousarray(weight).view(f"u{row.bits // 8}").reshape(dims)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, code)


def _shareable(model: onnx.ModelProto) -> frozenset[str]:
    """The names that only kernels read: no graph output, no input that is not in the table, nowhere."""
    half = {each.name for each in model.graph.initializer if each.data_type in _HALF}
    read: set[str] = set()
    blocked: set[str] = set()
    for graph in graphs(model.graph):
        blocked.update(output.name for output in graph.output)
        for node in graph.node:
            op = (node.domain, node.op_type)
            positions = _SHARED_INPUTS.get(op, ())
            for position, name in enumerate(node.input):
                fits = position in positions and (name not in half or op in _HALF_SHARED)
                (read if fits else blocked).add(name)
    return frozenset(read - blocked)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all graphs inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from graphs(inner)


def _declare(model: onnx.ModelProto, name: str, weight: Weight) -> onnx.TensorProto:
    """A placeholder for a weight that the model does not list."""
    proto: onnx.TensorProto = model.graph.initializer.add(name=name, data_type=_code(weight), dims=tuple(weight.shape))
    return proto


def _point_nowhere(proto: onnx.TensorProto) -> None:
    proto.ClearField("external_data")
    proto.data_location = onnx.TensorProto.EXTERNAL
    for key, item in (("location", _NOWHERE), ("offset", "0"), ("length", str(_byte_size(proto)))):
        proto.external_data.add(key=key, value=item)


def _write(proto: onnx.TensorProto, weight: Weight) -> None:
    """Give a placeholder its content.

    Little endian, row-major, elements below a byte packed (ONNX IR spec, "Serialized tensor data").
    """
    proto.ClearField("external_data")
    proto.ClearField("data_location")
    row = dtype(proto.data_type)
    array = _bytes(_plain(weight)) if isinstance(weight, torch.Tensor) else np.ascontiguousarray(weight)
    proto.raw_data = (_packed(array, row, proto.dims) if row.bits < 8 else array).tobytes()


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor without gradient, laziness or holes, on the CPU; itself where it is so already."""
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    flat: np.ndarray = tensor.reshape(-1).view(torch.uint8).numpy()
    return flat


def _code(weight: Weight) -> int:
    """The ONNX dtype of a weight. Raises UnsupportedDtype."""
    try:
        row = dtype(weight.dtype)
    except dtypes.DTypeError as error:
        raise _unsupported(weight, str(error)) from error
    if not row.code:
        raise _unsupported(weight, f"ONNX has no {row.name}")
    return row.code


def _unsupported(weight: Weight, cause: str) -> errors.UnsupportedDtype:
    return errors.UnsupportedDtype(
        f"a weight of dtype {weight.dtype} cannot be given to the runtime",
        cause=cause,
        cure="cast or dequantize it in the model",
    )


def _byte_size(proto: onnx.TensorProto) -> int:
    return dtype(proto.data_type).nbytes(math.prod(proto.dims))


def _packed(array: np.ndarray, row: DType, dims: Sequence[int]) -> np.ndarray:
    """The bytes of elements below a byte, the first in the lowest bits; bytes that are packed already stay."""
    single = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if single.size == row.nbytes(math.prod(dims)):
        return single
    return np.frombuffer(onnx.numpy_helper.from_array(single.view(row.numpy)).raw_data, np.uint8)


def _spread(packed: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
    """An array of one byte per element that starts with the packed bytes: the runtime takes its shape from the array,
    and reads no further.

    What is beyond the packed bytes is never touched, and so takes no memory.
    """
    spread = np.empty(dims, np.uint8)
    spread.reshape(-1)[: packed.size] = packed
    return spread
