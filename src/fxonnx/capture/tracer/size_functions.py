"""torch functions that read a size as a plain number before any op is called, said so that it keeps its expression:
torch.tensor([n, 2]), x[n // 2], torch.linspace(0, 1, n)."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from fxonnx.capture.tracer.python.arrays import Array
from fxonnx.capture.tracer.python.constructors import is_followed
from fxonnx.capture.tracer.python.repeated import Repeated
from fxonnx.capture.tracer.python.types import Float64, Numbers
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.sizes.twins import twin


def _read(func: Any, args: Any, kwargs: Any) -> Any:
    x, index = args[0], _numbers(args[1])
    return func(*_cut(x, index))


def _cut(x: torch.Tensor, index: Any) -> tuple[torch.Tensor, Any]:
    """The view that the sizes in an index take, and what the rest of it takes of that."""
    given = index if isinstance(index, tuple) else (index,)
    parts = tuple(map(_picked, given)) if _has_size(given) else ()
    if not parts or not all(isinstance(each, torch.Tensor) or _is_basic(each) for each in parts):
        return x, index
    part = _part(x, tuple(axis for each in parts for axis in _axes(each)))
    picked = any(isinstance(each, torch.Tensor) for each in parts)
    return part, tuple(map(_kept, filter(_is_kept, parts))) if picked else ...


def _picked(part: Any) -> Any:
    """A list beside other parts of an index, which picks as a tensor does."""
    return _made(torch.tensor, (part,), {}) if isinstance(part, list) and part else part


def _written(func: Any, args: Any, kwargs: Any) -> None:
    """x[a:b] = y as a copy into the slice: torch would first decide whether their sizes are the same. A size that is
    written stays a number of a call, where torch would make a tensor of it in C++."""
    x, index, value = args[0], _numbers(args[1]), args[2]
    part = _part(x, index) if _is_basic(index) else None
    if part is None:
        func(*_cut(x, index), torch.full((), value, dtype=x.dtype, device=x.device) if _has_size(value) else value)
    elif _has_size(value):
        part.fill_(value)
    elif isinstance(value, torch.Tensor) and _has_size(part.shape):
        part.copy_(value.flatten(0, value.dim() - part.dim()) if value.dim() > part.dim() > 0 else value)
    else:
        func(part, ..., value)


def _numbers(index: Any) -> Any:
    """An index with tensors of one number, which torch reads, as numbers, and arrays as tensors."""
    if isinstance(index, Array):
        return index.tensor
    if isinstance(index, tuple):
        return tuple(map(_numbers, index))
    if isinstance(index, slice):
        return slice(*map(_numbers, (index.start, index.stop, index.step)))
    is_number = isinstance(index, torch.Tensor) and index.dim() == 0 and index.dtype in _WHOLE
    return index.item() if is_number else index


_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8)


def _axes(part: Any) -> tuple[Any, ...]:
    """A part of an index with the axes whole that a tensor picks from."""
    if not isinstance(part, torch.Tensor):
        return (part,)
    return (slice(None),) * (part.dim() if part.dtype in (torch.bool, torch.uint8) else 1)


def _is_kept(part: Any) -> bool:
    """Whether what a part of an index takes still has an axis."""
    return not isinstance(part, (int, torch.SymInt))


def _kept(part: Any) -> Any:
    """A part of an index, of what has been cut by the others."""
    return part if isinstance(part, torch.Tensor) or part is ... else slice(None)


def _is_basic(index: Any) -> bool:
    """Whether an index takes a view: numbers, sizes and slices."""
    parts = index if isinstance(index, tuple) else (index,)
    plain = [each for each in parts if not isinstance(each, torch.SymInt)]
    return all(each is None or each is ... or type(each) in (int, slice) for each in plain)


def _part(x: torch.Tensor, index: Any) -> torch.Tensor:
    """x[n, :] where n is a size, of which torch would take a plain number: as x[:, :], of which row n is selected."""
    parts = index if isinstance(index, tuple) else (index,)
    known = sum(each is not None and each is not ... for each in parts)
    axis, found = 0, []
    for each in parts:
        if isinstance(each, torch.SymInt):
            found.append((axis, each))
        axis += x.dim() - known if each is ... else not isinstance(each, int)
    view = x[tuple(slice(None) if isinstance(each, torch.SymInt) else each for each in parts)]
    for axis, each in reversed(found):
        view = view.select(axis, each)
    return view


def _split(func: Any, args: Any, kwargs: Any) -> Any:
    """torch.tensor_split(x, indices) as slices, where the indices are a tensor or sizes."""
    given = dict(zip(("self", "indices", "dim"), args, strict=False)) | kwargs
    x = given.get("self", given.get("input"))
    at = given.get("indices", given.get("tensor_indices_or_sections"))
    if isinstance(at, torch.Tensor) and at.dim() == 1:
        at = [each.item() for each in at.unbind()]
    if not isinstance(at, (list, tuple)) or not _has_size(at):
        return func(*args, **kwargs)
    before = (slice(None),) * (given.get("dim", 0) % x.dim())
    return tuple(x[(*before, slice(*ends))] for ends in pairwise((0, *at, None)))


def _split_along(axis: int, rank: int) -> Callable[..., Any]:
    """torch.vsplit and the like, tensor_split along an axis, of a `rank` and more; hsplit of a vector along its own."""

    def split(func: Any, args: Any, kwargs: Any) -> Any:
        given = dict(zip(("self", "indices"), args, strict=False)) | kwargs
        x, at = given.get("self", given.get("input")), given.get("indices")
        if not isinstance(at, (list, tuple)) or not _has_size(at) or x.dim() < rank:
            return func(*args, **kwargs)
        return _split(torch.tensor_split, (x, at, min(axis, x.dim() - 1)), {})

    return split


def _padded(func: Any, args: Any, kwargs: Any) -> Any:
    """torch.nn.utils.rnn.pad_sequence: padded to the longest, which torch looks for among plain numbers."""
    given = dict(zip(("sequences", "batch_first", "padding_value", "padding_side"), args, strict=False)) | kwargs
    parts = given["sequences"]
    if not any(_has_size(tuple(each.shape)) for each in parts):
        return func(*args, **kwargs)
    longest = reduce(torch.sym_max, [each.shape[0] for each in parts])
    is_left, rest = given.get("padding_side", "right") == "left", [0, 0] * (parts[0].dim() - 1)
    amounts = [[longest - each.shape[0], 0] if is_left else [0, longest - each.shape[0]] for each in parts]
    value = given.get("padding_value", 0.0)
    whole = [torch.nn.functional.pad(x, rest + amount, value=value) for x, amount in zip(parts, amounts, strict=True)]
    return torch.stack(whole, 0 if given.get("batch_first", False) else 1)


_SPACED = twin(torch.ops.aten.linspace.default)


def _spaced(func: Any, args: Any, kwargs: Any) -> Any:
    given = dict(zip(("start", "end", "steps"), args, strict=False)) | kwargs
    if isinstance(steps := given.get("steps"), torch.Tensor):
        given["steps"] = steps.item()  # as torch reads it
    return _linspace(**given) if _has_size([given.get("steps")]) and len(args) <= 3 else func(*args, **kwargs)


def _linspace(start: Any, end: Any, steps: torch.SymInt, **options: Any) -> torch.Tensor:
    """torch.linspace, whose op takes a plain number of steps. Between tensors it is counted from both ends, as its
    kernel does, in double for whole numbers; a lone one is the start."""
    if not isinstance(start, torch.Tensor) and not isinstance(end, torch.Tensor):
        named = {name: value for name, value in options.items() if name in ("dtype", "device") and value is not None}
        return _SPACED(start, end, steps, **named)
    default, device = torch.get_default_dtype(), options.get("device")
    is_complex = any(_dtype_of(each).is_complex for each in (start, end))
    dtype = options.get("dtype") or (default.to_complex() if is_complex else default)
    exact = dtype if dtype.is_floating_point or dtype.is_complex else torch.float64
    start, end = (stacked(each, {"dtype": dtype, "device": device}).to(exact) for each in (start, end))
    count = torch.arange(steps, device=device)
    index, step = count.to(exact), (end - start) / torch.sym_max(steps - 1, 1)
    is_near = count < torch.sym_max(steps // 2, 1)
    return torch.where(is_near, start + step * index, end - step * (steps - 1 - index)).to(dtype)


def _made(func: Any, args: Any, kwargs: Any) -> Any:
    """torch.tensor([n, n > 2]): torch reads the numbers; as tensors of one each they keep their expression."""
    *owner, numbers = args[: 2 if func is torch.Tensor.new_tensor else 1] or [kwargs.get("data")]
    options = dict(zip(("dtype", "device"), args[len(owner) + 1 :], strict=False)) | kwargs
    if isinstance(numbers, (Array, Numbers)):
        is_copied = func in (torch.tensor, torch.Tensor.new_tensor)
        return numbers.tensor.to(options.get("device"), options.get("dtype"), copy=is_copied)
    if not _has_size(numbers) and not _has_tensor(numbers):
        return func(*args, **kwargs)
    options.pop("data", None)
    options.pop("requires_grad", None)
    if owner and options.get("dtype") is None:
        options["dtype"] = owner[0].dtype
    return stacked(numbers, {"dtype": _dtype_of(numbers), **{k: v for k, v in options.items() if v is not None}})


def _of_its_type(func: Any, args: Any, kwargs: Any) -> Any:
    """x.new([n, 2]): a tensor of x's dtype, of numbers."""
    is_made = is_followed(args[1:])
    return _made(torch.tensor, args[1:], {"dtype": args[0].dtype}) if is_made else func(*args, **kwargs)


def _has_size(value: Any) -> bool:
    if isinstance(value, Repeated):
        return True
    if isinstance(value, (list, tuple)):
        return any(map(_has_size, value))
    return isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool))


def stacked(value: Any, options: dict[str, Any]) -> torch.Tensor:
    """A tensor of numbers, sizes and tensors in nested lists, made of one each."""
    if isinstance(value, Repeated):
        return value.tensor(lambda elements: stacked(elements, options))
    if isinstance(value, (list, tuple)):
        return torch.stack([stacked(each, options) for each in value])
    if isinstance(value, torch.Tensor):
        return value.to(**options)
    return torch.full((), value, **options)


def _has_tensor(value: Any) -> bool:
    """Whether a list is one of tensors, which torch would read."""
    is_list = isinstance(value, (list, tuple))
    return is_list and any(isinstance(each, torch.Tensor) or _has_tensor(each) for each in value)


def _dtype_of(value: Any) -> torch.dtype:
    """The dtype that all numbers have room in; a tensor among them has its own."""
    if isinstance(value, Repeated):
        value = value.elements()
    if isinstance(value, (list, tuple)):
        return reduce(torch.promote_types, map(_dtype_of, value), torch.bool) if value else torch.get_default_dtype()
    if isinstance(value, torch.Tensor):
        return value.dtype
    if isinstance(value, torch.SymInt):
        return torch.int64
    if isinstance(value, (Float64, np.float64)):
        return torch.float64
    kinds = {bool: torch.bool, torch.SymBool: torch.bool, int: torch.int64, complex: torch.complex64}
    return kinds.get(type(value), torch.get_default_dtype())


def _gridded(func: Any, args: Any, kwargs: Any) -> Any:
    """F.affine_grid, which looks for the least of the sizes to see whether there is one: which it is, is the same."""
    given = dict(zip(("theta", "size", "align_corners"), args, strict=False)) | kwargs
    theta, size = given["theta"], given["size"]
    if not _has_size(list(size)) or not theta.is_floating_point() or any(each <= 0 for each in size):
        return func(*args, **kwargs)
    return torch.affine_grid_generator(theta, size, bool(given.get("align_corners")))


def _filled_up(func: Any, args: Any, kwargs: Any) -> Any:
    """F.pad with a number made of sizes or of data, where C++ takes a plain one: it stands where nothing of the tensor
    does."""
    given = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | kwargs
    x, pads, value = given.get("input"), given.get("pad"), given.get("value")
    if not _has_size(value) or given.get("mode", "constant") != "constant" or not isinstance(x, torch.Tensor):
        return func(*args, **kwargs)
    inside = func(torch.ones_like(x, dtype=torch.bool), pads)
    return torch.where(inside, func(x, pads), value).to(x.dtype)


def _without_nan(func: Any, args: Any, kwargs: Any) -> Any:
    """torch.nan_to_num with such a number in the place of NaN or of an infinity."""
    names = ("input", "nan", "posinf", "neginf")
    given = dict(zip(names, args, strict=False)) | kwargs
    sized = {name: given[name] for name in names[1:] if _has_size(given.get(name))}
    x = given.pop("input", None)
    if not sized or not isinstance(x, torch.Tensor) or "out" in given:
        return func(*args, **kwargs)
    result = func(x, **given | dict.fromkeys(sized, 0.0))
    for name, number in sized.items():
        result = torch.where(_UNUSUAL[name](x), number, result)
    return result.to(x.dtype)


def _packed_sequence(func: Any, args: Any, kwargs: Any) -> Any:
    """torch._VF._pack_padded_sequence, which looks at the lengths in C++: what it refuses is a check of the model's."""
    x, lengths, batch_first = args
    steps = x.shape[1 if batch_first else 0]
    bounds = (lengths[:1] <= steps).all(), (lengths[-1:] > 0).all(), (lengths[1:] <= lengths[:-1]).all()
    torch._assert_async(torch.logical_and(torch.logical_and(*bounds[:2]), bounds[2]), _LENGTHS)
    return func(*args)


def _unpacked_sequence(func: Any, args: Any, kwargs: Any) -> Any:
    """torch._VF._pad_packed_sequence, for as many steps as the longest sequence has, or a size."""
    data, batch_sizes, batch_first, padding, steps = args
    if not _has_size(steps):
        return func(*args)
    total = 0 if dim_of(steps) == dim_of(batch_sizes.shape[0]) else steps
    return twin(torch.ops.aten._pad_packed_sequence.default)(data, batch_sizes, batch_first, padding, total)


def _is_same_size(func: Any, args: Any, kwargs: Any) -> Any:
    """torch.is_same_size, as the comparison of sizes that it is: C++ reads them as they are in this run."""
    tensors = [*args, *kwargs.values()]
    return bool(tensors[0].shape == tensors[1].shape) if len(tensors) == 2 else func(*args, **kwargs)


def _copied(func: Any, args: Any, kwargs: Any) -> Any:
    """x.copy_(2), which fills x: the op has a number where it takes a tensor."""
    self, source = args[0], args[1] if len(args) > 1 else kwargs.get("src", kwargs.get("other"))
    return self.fill_(source) if isinstance(source, _NUMBERS) else func(*args, **kwargs)


def _bytes(func: Any, args: Any, kwargs: Any) -> Any:
    """Tensor.nbytes, which C++ computes of plain numbers."""
    return args[0].numel() * args[0].element_size()


_NBYTES: Any = torch.Tensor.nbytes
_NUMBERS = (bool, int, float, complex, torch.SymBool, torch.SymInt, torch.SymFloat)
_LENGTHS = (
    "the lengths of packed sequences are those of the padded tensor at most, at least 1, and in decreasing order where "
    "enforce_sorted is True"
)
_UNUSUAL: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "nan": torch.isnan, "posinf": torch.isposinf, "neginf": torch.isneginf,
}  # fmt: skip
_MAKERS = (torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor)
SIZE_FUNCTIONS: dict[Any, Callable[[Any, Any, Any], Any]] = {
    **dict.fromkeys(_MAKERS, _made),
    torch.Tensor.new: _of_its_type,
    torch.Tensor.__getitem__: _read,
    torch.Tensor.__setitem__: _written,
    **dict.fromkeys((torch.is_same_size, torch.Tensor.is_same_size), _is_same_size),
    _NBYTES.__get__: _bytes,
    torch.Tensor.copy_: _copied,
    torch.linspace: _spaced,
    torch.nn.functional.affine_grid: _gridded,
    **dict.fromkeys((torch.tensor_split, torch.Tensor.tensor_split), _split),
    **dict.fromkeys((torch.vsplit, torch.Tensor.vsplit), _split_along(0, 2)),
    **dict.fromkeys((torch.hsplit, torch.Tensor.hsplit), _split_along(1, 1)),
    **dict.fromkeys((torch.dsplit, torch.Tensor.dsplit), _split_along(2, 3)),
    torch.nn.functional.pad: _filled_up,
    **dict.fromkeys((torch.nan_to_num, torch.Tensor.nan_to_num), _without_nan),
    torch._C._nn.pad_sequence: _padded,
    torch._VF._pack_padded_sequence: _packed_sequence,
    torch._VF._pad_packed_sequence: _unpacked_sequence,
}
"""function -> (function, args, kwargs) -> its result"""
READING_REPEATED = frozenset({*_MAKERS, torch.Tensor.new})
"""those that make a tensor of `[0] * n` without going through it"""
