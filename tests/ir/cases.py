"""Calls of operators: one or more for each that has inference or a numpy function of its own."""

from dataclasses import dataclass, field

import ml_dtypes  # noqa: F401  registers bfloat16 with numpy
import numpy as np

from fxonnx import dtypes
from fxonnx.ir import schema
from fxonnx.ir.data import ArrayData
from fxonnx.ir.dims import symbol
from fxonnx.ir.graph import Node, Value
from fxonnx.ir.infer import Call
from fxonnx.ir.types import TensorType, parse_type

LARGEST = 2**62


@dataclass(frozen=True)
class Case:
    """A call. Inputs are types, whose contents are random, or contents, which are constants, or None."""

    op: str
    inputs: tuple = ()
    attributes: dict = field(default_factory=dict)
    outputs: int = 1

    def __str__(self):
        return f"{self.op}({', '.join(map(str, self.inputs))}) {self.attributes}".replace("'", "")

    def arrays(self):
        """The contents of the inputs; the same at every run."""
        random = np.random.default_rng(len(str(self)))
        return [each if each is None or isinstance(each, np.ndarray) else content(each, random) for each in self.inputs]

    def call(self, symbolic=False):
        """The call as inference sees it. With `symbolic`, sizes from 2 up are symbols: size 3 is `s3` everywhere."""
        new = iter(range(1000))
        inputs = tuple(None if each is None else value(each, symbolic) for each in self.inputs)
        facts = schema.facts(self.op)
        return Call(self.op, facts, inputs, self.attributes, self.outputs, lambda: symbol(f"_{next(new)}"))

    def node(self):
        """The call as a node, whose outputs have no real types."""
        outputs = tuple(Value(TensorType(dtypes.FLOAT32, ())) for _ in range(self.outputs))
        return Node(self.op, self.call().inputs, outputs, self.attributes)


def content(spelled, random):
    """Random elements of a type: floats around 0, ints from 1 to 3."""
    type = parse_type(spelled.removeprefix("!"))
    shape = tuple(type.shape)
    if type.dtype.is_integer:
        return random.integers(1, 4, shape).astype(type.dtype.numpy)
    if type.dtype is dtypes.BOOL:
        return random.integers(0, 2, shape).astype(bool)
    return (random.random(shape) * 1.6 - 0.8).astype(type.dtype.numpy)


def value(each, symbolic):
    """A constant, or a value of a type with or without symbols."""
    if isinstance(each, np.ndarray):
        data = ArrayData(each)
        return Value(TensorType(data.dtype, data.shape), data=data)
    type = parse_type(each.removeprefix("!"))
    symbolic = symbolic and not each.startswith("!")
    shape = tuple(symbol(f"s{dim}") if symbolic and dim > 1 else dim for dim in type.shape)
    return Value(TensorType(type.dtype, shape))


def case(op, *inputs, _outputs=1, **attributes):
    """A case; lists and numbers are constants, ints int64 and floats float32, types that begin with "!" stay static."""
    read = [
        np.array(i, np.float32 if np.array(i).dtype.kind == "f" else np.int64)
        if isinstance(i, (list, int, float))
        else i
        for i in inputs
    ]
    return Case(op, tuple(read), attributes, _outputs)


F, G = "f32[2,3,4]", "f32[2,3]"
UNARY = [
    "Abs", "Acos", "Asin", "Asinh", "Atan", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "Hardmax", "Identity", "LeakyRelu", "LogSoftmax", "LpNormalization", "Mish",
    "Neg", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax",
    "Softplus", "Softsign", "Swish", "Tan", "Tanh", "ThresholdedRelu", "IsNaN", "IsInf", "Bernoulli",
    "RandomNormalLike", "RandomUniformLike", "Shape", "Size", "NonZero", "DynamicQuantizeLinear",
]  # fmt: skip
BINARY = [
    "Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Equal", "Less", "LessOrEqual", "Greater",
    "GreaterOrEqual",
]  # fmt: skip
REDUCTIONS = [
    "L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare",
]  # fmt: skip
F8 = np.linspace(0.5, 3, 24, dtype=np.float32).reshape(2, 3, 4)

CASES = [
    *(case(op, F, _outputs=3 if op == "DynamicQuantizeLinear" else 1) for op in UNARY),
    *(case(op, F8) for op in ("Log", "Sqrt", "ReduceLogSum")),
    case("Acosh", np.array([1.5, 3], np.float32)),
    case("Atanh", np.array([0.5, -0.5], np.float32)),
    *(case(op, F, "f32[3,1]") for op in BINARY),
    *(case(op, "i32[2,3]", "i32[3]") for op in BINARY if op not in ("Mean", "Sum")),
    case("Pow", F8, "f32[4]"),
    case("Pow", "i32[3]", [2]),
    case("Pow", "f32[3]", "i64[1]"),
    case("Mod", "i64[2,3]", [2]),
    case("Mod", np.array([-7, 7, -7]), np.array([3, -3, -3])),
    case("Mod", F, "f32[4]", fmod=1),
    case("Mod", np.array([-7, 7, -7]), np.array([3, -3, -3]), fmod=1),
    case("Div", np.array([-7, 7, -7, 6]), np.array([2, -2, -2, 3])),
    case("Div", np.array([7, 255], np.uint8), np.array([2, 16], np.uint8)),
    *(case(op, "b8[2,3]", "b8[3]") for op in ("And", "Or", "Xor")),
    case("Not", "b8[2,3]"),
    *(case(op, "i32[2,3]", "i32[3]") for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    case("BitwiseNot", "i32[2,3]"),
    case("BitShift", "u8[4]", "u8[1]", direction="LEFT"),
    case("BitShift", "u8[4]", "u8[1]", direction="RIGHT"),
    case("Clip", F, 0.0, 0.5),
    case("Clip", F, None, 0.5),
    case("Clip", F),
    case("Where", "b8[3,1]", F, "f32[4]"),
    case("Cast", F, to=7),
    case("Cast", "i64[3]", to=10),
    case("Cast", F, to=16),
    case("Cast", F, to=9),
    case("Cast", F, to=17),
    case("Cast", F, to=19, saturate=0),
    case("CastLike", F, "i8[2]"),
    case("BitCast", F, to=6),
    case("PRelu", F, "f32[3,1]"),
    case("Dropout", F, _outputs=2),
    case("Trilu", F),
    case("Trilu", F, 1, upper=0),
    case("CumSum", F, 1),
    case("CumSum", F, -1, exclusive=1),
    case("CumSum", "i32[4]", 0, reverse=1),
    case("CumProd", F, 1),
    case("Hardmax", F, axis=1),
    case("Softmax", F, axis=1),
    case("LogSoftmax", F, axis=0),
    case("ReverseSequence", "f32[4,3]", [4, 3, 2]),
    case("Trilu", "f32[3,3]"),
    # normalization
    case("LayerNormalization", F, "!f32[4]", "!f32[4]", _outputs=3),
    case("LayerNormalization", F, "f32[3,4]", axis=1),
    case("BatchNormalization", "f32[2,3,4]", "f32[3]", "f32[3]", "f32[3]", np.ones(3, np.float32)),
    case("BatchNormalization", "f32[2,3,4]", "f32[3]", "f32[3]", "f32[3]", "f32[3]", training_mode=1, _outputs=3),
    case("InstanceNormalization", "f32[2,3,4]", "f32[3]", "f32[3]"),
    case("RMSNormalization", F, "f32[4]"),
    case("GroupNormalization", "f32[2,6,4]", "f32[6]", "f32[6]", num_groups=2),
    case("LRN", "f32[2,3,4,4]", size=3),
    case("MeanVarianceNormalization", "f32[2,3,4,4]"),
    case("RotaryEmbedding", "f32[2,3,4,8]", "f32[2,4,4]", "f32[2,4,4]"),
    case("QuantizeLinear", F, 0.5),
    case("QuantizeLinear", F, 0.5, np.array(0, np.int8)),
    case("QuantizeLinear", F, 0.5, output_dtype=3),
    case("DequantizeLinear", "u8[2,3]", 0.5),
    case("DequantizeLinear", "u8[2,3]", 0.5, np.array(3, np.uint8)),
    case("RandomNormal", shape=(2, 3)),
    case("RandomUniform", shape=(2, 3), dtype=11),
    case("RandomNormalLike", F, dtype=11),
    # shape
    case("Shape", F, start=1),
    case("Shape", F, start=-2, end=-1),
    case("Shape", F, start=2, end=1),
    case("Reshape", F, [3, -1]),
    case("Reshape", F, [0, -1, 2]),
    case("Reshape", F, [24]),
    case("Reshape", "f32[0,3]", [3, 0], allowzero=1),
    case("Reshape", F, [0, 0, -1]),
    case("Reshape", F, [-1]),
    case("Flatten", F),
    case("Flatten", F, axis=0),
    case("Flatten", F, axis=-1),
    case("Flatten", F, axis=3),
    case("Transpose", F),
    case("Transpose", F, perm=(1, 0, 2)),
    case("Transpose", "f32[]"),
    case("Squeeze", "f32[1,3,1]"),
    case("Squeeze", "f32[1,3,1]", [-1]),
    case("Unsqueeze", G, [0, -1]),
    case("Unsqueeze", G, [1]),
    case("Expand", "f32[3,1]", [2, 1, 4]),
    case("Expand", "f32[3,1]", [1]),
    case("Expand", G, [4, 2, 3]),
    case("Tile", G, [2, 1]),
    case("Concat", G, "f32[4,3]", axis=0),
    case("Concat", G, G, G, axis=-1),
    case("Split", F, [1, 3], _outputs=2, axis=2),
    case("Split", "f32[7,2]", num_outputs=3, _outputs=3),
    case("Split", F, num_outputs=2, _outputs=2, axis=-1),
    case("Gather", F, [1, -1], axis=1),
    case("Gather", F, "i64[2,2]", axis=2),
    case("Gather", F, 0),
    case("Gather", F, -1, axis=-1),
    case("GatherElements", F, np.array([[[0], [-1], [1]]]), axis=1),
    case("GatherElements", G, np.array([[0, 2]]), axis=-1),
    case("GatherND", F, np.array([[0, 1], [1, -1]])),
    case("GatherND", F, np.array([[0], [1]]), batch_dims=1),
    case("ScatterElements", G, np.array([[0, 1, 0]]), "f32[1,3]"),
    case("ScatterND", G, np.array([[0], [1]]), "f32[2,3]"),
    case("TensorScatter", "f32[2,4,3]", "f32[2,1,3]"),
    case("ConstantOfShape", [2, 3]),
    case("ConstantOfShape", [2, 0], value=np.array([7])),
    case("ConstantOfShape", np.array([], np.int64)),
    case("Range", 1, 8, 3),
    case("Range", 8, 1, -3),
    case("Range", 3, 1, 1),
    case("Range", 0.0, 1.0, 0.3),
    case("AffineGrid", "f32[2,2,3]", [2, 1, 3, 4]),
    case("AffineGrid", "f32[2,3,4]", [2, 1, 3, 4, 2], align_corners=1),
    case("Pad", G, [1, 0, 2, 0]),
    case("Pad", G, [1, 1], 7.0, [1]),
    case("Pad", G, [0, 2, 0, 1], mode="reflect"),
    case("Pad", G, [0, 2, 0, 1], mode="edge"),
    case("Pad", G, [0, -1, 0, 1]),
    case("Pad", G, [0, 1, 0, 1], mode="wrap"),
    case("OneHot", "i64[2,3]", 5, [0.0, 1.0]),
    case("OneHot", "i64[2,3]", 5, [0.0, 1.0], axis=0),
    case("DepthToSpace", "f32[1,8,2,3]", blocksize=2),
    case("SpaceToDepth", "f32[1,2,4,6]", blocksize=2),
    case("Resize", "f32[1,1,4,6]", None, [1.0, 1.0, 2.0, 0.5]),
    case("Resize", "f32[1,1,4,6]", None, None, [1, 1, 3, 9]),
    case("Resize", "f32[1,1,4,6]", None, None, [3, 9], axes=(2, 3)),
    case("Resize", "f32[1,1,5,6]", None, [1.3], axes=(2,)),
    *(
        case("Slice", "f32[7,3]", [s], [e], [0], [t])
        for s, e, t in (
            (1, LARGEST, 1),
            (-3, LARGEST, 1),
            (0, -1, 1),
            (1, -1, 2),
            (2, 5, 1),
            (5, 2, 1),
            (-1, -LARGEST, -1),
            (-1, -LARGEST, -2),
            (5, 1, -2),
            (-100, 100, 3),
            (100, 200, 1),
            (0, 0, 1),
            (-4, -2, 1),
        )
    ),
    case("Slice", F, [0, 1], [1, 3]),
    case("Slice", F, [1], [3], [-1]),
    # sums
    case("MatMul", "f32[2,3,4]", "f32[4,5]"),
    case("MatMul", "f32[4]", "f32[2,4,3]"),
    case("MatMul", "f32[2,3]", "f32[3]"),
    case("MatMul", "f32[3]", "f32[3]"),
    case("MatMul", "f32[5,1,2,3]", "f32[4,3,2]"),
    case("MatMul", "i32[2,3]", "i32[3,2]"),
    case("MatMulInteger", "u8[2,3]", "i8[3,4]"),
    case("MatMulInteger", "u8[2,3]", "i8[3,4]", np.array(2, np.uint8)),
    case("Gemm", "f32[3,2]", "f32[2,4]", "f32[4]"),
    case("Gemm", "f32[3,2]", "f32[4,2]", transB=1, alpha=0.5),
    case("Gemm", "f32[2,3]", "f32[4,2]", "f32[3,1]", transA=1, transB=1, beta=2.0),
    case("Einsum", "f32[2,3]", "f32[3,4]", equation="ij, jk -> ik"),
    case("Einsum", "f32[2,3]", "f32[3,4]", equation="ij,jk"),
    case("Einsum", "f32[5,2,3]", "f32[5,3,4]", equation="...ij,...jk->...ik"),
    case("Einsum", "f32[3,3]", equation="ii->i"),
    *(
        case(f"Reduce{op}", F, **more)
        for op in REDUCTIONS
        for more in ({}, {"keepdims": 0}, {"noop_with_empty_axes": 1})
    ),
    *(case(f"Reduce{op}", F, [-1, 0]) for op in REDUCTIONS),
    *(case(f"Reduce{op}", "i32[2,3]", [1]) for op in ("Sum", "Max", "Prod")),
    case("ReduceMax", "f32[2,0]", [1]),
    case("ReduceSum", "f32[2,0]", [1]),
    case("ReduceMin", "f32[0]"),
    case("ReduceMax", "b8[2,3]", [1]),
    case("ReduceMean", np.array([[-7, 2], [3, 3]], np.int32), [1]),
    *(
        case(op, F, **more)
        for op in ("ArgMax", "ArgMin")
        for more in ({}, {"axis": -1, "keepdims": 0}, {"axis": 1, "select_last_index": 1})
    ),
    case("TopK", F, [2], _outputs=2),
    case("TopK", "f32[5,3]", [3], axis=0, _outputs=2),
    case("GridSample", "f32[2,3,4,5]", "f32[2,6,7,2]"),
    # spectra
    case("DFT", "f32[2,16,1]"),
    case("DFT", "f32[2,16,2]", 20, 1),
    case("DFT", "f32[2,3,16,1]", None, -2, onesided=1),
    case("DFT", "f32[2,9,2]", 16, 1, onesided=1, inverse=1),
    case("STFT", "f32[2,64,1]", 8, "!f32[16]"),
    case("STFT", "f32[2,64,1]", 8, "!f32[16]", 16, onesided=0),
    *(case(op, 10) for op in ("HannWindow", "HammingWindow", "BlackmanWindow")),
    case("HannWindow", 10, output_datatype=11),
    # windows
    *(
        case(op, "f32[2,3,9,8]", "!f32[4,3,3,3]", **more)
        for op in ("Conv",)
        for more in (
            {},
            {"pads": (1, 2, 0, 1)},
            {"strides": (2, 3)},
            {"dilations": (2, 1), "strides": (1, 2)},
            {"auto_pad": "SAME_UPPER", "strides": (2, 2)},
        )
    ),
    case("Conv", "f32[2,4,9]", "!f32[6,2,3]", group=2, kernel_shape=(3,)),
    case("ConvInteger", "u8[1,1,5,5]", "!u8[2,1,3,3]"),
    *(
        case("ConvTranspose", "f32[1,3,5,4]", "!f32[3,2,3,3]", **more)
        for more in (
            {},
            {"strides": (2, 3), "output_padding": (1, 2)},
            {"pads": (1, 1, 1, 1), "dilations": (2, 1)},
            {"group": 3},
            {"strides": (2, 2), "auto_pad": "SAME_UPPER"},
            {"strides": (2, 2), "output_shape": (11, 9)},
        )
    ),
    *(
        case(op, "f32[2,3,9,8]", kernel_shape=(3, 2), **more)
        for op in ("MaxPool", "AveragePool")
        for more in (
            {},
            {"strides": (2, 2)},
            {"strides": (2, 3), "ceil_mode": 1},
            {"pads": (1, 1, 1, 1), "strides": (2, 2)},
            {"pads": (1, 0, 1, 0), "strides": (3, 3), "ceil_mode": 1},
            {"dilations": (2, 2)},
            {"auto_pad": "SAME_LOWER", "strides": (2, 2)},
        )
    ),
    case("MaxPool", "f32[1,1,6,6]", kernel_shape=(2, 2), strides=(2, 2), _outputs=2),
    case("LpPool", "f32[1,1,6,6]", kernel_shape=(2, 2)),
    case("MaxPool", "f32[1,1,5,5]", kernel_shape=(2, 2), strides=(4, 4), ceil_mode=1),
    *(case(op, "f32[1,1,5]", kernel_shape=(1,), strides=(3,), ceil_mode=1) for op in ("AveragePool", "MaxPool")),
    *(case(op, "f32[2,3,9,8]") for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")),
    # recurrences and attention
    case("LSTM", "f32[5,2,3]", "!f32[1,16,3]", "!f32[1,16,4]", hidden_size=4, _outputs=3),
    case("LSTM", "f32[2,5,3]", "!f32[1,16,3]", "!f32[1,16,4]", hidden_size=4, layout=1, _outputs=3),
    case("GRU", "f32[5,2,3]", "!f32[1,12,3]", "!f32[1,12,4]", hidden_size=4, _outputs=2),
    case("RNN", "f32[5,2,3]", "!f32[2,4,3]", "!f32[2,4,4]", hidden_size=4, direction="bidirectional", _outputs=2),
    case("Attention", "f32[2,4,5,8]", "f32[2,2,6,8]", "f32[2,2,6,7]"),
    case("Attention", "f32[2,5,32]", "f32[2,6,16]", "f32[2,6,16]", q_num_heads=4, kv_num_heads=2),
    case("Attention", "f32[2,4,5,8]", "f32[2,4,6,8]", "f32[2,4,6,8]", None, "f32[2,4,3,8]", "f32[2,4,3,8]", _outputs=3),
    case("Attention", "f32[2,4,5,8]", "f32[2,4,6,8]", "f32[2,4,6,8]", None, "f32[2,4,3,8]", "f32[2,4,3,8]", _outputs=4),
]
