"""What goes past the dispatcher, where the tape would not see it: reads of a tensor's memory by numpy and DLPack,
`x.data`, sizes that are read as plain numbers.

And the refusals that a model catches: `try: n = x.sum().item()` with an `except` that goes on must not be taken for
the model's only way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from fxonnx.capture.tracer.decisions import Decisions
from fxonnx.errors import CaptureRefused
from fxonnx.location import Location

_READS = frozenset(
    {
        torch.Tensor.numpy,
        torch.Tensor.__array__,
        torch.Tensor.__dlpack__,
        torch.Tensor.data_ptr,
    }
)
_DATA: Any = torch.Tensor.data
_INDEXING = frozenset({torch.Tensor.__getitem__, torch.Tensor.__setitem__})
_OF_NUMBERS = frozenset({torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor})


@dataclass(slots=True)
class Refusals:
    """What could not be captured, in the order in which it was met, whoever swallowed it.

    `final` tells whether torch.export would not see it either.
    """

    locate: Callable[[], Location]
    met: list[BaseException] = field(default_factory=list)
    final: bool = False

    def __call__(self, what: str, *, cause: str, cure: str, final: bool = False) -> CaptureRefused:
        """The error for what is met here; noted."""
        error = CaptureRefused(what, cause=cause, cure=cure, location=self.locate())
        self.met.append(error)
        self.final |= final
        return error

    def raise_swallowed(self) -> None:
        """Raise the first one, after a run that went on in spite of it: it did something else than the model does."""
        if self.met:
            self.final = True
            raise self.met[0]


class Memory(TorchFunctionMode):
    """Stands before every torch function while a model runs."""

    def __init__(self, refuse: Refusals, decisions: Decisions) -> None:
        super().__init__()
        self._refuse, self._decisions = refuse, decisions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One function: `x.data` as the alias that it is, sizes as tensors; what reads memory is refused."""
        if func in _OF_NUMBERS:
            return _of_sizes(func, args, kwargs or {})
        if func is torch.linspace and _has_size([*args[2:3], (kwargs or {}).get("steps")]):
            return _linspace(*args, **(kwargs or {}))
        if func in _INDEXING and (view := _part(args[0], args[1])) is not None:
            return func(view, ..., *args[2:])
        if func is torch.Tensor.contiguous:
            return self._laid_out(func, args, kwargs or {})
        if func == _DATA.__get__:
            return args[0].detach()
        if func == _DATA.__set__:
            raise self._refuse(
                "x.data = … cannot be recorded",
                cause="it exchanges a tensor's memory",
                cure="write x.copy_(…) instead",
                final=True,
            )
        if func in _READS:
            raise self._refuse(
                f"a tensor's memory is read, by {func.__name__}",
                cause="while a model is captured tensors have shapes and no contents",
                cure="compute with torch instead of numpy in forward; what does not depend on the inputs belongs in "
                "__init__",
                final=True,
            )
        return func(*args, **(kwargs or {}))

    def _laid_out(self, func: Any, args: Any, kwargs: Any) -> Any:
        """contiguous(): torch looks at sizes before it calls the op, by itself and not for the model."""
        before, self._decisions.op = self._decisions.op, "aten.contiguous"
        try:
            return func(*args, **kwargs)
        finally:
            self._decisions.op = before


def _part(x: torch.Tensor, index: Any) -> torch.Tensor | None:
    """x[n, :] where n is a size, of which torch would take a plain number: as x[n : n + 1, :] without that axis.

    None for other indices, which torch understands.
    """
    parts = index if isinstance(index, tuple) else (index,)
    if not any(isinstance(each, torch.SymInt) for each in parts):
        return None
    if not all(each is None or each is ... or isinstance(each, (int, slice, torch.SymInt)) for each in parts):
        return None
    known = sum(each is not None and each is not ... for each in parts)
    axis, found = 0, []
    for each in parts:
        if isinstance(each, torch.SymInt):
            found.append(axis)
        axis += x.dim() - known if each is ... else not isinstance(each, int)
    view = x[tuple(slice(each, each + 1) if isinstance(each, torch.SymInt) else each for each in parts)]
    for axis in reversed(found):
        view = view.select(axis, 0)
    return view


def _linspace(start: Any, end: Any, steps: torch.SymInt, **options: Any) -> torch.Tensor:
    """torch.linspace, whose op takes a plain number of steps: counted from both ends, as its kernel does."""
    dtype = options.get("dtype") or torch.get_default_dtype()
    index = torch.arange(steps, dtype=dtype, device=options.get("device"))
    step = (end - start) / (steps - 1)
    return torch.where(index < steps // 2, start + step * index, end - step * (steps - 1 - index))


def _of_sizes(func: Any, args: Any, kwargs: Any) -> Any:
    """torch.tensor([n, 2]): torch reads the numbers themselves; as tensors of one each they keep their expression."""
    *owner, numbers = args[: 2 if func is torch.Tensor.new_tensor else 1] or [kwargs.get("data")]
    if not _has_size(numbers):
        return func(*args, **kwargs)
    options = dict(zip(("dtype", "device"), args[len(owner) + 1 :], strict=False)) | kwargs
    options.pop("data", None)
    options.pop("requires_grad", None)
    if owner and options.get("dtype") is None:
        options["dtype"] = owner[0].dtype
    return _stacked(numbers, {"dtype": _dtype_of(numbers), **{k: v for k, v in options.items() if v is not None}})


def _has_size(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_size, value))
    return isinstance(value, (torch.SymInt, torch.SymFloat))


def _stacked(value: Any, options: dict[str, Any]) -> torch.Tensor:
    if isinstance(value, (list, tuple)):
        return torch.stack([_stacked(each, options) for each in value])
    if isinstance(value, torch.Tensor):
        return value.to(**options)
    return torch.full((), value, **options)


def _dtype_of(value: Any) -> torch.dtype:
    """torch.int64, unless there is a float among the numbers."""
    leaves = [value]
    while leaves:
        leaf = leaves.pop()
        if isinstance(leaf, (list, tuple)):
            leaves.extend(leaf)
        elif isinstance(leaf, (float, torch.SymFloat)):
            return torch.get_default_dtype()
    return torch.int64
