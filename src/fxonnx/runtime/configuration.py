"""How a session of ONNX Runtime runs: its threads, its providers, and whatever else its options say."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from fxonnx import errors
from fxonnx.runtime.shapes import Slot
from fxonnx.runtime.subnormals import make_no_difference
from fxonnx.target import PROVIDERS

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Provider: TypeAlias = "str | tuple[str, dict[str, Any]]"
"""an execution provider by its name, or with its options"""

CPU_ALONE: tuple[Provider, ...] = ("CPUExecutionProvider",)
NO_OPTIONS: Mapping[str, Any] = {}

_FLUSH = "session.set_denormal_as_zero"
_FATAL = 4  # log level: what fails is raised, with its place, so it need not be printed as well


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is asked of a session.

    Args:
        threads: of one operator; by default as many as torch uses.
        prepack: let the runtime keep a copy of matrices in the layout it multiplies fastest.
        providers: the runtime's execution providers, the preferred one first; by default those of the target. Values
            cross their border on the CPU.
        session_options: attributes of onnxruntime.SessionOptions, and entries of its configuration, by name.
        custom_ops: shared libraries with operators of the user's.
        profile: whether to measure the runtime's kernels.
        without: optimizers of the runtime that it leaves out, by name.
        device: where inputs come from and results stay; the CPU's memory is read and written fastest without it.
        in_place: outputs, and the inputs in whose memory they are written, by their indices. It has to be contiguous,
            and the graph must not read it any more by then.
    """

    threads: int | None = None
    prepack: bool = True
    providers: Sequence[Provider] | None = None
    session_options: Mapping[str, Any] = field(default_factory=dict)
    custom_ops: Sequence[str | os.PathLike[str]] = ()
    profile: bool = False
    without: Sequence[str] = ()
    device: torch.device | None = None
    in_place: Mapping[int, int] = field(default_factory=dict)

    def flushes(self, model: onnx.ModelProto) -> bool:
        """Whether subnormal numbers are 0 while the model runs: where that makes no difference, or as is asked for."""
        asked = self.session_options.get(_FLUSH)
        if asked is not None:
            return str(asked) == "1"
        return self._providers == [*CPU_ALONE] and make_no_difference(model)

    def options(
        self, inputs: Sequence[Slot], profile: Path | None, *, flush: bool = False
    ) -> onnxruntime.SessionOptions:
        """The runtime's own options for a model with these inputs; it writes how long its kernels take to `profile`.

        The runtime keeps a plan of its memory for every combination of sizes it meets, and never drops one: of a model
        whose sizes vary it makes none, which costs no time (measured with ONNX Runtime 1.32, see
        docs/decisions/0010-what-is-compiled-is-one-model.md). DirectML takes no such plan. Raises InvalidOption.
        """
        import onnxruntime

        self._check_providers(onnxruntime.get_available_providers())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads or torch.get_num_threads()
        options.log_severity_level = _FATAL
        is_fixed = all(isinstance(dim, int) for slot in inputs for dim in slot.shape or (None,))
        options.enable_mem_pattern = is_fixed and DIRECTML not in self._providers
        if not self.prepack:
            options.add_session_config_entry("session.disable_prepacking", "1")
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        if flush:
            options.add_session_config_entry(_FLUSH, "1")  # in its own threads
        for name, value in self.session_options.items():
            _set(options, name, value)
        for library in self.custom_ops:
            _register(options, os.fspath(library))
        return options

    @property
    def _providers(self) -> list[str]:
        """The names of its providers."""
        return [each if isinstance(each, str) else each[0] for each in self.providers or CPU_ALONE]

    def _check_providers(self, available: Sequence[str]) -> None:
        """Raise InvalidOption for a provider that is not installed: the runtime itself only warns."""
        for name in self._providers:
            if name not in available:
                raise errors.InvalidOption(
                    f"this ONNX Runtime has no provider {name!r}",
                    cause=f"it has {', '.join(available)}",
                    cure="take one of those, or install the runtime that has it: pip install onnxruntime-gpu for CUDA,"
                    " onnxruntime-directml for DirectML",
                )


DEFAULT = Configuration()


def _set(options: onnxruntime.SessionOptions, name: str, value: Any) -> None:
    """One option: an attribute by its name, or an entry of the configuration by its key, which has a dot in it."""
    if "." in name:
        options.add_session_config_entry(name, str(value))
        return
    known = [each for each in dir(options) if not each.startswith("_") and not callable(getattr(options, each))]
    if name not in known:
        raise errors.InvalidOption(
            f"onnxruntime.SessionOptions has no {name!r}",
            cause=f"it has {', '.join(known)}",
            cure='take one of those, or a key of the configuration: {"session.intra_op.allow_spinning": "0"}',
        )
    try:
        setattr(options, name, value)
    except TypeError as error:
        raise errors.InvalidOption(
            f"SessionOptions.{name} does not take {value!r}",
            cause=" ".join(str(error).split())[:200],
            cure=f"give a {type(getattr(options, name)).__name__}",
        ) from error


def _register(options: onnxruntime.SessionOptions, library: str) -> None:
    """Load a library of operators. Raises InvalidOption for one that cannot be."""
    from fxonnx.runtime.failures import runtime_errors

    try:
        options.register_custom_ops_library(library)
    except runtime_errors() as error:
        raise errors.InvalidOption(
            f"the library of operators {library!r} cannot be loaded",
            cause=" ".join(str(error).split())[:300],
            cure="give the path of a shared library that has RegisterCustomOps",
        ) from error


CUDA, DIRECTML = PROVIDERS["cuda"], PROVIDERS["directml"]


def on_device(
    configuration: Configuration, device: str | torch.device, *, keeps_state: bool
) -> Configuration:
    """The same on a device. Raises InvalidOption where this runtime or this model cannot be there."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise _unknown(device) from error
    if place.type == "cpu":
        return replace(configuration, providers=CPU_ALONE, device=None)
    if place.type != "cuda":
        raise _unknown(device)
    if CUDA not in available:
        raise errors.InvalidOption(
            f"this ONNX Runtime does not run on {place}", cause=f"it has {', '.join(available)}, and not {CUDA}",
            cure="pip uninstall onnxruntime, pip install onnxruntime-gpu; or stay on the CPU: compiled.to('cpu')",
        )  # fmt: skip
    if keeps_state:
        raise errors.InvalidOption(
            f"a model that keeps a state does not run on {place}",
            cause="its states are the model's own tensors, which stay where they are",
            cure='give the state as an input, and return it; or configure(providers=["CUDAExecutionProvider"])',
        )
    return replace(configuration, providers=[(CUDA, {"device_id": place.index or 0}), *CPU_ALONE], device=place)


def _unknown(device: object) -> errors.InvalidOption:
    return errors.InvalidOption(
        f"there is no device {device!r} to run on", cause='it is "cpu", "cuda" or one of several, "cuda:1"',
        cure='compiled.to("cuda")',
    )  # fmt: skip
