"""Every part of torch without a promise that the tracer uses, one by one: what for, and what to do when it changes.

`tests/capture/tracer/test_torch_private.py` checks each of them and says in words what to look at. Two more are a
matter of protocol, not of names: the methods that torch calls on the node of a `torch.SymInt` (`sizes.Node`, after
torch.fx.experimental.sym_node.SymNode), and the two that its guards call on a node's `shape_env`
(`guards.GuardLog`, after torch.fx.experimental.symbolic_shapes.ShapeEnv).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

# The meta kernels that torch writes in Python run only under this; without it a composite op asks C++, which wants
# plain sizes; where they are plain, C++ is faster.
from torch._dispatch.python import enable_python_dispatcher, no_python_dispatcher

# Tensors without memory. FakeTensor(mode, meta tensor, device) makes one of known geometry. The exceptions are what
# nonzero, item and ops without a meta kernel raise on them.
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
    in_kernel_invocation_manager,
)

# The only class of modes that torch lets stand at the PreDispatch key, where calls arrive whole. It keeps what it
# sees as proxies; ours overrides `__torch_dispatch__` and keeps the calls themselves.
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode

# Its `_detect_is_causal_mask` is replaced while a model runs.
from torch.nn.modules import transformer

# Tells tensors made of other tensors (quantized weights), whose dispatch we cannot stand before.
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

REFUSALS = (RuntimeError, TypeError, ValueError, AssertionError, LookupError, ArithmeticError)
"""What torch's kernels, many of which are in Python, raise for arguments that they do not take."""


class OneThread(FakeTensorMode):
    """Computes with fake tensors in the thread that made it; `elsewhere` gives the exception for all others.

    A recorder stands in one thread only: calls that other threads make on its tensors would be lost.
    """

    def __init__(self, elsewhere: Callable[[], BaseException]) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self._elsewhere, self._thread = elsewhere, threading.get_ident()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One call."""
        if threading.get_ident() != self._thread:
            raise self._elsewhere()
        return super().__torch_dispatch__(func, types, args, kwargs or {})


def fake_mode(elsewhere: Callable[[], BaseException]) -> FakeTensorMode:
    """A mode of our own, that takes a model's real weights where we hand them over.

    Its own cache of results reads sizes as sympy expressions, and `results.cache` stands before it: it is off.
    """
    mode = OneThread(elsewhere)
    mode.cache_enabled = False
    return mode


@contextmanager
def as_exporting() -> Iterator[None]:
    """What models ask to take the way without data-dependent shortcuts: `torch.compiler.is_exporting()` says yes.

    torch has no public way to say it; torch.export sets the same two flags.
    """
    before = torch.compiler._is_compiling_flag, torch.compiler._is_exporting_flag
    torch.compiler._is_compiling_flag = torch.compiler._is_exporting_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag, torch.compiler._is_exporting_flag = before


@contextmanager
def unasked_masks() -> Iterator[None]:
    """nn.Transformer without its look into the mask's values for whether it is causal.

    The answer only chooses between two kernels for the same numbers; no is right for every mask.
    """
    before = transformer._detect_is_causal_mask
    transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: is_causal is True
    try:
        yield
    finally:
        transformer._detect_is_causal_mask = before


__all__ = [
    "REFUSALS",
    "DataDependentOutputException",
    "DynamicOutputShapeException",
    "FakeTensor",
    "FakeTensorMode",
    "ProxyTorchDispatchMode",
    "UnsupportedOperatorException",
    "as_exporting",
    "enable_python_dispatcher",
    "fake_mode",
    "in_kernel_invocation_manager",
    "is_traceable_wrapper_subclass",
    "no_python_dispatcher",
    "unasked_masks",
]
