"""Operators that sum over axes: products, convolutions, pools, reductions, recurrences, attention."""

from __future__ import annotations

from fxonnx import dtypes
from fxonnx.ir.dims import Dim, Shape, ceil_divide, floor_divide, minimum
from fxonnx.ir.infer.call import Call, CannotInfer, Contradiction, Inferred, broadcast, infers
from fxonnx.ir.infer.fallback import infer_by_onnx
from fxonnx.ir.infer.shaping import normalize
from fxonnx.ir.types import TensorType


@infers("MatMul")
def matmul(call: Call) -> TensorType:
    """numpy.matmul: leading axes broadcast, vectors lose their axis."""
    return TensorType(call.dtype(), matmul_shape(call.shape(0), call.shape(1)))


def matmul_shape(left: Shape, right: Shape) -> Shape:
    """The shape of numpy.matmul."""
    check_equal("MatMul", left[-1], right[-2] if len(right) > 1 else right[-1])
    rows = left[-2:-1]
    columns = right[-1:] if len(right) > 1 else ()
    return (*broadcast(left[:-2], right[:-2]), *rows, *columns)


@infers("Gemm")
def gemm(call: Call) -> TensorType:
    """[M, N] of A (transposed if `transA`) and B (transposed if `transB`)."""
    rows, depth = reversed(call.shape(0)) if call.attribute("transA", 0) else call.shape(0)
    height, columns = reversed(call.shape(1)) if call.attribute("transB", 0) else call.shape(1)
    check_equal("Gemm", depth, height)
    return TensorType(call.dtype(), (rows, columns))


def check_equal(op: str, left: Dim, right: Dim) -> None:
    """Raise Contradiction where two sizes that must be equal are different ints."""
    if isinstance(left, int) and isinstance(right, int) and left != right:
        raise Contradiction(f"{op} sums over an axis of size {left} on one side and {right} on the other")


def window_size(size: Dim, kernel: Dim, stride: int, dilation: int, pads: tuple[int, int], ceil: bool) -> Dim:
    """How many positions a window of `kernel` elements takes along an axis of `size` with `pads` before and behind.

    With `ceil`, the last one may reach past the end, but not begin there (ONNX AveragePool, "ceil_mode").
    """
    span = size + sum(pads) - dilation * (kernel - 1) - 1
    if not ceil:
        return floor_divide(span, stride) + 1
    return minimum(ceil_divide(span, stride) + 1, ceil_divide(size + pads[0], stride))


def _strides_dilations_pads(call: Call, count: int) -> tuple[tuple[int, ...], ...]:
    defaults = {"strides": (1,) * count, "dilations": (1,) * count, "pads": (0,) * (2 * count)}
    return tuple(call.attributes.get(name) or default for name, default in defaults.items())


def _windows(call: Call, spatial: Shape, kernel: Shape) -> Shape:
    count = len(spatial)
    strides, dilations, pads = _strides_dilations_pads(call, count)
    if call.attribute("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return tuple(ceil_divide(size, stride) for size, stride in zip(spatial, strides, strict=True))
    ceil = bool(call.attribute("ceil_mode", 0))
    return tuple(
        window_size(size, kernel[i], strides[i], dilations[i], (pads[i], pads[i + count]), ceil)
        for i, size in enumerate(spatial)
    )


@infers("Conv", "ConvInteger")
def conv(call: Call) -> TensorType:
    """[N, M, spatial…] for weights [M, C/group, kernel…]."""
    dtype = dtypes.INT32 if call.op == "ConvInteger" else call.dtype()
    return TensorType(dtype, (call.shape()[0], call.shape(1)[0], *_windows(call, call.shape()[2:], call.shape(1)[2:])))


@infers("ConvTranspose")
def conv_transpose(call: Call) -> TensorType:
    """stride * (size - 1) + output_padding + dilation * (kernel - 1) + 1 - pads per spatial axis."""
    kernel, spatial = call.shape(1)[2:], call.shape()[2:]
    count = len(spatial)
    strides, dilations, pads = _strides_dilations_pads(call, count)
    extra = call.attributes.get("output_padding") or (0,) * count
    sizes: Shape = call.attributes.get("output_shape") or ()
    if not sizes and call.attribute("auto_pad", "NOTSET").startswith("SAME"):
        sizes = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
    sizes = sizes or tuple(
        strides[i] * (size - 1) + extra[i] + dilations[i] * (kernel[i] - 1) + 1 - pads[i] - pads[i + count]
        for i, size in enumerate(spatial)
    )
    return TensorType(call.dtype(), (call.shape()[0], call.shape(1)[1] * call.attribute("group", 1), *sizes))


@infers("MaxPool", "AveragePool", "LpPool")
def pool(call: Call) -> tuple[TensorType, ...]:
    """Windows over the spatial axes; MaxPool's second output are the positions of the maxima."""
    shape = (*call.shape()[:2], *_windows(call, call.shape()[2:], call.attributes["kernel_shape"]))
    return TensorType(call.dtype(), shape), TensorType(dtypes.INT64, shape)


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


@infers(*(f"Reduce{name}" for name in _REDUCTIONS))
def reduction(call: Call) -> TensorType:
    """The named axes gone, or of size 1 with `keepdims`; all when none is named, unless `noop_with_empty_axes`."""
    axes = call.ints(1)
    if axes is None and call.has(1):
        raise CannotInfer(f"{call.op} over axes that are not constant")
    if not axes and call.attribute("noop_with_empty_axes", 0):
        return call.value(0).type
    gone = set(normalize(axes, call.rank())) if axes else set(range(call.rank()))
    keep, dims = call.attribute("keepdims", 1), enumerate(call.shape())
    return TensorType(call.dtype(), tuple(1 if axis in gone else dim for axis, dim in dims if keep or axis not in gone))


@infers("TopK")
def top_k(call: Call) -> tuple[TensorType, ...]:
    """`k` values along `axis`, and their int64 positions."""
    count, axis = call.known(1), call.axis(default=-1)
    dim = call.new_dim() if count is None else count[0]
    shape = (*call.shape()[:axis], dim, *call.shape()[axis + 1 :])
    return TensorType(call.dtype(), shape), TensorType(dtypes.INT64, shape)


@infers("Attention")
def attention(call: Call) -> tuple[TensorType, ...]:
    """Y like Q with V's head size; the present keys and values are the past ones and the new ones joined."""
    query, key, value = call.shape(0), call.shape(1), call.shape(2)
    if len(query) == 4:
        shapes = [(*query[:3], value[3]), *(_present(call, 4, key, 2), _present(call, 5, value, 2))]
        heads = query[1]
    else:
        heads, shared = call.attributes["q_num_heads"], call.attributes["kv_num_heads"]
        shapes = [(*query[:2], value[2] // shared * heads)]
        for past, whole in ((4, key), (5, value)):
            shapes.append(_present(call, past, (whole[0], shared, whole[1], whole[2] // shared), 2))
    sequence = query[-2]
    shapes.append((query[0], heads, sequence, shapes[1][2]))
    sources = (call.dtype(0), call.dtype(1), call.dtype(2), call.dtype(0))
    return tuple(TensorType(dtype, tuple(shape)) for dtype, shape in zip(sources, shapes, strict=True))


def _present(call: Call, past: int, shape: Shape, axis: int) -> Shape:
    before: Dim = call.shape(past)[axis] if call.has(past) else 0
    return (*shape[:axis], shape[axis] + before, *shape[axis + 1 :])


@infers("Einsum")
def einsum(call: Call) -> Inferred:
    """Each letter of the output has the size it has in an input; an implicit output or `...` is left to ONNX."""
    equation: str = call.attributes["equation"].replace(" ", "")
    terms, arrow, result = equation.partition("->")
    if "..." in equation or not arrow:
        return infer_by_onnx(call)
    sizes: dict[str, Dim] = {}
    for index, term in enumerate(terms.split(",")):
        for letter, dim in zip(term, call.shape(index), strict=True):
            sizes[letter] = dim if sizes.get(letter, 1) == 1 else sizes[letter]
    return TensorType(call.dtype(), tuple(sizes[letter] for letter in result))
