"""What torch's kernels refuse and its meta kernels let pass: dtypes that do not go together, a number that its dtype
does not hold, an extremum of nothing.

    x.index_add(0, index, source)      source: float64, x: float32      asked of the kernel, which raises
    torch.full((n,), 300, dtype=torch.uint8)                            asked
    x.gather(0, index)                 x: float32, index: int64         as usual, and not asked

An unusual call is computed once by the op's own kernel, on zeros of the sizes of this run. The ops of the table are
asked for their numbers and sizes too; any other one for its dtypes alone, once for each mix of them. What `sample`
computes on a few elements is asked by that. One 16-bit dtype is usual: GPUs have kernels that the CPU has not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.other_sizes import REFUSALS
from fxonnx.capture.graph.views import storage
from fxonnx.capture.tracer.results.sample import is_sampled
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import no_dispatch, no_python_dispatcher
from fxonnx.ir.dims import Dim

_MOST = 2**24  # elements of all tensors of a call
_MOST_PAIRS = 2**36  # of elements that are multiplied: a kernel that unfolds its windows may end the process beyond
_INDEX, _MASK, _ALONE = frozenset({torch.int64}), frozenset({torch.bool}), frozenset[torch.dtype]()
_BESIDE: dict[str, frozenset[torch.dtype]] = {
    **dict.fromkeys((
        "bincount", "cross_entropy_loss", "embedding_bag", "gather", "index_add", "index_copy", "index_fill",
        "index_reduce", "index_select", "nll_loss", "nll_loss2d", "nll_loss_nd", "one_hot", "put", "scatter",
        "scatter_add", "scatter_reduce", "take", "take_along_dim",
    ), _INDEX),
    "index_put": _INDEX | _MASK,
    **dict.fromkeys(("masked_scatter", "masked_select"), _MASK),
    **dict.fromkeys((
        "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "avg_pool1d",
        "avg_pool2d", "avg_pool3d", "binary_cross_entropy", "conv1d", "conv2d", "conv3d",
        "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "fill", "full", "full_like", "group_norm",
        "huber_loss", "instance_norm", "kthvalue", "max", "max_pool1d", "max_pool2d", "max_pool3d", "median", "min",
        "mode", "_chunk_cat", "diagonal_scatter", "new_full", "pad", "scalar_tensor", "select_scatter", "slice_scatter",
        "smooth_l1_loss", "sort", "topk", "upsample_bicubic2d", "upsample_bilinear2d",
        "upsample_linear1d", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
    ), _ALONE),
}  # fmt: skip
"""op whose numbers and sizes are asked of -> the dtypes that may stand beside one of floating point"""
_IN_RANGE: dict[str, Callable[[float], bool]] = {
    **dict.fromkeys(("stride", "dilation", "groups", "kernel_size", "beta", "delta"), lambda number: number > 0),
    **dict.fromkeys(("padding", "output_padding"), lambda number: number >= 0),
}
"""argument -> what all kernels take for it"""
_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128)
_PLAIN = frozenset((*_WHOLE, *_FLOATS))
_DTYPES_OF_PLACES = (torch.bool, torch.int32, torch.int64, *_FLOATS)
_ONE_FLOAT = dict.fromkeys(_FLOATS, torch.float32)
_USUAL = (_ONE_FLOAT, dict.fromkeys(_WHOLE, torch.int64) | _ONE_FLOAT, dict.fromkeys(_PLAIN, torch.float32))
"""what dtypes are made in a call to see whether they are what is refused"""
_LOOKING_WHEN_DRAWING = frozenset({
    "alpha_dropout", "bernoulli", "dropout", "feature_alpha_dropout", "feature_dropout", "multinomial",
    "native_dropout", "random", "uniform",
})  # fmt: skip
_drawn: set[tuple[Any, tuple[float, ...]]] = set()  # by the kernels, in this process
_taken: dict[tuple[Any, ...], tuple[torch.dtype | None, ...]] = {}  # by the kernels, in this process


def ask_kernel(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], guard_log: GuardLog
) -> tuple[torch.dtype | None, ...]:
    """Raise what the op's own kernel raises for an unusual call on fake tensors, if it is asked; else the dtypes of
    what it returns, as far as it was."""
    if _draws(func):
        kept = {name: value for name, value in kwargs.items() if name != "generator"}
        _ask_to_draw(func, _Given(args, kept, guard_log.data.value))
        return ()
    if not _has_kernel(func) or torch.is_autocast_enabled("cpu") or torch.is_grad_enabled():
        return ()
    leaves = pytree.tree_leaves((args, kwargs))
    tensors = [each for each in leaves if isinstance(each, torch.Tensor)]
    if any(each.device.type != "cpu" or each.dtype not in _PLAIN for each in tensors):
        return ()
    beside = _BESIDE.get(func.overloadpacket.__name__.rstrip("_"))
    if beside is None and (_is_usual_mix([each.dtype for each in tensors]) or _samples(func, tensors)):
        return ()
    key = (func, torch.get_default_dtype(), *map(_kind, leaves))
    if beside is None and key in _taken:
        return _taken[key]
    if beside is not None and _is_usual(tensors, leaves, kwargs, beside) and _are_in_range(func, args, kwargs):
        return ()
    given = _Given(args, kwargs, guard_log.data.value)
    if given.is_large(func):
        return ()
    counts_all = beside is not None and not _selects(tensors, beside)
    with no_dispatch(), no_python_dispatcher():
        try:
            returned = given.call(func)
        except REFUSALS as error:
            if counts_all or given.is_for_dtypes(func, error):
                raise
            return ()  # for sizes: those of another run may go together
    _taken[key] = tuple(each.dtype if isinstance(each, torch.Tensor) else None for each in pytree.tree_leaves(returned))
    return _taken[key]


def _kind(leaf: Any) -> Any:
    """What the dtype of a result can depend on of an argument."""
    if isinstance(leaf, torch.Tensor):
        return leaf.dtype, leaf.dim() == 0
    return leaf if isinstance(leaf, (torch.dtype, str, bool)) else type(leaf)


def as_kernel_has_them(result: Any, args: Any, found: tuple[torch.dtype | None, ...]) -> Any:
    """A result of torch's meta kernel with the dtypes that the op's own kernel gives: statistics of a norm of half
    precision are in float32 where its weights are. What a call writes to, and views, are as they are."""
    leaves, structure = pytree.tree_flatten(result)
    if [getattr(each, "dtype", None) for each in leaves] == list(found) or len(leaves) != len(found):
        return result
    memories = {storage(each) for each in pytree.tree_leaves(args) if isinstance(each, torch.Tensor)}
    return pytree.tree_unflatten([_retyped(*each, memories) for each in zip(leaves, found, strict=True)], structure)


def _retyped(leaf: Any, dtype: torch.dtype | None, memories: Container[int]) -> Any:
    if dtype is None or not isinstance(leaf, torch.Tensor) or leaf.dtype is dtype or storage(leaf) in memories:
        return leaf
    return leaf.new_empty_strided(leaf.shape, leaf.stride(), dtype=dtype)


def _ask_to_draw(func: Any, given: _Given) -> None:
    """Raise what the kernel of an op that draws raises for its numbers, once for each of them: bounds that are none, a
    probability beyond 1. The user's random numbers are where they were."""
    numbers = tuple(each for each in pytree.tree_leaves((given.args, given.kwargs)) if type(each) in (int, float, bool))
    name = func.overloadpacket.__name__
    if (name != "multinomial" and (func, numbers) in _drawn) or given.is_large(func):
        return
    with torch.random.fork_rng(devices=[]), no_dispatch(), no_python_dispatcher():
        given.call(func, _ONE_FLOAT, fill=1)
    _drawn.add((func, numbers))


def raise_refusal(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], guard_log: GuardLog) -> None:
    """Raise what the op's own kernel raises for the sizes of this run."""
    given = _Given(args, kwargs, guard_log.data.value)
    if not given.is_large(func):
        with no_dispatch(), no_python_dispatcher():
            given.call(func)


@dataclass(frozen=True, slots=True)
class _Given:
    """The arguments of a call on fake tensors, and the value of each dim in this run."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: Callable[[Dim], int]

    def is_large(self, func: Any) -> bool:
        """Whether its tensors have too many elements to be computed with; of convolutions each with each."""
        tensors = [each for each in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(each, torch.Tensor)]
        counts = sorted(math.prod(self._sizes(each)) for each in tensors)
        is_of_pairs = "conv" in func.overloadpacket.__name__
        return sum(counts) > _MOST or (is_of_pairs and math.prod(counts[-2:]) > _MOST_PAIRS)

    def call(self, func: Any, dtypes: Mapping[torch.dtype, torch.dtype] = MappingProxyType({}), fill: int = 0) -> Any:
        """What it returns for tensors of one number, of other dtypes for some. Raises what the kernel raises."""
        args, kwargs = pytree.tree_map(lambda leaf: self._concrete(leaf, dtypes, fill), (self.args, self.kwargs))
        return func(*args, **kwargs)

    def is_for_dtypes(self, func: Any, error: Exception) -> bool:
        """Whether the kernel has raised it for the dtypes: of usual ones it raises nothing; and of ones, which divide,
        it does too."""
        if isinstance(error, NotImplementedError):  # "not implemented for 'Bool'"
            return True
        if self._is_for_the_place(func, error):
            return True
        return any(self._is_taken(func, dtypes) for dtypes in _USUAL) and not self._is_taken(func, {}, fill=1)

    def _is_for_the_place(self, func: Any, error: Exception) -> bool:
        """Whether the kernel has raised it for the dtype of out=: into nothing of another one it writes, or, where it
        names the output, raises something else, as it goes on to look at what it is given."""
        if torch.Tag.out not in func.tags or not isinstance(self.kwargs.get("out"), torch.Tensor):
            return False
        places = (torch.empty(0, dtype=dtype) for dtype in _DTYPES_OF_PLACES)
        raised = [_Given(self.args, self.kwargs | {"out": each}, self.value)._raised(func) for each in places]
        own = str(error).partition(" got ")[0]  # before the dtype of the place
        names_it = any(each in own for each in ("out tensor", "output tensor", "output type"))
        return any(each is None or (names_it and str(each).partition(" got ")[0] != own) for each in raised)

    def _is_taken(self, func: Any, dtypes: Mapping[torch.dtype, torch.dtype], fill: int = 0) -> bool:
        return self._raised(func, dtypes, fill) is None

    def _raised(
        self, func: Any, dtypes: Mapping[torch.dtype, torch.dtype] = MappingProxyType({}), fill: int = 0
    ) -> Exception | None:
        try:
            self.call(func, dtypes, fill)
        except REFUSALS as error:
            return error
        return None

    def _sizes(self, tensor: torch.Tensor) -> list[int]:
        return [self.value(dim_of(size)) for size in tensor.shape]

    def _concrete(self, leaf: Any, dtypes: Mapping[torch.dtype, torch.dtype], fill: int) -> Any:
        if isinstance(leaf, torch.Tensor):
            return torch.full(self._sizes(leaf), fill, dtype=dtypes.get(leaf.dtype, leaf.dtype))
        if isinstance(leaf, torch.SymInt):
            return self.value(dim_of(leaf))
        return leaf.node.hint if isinstance(leaf, (torch.SymFloat, torch.SymBool)) else leaf


@cache
def _draws(func: Any) -> bool:
    """Whether an op draws, and looks at its numbers only when it does."""
    is_atens = isinstance(func, torch._ops.OpOverload) and func.namespace == "aten"
    return is_atens and func.overloadpacket.__name__.rstrip("_") in _LOOKING_WHEN_DRAWING


@cache
def _has_kernel(func: Any) -> bool:
    """Whether an op is one of torch's, and draws nothing."""
    if not isinstance(func, torch._ops.OpOverload) or func.namespace != "aten":
        return False
    return torch.Tag.nondeterministic_seeded not in func.tags


def _is_usual_mix(dtypes: Sequence[torch.dtype]) -> bool:
    """Whether the tensors are of one floating dtype."""
    return not dtypes or (len(set(dtypes)) == 1 and dtypes[0].is_floating_point)


def _samples(func: Any, tensors: Sequence[torch.Tensor]) -> bool:
    """Whether `sample` asks the kernel: not where a size is 0."""
    return is_sampled(func) and not _have_nothing(tensors)


def _have_nothing(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether a static size is 0."""
    return any(isinstance(size, int) and size == 0 for each in tensors for size in each.shape)


def _is_usual(
    tensors: list[Any], leaves: list[Any], kwargs: dict[str, Any], beside: frozenset[torch.dtype]
) -> bool:  # fmt: skip
    """Whether a call has tensors of one floating dtype, some elements in each, and numbers that this dtype holds."""
    dtypes = {each.dtype for each in tensors} or {kwargs.get("dtype") or torch.get_default_dtype()}
    values = dtypes - beside
    if (
        len(values) != 1
        or (tensors and tensors[0].dtype not in values)  # what is written, or read from, is no index
        or (beside and not dtypes & beside)
        or _have_nothing(tensors)
    ):
        return False
    return all(each.is_floating_point and _holds(each, leaves) for each in values)


def _are_in_range(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the numbers of windows and bounds are such as all kernels take."""
    given = {**dict(zip((each.name for each in func._schema.arguments), args, strict=False)), **kwargs}
    numbers = {
        name: [each for each in pytree.tree_leaves(given.get(name)) if type(each) in (int, float)] for name in _IN_RANGE
    }
    fits = max(numbers["output_padding"], default=0) < min(numbers["stride"] or [1])
    return fits and all(_IN_RANGE[name](each) for name, found in numbers.items() for each in found)


def _selects(tensors: Iterable[torch.Tensor], beside: frozenset[torch.dtype]) -> bool:
    """Whether a mask says how much is written: zeros select nothing, whatever sizes the values have."""
    return not beside.isdisjoint(_MASK) and any(each.dtype in _MASK for each in tensors)


def _holds(dtype: torch.dtype, leaves: Iterable[Any]) -> bool:
    """Whether a floating dtype holds all numbers."""
    greatest = torch.finfo(dtype).max
    return all(abs(each) <= greatest or not math.isfinite(each) for each in leaves if type(each) in (int, float))
