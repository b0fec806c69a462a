"""Operators that keep a shape, or broadcast several."""

from __future__ import annotations

from fxonnx import dtypes
from fxonnx.ir.infer.call import Call, broadcast, infers
from fxonnx.ir.types import TensorType

_LIKE_FIRST = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu", "Clip", "Cos", "Cosh",
    "CumProd", "CumSum", "Elu", "Erf", "Exp", "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish",
    "Hardmax", "Identity", "InstanceNormalization", "LRN", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization",
    "MeanVarianceNormalization", "Mish", "Neg", "Not", "PRelu", "RMSNormalization", "Reciprocal", "Relu",
    "ReverseSequence", "RotaryEmbedding", "Round", "ScatterElements", "ScatterND", "Selu", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "TensorScatter",
    "ThresholdedRelu", "Trilu",
)  # fmt: skip


@infers(*_LIKE_FIRST)
def like_first(call: Call) -> TensorType:
    """The type of the first input."""
    return call.value(0).type


_COMPARISONS = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "IsNaN", "IsInf")


@infers("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Sum", "Mean", "Where", *_COMPARISONS)
@infers("And", "Or", "Xor", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor")
def broadcasting(call: Call) -> TensorType:
    """The broadcast shape: bool of comparisons, else with the dtype of the first operand or branch."""
    dtype = dtypes.BOOL if call.op in _COMPARISONS else call.dtype(1 if call.op == "Where" else 0)
    return TensorType(dtype, broadcast(*(call.shape(i) for i in range(len(call.inputs)))))


@infers("Cast", "BitCast")
def cast(call: Call) -> TensorType:
    """The first input's shape in dtype `to`."""
    return TensorType(dtypes.dtype(call.attributes["to"]), call.shape())


@infers("LayerNormalization")
def layer_normalization(call: Call) -> tuple[TensorType, ...]:
    """The input's type; mean and inverse deviation keep the leading axes and have size 1 in the normalized ones."""
    axis = call.axis(default=-1)
    statistics = tuple(dim if index < axis else 1 for index, dim in enumerate(call.shape()))
    stash = dtypes.dtype(call.attribute("stash_type", 1))
    return call.value(0).type, TensorType(stash, statistics), TensorType(stash, statistics)


@infers("BatchNormalization")
def batch_normalization(call: Call) -> tuple[TensorType, ...]:
    """The input's type; in training mode also the running mean and variance."""
    return call.value(0).type, call.value(3).type, call.value(4).type
