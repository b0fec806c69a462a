"""Every part of torch without a promise that the tracer uses, one by one: what for, and what to do when it changes.

`tests/capture/tracer/test_torch_private.py` checks each of them and says in words what to look at. Two more are a
matter of protocol, not of names: the methods that torch calls on the node of a `torch.SymInt` (`sizes.Node`, after
torch.fx.experimental.sym_node.SymNode), and the two that its guards call on a node's `shape_env`
(`guards.GuardLog`, after torch.fx.experimental.symbolic_shapes.ShapeEnv).
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import torch

# Which calls have a meta kernel, and which of torch's other ways to a result come before it.
from torch._decomp import decomposition_table, meta_table

# The meta kernels that torch writes in Python run only under this; without it a composite op asks C++, which wants
# plain sizes; where they are plain, C++ is faster.
from torch._dispatch.python import enable_python_dispatcher, no_python_dispatcher
from torch._subclasses.fake_impls import _is_tensor_constructor, has_meta, op_implementations_checks

# Tensors without memory. FakeTensor(mode, meta tensor, device) makes one of known geometry. The exceptions are what
# nonzero, item and ops without a meta kernel raise on them.
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorConverter,
    FakeTensorMode,
    UnsupportedOperatorException,
    in_kernel_invocation_manager,
    torch_decomp_decompositions,
)

# The only class of modes that torch lets stand at the PreDispatch key, where calls arrive whole. It keeps what it
# sees as proxies; `CallMode` is one of which the calls themselves are kept.
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode

# Counts the ragged sizes of nested tensors; a mode takes over where that count stands.
from torch.nested._internal import nested_tensor

# Its `_detect_is_causal_mask` is replaced while a model runs.
from torch.nn.modules import transformer

# Computes real tensors while a mode stands.
from torch.utils._mode_utils import no_dispatch

# Tells tensors made of other tensors (quantized weights), whose dispatch we cannot stand before; what all modes are.
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves

from fxonnx.capture.state.thread_flag import ThreadFlag


class _Unwrapped(TorchDispatchMode):
    """A mode whose `__torch_dispatch__` torch calls as it is written.

    By default torch wraps it in `torch._dynamo.disable`, so that torch.compile does not compile it with a model, and
    the first call loads torch._dynamo, which takes longer than all the rest of a compile. While a model is recorded
    nothing is compiled: see `surroundings.uncompiled`.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class CallMode(_Unwrapped, ProxyTorchDispatchMode):
    """A mode at the PreDispatch key, or below it if not `whole`; subclasses say what `__torch_dispatch__` does.

    Proxies are not made, so what makes them is not set up; torch's own constructor loads torch._inductor for it.
    """

    def __init__(self, *, whole: bool) -> None:
        TorchDispatchMode.__init__(self, torch._C.DispatchKey.PreDispatch if whole else None)
        self.pre_dispatch = whole
        self._mode_key = torch._C._TorchDispatchModeKey.PROXY
        self.enter_stack: list[ProxyTorchDispatchMode | None] = []


class OneThread(_Unwrapped, FakeTensorMode):
    """Computes with fake tensors in the thread that made it; `elsewhere` gives the exception for all others.

    A recorder stands in one thread only: calls that other threads make on its tensors would be lost.
    """

    def __init__(self, elsewhere: Callable[[], BaseException]) -> None:
        TorchDispatchMode.__init__(self)
        self._set_up()
        self._elsewhere, self._thread = elsewhere, threading.get_ident()

    def _set_up(self) -> None:
        """What torch's own constructor does, which loads torch._dynamo to read two flags of torch's memory of results.

        The mode takes a model's real weights where we hand them over. torch's memory reads sizes as sympy expressions,
        and `results.cache` remembers better: it is off.
        """
        self.allow_non_fake_inputs = self.allow_fallback_kernels = self.static_shapes = True
        self.cache_enabled = self.cache_crosscheck_enabled = self.propagate_real_tensors = False
        self.allow_scalar_outputs = self.in_kernel_invocation = False
        self.allow_meta = self._allow_unsafe_data_ptr_access = True
        self.fake_tensor_converter = FakeTensorConverter(copy_data=False, export=False)
        self.shape_env, self._stack = None, ""
        self.enter_stack: list[Any] = []
        self._mode_key = torch._C._TorchDispatchModeKey.FAKE
        self.nt_tensor_id_initial_count = self.nt_tensor_id_counter = nested_tensor._tensor_id_counter

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One call."""
        if threading.get_ident() != self._thread:
            raise self._elsewhere()
        try:
            result = self._of_plain_sizes(func, args, kwargs or {})
            return self.dispatch(func, types, args, kwargs or {}) if result is NotImplemented else result
        finally:
            # torch has taken the mode away for this call and puts it back; where a Ctrl-C has left it there, from a
            # `with self` inside, torch ends the process
            torch._C._unset_dispatch_mode(self._mode_key)

    def _of_plain_sizes(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The result of an aten call on fake tensors of plain sizes, or NotImplemented where torch is to be asked.

        torch's own `dispatch` does the same in the end. On its way there it loads sympy, torch._dynamo and what comes
        with them, 0.6 s, to ask about constants, symbols and the kernels of others' ops.
        """
        leaves = tree_leaves((args, kwargs))
        if func.namespace != "aten" or func in self.lift_fns or not all(map(self._is_plain, leaves)):
            return self._specially(func, args, kwargs) if _is_tensor_constructor(func) else NotImplemented
        with no_python_dispatcher():
            for way in (self._decomposed, self._specially):
                result = way(func, args, kwargs)
                if result is not NotImplemented:
                    return result
            result = NotImplemented
            if has_meta(func):
                with suppress(NotImplementedError), in_kernel_invocation_manager(self):
                    result = func(*args, **kwargs)
        if result is NotImplemented:
            return result
        return self.wrap_meta_outputs_with_default_device_logic(result, func, leaves, device=kwargs.get("device"))

    def _decomposed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The result of a composite call, or NotImplemented."""
        if func in meta_table or self.cpp_meta_supports_symint(func):
            return NotImplemented
        registered = func in decomposition_table and torch_decomp_decompositions(func)
        with self:
            return (decomposition_table[func] if registered else func.decompose)(*args, **kwargs)

    def _specially(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The result of a call that torch has its own code for, such as what makes tensors; or NotImplemented."""
        for applies, implementation in op_implementations_checks:
            result = implementation(self, func, *args, **kwargs) if applies(func) else NotImplemented
            if result is not NotImplemented:
                return result
        return NotImplemented

    def _is_plain(self, leaf: Any) -> bool:
        """Whether an argument is no size that varies, and no tensor but a fake one without such a size or a value."""
        if isinstance(leaf, torch.Tensor):
            return self.is_our_fake(leaf) and leaf.constant is None and not leaf._has_symbolic_sizes_strides
        return not isinstance(leaf, (torch.SymInt, torch.SymFloat, torch.SymBool))


def plain_of(fake: FakeTensor) -> torch.Tensor:
    """A plain tensor of no elements over the memory of a fake one, to take views of.

    Of a view of any subclass torch asks whether it is a DTensor, and loads torch.distributed and sympy to tell.
    """
    return torch.empty(0, dtype=fake.dtype, device="meta").set_(fake.untyped_storage(), 0, (0,), (1,))


@contextmanager
def eager() -> Iterator[None]:
    """Calls of real tensors past all modes, while a model runs under them."""
    with (
        no_dispatch(), no_python_dispatcher(), torch._C.DisableTorchFunction(), torch.inference_mode(False),
        torch.no_grad(),
    ):  # fmt: skip
        yield


@contextmanager
def as_exporting(told: bool, asked: Callable[[], None]) -> Iterator[None]:
    """What models ask to take the way without data-dependent shortcuts: `torch.compiler.is_exporting()` says yes where
    they are to be `told`; `asked` is called where it says no to another file than torch's.

    torch has no public way to say it; torch.export sets the same two flags, of the whole process: models in other
    threads are not told. A method of TorchScript must not be told: it calls the Python that it was made of, with
    itself for its first argument twice.
    """
    before = torch.compiler._is_compiling_flag, torch.compiler._is_exporting_flag
    codes = [(function, function.__code__) for function in _IN_THIS_THREAD]
    try:
        for function, answer in _IN_THIS_THREAD.items():
            function.__code__ = answer.__code__
        torch.compiler._is_compiling_flag = _Exporting(told, before[0], asked)
        torch.compiler._is_exporting_flag = _Exporting(told, before[1], asked)
        torch.ScriptMethod.__call__ = _call_untold
        yield
    finally:
        torch.compiler._is_compiling_flag, torch.compiler._is_exporting_flag = before
        for function, code in codes:
            function.__code__ = code
        torch.ScriptMethod.__call__ = _CALL


class _Exporting(ThreadFlag):
    """What is_exporting() says; no to torch's own functions: its wrappers of calls would write into its tracer, behind
    the recorder's back. The indexing of flex_attention has one, which masks of transformers are made with."""

    def __init__(self, here: bool, elsewhere: Any, asked: Callable[[], None]) -> None:
        super().__init__(here, elsewhere)
        self._asked = asked

    def __bool__(self) -> bool:
        asking = sys._getframe(2).f_globals.get("__name__", "")  # this function is called in is_exporting()
        if not super().__bool__():
            if threading.get_ident() == self._thread and not asking.startswith("torch."):
                self._asked()
            return False
        return asking != "torch._export.wrappers"


@contextmanager
def passing_for_fake(is_fake: Callable[[torch.Tensor], bool]) -> Iterator[None]:
    """`isinstance(x, torch._subclasses.FakeTensor)`, which models ask as well, answered by a function. For torch's own
    files, and in other threads, it is what it was."""
    thread = threading.get_ident()

    class Kind(type):
        def __instancecheck__(cls, value: Any) -> bool:
            is_of_torch = sys._getframe(1).f_globals.get("__name__", "").startswith("torch.")
            if is_of_torch or threading.get_ident() != thread:
                return isinstance(value, FakeTensor)
            return isinstance(value, torch.Tensor) and is_fake(value)

        def __subclasscheck__(cls, kind: type) -> bool:
            return issubclass(kind, FakeTensor)

    try:
        torch._subclasses.FakeTensor = Kind(FakeTensor.__name__, (), {})
        yield
    finally:
        torch._subclasses.FakeTensor = FakeTensor


# The functions that models ask, and what each does for a ThreadFlag: the answer is to be a bool. Models import these
# functions by name, so that they stay the same ones; the names are those of torch.compiler.
_IN_THIS_THREAD: dict[Any, Any] = {
    torch.compiler.is_compiling: lambda: bool(_is_compiling_flag),  # type: ignore[name-defined]  # noqa: F821
    torch.compiler.is_exporting: lambda: bool(_is_exporting_flag),  # type: ignore[name-defined]  # noqa: F821
}
_CALL: Any = torch.ScriptMethod.__call__


def _call_untold(method: torch.ScriptMethod, *args: Any, **kwargs: Any) -> Any:
    told = torch.compiler._is_exporting_flag
    if not told:  # in another thread
        return _CALL(method, *args, **kwargs)
    torch.compiler._is_exporting_flag = ThreadFlag(False, told)
    try:
        return _CALL(method, *args, **kwargs)
    finally:
        torch.compiler._is_exporting_flag = told


@contextmanager
def references_as_they_are() -> Iterator[None]:
    """The meta kernels and decompositions that torch writes in Python, called without `torch._dynamo.disable`.

    torch puts that around them so that torch.compile does not compile them with a model; the first call loads
    torch._dynamo, a second. Where nobody has loaded it nothing is compiled.
    """
    functions = [] if "torch._dynamo" in sys.modules else _disabled_references()
    try:
        for each in functions:
            setattr(each, _WITHOUT_DYNAMO, each)
        yield
    finally:
        for each in functions:
            each.__dict__.pop(_WITHOUT_DYNAMO, None)


_WITHOUT_DYNAMO = "__dynamo_disable"  # where torch._disable_dynamo keeps what it calls for a function


@cache
def _disabled_references() -> tuple[Any, ...]:
    """The functions of torch._refs and torch._decomp that are behind `torch._disable_dynamo`, at whatever depth."""
    code = torch._disable_dynamo(_called).__code__
    found: dict[Any, None] = {}
    for function in (*vars(torch._refs).values(), *meta_table.values(), *decomposition_table.values()):
        while function is not None:
            if getattr(function, "__code__", None) is code:
                found[inspect.getclosurevars(function).nonlocals["fn"]] = None
            function = getattr(function, "__wrapped__", None)
    return tuple(found)


@contextmanager
def recorded_regions(associative_scan: Callable[..., Any]) -> Iterator[None]:
    """torch.cond, scan, flex_attention and the like call their op, not torch.compile of it; associative_scan calls the
    one that is given, and a nested compile region its function. Batched gradients are torch.func's.

    The op is what `higher_order` records.
    """
    replaced = [
        ("torch._higher_order_ops.utils", "_hop_compile_and_call", _called),
        ("torch._higher_order_ops.invoke_subgraph", "invoke_subgraph_placeholder", _called_plainly),
        ("torch._higher_order_ops.associative_scan", "generic_associative_scan", associative_scan),
        ("torch.nn.attention.flex_attention", "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True),
        ("torch._vmap_internals", "_vmap", _vmap_of_functorch),
    ]
    found = [(sys.modules[module], name, value) for module, name, value in replaced if module in sys.modules]
    before = [getattr(module, name) for module, name, _ in found]
    try:
        for module, name, value in found:
            setattr(module, name, value)
        yield
    finally:
        for (module, name, _), value in zip(found, before, strict=True):
            setattr(module, name, value)


def _called(function: Callable[..., Any], args: Any, kwargs: Any = None) -> Any:
    return function(*args, **kwargs or {})


def _called_plainly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _vmap_of_functorch(
    function: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, allow_none_pass_through: bool = False
) -> Callable[..., Any]:
    """torch.func's vmap in the place of the one that torch.autograd.grad still calls for is_grads_batched (jacobian and
    hessian with vectorize), whose tensors want plain sizes; None among the results stays None."""

    def mapped(*args: Any) -> Any:
        structure: list[bool] = []

        def present(*given: Any) -> Any:
            results = function(*given)
            if not allow_none_pass_through or not isinstance(results, (tuple, list)):
                return results
            structure[:] = [each is not None for each in results]
            return tuple(each for each in results if each is not None)

        results = torch.func.vmap(present, in_dims, out_dims)(*args)
        if not structure:
            return results
        kept = iter(results)
        return tuple(next(kept) if is_present else None for is_present in structure)

    return mapped


def is_in_functorch() -> bool:
    """Whether a transform of torch.func is at work, whose tensors are not ours."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def alive(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor inside of what a transform of torch.func left behind when it ended; others as they are."""
    return torch._C._functorch.unwrap_if_dead(tensor)


def is_transformed(args: Any, kwargs: Any, *, of_weights: bool = False) -> bool:
    """Whether a call is one of a transform of torch.func, or of autograd, which is asked `of_weights` too or not."""
    if is_in_functorch():
        return True
    if not torch.is_grad_enabled():
        return False
    kind = torch.Tensor if of_weights else FakeTensor
    return any(isinstance(each, kind) and each.requires_grad for each in tree_leaves((args, kwargs)))


def lowered_by_functorch(op: Any, args: Any, kwargs: Any) -> Any:
    """What a higher-order op returns under vmap or grad, by torch's rule for it; NotImplemented outside of those."""
    return torch._ops.dispatch_functorch(op, args, kwargs) if is_in_functorch() else NotImplemented


def math_attention(*args: Any) -> Any:
    """flex_attention in plain calls."""
    from torch._higher_order_ops.flex_attention import math_attention as attention  # with torch._dynamo

    return attention(*args)


@contextmanager
def unasked_masks() -> Iterator[None]:
    """nn.Transformer without its look into the mask's values for whether it is causal.

    The answer only chooses between two kernels for the same numbers; no is right for every mask.
    """
    before = transformer._detect_is_causal_mask
    try:
        transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: is_causal is True
        yield
    finally:
        transformer._detect_is_causal_mask = before


@contextmanager
def lists_asked() -> Iterator[None]:
    """tolist() of fake tensors as that of all tensors, which a function mode is asked for: theirs goes through the
    elements by itself."""
    before = FakeTensor.tolist
    try:
        FakeTensor.tolist = torch.Tensor.tolist
        yield
    finally:
        FakeTensor.tolist = before


@contextmanager
def hashes_of_sizes(hash_of: Callable[[torch.SymInt], int | None]) -> Iterator[None]:
    """Sizes that have the hash which a function says, where it says one; torch has none for a torch.SymInt."""
    before = torch.SymInt.__hash__

    def hashed(size: torch.SymInt) -> int:
        known = hash_of(size)
        return before(size) if known is None else known

    try:
        torch.SymInt.__hash__ = hashed
        yield
    finally:
        torch.SymInt.__hash__ = before


@contextmanager
def powers_of_sizes() -> Iterator[None]:
    """pow(n, 2, 5) of a size n, as of any int: torch.SymInt has no modulus."""
    before = torch.SymInt.__pow__

    def power(size: torch.SymInt, exponent: Any, modulus: Any = None) -> Any:
        found = before(size, exponent)
        return found if modulus is None else found % modulus

    try:
        torch.SymInt.__pow__ = power
        yield
    finally:
        torch.SymInt.__pow__ = before


__all__ = [
    "CallMode",
    "DataDependentOutputException",
    "DynamicOutputShapeException",
    "FakeTensor",
    "FakeTensorMode",
    "OneThread",
    "UnsupportedOperatorException",
    "alive",
    "as_exporting",
    "eager",
    "enable_python_dispatcher",
    "hashes_of_sizes",
    "in_kernel_invocation_manager",
    "is_in_functorch",
    "is_traceable_wrapper_subclass",
    "is_transformed",
    "lists_asked",
    "lowered_by_functorch",
    "math_attention",
    "no_dispatch",
    "no_python_dispatcher",
    "passing_for_fake",
    "plain_of",
    "powers_of_sizes",
    "recorded_regions",
    "references_as_they_are",
    "unasked_masks",
]
