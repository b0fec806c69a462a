"""Which model a word on the command line means: `package.module:factory`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, TypeAlias

import torch

from fxonnx import errors
from fxonnx.capture.call.inputs import parameters_of
from fxonnx.capture.failures import innermost
from fxonnx.errors.turning import Turning
from fxonnx.tools.outcome import Usage

Call: TypeAlias = tuple[Any, Any, dict[str, Any]]
"""A model, its example inputs and its example keywords."""


class UsersCode(Turning):
    """`with UsersCode("what"): …` raises ModelRaised, with the user's line, for whatever their code raises."""

    passing = (*Turning.passing, Usage)

    def __init__(self, what: str) -> None:
        self.what = what

    def turned(self, error: Exception) -> errors.ModelRaised:
        """The error of what was run."""
        place, _ = innermost(error)
        return errors.ModelRaised(
            f"{self.what} raised {type(error).__name__}: {error}",
            cause="it was run to get the model and its example inputs", cure="make it work in plain Python first",
            location=place,
        )  # fmt: skip


def load(spec: str) -> Call:
    """The model that `package.module:factory` or `file.py:factory` makes, with its example inputs; or that of a file of
    torch.export.save's, `model.pt2`.

    The factory returns `model`, `(model, args)` or `(model, args, kwargs)`; it may also be a module, or an object with
    `build()`. Dots after the colon go into attributes and mappings: `benchmarks.models:MODELS.resnet50`.

    Raises Usage, ModelRaised, NotAModel.
    """
    if spec.endswith(".pt2"):
        return _exported(spec), (), {}
    with UsersCode(spec):
        made = _maker(member(spec))()
    return as_call(made, spec)


def member(spec: str) -> Any:
    """What `package.module:name` or `file.py:name` names. Raises Usage, ModelRaised."""
    module, _, path = spec.rpartition(":")
    if not (module and path):
        raise Usage(f"{spec!r} is not like package.module:factory")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does; the script `fxonnx` starts without it
    found = _from_file(module) if module.endswith(".py") else _imported(module)
    for name in path.split("."):
        found = _member(found, name, spec)
    return found


def resized(call: Call, shapes: Mapping[str, tuple[int, ...]]) -> Call:
    """The same with random inputs of these sizes, by the names of arguments. Raises Usage for one that there is not."""
    model, args, kwargs = call
    args = (args,) if isinstance(args, torch.Tensor) else tuple(args)
    known = [] if isinstance(model, torch.export.ExportedProgram) else list(parameters_of(model).parameters)
    if unknown := [name for name in shapes if name not in known]:
        raise Usage(f"--shape {unknown[0]}: the model's arguments are {', '.join(known) or 'fixed in the .pt2'}")
    given = {**dict(zip(known, args, strict=False)), **kwargs}
    new = {name: drawn(sizes, getattr(given.get(name), "dtype", torch.float32)) for name, sizes in shapes.items()}
    args = tuple(new.pop(name, arg) for name, arg in zip(known, args, strict=False))
    return model, args, {**kwargs, **new}


def drawn(sizes: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Normal numbers, zeros for integers."""
    return (torch.randn(sizes) if dtype.is_floating_point else torch.zeros(sizes)).to(dtype)


def as_call(made: Any, spec: str) -> Call:
    """What a factory returned, in full. Raises NotAModel."""
    if not isinstance(made, tuple):
        return made, (), {}
    match made:
        case (model,):
            return model, (), {}
        case (model, arguments):
            return model, arguments, {}
        case (model, arguments, Mapping() as keywords):
            return model, arguments, dict(keywords)
    raise errors.NotAModel(
        f"{spec} returned a tuple of {len(made)}",
        cause="it has to return model, (model, args) or (model, args, kwargs), kwargs being a dict",
        cure="return model, (x,)",
    )


def _exported(path: str) -> Any:
    """The program in a file. Raises Usage where it is none."""
    try:
        return torch.export.load(path)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise Usage(f"{path} is no file of torch.export.save's: {error}") from None


def _from_file(path: str) -> Any:
    """The module that a file is, by its path."""
    file = Path(path)
    if not file.is_file():
        raise Usage(f"there is no file {path}")
    spec = spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)
    with UsersCode(path):
        spec.loader.exec_module(module)
    return module


def _imported(module: str) -> Any:
    """The module; one that is not there is a matter of usage, one that fails is the user's."""
    with UsersCode(module):
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise Usage(f"there is no module {error.name!r} here") from None


def _member(found: Any, name: str, spec: str) -> Any:
    if isinstance(found, Mapping) and name in found:
        return found[name]
    if not hasattr(found, name):
        raise Usage(f"{spec}: there is no {name!r}")
    return getattr(found, name)


def _maker(found: Any) -> Callable[[], Any]:
    """A function of nothing that gives the model."""
    if isinstance(found, torch.nn.Module | torch.export.ExportedProgram | tuple):
        return lambda: found
    if not isinstance(found, type) and callable(getattr(found, "build", None)):
        return found.build
    if not callable(found):
        raise errors.NotAModel(
            f"a {type(found).__name__} is not a model, and makes none", cure="name a function that returns model, (x,)"
        )
    return found
