"""A file, loaded: called like the model that it was made of."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError

from fxonnx import errors
from fxonnx.capture.call.memory import check_layout
from fxonnx.errors.arguments import names_options
from fxonnx.ir.dims import Expr
from fxonnx.location import METADATA_PREFIX
from fxonnx.options import check_options
from fxonnx.runtime.configuration import CPU_ALONE, NO_OPTIONS, Configuration
from fxonnx.runtime.session import Session
from fxonnx.runtime.shapes import as_real
from fxonnx.saved.interface import DoesNotFit, Interface, filled, flat

MUST_BE_TRUE = "must_be_true."
"""How the names of those outputs begin that tell whether the model's own checks hold."""

INTERFACE = METADATA_PREFIX + "interface"

_ASK = "call compiled once with these sizes, then compiled.save(path, ways=True): it has what they need"
_ASK_ONES = 'compiled.save(path, guards="in file", ways=True), which asks what sizes of 1 need, and has it'


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: its name, dtype, and shape, whose sizes are numbers or names."""

    name: str
    dtype: torch.dtype
    shape: tuple[Any, ...] | None

    def __str__(self) -> str:
        shape = "?" if self.shape is None else ",".join(map(str, self.shape))
        return f"{self.name}: {str(self.dtype).removeprefix('torch.')}[{shape}]"


class Loaded:
    """What `fxonnx.load` returns: takes the arguments that the model takes, and returns its structure, with dicts in
    the place of dataclasses. Picklable, by the bytes of the file."""

    def __init__(self, model: onnx.ModelProto, configuration: Configuration) -> None:
        self.metadata = {each.key: each.value for each in model.metadata_props}
        text = self.metadata.get(INTERFACE)
        self.interface = None if text is None else Interface.from_text(text)
        self.session = Session(inlined(model), {}, configuration=configuration)
        self._model, self._configuration = model, configuration

    @property
    def operators(self) -> frozenset[str]:
        """The operators of the main graph."""
        return frozenset(node.op_type for node in self._model.graph.node)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The file's inputs."""
        return tuple(Port(each.name, each.torch, each.shape) for each in self.session.inputs)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The file's outputs."""
        return tuple(Port(each.name, each.torch, each.shape) for each in self.session.outputs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the model returns for these arguments; for numpy arrays, arrays.

        Raises CallMismatch where they do not fit the file, or it does not hold for their sizes; CheckFailed,
        RuntimeFailed.
        """
        if self.interface is None or self.interface.writes:
            raise errors.CallMismatch(
                "the file cannot be called like its model",
                cause="fxonnx did not write it" if self.interface is None else "the model keeps a state between calls",
                cure=f"loaded.run({{{', '.join(f'{each.name!r}: …' for each in self.inputs)}}})",
            )
        given = self._leaves(self.interface, args, kwargs)
        arrays = bool(given) and all(isinstance(each, np.ndarray) for each in given)
        results = self._results(dict(zip(self.interface.inputs, given, strict=True)))
        checked = [each for name, each in results.items() if not name.startswith(MUST_BE_TRUE)]
        result = filled(self.interface.result, iter(checked))
        return torch.utils._pytree.tree_map_only(torch.Tensor, torch.Tensor.numpy, result) if arrays else result

    def run(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The outputs by name, for all inputs by name, as tensors or arrays; the `adapters` of the file have values of
        their own, and may be given others. Raises CallMismatch, CheckFailed, RuntimeFailed."""
        names = {each.name: None for each in self.inputs}
        adapters = {each.name: None for each in self.session.adapters}
        if not names.keys() <= inputs.keys() <= {**names, **adapters}.keys():
            further = f", and {', '.join(adapters)} with values of their own" if adapters else ""
            raise errors.CallMismatch(
                f"inputs are {', '.join(map(str, inputs)) or 'none'}",
                cause=f"the file has {', '.join(names) or 'none'}{further}",
                cure="give each of them once, by name",
            )
        return self._results(inputs)

    def _leaves(self, interface: Interface, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        names = [name for name, _ in interface.arguments]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        problem = _misfit(names, args, kwargs) or _missing(interface, given)
        try:
            known = [(name, each) for name, each in interface.arguments if name in given]
            closed: list[Any] = []
            leaves = [leaf for name, each in known for leaf in flat(each, given[name], name, closed)]
        except DoesNotFit as error:
            problem = problem or str(error)
            leaves = []
        if problem:
            raise errors.CallMismatch(
                f"the call does not fit the file: {problem}",
                cause=f"it takes {', '.join(names) or 'nothing'}, built as when the model was compiled",
                cure="call it like the model; or give its tensors by name: loaded.run({…})",
            )
        return leaves

    def _results(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        tensors = [_tensor(each.name, inputs[each.name]) for each in self.inputs]
        self._check_sizes(tensors)
        adapters = {each.name: _tensor(each.name, inputs[each.name]) for each in self.session.adapters
                    if each.name in inputs}  # fmt: skip
        computed = self.session.run_adapted(tensors, adapters) if adapters else self.session.run(tensors)
        results = dict(zip((each.name for each in self.outputs), computed, strict=True))
        for name, truth in results.items():
            if name.startswith(MUST_BE_TRUE) and not truth:
                raise errors.CheckFailed(
                    f"the model refuses its inputs: {self.metadata.get(METADATA_PREFIX + name, name)}",
                    cause="it checks this itself, and raises",
                    cure="give inputs that meet it",
                )
        return results

    def _check_sizes(self, tensors: Sequence[torch.Tensor]) -> None:
        """Raises CallMismatch where the file does not hold for the sizes of the tensors, or for how they lie in
        memory."""
        if self.interface is None:
            return
        sizes: dict[str, int] = {}
        for port, tensor in zip(self.inputs, tensors, strict=True):
            for dim, size in zip(port.shape or (), tensor.shape, strict=False):
                if isinstance(dim, Expr) and dim.name is not None:
                    sizes.setdefault(dim.name, size)
        if not self.interface.admits(sizes):
            said = ", ".join(f"{name} = {size}" for name, size in sizes.items())
            ways = " or ".join("; ".join(map(" ".join, way)) for way in self.interface.holds)
            raise errors.CallMismatch(
                f"the file does not hold for {said}",
                cause=f"it is known to where {ways}",
                cure=_ASK_ONES if min(sizes.values(), default=0) == 1 else _ASK,
            )
        for port, tensor in zip(self.inputs, tensors, strict=True):
            if port.name in self.interface.strides:
                check_layout(port.name, tensor, self.interface.strides_at(port.name, sizes))

    def __reduce__(self) -> tuple[Any, ...]:
        return loads, (self._model.SerializeToString(deterministic=True), self._configuration)

    def __repr__(self) -> str:
        takes, gives = (", ".join(map(str, ports)) for ports in (self.inputs, self.outputs))
        return f"<fxonnx file: {takes or 'nothing'} -> {gives}>"


def _misfit(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    if len(args) > len(names):
        return f"{len(args)} arguments for {len(names)}"
    unknown = [name for name in kwargs if name not in names]
    twice = [name for name in names[: len(args)] if name in kwargs]
    return f"there is no argument {unknown[0]!r}" if unknown else f"{twice[0]!r} is given twice" if twice else ""


def _missing(interface: Interface, given: Mapping[str, Any]) -> str:
    for name, _ in interface.arguments:
        if name not in given and name not in interface.optional:
            return f"{name} is missing, and was given when the model was compiled"
    return ""


def _tensor(name: str, value: Any) -> torch.Tensor:
    """An input as the session takes it. Raises CallMismatch."""
    if isinstance(value, np.ndarray):
        try:
            is_laid_out = all(stride >= 0 and stride % value.itemsize == 0 for stride in value.strides)
            value = torch.from_numpy(value if is_laid_out else value.copy())
        except TypeError as error:
            raise errors.CallMismatch(
                f"input {name} is an array of {value.dtype}", cause=str(error), cure="give numbers or truths"
            ) from error
    if not isinstance(value, torch.Tensor):
        raise errors.CallMismatch(
            f"input {name} is a {type(value).__name__}", cause="it is a tensor", cure="torch.as_tensor(value)"
        )
    return as_real(value)


@names_options
def load(
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    prepack: bool = True,
    providers: Sequence[Any] = CPU_ALONE,
    session_options: Mapping[str, Any] = NO_OPTIONS,
    custom_ops: Sequence[str | os.PathLike[str]] = (),
) -> Loaded:
    """A file that fxonnx wrote, as something to call: `fxonnx.load("model.onnx")(x)`.

    The options are those of `Compiled.configure`. A file of others loads as well; it is run by the names of its inputs.
    Raises CannotRead, InvalidOption, RuntimeFailed.
    """
    options: dict[str, Any] = {"threads": threads, "prepack": prepack, "providers": providers,
                               "session_options": session_options, "custom_ops": custom_ops}  # fmt: skip
    check_options(**options)
    try:
        model = onnx.load(os.fspath(path))
    except (OSError, TypeError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise _cannot_read(path, str(error)) from error
    if not model.HasField("graph"):
        raise _cannot_read(path, "it is empty, or no model")
    return Loaded(model, Configuration(**options))


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose functions are taken apart: a runtime that does so itself takes its time. Contents are left out
    meanwhile, as they may be larger than what can be copied."""
    if not model.functions:
        return model
    from onnx.inliner import inline_local_functions

    shell, contents = onnx.ModelProto(), list(model.graph.initializer)
    shell.CopyFrom(model)
    del shell.graph.initializer[:]
    flat = inline_local_functions(shell)
    flat.graph.initializer.extend(contents)
    return flat


def loads(model: bytes, configuration: Configuration) -> Loaded:
    """A file by its bytes. Raises RuntimeFailed."""
    return Loaded(onnx.load_from_string(model), configuration)


def _cannot_read(path: Any, reason: str) -> errors.CannotRead:
    said = repr(os.fspath(path)) if isinstance(path, (str, os.PathLike)) else f"a {type(path).__name__}"
    beside = "bring the file of its weights too, which lies beside it where it was saved"
    cure = beside if "TensorProto" in reason else "give the path of a file that compiled.save(path) wrote"
    return errors.CannotRead(f"{said} cannot be read", cause=reason, cure=cure)
