"""What a capture sets in the process and the thread, or torch for it."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.nn.modules import transformer

from fxonnx.capture.surroundings import ONE_AT_A_TIME


def of_the_thread() -> dict[str, Any]:
    """Modes, dispatch keys, hooks and flags, as they are now."""
    included = torch._C._dispatch_tls_is_dispatch_key_included
    stance = torch._dynamo.eval_frame._stance
    return {
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "function modes": torch._C._len_torch_function_stack(),
        "modes before dispatch": torch._ops._len_torch_dispatch_stack_pre_dispatch(),
        "PreDispatch": included(torch._C.DispatchKey.PreDispatch),
        "PythonDispatcher": included(torch._C.DispatchKey.PythonDispatcher),
        "meta": torch._C._meta_in_tls_dispatch_include(),
        "hooks": (len(hooks._global_forward_hooks), len(hooks._global_forward_pre_hooks)),
        "causal masks": transformer._detect_is_causal_mask,
        "encoder": nn.TransformerEncoder.forward,
        "compiling": torch.compiler.is_compiling(),
        "exporting": torch.compiler.is_exporting(),
        "fake": torch._subclasses.FakeTensor,
        "what tells of them": (torch.compiler.is_compiling.__code__, torch.compiler.is_exporting.__code__),
        "calls of TorchScript": torch.ScriptMethod.__call__,
        "stance": stance.stance,
        "gradients": torch.is_grad_enabled(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
    }


def surroundings() -> dict[str, Any]:
    """Those, and what the whole process has."""
    return of_the_thread() | {
        "random numbers": torch.get_rng_state().sum().item(),
        "warnings": len(warnings.filters),
        "collector": gc.isenabled(),
        "lock": ONE_AT_A_TIME._is_owned(),  # type: ignore[attr-defined]
    }
