"""What a capture sets in the process, in its thread and in the model, as it was before; put back however it ends.

A Ctrl-C may come between any two steps: between a flag that is set and the `try` that would put it back, in the middle
of torch's own `__enter__`, in what puts things back. So everything is read before anything is set, and put back twice,
the second time for a Ctrl-C in the first:

    with (found := AsFound(model)), found:
        ...
"""

from __future__ import annotations

import gc
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType, TracebackType
from typing import Any, TypeAlias

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules import module as hooks
from torch.nn.modules import transformer
from torch.utils import _python_dispatch as modes

from fxonnx.capture.state import injected
from fxonnx.capture.state.python_state import StateChanges

Setting: TypeAlias = "tuple[Callable[[], Any], Callable[[Any], Any]]"
"""how it is read, and how it is written"""

TALKATIVE = ("torch._subclasses.fake_tensor", "torch.fx.experimental.symbolic_shapes")
"""loggers of torch's that a capture quiets"""


def _attribute(owner: Any, name: str) -> Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _contents(container: Any) -> Setting:
    """A list or a dict that stays the same one."""

    def write(value: Any) -> None:
        container.clear()
        container.update(value) if isinstance(container, dict) else container.extend(value)

    return container.copy, write


def _stance() -> Any:
    return torch._dynamo.eval_frame._stance if "torch._dynamo" in sys.modules else None


def _set_stance(stance: Any) -> None:
    torch._dynamo.eval_frame._stance = torch._dynamo.eval_frame.DynamoStance() if stance is None else stance


def _dispatch_modes() -> list[Any]:
    return list(modes._get_current_dispatch_mode_stack())


def _set_dispatch_modes(wanted: Sequence[Any]) -> None:
    for mode in _dispatch_modes():
        if mode not in wanted:
            torch._C._pop_torch_dispatch_stack(getattr(mode, "_mode_key", None))
    for mode in wanted:
        if mode not in _dispatch_modes():
            modes._push_mode(mode)


def _pre_dispatch_modes() -> list[Any]:
    state = torch._ops.mode_stack_state_for_pre_dispatch()
    return [state.get(0), state.get(1)]


def _set_pre_dispatch_modes(wanted: Sequence[Any]) -> None:
    for slot, mode in enumerate(wanted):
        torch._ops.mode_stack_state_for_pre_dispatch().set(slot, mode)


def _function_modes() -> list[Any]:
    return [torch._C._get_function_stack_at(index) for index in range(torch._C._len_torch_function_stack())]


def _set_function_modes(wanted: Sequence[Any]) -> None:
    while torch._C._len_torch_function_stack():
        torch._C._pop_torch_function_stack()
    for mode in wanted:
        torch._C._push_on_torch_function_stack(mode)


_EXCHANGED = (
    ("torchvision.ops.boxes", "_batched_nms_vanilla"),
    ("torch._higher_order_ops.utils", "_hop_compile_and_call"),
    ("torch._higher_order_ops.invoke_subgraph", "invoke_subgraph_placeholder"),
    ("torch._higher_order_ops.associative_scan", "generic_associative_scan"),
    ("torch.nn.attention.flex_attention", "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG"),
    ("torch._vmap_internals", "_vmap"),
)
"""what is exchanged while a model runs (`one_suppression`, `recorded_regions`), where the module is loaded"""


FORGETFUL: tuple[Any, ...] = (torch.nn.functional.l1_loss, torch.chain_matmul)
"""functions that hand a call to a mode without all of its arguments: `weight`, `out`"""


def _exchanged() -> list[Setting]:
    found = [(sys.modules.get(module), name) for module, name in _EXCHANGED]
    return [_attribute(module, name) for module, name in found if hasattr(module, name)]


def _settings() -> list[Setting]:
    return [
        (_function_modes, _set_function_modes),
        (_pre_dispatch_modes, _set_pre_dispatch_modes),
        (_dispatch_modes, _set_dispatch_modes),
        *(_attribute(modes, name) for name in ("_is_in_torch_dispatch_mode", "_is_in_non_infra_torch_dispatch_mode",
                                               "_is_in_any_mode_without_ignore_compile_internals")),
        (torch._C._get_torch_function_state, torch._C._set_torch_function_state),
        (torch.is_grad_enabled, torch._C._set_grad_enabled),
        (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
        _attribute(torch.compiler, "_is_compiling_flag"),
        _attribute(torch.compiler, "_is_exporting_flag"),
        _attribute(torch.compiler.is_compiling, "__code__"),
        _attribute(torch.compiler.is_exporting, "__code__"),
        *(_attribute(each, "__code__") for each in FORGETFUL),
        _attribute(torch._subclasses, "FakeTensor"),
        _attribute(torch.ScriptMethod, "__call__"),
        _attribute(transformer, "_detect_is_causal_mask"),
        _attribute(FakeTensor, "tolist"),
        _attribute(nn.TransformerEncoder, "forward"),
        *_exchanged(),
        (injected.count, injected.take_back),
        (_stance, _set_stance),
        *map(_contents, (hooks._global_forward_hooks, hooks._global_forward_pre_hooks,
                         hooks._global_forward_hooks_always_called)),
        *(_contents(logging.getLogger(name).filters) for name in TALKATIVE),
        _attribute(warnings, "filters"),
        _attribute(warnings, "showwarning"),
        (lambda: torch.is_autocast_enabled("cpu"), lambda value: torch.set_autocast_enabled("cpu", value)),
        (lambda: torch.get_autocast_dtype("cpu"), lambda value: torch.set_autocast_dtype("cpu", value)),
        (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
        (gc.isenabled, lambda value: gc.enable() if value else None),  # another thread may have paused it, for a while
    ]  # fmt: skip


def with_modes(model: Any) -> list[nn.Module]:
    """The modules of a model that are in eval or train mode: a frozen one of TorchScript is in none."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return [module for module in modules if hasattr(module, "training")]


@dataclass(slots=True, init=False)
class AsFound:
    """Everything that capturing sets, the training flag of each module, and what the model keeps in Python."""

    _settings: list[tuple[Setting, Any]]
    _training: list[tuple[nn.Module, bool]]
    _kept: StateChanges
    _is_restored: bool
    _random: torch.Tensor
    _keys: list[Any]  # guards that, when they are left, put back the thread's dispatch keys and Python dispatcher

    def __init__(self, model: Any = None) -> None:
        self._settings = [(setting, setting[0]()) for setting in _settings()]
        self._training = [(module, module.training) for module in with_modes(model)]
        functions = [model] if isinstance(model, FunctionType) else []
        self._kept = StateChanges.of(model if isinstance(model, nn.Module) else nn.Module(), functions)
        self._random = torch.get_rng_state()
        self._is_restored = False
        is_on = torch._C._dispatch_tls_is_dispatch_key_included(torch._C.DispatchKey.PythonDispatcher)
        as_it_is = torch._C._EnablePythonDispatcher if is_on else torch._C._DisablePythonDispatcher
        self._keys = [make() for make in (as_it_is, torch._C._PreserveDispatchKeyGuard) * 2]
        for each in self._keys:
            each.__enter__()

    def __enter__(self) -> None:
        """Nothing is set."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupt = _interrupt(error)
        if interrupt is not None:
            traceback.clear_frames(interrupt.__traceback__)  # guards of torch's among their variables act when they go
        for _ in range(2):
            self._keys.pop().__exit__(None, None, None)
        if not self._is_restored:
            self._restore()
        self._is_restored = True  # nothing has interrupted it
        if interrupt is not None and interrupt is not error:
            raise interrupt  # what it has interrupted raised something else on its way

    def _restore(self) -> None:
        """What is as it was is not touched."""
        for (read, write), before in self._settings:
            if read() != before:
                write(before)
        for module, training in self._training:
            if module.training != training:
                module.training = training
        self._kept.restore()
        if not torch.equal(torch.get_rng_state(), self._random):
            torch.set_rng_state(self._random)


def _interrupt(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that an error came of, if one did."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None
