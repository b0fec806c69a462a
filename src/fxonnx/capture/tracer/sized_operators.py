"""torch functions with arguments that its schemas call plain numbers, and that models compute of sizes: windows, pools,
`one_hot`, `unfold`, `fftfreq`; or that torch composes of plain numbers. Where a size is among those they are said by
functions that take sizes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F

from fxonnx.capture.tracer.size_functions import SIZE_FUNCTIONS
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.sizes.twins import twin
from fxonnx.ir.dims import modulo

aten = torch.ops.aten
_NN: Any = torch._C._nn  # the functions of torch.nn.functional that are written in C++


def _is_size(value: Any) -> bool:
    """Whether it is a size, or has one: a None in a list stands for one of the input."""
    if isinstance(value, torch.Tensor):
        return _is_size(tuple(value.shape))
    if isinstance(value, (list, tuple)):
        return any(each is None or _is_size(each) for each in value)
    return isinstance(value, (torch.SymInt, torch.SymFloat))


def _where_sizes(body: Callable[..., Any]) -> Callable[[Any, Any, Any], Any]:
    """The body, which has the function's own parameters, where a size is among the arguments that it says it takes;
    it returns NotImplemented for what it does not say."""
    signature = inspect.signature(body)
    sized = [name for name, each in signature.parameters.items() if "Size" in str(each.annotation)]

    def either(func: Any, args: Any, kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:
            return func(*args, **kwargs)
        has_size = any(_is_size(given.arguments.get(name)) for name in sized)
        result = body(*given.args, **given.kwargs) if has_size else NotImplemented
        return func(*args, **kwargs) if result is NotImplemented else result

    return either


Size = Any  # an int or a torch.SymInt
Sizes = Any  # one for each axis, or one for all
OfSizes = Any  # a tensor whose shape has some

# ── windows ────────────────────────────────────────


def _phases(length: Any, periodic: bool, options: dict[str, Any]) -> torch.Tensor:
    """k / (N - 1) for k from 0 on, or k / N."""
    count = length if periodic else torch.sym_max(length - 1, 1)
    return torch.arange(length, **{"dtype": torch.get_default_dtype(), **options}) / count


def _alone(window: torch.Tensor, length: Any) -> torch.Tensor:
    """A window of one is 1."""
    is_one = torch.sym_max(2 - length, 0)
    return window * (1 - is_one) + is_one


def _cosines(length: Any, periodic: bool, factors: Sequence[float], options: dict[str, Any]) -> torch.Tensor:
    """A sum of cosines with alternating signs."""
    phases = _phases(length, periodic, _made(options))
    terms = (factor * torch.cos(phases * (2 * math.pi * order)) for order, factor in enumerate(factors) if order)
    window = torch.full_like(phases, factors[0])
    for order, term in enumerate(terms):
        window = window + term if order % 2 else window - term
    return _alone(window, length)


def _made(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in ("dtype", "device") and value is not None}


def _hann(window_length: Size, periodic: bool = True, **options: Any) -> torch.Tensor:
    return _cosines(window_length, periodic, (0.5, 0.5), options)


def _hamming(
    window_length: Size, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **options: Any
) -> torch.Tensor:
    return _cosines(window_length, periodic, (alpha, beta), options)


def _blackman(window_length: Size, periodic: bool = True, **options: Any) -> torch.Tensor:
    return _cosines(window_length, periodic, (0.42, 0.5, 0.08), options)


def _bartlett(window_length: Size, periodic: bool = True, **options: Any) -> torch.Tensor:
    return _alone(1 - (2 * _phases(window_length, periodic, _made(options)) - 1).abs(), window_length)


def _fftfreq(n: Size, d: Size = 1.0, **options: Any) -> torch.Tensor:
    """The frequency of each point of a spectrum: 0, 1, … and then the negative ones, over its length."""
    return _frequencies((torch.arange(n) + n // 2) % n - n // 2, n, d, options)


def _rfftfreq(n: Size, d: Size = 1.0, **options: Any) -> torch.Tensor:
    """The frequency of each point of half a spectrum."""
    return _frequencies(torch.arange(n // 2 + 1), n, d, options)


def _frequencies(points: torch.Tensor, n: Any, d: Any, options: dict[str, Any]) -> torch.Tensor:
    return points.to(**{"dtype": torch.get_default_dtype(), **_made(options)}) / (n * d)


def _kaiser(window_length: Size, periodic: bool = True, beta: float = 12.0, **options: Any) -> torch.Tensor:
    """By the modified Bessel function of the first kind, over a half circle."""
    phases = 2 * _phases(window_length, periodic, _made(options)) - 1
    bow = torch.i0(beta * torch.sqrt((1 - phases * phases).clamp(min=0)))
    return _alone(bow / torch.i0(torch.tensor(beta, dtype=bow.dtype)), window_length)


# ── pools ────────────────────────────────────────


def _each(value: Any, count: int) -> list[Any]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * count if len(values) == 1 else values


def _pool(rank: int, func: Any, reduce: str, x: torch.Tensor, kernel: Any, stride: Any, padding: Any, rest: Any) -> Any:
    """A pool whose windows are as long as an axis, or stand side by side: these are reductions."""
    kernels, paddings = _each(kernel, rank), _each(padding, rank)
    strides = kernels if stride is None or stride == [] else _each(stride, rank)
    for at in range(rank):
        axis = at - rank
        if not _is_size(kernels[at]) and not _is_size(strides[at]):
            continue
        windows = _windows(x, axis, kernels[at], strides[at])
        if windows is None or paddings[at] != 0:
            return NotImplemented
        x = getattr(windows, reduce)(axis)
        kernels[at] = strides[at] = 1
    return func(x, kernels, strides, paddings, **rest)


def _windows(x: torch.Tensor, axis: int, kernel: Any, stride: Any) -> torch.Tensor | None:
    """An axis as windows and what is in them, which is last of the two: None where windows overlap or leave gaps."""
    size = x.shape[axis]
    if dim_of(kernel) == dim_of(size):
        return x.unsqueeze(axis - 1)
    if dim_of(kernel) != dim_of(stride):
        return None
    count = size // kernel
    return x.narrow(axis, 0, count * kernel).unflatten(axis, (count, kernel))


def _max_pool(rank: int, func: Any) -> Callable[..., Any]:
    def pool(
        input: torch.Tensor, kernel_size: Sizes, stride: Sizes = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        if ceil_mode or return_indices or set(_each(dilation, rank)) != {1}:
            return NotImplemented
        return _pool(rank, func, "amax", input, kernel_size, stride, padding, {})

    return pool


def _avg_pool(rank: int, func: Any) -> Callable[..., Any]:
    def pool(
        input: torch.Tensor, kernel_size: Sizes, stride: Sizes = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: Any = None,
    ) -> Any:  # fmt: skip
        if ceil_mode or divisor_override is not None:
            return NotImplemented
        rest = {"count_include_pad": count_include_pad}
        return _pool(rank, func, "mean", input, kernel_size, stride, padding, rest)

    return pool


def _adaptive(rank: int, op: Any, results: Any = slice(None)) -> Callable[..., Any]:
    """A pool of as many windows as are wanted, by the op's twin, which takes a size for that; all its results, or
    one."""

    def pool(input: torch.Tensor, output_size: Sizes, return_indices: bool = False) -> Any:
        wanted = zip(_each(output_size, rank), input.shape[-rank:], strict=True)
        found = twin(op)(input, [size if count is None else count for count, size in wanted])
        return found if return_indices else found[results]

    return pool


_mean_pool = _adaptive(1, aten.adaptive_avg_pool1d.default, ...)

# ── others ────────────────────────────────────────


def _interpolate(
    input: torch.Tensor, size: Sizes = None, scale_factor: Sizes = None, mode: str = "nearest",
    align_corners: Any = None, recompute_scale_factor: Any = None, antialias: bool = False,
) -> torch.Tensor:  # fmt: skip
    """To a size, where the factors lead to that without rest, or are computed of it; else by steps of 1 / factor."""
    is_pool = mode == "area" and input.dim() == 3  # which torch calls by a function that takes no sizes
    if size is not None:
        return _mean_pool(input, size) if is_pool else NotImplemented
    factors = _each(scale_factor, input.dim() - 2)
    scaled = [torch.sym_float(each) * factor for each, factor in zip(input.shape[2:], factors, strict=True)]
    sizes = [math.floor(each) for each in scaled]
    if is_pool:
        return _mean_pool(input, sizes)
    if recompute_scale_factor or align_corners or all(map(_is_whole, scaled)):
        return F.interpolate(input, sizes, None, mode, align_corners, None, antialias)
    taps = _TAPS.get(mode)
    if taps is None or antialias:
        return NotImplemented
    for axis, (size, factor) in enumerate(zip(sizes, factors, strict=True), start=2):
        step = torch.full((), 1 / factor, dtype=torch.float32, device=input.device)
        input = _resampled(input, axis, taps(torch.arange(size, dtype=torch.float32, device=input.device), step))
    return input


Taps = Sequence[tuple[torch.Tensor, torch.Tensor | None]]  # places along an axis, and how much of each is taken


def _resampled(x: torch.Tensor, axis: int, taps: Taps) -> torch.Tensor:
    """The elements at some places along an axis, of which none is beyond its ends, weighed and added."""
    total = None
    for places, weights in taps:
        read = x.index_select(axis, torch.clamp(places.to(torch.int64), 0, x.shape[axis] - 1))
        if weights is not None:
            read = read * weights.to(x.dtype).view(-1, *(1,) * (x.dim() - axis - 1))
        total = read if total is None else total + read
    assert total is not None
    return total


def _linear(index: torch.Tensor, step: torch.Tensor) -> Taps:
    place = torch.clamp((index + 0.5) * step - 0.5, min=0)
    first = torch.floor(place)
    return (first, 1 - (place - first)), (first + 1, place - first)


def _cubic(index: torch.Tensor, step: torch.Tensor) -> Taps:
    """Cubic convolution with a = -0.75 (Keys 1981)."""
    place = (index + 0.5) * step - 0.5
    first = torch.floor(place)
    after, a = place - first, -0.75
    distances = after + 1, after, 1 - after, 2 - after
    far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in distances]
    near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in distances]
    return tuple((first + at - 1, (far if at in (0, 3) else near)[at]) for at in range(4))


_TAPS: dict[str, Callable[[torch.Tensor, torch.Tensor], Taps]] = {
    "nearest": lambda index, step: [(torch.floor(index * step), None)],
    "nearest-exact": lambda index, step: [(torch.floor((index + 0.5) * step), None)],
    **dict.fromkeys(("linear", "bilinear", "trilinear"), _linear),
    "bicubic": _cubic,
}


def _is_whole(number: Any) -> bool:
    if isinstance(number, float):
        return number.is_integer()
    quotient = number.node.quotient if isinstance(number, torch.SymFloat) else None
    return quotient is not None and modulo(*quotient) == 0


def _one_hot(input: torch.Tensor, num_classes: Size = -1) -> torch.Tensor:
    return (input.unsqueeze(-1) == torch.arange(num_classes, device=input.device)).to(torch.int64)


def _unfold(self: torch.Tensor, dimension: int, size: Size, step: Size) -> torch.Tensor:
    """Windows of `size` elements, each `step` after the one before, as a new last axis."""
    axis = dimension % self.dim()
    count = (self.shape[axis] - size) // step + 1
    places = torch.arange(count, device=self.device)[:, None] * step + torch.arange(size, device=self.device)
    return self.index_select(axis, places.flatten()).unflatten(axis, (count, size)).movedim(axis + 1, -1)


def _triangle(keep: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def indices(row: Size, col: Size, offset: Size = 0, **options: Any) -> torch.Tensor:
        return keep(torch.ones(row, col, device=options.get("device")), offset).nonzero().t()

    return indices


def _scaled(func: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """Sums of trapezoids `dx` wide: of the points of `x`, where those are given, it is not told."""

    def integral(y: torch.Tensor, x: Any = None, *, dx: Size = 1, dim: int = -1) -> Any:
        return NotImplemented if x is not None else func(y, dim=dim) * dx

    return integral


def _gradient(input: OfSizes, *, spacing: Size = 1, dim: Any = None, edge_order: int = 1) -> Any:
    """Central differences, over one distance for all axes."""
    if isinstance(spacing, (list, tuple)) or not (input.is_floating_point() or input.is_complex()):
        return NotImplemented
    axes = range(input.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    if any(input.shape[axis] <= edge_order for axis in axes):
        return NotImplemented  # which is refused
    return tuple(_differences(input.movedim(axis, 0), edge_order).movedim(0, axis) / spacing for axis in axes)


def _differences(x: torch.Tensor, order: int) -> torch.Tensor:
    """Along the first axis; those at the ends are of as many neighbours as the order says."""
    first, last = x[1:2] - x[:1], x[-1:] - x[-2:-1]
    if order == 2:
        first, last = 1.5 * first - (x[2:3] - x[1:2]) / 2, 1.5 * last - (x[-2:-1] - x[-3:-2]) / 2
    return torch.cat([first, (x[2:] - x[:-2]) / 2, last])


def _combinations(input: OfSizes, r: int = 2, with_replacement: bool = False) -> Any:
    """All pairs of elements, in the order of their places."""
    if r != 2:
        return NotImplemented
    count = input.shape[0]
    first, second = torch.ones(count, count, device=input.device).triu(0 if with_replacement else 1).nonzero().unbind(1)
    return torch.stack([input[first], input[second]], 1)


def _kron(input: OfSizes, other: OfSizes) -> torch.Tensor:
    """Each element of the first times all of the second, in blocks."""
    rank, whole = max(input.dim(), other.dim()), slice(None)
    one, two = (each[(None,) * (rank - each.dim())] for each in (input, other))
    blocks = one[(whole, None) * rank] * two[(None, whole) * rank]
    return blocks.reshape([block * size for block, size in zip(one.shape, two.shape, strict=True)])


def _multi_dot(tensors: OfSizes) -> torch.Tensor:
    """The product from the side that ends in a vector: which order is cheapest hangs on the sizes."""
    first, *rest = tensors
    if rest and rest[-1].dim() == 1:
        return reduce(lambda product, each: each @ product, reversed((first, *rest[:-1])), rest[-1])
    return reduce(torch.matmul, rest, first)


def _vander(x: OfSizes, N: Size = None, increasing: bool = False) -> torch.Tensor:
    """The powers from the last one down to 0, or up."""
    count = x.shape[-1] if N is None else N
    powers = torch.arange(count, device=x.device)
    base = x if x.is_floating_point() or x.is_complex() else x.to(torch.int64)
    return torch.pow(base.unsqueeze(-1), powers if increasing else powers.flip(0))


def _logspace(start: Any, end: Any, steps: Size, base: float = 10.0, **options: Any) -> torch.Tensor:
    return torch.pow(base, SIZE_FUNCTIONS[torch.linspace](torch.linspace, (start, end, steps), options))


def _istft(
    input: torch.Tensor, n_fft: int, hop_length: Any = None, win_length: Any = None, window: Any = None,
    center: bool = True, normalized: bool = False, onesided: Any = None, length: Size = None,
    return_complex: bool = False,
) -> torch.Tensor:  # fmt: skip
    """All of the signal, cut to a length."""
    whole = torch.istft(
        input, n_fft, hop_length, win_length, window, False, normalized, onesided, None, return_complex
    )
    start = n_fft // 2 if center else 0
    signal = whole[..., start : start + length]
    return F.pad(signal, (0, length - signal.shape[-1]))


def _condition(A: OfSizes, p: Any = None) -> Any:
    """A norm of each matrix times that of its inverse, an infinity where that is no number: torch looks whether there
    are elements (ATen/native/LinearAlgebra.cpp, `linalg_cond`)."""
    if p in (None, 2, -2):
        return NotImplemented
    if p == "nuc":
        values = torch.linalg.svdvals(A)
        return values.sum(-1) * values.reciprocal().sum(-1)
    inverse, info = torch.linalg.inv_ex(A)
    inverse = torch.where(info[..., None, None] > 0, torch.inf, inverse)
    found = torch.linalg.matrix_norm(A, p) * torch.linalg.matrix_norm(inverse, p)
    return torch.where(found.isnan(), torch.inf, found)


SIZED_OPERATORS: dict[Any, Callable[[Any, Any, Any], Any]] = {
    torch.hann_window: _where_sizes(_hann),
    torch.hamming_window: _where_sizes(_hamming),
    torch.blackman_window: _where_sizes(_blackman),
    torch.bartlett_window: _where_sizes(_bartlett),
    torch.kaiser_window: _where_sizes(_kaiser),
    torch.fft.fftfreq: _where_sizes(_fftfreq),
    torch.fft.rfftfreq: _where_sizes(_rfftfreq),
    torch.max_pool1d: _where_sizes(_max_pool(1, torch.max_pool1d)),
    torch.max_pool2d: _where_sizes(_max_pool(2, torch.max_pool2d)),
    torch.max_pool3d: _where_sizes(_max_pool(3, torch.max_pool3d)),
    torch.avg_pool1d: _where_sizes(_avg_pool(1, torch.avg_pool1d)),
    _NN.avg_pool2d: _where_sizes(_avg_pool(2, _NN.avg_pool2d)),
    _NN.avg_pool3d: _where_sizes(_avg_pool(3, _NN.avg_pool3d)),
    F.max_pool1d: _where_sizes(_max_pool(1, torch.max_pool1d)),
    F.max_pool2d: _where_sizes(_max_pool(2, torch.max_pool2d)),
    F.max_pool3d: _where_sizes(_max_pool(3, torch.max_pool3d)),
    F.interpolate: _where_sizes(_interpolate),
    torch.adaptive_avg_pool1d: _where_sizes(_mean_pool),
    F.adaptive_max_pool1d: _where_sizes(_adaptive(1, aten.adaptive_max_pool1d.default, 0)),
    F.adaptive_max_pool2d: _where_sizes(_adaptive(2, aten.adaptive_max_pool2d.default, 0)),
    F.adaptive_max_pool3d: _where_sizes(_adaptive(3, aten.adaptive_max_pool3d.default, 0)),
    F.adaptive_max_pool1d_with_indices: _where_sizes(_adaptive(1, aten.adaptive_max_pool1d.default)),
    F.adaptive_max_pool2d_with_indices: _where_sizes(_adaptive(2, aten.adaptive_max_pool2d.default)),
    F.adaptive_max_pool3d_with_indices: _where_sizes(_adaptive(3, aten.adaptive_max_pool3d.default)),
    torch.adaptive_max_pool1d: _where_sizes(_adaptive(1, aten.adaptive_max_pool1d.default)),
    _NN.one_hot: _where_sizes(_one_hot),
    torch.Tensor.unfold: _where_sizes(_unfold),
    torch.triu_indices: _where_sizes(_triangle(torch.triu)),
    torch.tril_indices: _where_sizes(_triangle(torch.tril)),
    torch.logspace: _where_sizes(_logspace),
    torch.istft: _where_sizes(_istft),
    torch.combinations: _where_sizes(_combinations),
    torch.trapezoid: _where_sizes(_scaled(torch.trapezoid)),
    torch.trapz: _where_sizes(_scaled(torch.trapezoid)),
    torch.cumulative_trapezoid: _where_sizes(_scaled(torch.cumulative_trapezoid)),
    torch.gradient: _where_sizes(_gradient),
    torch.kron: _where_sizes(_kron),
    torch.Tensor.kron: _where_sizes(_kron),
    torch.linalg.multi_dot: _where_sizes(_multi_dot),
    torch.vander: _where_sizes(_vander),
    torch.linalg.cond: _where_sizes(_condition),
}
"""function -> (function, args, kwargs) -> its result"""
