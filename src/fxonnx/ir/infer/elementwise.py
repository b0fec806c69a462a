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


@infers("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Sum", "Mean")
@infers("And", "Or", "Xor", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor")
def broadcasting(call: Call) -> TensorType:
    """The broadcast shape with the first input's dtype."""
    return TensorType(call.dtype(), broadcast(*(call.shape(i) for i in range(len(call.inputs)))))


@infers("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
def comparison(call: Call) -> TensorType:
    """The broadcast shape, bool."""
    return TensorType(dtypes.BOOL, broadcast(call.shape(0), call.shape(1)))


@infers("IsNaN", "IsInf")
def predicate(call: Call) -> TensorType:
    """The first input's shape, bool."""
    return TensorType(dtypes.BOOL, call.shape())


@infers("Where")
def where(call: Call) -> TensorType:
    """All three inputs broadcast, with the dtype of the branches."""
    return TensorType(call.dtype(1), broadcast(call.shape(0), call.shape(1), call.shape(2)))


@infers("Cast", "BitCast")
def cast(call: Call) -> TensorType:
    """The first input's shape in dtype `to`."""
    return TensorType(dtypes.dtype(call.attributes["to"]), call.shape())


@infers("CastLike")
def cast_like(call: Call) -> TensorType:
    """The first input's shape in the second's dtype."""
    return TensorType(call.dtype(1), call.shape())


@infers("QuantizeLinear")
def quantize_linear(call: Call) -> TensorType:
    """The dtype of the zero point, else `output_dtype`, else uint8."""
    if call.has(2):
        return TensorType(call.dtype(2), call.shape())
    code = call.attribute("output_dtype", 0)
    return TensorType(dtypes.dtype(code) if code else dtypes.UINT8, call.shape())


@infers("DequantizeLinear")
def dequantize_linear(call: Call) -> TensorType:
    """The dtype of the scale, unless `output_dtype` says otherwise."""
    code = call.attribute("output_dtype", 0)
    return TensorType(dtypes.dtype(code) if code else call.dtype(1), call.shape())


@infers("DynamicQuantizeLinear")
def dynamic_quantize_linear(call: Call) -> tuple[TensorType, ...]:
    """Quantized uint8, its float32 scale and its uint8 zero point."""
    return TensorType(dtypes.UINT8, call.shape()), TensorType(dtypes.FLOAT32, ()), TensorType(dtypes.UINT8, ())


@infers("Dropout")
def dropout(call: Call) -> tuple[TensorType, ...]:
    """The input's type, and a bool mask."""
    return call.value(0).type, TensorType(dtypes.BOOL, call.shape())


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


@infers("RandomNormalLike", "RandomUniformLike", "Bernoulli")
def random_like(call: Call) -> TensorType:
    """The input's shape in `dtype`, else in the input's own."""
    code = call.attributes.get("dtype")
    return TensorType(call.dtype() if code is None else dtypes.dtype(code), call.shape())


@infers("RandomNormal", "RandomUniform")
def random(call: Call) -> TensorType:
    """The `shape` attribute in `dtype`."""
    return TensorType(dtypes.dtype(call.attribute("dtype", 1)), tuple(call.attributes["shape"]))
