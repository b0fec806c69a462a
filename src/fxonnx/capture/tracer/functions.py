"""What goes past the dispatcher, where the tape would not see it: reads of a tensor's memory by numpy and DLPack,
`x.data`, sizes that torch would read as plain numbers (`size_functions`, `sized_operators`).

And the refusals that a model catches: `try: n = x.sum().item()` with an `except` that goes on must not be taken for
the model's only way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from fxonnx.capture.assertions import Record, answer
from fxonnx.capture.graph.views import storage
from fxonnx.capture.locate import _OURS, is_users
from fxonnx.capture.state.as_found import FORGETFUL
from fxonnx.capture.tracer.decisions.truths import NOT_ONE, condition_of
from fxonnx.capture.tracer.python.arrays import Array, listed
from fxonnx.capture.tracer.python.constructors import plain_kind
from fxonnx.capture.tracer.python.generators import drawn, seeded
from fxonnx.capture.tracer.python.pieces import JOINS, Pieces, opened, pieces
from fxonnx.capture.tracer.python.repeated import Repeated, joined_lists, opened_lists
from fxonnx.capture.tracer.size_functions import READING_REPEATED, SIZE_FUNCTIONS
from fxonnx.capture.tracer.sized_operators import SIZED_OPERATORS
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.text import is_said
from fxonnx.capture.tracer.torch_private import eager, is_in_functorch
from fxonnx.errors import CaptureRefused
from fxonnx.location import Location

_TENSOR = torch.Tensor
_MEMORIES = frozenset({_TENSOR.numpy, _TENSOR.__array__, _TENSOR.__dlpack__})
_READS = _MEMORIES | {_TENSOR.data_ptr}
_VALUES = _MEMORIES | frozenset({
    _TENSOR.item, _TENSOR.tolist, _TENSOR.__bool__, _TENSOR.__int__, _TENSOR.__float__, _TENSOR.__complex__,
    _TENSOR.__index__, _TENSOR.is_nonzero, torch.is_nonzero, torch._assert,
})  # fmt: skip
"""What asks for what a tensor holds."""
_CONVERSIONS = frozenset({_TENSOR.to, _TENSOR.float, _TENSOR.double, _TENSOR.half, _TENSOR.bfloat16, _TENSOR.cpu})
_OF_SIZES = SIZE_FUNCTIONS | SIZED_OPERATORS
_TEXTS = frozenset({torch.Tensor.__repr__, torch.Tensor.__format__})
Known: TypeAlias = "Callable[[torch.Tensor], torch.Tensor | None]"
_DATA: Any = torch.Tensor.data
_IS_QUANTIZED: Any = torch.Tensor.is_quantized
_DATA_FUNCTIONS = (_DATA.__get__, _DATA.__set__)


@dataclass(slots=True)
class Refusals:
    """What could not be captured, in the order in which it was met, whoever swallowed it."""

    locate: Callable[[], Location]
    met: list[BaseException] = field(default_factory=list)

    def __call__(self, what: str, *, cause: str, cure: str, location: Location | None = None) -> CaptureRefused:
        """The error for what is met here, or at another place; noted."""
        error = CaptureRefused(what, cause=cause, cure=cure, location=location or self.locate())
        self.met.append(error)
        return error

    def raise_swallowed(self) -> None:
        """Raise the first one, after a run that went on in spite of it: it did something else than the model does."""
        if self.met:
            raise self.met[0]


@contextmanager
def whole_calls() -> Iterator[None]:
    """torch's functions that leave arguments out where they hand a call to a mode hand on none: what they are made of
    is seen, with all of them."""
    before = [(each, each.__code__) for each in FORGETFUL]
    try:
        for each, code in before:
            each.__globals__[_NO_MODE] = _no_mode
            each.__code__ = code.replace(co_names=tuple(_NO_MODE if name in _ASK else name for name in code.co_names))
        yield
    finally:
        for each, code in before:
            each.__code__ = code
            each.__globals__.pop(_NO_MODE, None)


_NO_MODE = "_fxonnx_no_mode"
_ASK = frozenset({"has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"})


def _no_mode(*_: Any) -> bool:
    return False


class FunctionMode(TorchFunctionMode):
    """Stands before every torch function while a model runs. `check` records what the model checks of its data, `known`
    is what a tensor holds, where that can be told, and `decide` answers what the model decides by otherwise; `selected`
    gives the rows of what data selects, where decisions tell which there are. `is_quantized` says which tensors stand
    for quantized ones, `is_seeded` which generators forward has seeded. `higher_order` records the ops that call
    functions, and `ask_layout` notes of which tensors the model's Python asks how they lie in memory."""

    def __init__(
        self, refuse: Refusals, guard_log: GuardLog, check: Record, known: Known,
        decide: Callable[[torch.Tensor], bool], selected: Callable[[torch.Tensor], Iterator[torch.Tensor] | None],
        is_quantized: Callable[[torch.Tensor], bool], is_seeded: Callable[[torch.Generator], bool],
        higher_order: Callable[[Any, Any, Any], Any], ask_layout: Callable[[torch.Tensor], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._refuse, self._guard_log, self._check = refuse, guard_log, check
        self._known, self._decide, self._selected, self._higher_order = known, decide, selected, higher_order
        self._is_quantized, self._is_seeded, self._ask_layout = is_quantized, is_seeded, ask_layout
        self._exchanged: list[tuple[torch.Tensor, torch.Tensor]] = []  # of `x.data = y`

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One function: `x.data` as the alias that it is, sizes as tensors; what reads memory is refused, unless it is
        a check."""
        if is_in_functorch() or isinstance(func, torch._ops.HigherOrderOperator):
            result = self._higher_order(func, args, kwargs or {})
            return func(*args, **(kwargs or {})) if result is NotImplemented else result
        if any(type(each) is Pieces for each in args):
            return _of_pieces(func, args, kwargs or {})
        if any(type(each) is Repeated for each in (*args, *(kwargs or {}).values())) and func not in READING_REPEATED:
            if (joined := joined_lists(func, args, kwargs or {})) is not None:
                return joined
            args, kwargs = opened_lists(args, kwargs or {})
        if kwargs and (generator := kwargs.get("generator")) is not None and self._is_seeded(generator):
            return drawn(func, args, kwargs, self._known, lambda: seeded(self._refuse))
        if func in _OF_SIZES:
            return _OF_SIZES[func](func, args, kwargs or {})
        if func in _METHODS:
            return _METHODS[func](self, func, args, kwargs or {})
        if func in _DATA_FUNCTIONS:
            return self._data(args)
        if func in _CONVERSIONS and _is_itself(func, args, kwargs or {}):
            return args[0]
        if func in _TEXTS and is_said():
            return repr(args[0])  # what has no contents has no format: f"{x:.2f}"
        return self._asked(func, args, kwargs or {})

    def _asked(self, func: Any, args: Any, kwargs: Any) -> Any:
        """One that may ask what a tensor holds."""
        if func in _TEXTS or func in _VALUES:
            value = self._known(args[0]) if args and isinstance(args[0], _TENSOR) else None
            if value is not None:
                return _answered(func, value, args, kwargs)
        if func in _READS or func in _TEXTS or func is _TENSOR.tolist:
            return self._read(func, args[0])
        checked = answer(func, args, self._check)
        if checked is not NotImplemented:
            return checked
        condition = condition_of(func, args, kwargs)
        if condition is NOT_ONE:
            return func(*args, **kwargs)
        value = self._known(condition)
        return self._decide(condition) if value is None else bool(value)

    def _data(self, args: Any) -> Any:
        """x.data, an alias; x.data = y, which is refused where y has other elements than x has: weights that forward
        makes of others have them from the first call on."""
        if len(args) == 1:
            return args[0].detach()
        if args[0] is args[1]:
            return None
        if not self._hold_the_same(*args):
            raise self._not_exchanged()
        self._exchanged.append(args)
        return None

    def _hold_the_same(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether two tensors have the same elements, as far as is known."""
        before, after = self._known(one), self._known(other)
        return before is not None and after is not None and _is_equal(before, after)

    def _not_exchanged(self) -> Exception:
        return self._refuse(
            "x.data = … cannot be recorded",
            cause="it exchanges a tensor's memory",
            cure="write x.copy_(…) instead; where y is made of weights alone, call the model before it is compiled",
        )

    def __exit__(self, *raised: Any) -> None:
        """Raise CaptureRefused where x or y of `x.data = y` was written to later: in eager they share their memory."""
        super().__exit__(*raised)
        if raised[0] is None and not all(self._hold_the_same(*pair) for pair in self._exchanged):
            raise self._not_exchanged()

    def _read(self, func: Any, tensor: torch.Tensor) -> Any:
        """What a read of memory gives: a list or a vector of numbers, which are asked for one by one."""

        def refuse() -> CaptureRefused:
            return self._refuse(
                f"a tensor's memory is read, by {func.__name__}",
                cause="while a model is captured tensors have shapes and no contents",
                cure="compute with torch instead of numpy in forward; what does not depend on the inputs belongs in "
                "__init__",
                )

        if func in _TEXTS:
            raise self._refuse(
                "a tensor is made text of",
                cause="while a model is captured tensors have shapes and no contents",
                cure="print or log it, which is free; do not go on with the text",
                )
        if func is _TENSOR.tolist:
            return listed(tensor, refuse)
        if func is _TENSOR.numpy and tensor.dim():
            return Array(tensor, refuse)
        raise refuse()

    def _quantized(self, func: Any, args: Any, kwargs: Any) -> bool:
        """x.is_quantized, of a weight or of what stands for a quantized tensor."""
        return bool(func(*args, **kwargs)) or self._is_quantized(args[0])

    def _taken_apart(self, func: Any, args: Any, kwargs: Any) -> Any:
        """unbind(), which a loop over a tensor calls: the rows of a selection one by one."""
        rows = self._selected(args[0]) if _is_by_rows(*args, **kwargs) else None
        found = _unbound_pieces(*args, **kwargs) if rows is None else rows
        return func(*args, **kwargs) if found is None else found

    def _split(self, func: Any, args: Any, kwargs: Any) -> Any:
        """split() by a number, of which no fixed number of pieces comes, or by numbers that are known when it runs."""
        if len(args) > 1 and isinstance(args[1], Array):
            args = (args[0], [each.item() for each in args[1].tensor.unbind()], *args[2:])
        found = _split_pieces(*args, **kwargs) if len(args) > 1 else None
        return func(*args, **kwargs) if found is None else found

    def _layout(self, func: Any, args: Any, kwargs: Any) -> Any:
        """x.stride(), x.is_contiguous(): inputs that lie otherwise in memory are answered otherwise. What torch asks in
        its own functions changes no number."""
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
            frame = frame.f_back
        if is_users(frame.f_code.co_filename):
            self._ask_layout(args[0])
        return func(*args, **kwargs)

    def _copied(self, func: Any, args: Any, kwargs: Any) -> Any:
        """copy.deepcopy(x): torch copies the storage, and lays a tensor over it. What shares its memory in what is
        copied along would share the copy's."""
        tensor, memo = args
        if id(tensor) in memo:
            return memo[id(tensor)]
        memories = memo.setdefault(FunctionMode._copied, set())
        if storage(tensor) in memories:
            raise self._refuse(
                "tensors that share their memory are copied together, by copy.deepcopy()",
                cause="their copies share theirs",
                cure="copy each by itself, with clone(), or what they are views of",
            )
        memories.add(storage(tensor))
        memo[id(tensor)] = copied = tensor.detach().clone()
        return copied

    def _of_type(self, func: Any, args: Any, kwargs: Any) -> Any:
        """x.type(torch.LongTensor), where something of ours stands for the type."""
        return func(*map(plain_kind, args), **{name: plain_kind(value) for name, value in kwargs.items()})

    def _laid_out(self, func: Any, args: Any, kwargs: Any) -> Any:
        """contiguous(): torch looks at sizes before it calls the op, by itself and not for the model."""
        before, self._guard_log.op = self._guard_log.op, "aten.contiguous"
        try:
            return func(*args, **kwargs)
        finally:
            self._guard_log.op = before


_METHODS = {
    _TENSOR.contiguous: FunctionMode._laid_out,
    _TENSOR.type: FunctionMode._of_type,
    _TENSOR.__deepcopy__: FunctionMode._copied,
    **dict.fromkeys((_TENSOR.stride, _TENSOR.is_contiguous), FunctionMode._layout),
    _IS_QUANTIZED.__get__: FunctionMode._quantized,
    **dict.fromkeys((_TENSOR.unbind, torch.unbind), FunctionMode._taken_apart),
    **dict.fromkeys((_TENSOR.split, torch.split), FunctionMode._split),
}


def _unbound_pieces(tensor: Any, dim: int = 0) -> Pieces | None:
    return pieces(tensor, dim, None)


def _split_pieces(tensor: Any, size: Any, dim: int = 0) -> Pieces | None:
    return pieces(tensor, dim, size)


def _of_pieces(func: Any, args: Any, kwargs: Any) -> Any:
    """A function that is given the pieces of a tensor: all of them, or the tensor where it joins them again."""
    joined = args[0].joined(func, *args[1:], **kwargs) if func in JOINS and len(args) + len(kwargs) < 3 else None
    return func(*opened(args), **kwargs) if joined is None else joined


def _is_by_rows(tensor: torch.Tensor, dim: int = 0) -> bool:
    """Whether a tensor of a number of rows that varies is taken apart into those."""
    return dim == 0 and tensor.dim() > 0 and isinstance(tensor.shape[0], torch.SymInt)


def _is_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    is_alike = (one.dtype, one.shape) == (other.dtype, other.shape)
    return is_alike and bool(torch.equal(one, other))


def _is_itself(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether a conversion of a weight returns that weight: modules put what they get in its place else."""
    if type(args[0]) not in (torch.nn.Parameter, _TENSOR):
        return False
    layout = kwargs.get("memory_format", torch.preserve_format)
    rest = {name: value for name, value in kwargs.items() if name != "memory_format"}
    with eager():
        if layout is not torch.preserve_format and layout is not torch._prims_common.suggest_memory_format(args[0]):
            return False
        like = torch.empty(0, dtype=args[0].dtype, device=args[0].device)
        return func(like, *args[1:], **rest) is like


def _answered(func: Any, value: torch.Tensor, args: Any, kwargs: Any) -> Any:
    """What a function that asks for a tensor's value gives; memory as a copy that nobody writes to."""
    with eager():
        value = value.detach().clone() if func in _MEMORIES else value.detach()
        result = func(value, *args[1:], **kwargs)
    if isinstance(result, np.ndarray):
        result.flags.writeable = False
    return result
