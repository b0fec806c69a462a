"""What the runtime's kernels do not take empty: each shown in a bare session, and right in a compiled model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fxonnx
from fxonnx import dtypes
from fxonnx.emit.onnx import emit
from fxonnx.emit.weights import inline_model
from fxonnx.ir.build import Builder
from fxonnx.ir.dims import symbol
from fxonnx.ir.types import TensorType
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.runtime.failures import runtime_errors
from fxonnx.runtime.nonempty import SIZES, never_empty
from fxonnx.target import Target

TARGET = Target.onnxruntime().at(24)

REFUSED: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    # operator: (how it is recorded, the shapes at which the kernel stops)
    "Attention": (lambda op, x: op.Attention(x, x, x), [(0, 2, 3, 4), (2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)]),
    "AveragePool": (lambda op, x: op.AveragePool(x, kernel_shape=[1, 1]), [(2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)]),
    "Conv": (lambda op, x: op.Conv(x, np.ones((2, 2, 1, 1), np.float32)), [(2, 2, 0, 4), (2, 2, 3, 0)]),
    "ConvTranspose": (
        lambda op, x: op.ConvTranspose(x, np.ones((2, 2, 1, 1), np.float32)), [(2, 2, 0, 4), (2, 2, 3, 0)]
    ),
    "Gather": (lambda op, x: op.Gather(x, np.array([0, -1]), axis=-1), [(2, 2, 3, 0)]),
    "GlobalAveragePool": (lambda op, x: op.GlobalAveragePool(x), [(2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)]),
    "GlobalMaxPool": (lambda op, x: op.GlobalMaxPool(x), [(2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)]),
    "LayerNormalization": (
        lambda op, x: op.LayerNormalization(x, np.float32(1), axis=2), [(2, 2, 0, 4), (2, 2, 3, 0)]
    ),
    "LpPool": (lambda op, x: op.LpPool(x, kernel_shape=[1, 1]), [(2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)]),
    "MaxPool": (lambda op, x: op.MaxPool(x, kernel_shape=[1, 1]), [(2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)]),
    "Pad": (
        lambda op, x: op.Pad(x, [0, 0, 0, 0, 0, 0, 0, 1], mode="wrap"),
        [(0, 2, 3, 4), (2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)],
    ),
    "RMSNormalization": (lambda op, x: op.RMSNormalization(x, np.float32(1), axis=3), [(2, 2, 3, 0)]),
    "Reshape": (lambda op, x: op.Reshape(x, [0, 0, 1, -1]), [(0, 2, 3, 4), (2, 0, 3, 4)]),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_the_kernel_stops_where_the_table_says(name: str) -> None:
    record, shapes = REFUSED[name]
    op = Builder()
    dims = tuple(map(symbol, "abcd"))
    x = op.input(TensorType(dtypes.FLOAT32, (dims[0], 2, *dims[2:]) if "Conv" in name else dims), "x")
    found = record(op, x)
    graph = LEGALIZE(op.finish([found[0] if isinstance(found, tuple) else found], ["y"]), TARGET)
    assert never_empty(graph) == {dims[axis] for shape in shapes for axis in range(4) if shape[axis] == 0}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(inline_model(emit(graph)).SerializeToString(), options)
    for shape in shapes:
        with pytest.raises(runtime_errors()):
            session.run(None, {"x": np.zeros(shape, np.float32)})


MODELS: dict[str, Callable[[Tensor], Any]] = {
    "heads of nothing": lambda x: F.scaled_dot_product_attention(x, x, x[..., :1].exp()) if x.shape[3] < 9 else x,
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 2, x + 1, is_causal=True),
    "circular": lambda x: F.pad(x, (1, 2, 0, 1), mode="circular"),
    "layer norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "root mean square norm": lambda x: F.rms_norm(x, x.shape[-2:]) + x.shape[0],
    "convolution": lambda x: F.conv2d(x, torch.ones(1, 2, 1, 2), padding=(1, 1)),
    "heads": lambda x: (x * 2).view(*x.shape[:2], 1, 1, *x.shape[2:]),
    "rows times rows": lambda x: torch.einsum("bhij,bhij->bh", x, x),
    "trapezoids": lambda x: torch.trapezoid(x, dim=2) + torch.trapezoid(x, dim=0).sum(1),
    "keys alone": lambda x: F.scaled_dot_product_attention(x[:, :, :2] * 0 + 1, x, x) if x.shape[2] > 3 else x.exp(),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_call_of_nothing(name: str) -> None:
    """From an example of larger sizes and from one of size 0, any axis empty, and larger sizes after that."""
    model = MODELS[name]
    for example in ((3, 2, 4, 5), (0, 2, 4, 5)):
        compiled = fxonnx.compile(model, torch.randn(example), dynamic_shapes={"x": {0: "a", 2: "c", 3: "d"}})
        for shape in ((0, 2, 4, 5), (3, 2, 0, 5), (3, 2, 4, 0), (0, 2, 0, 5), (5, 2, 6, 3), (1, 2, 7, 5)):
            x = torch.randn(shape)
            try:
                wanted = model(x)
            except RuntimeError:  # torch continues no axis of size 0
                continue
            for _ in range(2):
                torch.testing.assert_close(compiled(x), wanted, equal_nan=True)
        assert "a = 0" not in compiled.model_proto().doc_string or name not in ("attention", "circular")
