"""The model's arguments and results: names for every tensor in them, and a flat face.

What runs is `Flat`, a module that takes the tensors of the arguments one by one and returns the tensors of the result
one by one. Dataclasses, ModelOutputs, caches, None and Python scalars need no registration with torch.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from fxonnx.capture.call.effects import NO_EFFECTS, ArgumentsBefore, Effects
from fxonnx.capture.call.tree import (
    SLOT,
    SYMBOLIC,
    Constant,
    Mismatch,
    Path,
    Tree,
    flatten,
    match,
    name_of,
    result_name,
    unflatten,
    unopened,
)
from fxonnx.capture.failures import Stopping
from fxonnx.emit.names import Names
from fxonnx.errors import CallMismatch, CaptureRefused, InputMismatch, NameClash, NotAModel, raise_all
from fxonnx.location import Location

_ANYTHING = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)


@dataclass(frozen=True, slots=True)
class Arguments:
    """One call's arguments by name, in the order of the signature, and how many of them were given by position."""

    values: dict[str, Any]
    positional: int
    variadic: str | None  # the *args parameter, when the call fills it

    def without_values(self) -> Arguments:
        """The same call, not holding on to the example's tensors."""
        return Arguments(dict.fromkeys(self.values), self.positional, self.variadic)

    def split(self, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """`values` (one for each of mine) as the args and kwargs of the same kind of call."""
        names = list(values)
        args = [values[name] for name in names[: self.positional]]
        rest = {name: values[name] for name in names[self.positional :]}
        return (*args, *rest.pop(self.variadic or "", ())), rest


@dataclass(frozen=True, slots=True)
class Signature:
    """How the model is called: argument names, their structure, and the structure of what comes back."""

    parameters: inspect.Signature
    arguments: Arguments  # their names and order; no values
    inputs: tuple[tuple[str, Tree], ...]
    names: tuple[str, ...]  # one for each leaf of the inputs
    result: Tree
    result_names: tuple[str, ...]  # one for each leaf of the result
    effects: Effects = NO_EFFECTS  # what a call leaves in the arguments themselves

    def flatten(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
        """The tensors of a call, in the order of `names`.

        Raises CallMismatch when the call is not built like the captured one.
        """
        given, known = self.bind(args, kwargs), list[Any]()
        try:
            return [
                leaf for name, tree in self.inputs for _, leaf in match(tree, self._value(given, name), (name,), known)
            ] + self._rest(given)
        except Mismatch as error:
            raise CallMismatch(
                f"the call is not built like the example inputs: argument {error}",
                cause="None, Python numbers, strings and the nesting of arguments are fixed when a model is compiled",
                cure="call it with the same structure, or compile it again for this one",
            ) from error

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name. Raises CallMismatch where they do not fit."""
        try:
            return bind(self.parameters, args, kwargs).values
        except TypeError as error:
            raise CallMismatch(
                f"the call does not fit the model: {error}",
                cause="it takes the arguments of the model's forward",
                cure=f"call it like forward{self.parameters}",
            ) from error

    def arguments_for(self, leaves: Iterable[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The args and kwargs of a call with these tensors, in the order of `names`: what `flatten` takes apart."""
        remaining, known = iter(leaves), list[Any]()
        return self.arguments.split({name: unflatten(tree, remaining, known) for name, tree in self.inputs})

    def output_names(self, given: Iterable[str] | None = None) -> tuple[str, ...]:
        """A name for each tensor of the result: the user's, as far as given, else its own, kept apart from the inputs'.

        Raises NameClash.
        """
        own = [f"{name}.out" if name in self.names else name for name in self.result_names]
        return _named(own, given, "output", self.names)

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The model's own return value around these leaves: one for each tensor (or symbolic number) in it, in
        order."""
        return unflatten(self.result, leaves)

    def _value(self, given: Mapping[str, Any], name: str) -> Any:
        if name in given:
            return given[name]
        parameter = self.parameters.parameters.get(name)
        default = inspect.Parameter.empty if parameter is None else parameter.default
        if default is inspect.Parameter.empty:
            raise Mismatch((name,), "the argument", "nothing")
        return default

    def _rest(self, given: Mapping[str, Any]) -> list[torch.Tensor]:
        """Nothing, after checking that arguments which the example call left out have their default values."""
        known = dict(self.inputs)
        for name in given:
            if name not in known:
                default = self._value({}, name)
                list(match(Constant(default), given[name], (name,)))
        return []


def as_call(inputs: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as positional and keyword arguments: a lone tensor counts as one, a list as a tuple.

    Raises InputMismatch for what is neither.
    """
    if isinstance(inputs, torch.Tensor):
        inputs = (inputs,)
    if not isinstance(inputs, (tuple, list)):
        by_name = isinstance(inputs, Mapping) or hasattr(inputs, "keys")
        raise InputMismatch(
            f"example_inputs is a {type(inputs).__name__}",
            cause="the example is a tuple with the positional arguments of the model's forward",
            cure=_example_cure(inputs, by_name),
        )
    if isinstance(kwargs, (str, os.PathLike)):
        raise InputMismatch(
            f"example_kwargs is {os.fspath(kwargs)!r}",
            cause="the third argument of compile are keywords of the model's forward; a file is written by export",
            cure=f"fxonnx.export(model, (x,), {os.fspath(kwargs)!r}), as torch.onnx.export(model, (x,), f)",
        )
    if kwargs is not None and not (isinstance(kwargs, Mapping) and all(isinstance(name, str) for name in kwargs)):
        raise InputMismatch(
            f"example_kwargs is {'no dict of names' if isinstance(kwargs, Mapping) else f'a {type(kwargs).__name__}'}",
            cause="keyword arguments are a dict from the names of forward's arguments to values",
            cure='example_kwargs={"mask": mask}',
        )
    return tuple(inputs), dict(kwargs or {})


def _model_cure(model: Any) -> str:
    """What to give instead of what is no model."""
    if isinstance(model, type):
        return f"give an object of it: fxonnx.compile({model.__name__}(…), (x,))"
    if isinstance(model, Mapping):
        return "give the model that has these weights: model.load_state_dict(…), then fxonnx.compile(model, (x,))"
    return "give an nn.Module, a function of tensors, an fx.GraphModule or an ExportedProgram"


def _example_cure(inputs: Any, by_name: bool) -> str:
    """What to write for an example that is no tuple."""
    if by_name:
        return "fxonnx.compile(model, (), example_kwargs=…): arguments by name, a dict"
    is_array = hasattr(inputs, "__array__")
    return f"fxonnx.compile(model, ({'torch.as_tensor(x)' if is_array else 'x'},))"


def parameters_of(model: Any) -> inspect.Signature:
    """The signature that a call of the model binds to. Raises NotAModel for what cannot be called, and for what has
    been compiled."""
    if callable(model) and _is_ours(model):
        raise NotAModel(
            f"{type(model).__name__} is not a model",
            cause="it has been compiled: it calls a runtime, which computes outside of torch",
            cure="give the model that it was compiled from",
        )
    if not callable(model) or isinstance(model, type):
        raise NotAModel(
            f"{'the class ' + model.__name__ if isinstance(model, type) else type(model).__name__} is not a model",
            cause="it is nothing that can be called with tensors",
            cure=_model_cure(model),
        )
    target = model.forward if isinstance(model, nn.Module) else model
    if isinstance(target, torch.ScriptMethod):
        return _of_schema(target.schema)
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):  # a builtin
        return _ANYTHING


def _is_ours(model: Any) -> bool:
    """Whether it is an object of this package; its modules are models like others."""
    return type(model).__module__.partition(".")[0] == "fxonnx" and not isinstance(model, nn.Module)


def _of_schema(schema: torch._C.FunctionSchema) -> inspect.Signature:
    """The signature of a method of TorchScript, whose first argument is the module."""
    parameter = inspect.Parameter
    return inspect.Signature(
        [
            parameter(
                each.name,
                parameter.KEYWORD_ONLY if each.kwarg_only else parameter.POSITIONAL_OR_KEYWORD,
                default=each.default_value if each.has_default_value() else parameter.empty,
            )
            for each in schema.arguments[1:]
        ]
    )


def bind(parameters: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
    """The call's arguments by name. Raises TypeError where they do not fit."""
    bound = parameters.bind(*args, **kwargs)
    values = dict(bound.arguments)
    kinds = {parameter.kind: name for name, parameter in parameters.parameters.items()}
    variadic = kinds.get(inspect.Parameter.VAR_POSITIONAL)
    extra = values.pop(kinds.get(inspect.Parameter.VAR_KEYWORD, ""), {})
    if variadic not in values:
        return Arguments({**values, **extra}, len(args), None)
    return Arguments({**values, **extra}, len(args) - len(values[variadic]), variadic)


def example_arguments(parameters: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
    """`bind` for the example inputs. Raises InputMismatch where they do not fit."""
    try:
        return bind(parameters, args, kwargs)
    except TypeError as error:
        raise InputMismatch(
            f"the example inputs do not fit the model: {error}",
            cause=f"{len(args)} positional argument(s) and {', '.join(kwargs) or 'no'} keyword argument(s) were given",
            cure=f"give inputs for forward{parameters}",
        ) from error


def check_opened(tree: Tree) -> None:
    """Raise InputMismatch for arguments that hold tensors and cannot be taken apart: those of the example would be
    computed with at every call."""
    raise_all(
        [
            InputMismatch(
                f"a {type(value).__name__} is given that holds tensors ({'.'.join(filter(None, path))})",
                cause="it cannot be taken apart, nor made again around other tensors",
                cure="give tensors in tuples, lists, dicts, dataclasses or objects of a class of your own",
            )
            for path, value in unopened(tree)
            if not isinstance(value, (nn.Module, FunctionType, MethodType))  # the model's own, as far as one can tell
        ]
    )


def leaf_names(paths: list[Path], input_names: Iterable[str] | None) -> tuple[str, ...]:
    """A name for each tensor: the user's, or the argument's name and the way into it ("x", "past.0.key")."""
    return _named([name_of(path) for path in paths], input_names, "input")


def _named(
    own: list[str], given: Iterable[str] | None, kind: str, others: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The user's names in place of the first ones of our own, of which the rest steps aside for those of `others`."""
    given = list(given or ())
    if len(given) > len(own):
        raise NameClash(
            f"{len(given)} {kind}_names for {len(own)} {kind} tensors",
            cause=f"the tensors are {', '.join(own)}",
            cure=f"one name for each tensor, in this order, in {kind}_names",
        )
    rest = own[len(given) :]
    taken = {*others, *rest}
    twice = [name for index, name in enumerate(given) if name in given[:index] or name in taken]
    if twice:
        raise NameClash(
            f"{twice[0]!r} in {kind}_names is the name of another tensor too",
            cause="a file has one name for each of its inputs and outputs",
            cure=f"give each a name of its own in {kind}_names",
        )
    names = Names(taken={*given, *others})
    return (*given, *map(names.unique, rest))


def result_names(paths: list[Path]) -> tuple[str, ...]:
    """A name for each tensor of the result: "output" for a lone one, "output_1" in a tuple, else the keys to it
    ("logits", "past.0.key")."""
    named = map(result_name, paths)
    return tuple("output" if not name else f"output_{name}" if name[0].isdigit() else name for name in named)


@dataclass(slots=True)
class Returned:
    """What a model returned: the structure of the result, with a slot for each tensor and the other leaves in it,
    and the way to each tensor; and what it left in its arguments."""

    tree: Tree = SLOT
    paths: list[Path] = field(default_factory=list)
    effects: Effects = NO_EFFECTS

    @property
    def structure(self) -> tuple[Tree, Effects]:
        """All of it but tensors and sizes: what two runs return alike is equal."""
        return self.tree, self.effects


class Flat(nn.Module):
    """A model with a flat face: takes the tensors of its arguments, returns the tensors of its result, and notes
    what they were `returned` in."""

    def __init__(self, model: Callable[..., Any], arguments: Arguments, tree: Tree) -> None:
        super().__init__()
        # weights and module paths are found below the name "model", see `locate`
        self.model, self._method = owner(model)
        self._arguments, self._tree = arguments, tree
        self.training = getattr(self.model, "training", False)
        self.functions = [model] if isinstance(model, FunctionType) else []
        # an object of its own: what forward leaves in attributes is put back
        self.returned = Returned()

    def forward(self, *leaves: torch.Tensor) -> list[Any]:
        """Call the model with its own arguments made of the leaves: the tensors of the result, and after them the new
        ones that it left in its arguments. Raises CaptureRefused where it returns tensors in what cannot be opened."""
        arguments = unflatten(self._tree, leaves)
        before = ArgumentsBefore.of(arguments)
        args, kwargs = self._arguments.split(arguments)
        with Stopping():
            returned = self.called(*args, **kwargs)
        results, self.returned.paths, self.returned.tree = flatten(returned)
        left, self.returned.effects = before.effects()
        self._check_opened((*unopened(self.returned.tree), *unopened(self.returned.effects.tree)))
        return [*results, *left]

    @property
    def called(self) -> Callable[..., Any]:
        """What is called: the model, or a method of it."""
        return getattr(self.model, self._method) if self._method else self.model

    def _check_opened(self, closed: Sequence[tuple[Path, Any]]) -> None:
        for path, value in closed:
            raise CaptureRefused(
                f"the model returns a tensor in a {type(value).__name__} ({'.'.join(filter(None, path)) or 'result'})",
                cause="it cannot be taken apart, nor made again around the tensors of another call",
                cure="return tensors in tuples, lists, dicts, dataclasses or objects of a class of your own",
                location=definition(self.called),
            )


def definition(call: Callable[..., Any]) -> Location:
    """Where what is called is written."""
    function = call.forward if isinstance(call, nn.Module) else call
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return Location()
    return Location(file=code.co_filename, line=code.co_firstlineno, function=code.co_name)


def owner(model: Callable[..., Any]) -> tuple[Any, str]:
    """A module's method (`model.encode`) as the module, so that its weights are found, and the method's name."""
    module = getattr(model, "__self__", None)
    return (module, model.__name__) if isinstance(module, nn.Module) else (model, "")


__all__ = [
    "SYMBOLIC",
    "Arguments",
    "Flat",
    "Signature",
    "bind",
    "check_opened",
    "definition",
    "example_arguments",
    "leaf_names",
    "owner",
    "parameters_of",
    "result_names",
]
