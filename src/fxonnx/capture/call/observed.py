"""Calls of a model as its examples: what varies from call to call is a dim, what always agrees has one name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.export import ExportedProgram

from fxonnx.capture.call.example import Axis
from fxonnx.capture.call.inputs import as_call, bind, example_arguments, leaf_names, owner, parameters_of
from fxonnx.capture.call.tree import Mismatch, flatten, match, unflatten
from fxonnx.emit.names import Names
from fxonnx.errors import InputMismatch, InvalidOption, NotAModel
from fxonnx.errors.arguments import names_options

_NO_LETTERS = re.compile(r"\W|^(?=\d)")


class Call(NamedTuple):
    """The arguments of one call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class Observed(NamedTuple):
    """What calls say of a model: an example, and which of its sizes vary under which names."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    dynamic_shapes: Any


class observe:
    """`with fxonnx.observe(model) as calls: model(x); model(y)`, then `fxonnx.compile(model, examples=calls)`.

    `calls` is a list of the calls that differ in structure, dtypes or sizes, with copies of their tensors, taken before
    the model may write to them. A method of a module is observed as well: `observe(model.encode)`. Raises NotAModel for
    a function: nobody sees its calls.
    """

    @names_options
    def __init__(self, model: Any) -> None:
        self.model, self._method = owner(model)
        if not isinstance(self.model, nn.Module):
            raise NotAModel(
                f"calls of a {type(model).__name__} cannot be observed", cause="only an nn.Module tells of its calls",
                cure="fxonnx.compile(function, examples=[(x1,), (x2,)])",
            )  # fmt: skip
        self.calls: list[Call] = []
        self._seen: set[Any] = set()
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> list[Call]:
        if self._method:
            self._stop = _replaced(self.model, self._method, self._note)
        else:
            hook = self.model.register_forward_pre_hook(lambda _, args, kwargs: self._note(args, kwargs),
                                                        with_kwargs=True, prepend=True)  # fmt: skip
            self._stop = hook.remove
        return self.calls

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _note(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        leaves, _, tree = flatten((tuple(args), dict(kwargs)))
        kind = tree, tuple((leaf.dtype, leaf.shape) for leaf in leaves)
        if kind not in self._seen:
            self._seen.add(kind)
            self.calls.append(Call(*unflatten(tree, [leaf.detach().clone() for leaf in leaves])))


def _replaced(module: nn.Module, method: str, note: Callable[[Any, Any], None]) -> Callable[[], None]:
    """Have a method's calls noted; what is returned ends that."""
    own, before = method in vars(module), getattr(module, method)

    def noting(*args: Any, **kwargs: Any) -> Any:
        note(args, kwargs)
        return before(*args, **kwargs)

    setattr(module, method, noting)
    return lambda: setattr(module, method, before) if own else delattr(module, method)


def from_examples(
    model: Any, inputs: Any, kwargs: Any, shapes: Any, input_names: Iterable[str] | None, examples: Any
) -> Observed:
    """The example and the dims of calls; what is given in their place, where there are none.

    Raises InvalidOption where both are given, InputMismatch for calls that are not built alike.
    """
    if examples is None:
        return Observed(inputs, kwargs, shapes)
    if isinstance(examples, (list, tuple)) and not examples:
        raise InvalidOption(
            "examples is empty", cause="what varies is seen in calls, and there is none",
            cure="examples=[(x1,), (x2,)], or with fxonnx.observe(model) as calls: model(x1); model(x2)",
        )  # fmt: skip
    has_others = (isinstance(inputs, torch.Tensor) or bool(inputs)) or bool(kwargs) or shapes is not None
    if has_others or isinstance(model, ExportedProgram) or not isinstance(examples, (list, tuple)):
        raise InvalidOption(
            "examples cannot be taken", cause="they are a list of calls, and stand in the place of example_inputs, "
            "example_kwargs and dynamic_shapes; an ExportedProgram has its own",
            cure="fxonnx.compile(model, examples=[(x1,), (x2,)])",
        )  # fmt: skip
    parameters = parameters_of(model)
    calls = [_call(parameters, each) for each in examples]
    given = [example_arguments(parameters, *each).values for each in calls]
    leaves = _alike(given)
    names = leaf_names(flatten(given[0])[1], input_names)
    dims = _dims(leaves, names)
    chosen = next((n for n, each in enumerate(leaves) if all(each[at].shape[axis] > 1 for at, axis in dims)), 0)
    found: dict[str, dict[int, str]] = {}
    for (at, axis), dim in dims.items():
        found.setdefault(names[at], {})[axis] = dim
    return Observed(*calls[chosen], found)


def _call(parameters: Any, example: Any) -> Call:
    """An example as a call: a tuple of positional arguments, a dict of keywords, or a pair of both."""
    if isinstance(example, Call):
        return example
    if isinstance(example, Mapping):
        return Call(*as_call((), example))
    if isinstance(example, tuple) and len(example) == 2 and isinstance(example[0], tuple):
        args, kwargs = example
        if isinstance(kwargs, dict) and all(isinstance(name, str) for name in kwargs):
            try:
                bind(parameters, args, kwargs)
                return Call(args, kwargs)
            except TypeError:  # a tuple and a dict are the model's two arguments
                pass
    return Call(*as_call(example, None))


def _alike(calls: Sequence[Mapping[str, Any]]) -> list[list[torch.Tensor]]:
    """The tensors of calls. Raises InputMismatch where they differ in more than sizes."""
    found = [_taken_apart(calls[0], each) for each in calls]
    differing = next(((n, each) for n, each in enumerate(found) if isinstance(each, str)), None)
    if differing is None:
        return found  # type: ignore[return-value]
    groups = [[n for n, other in enumerate(calls) if not isinstance(_taken_apart(each, other), str)] for each in calls]
    largest = max(groups, key=len)
    raise InputMismatch(
        f"call {differing[0]} is not built like call 0: {differing[1]}",
        cause="None, numbers, strings, the nesting of arguments, ranks and dtypes are compiled in; sizes may vary",
        cure=f"examples=[calls[n] for n in {largest}], which are alike" if len(largest) > 1 else "give calls alike",
    )


def _taken_apart(first: Mapping[str, Any], call: Mapping[str, Any]) -> list[torch.Tensor] | str:
    """The tensors of a call, or how it is not built like another one."""
    if differing := sorted(first.keys() ^ call.keys()):
        return f"{', '.join(differing)} {'is' if differing[0] in call else 'was'} given in one of them alone"
    leaves, paths, tree = flatten(dict(first))
    try:
        others = [each for _, each in match(tree, dict(call))]
    except Mismatch as error:
        return str(error)
    for path, one, other in zip(paths, leaves, others, strict=True):
        if one.dim() != other.dim() or one.dtype != other.dtype:
            return f"{'.'.join(path)} is {_said(other)}, and was {_said(one)}"
    return others


def _said(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _dims(calls: Sequence[Sequence[torch.Tensor]], names: Sequence[str]) -> dict[Axis, str]:
    """The axes whose sizes vary, with a name for each: the same where the sizes agree in every call."""
    unique, known, dims = Names().unique, dict[tuple[int, ...], str](), dict[Axis, str]()
    for at, name in enumerate(names):
        argument = _NO_LETTERS.sub("_", name.partition(".")[0])
        for axis in range(calls[0][at].dim()):
            sizes = tuple(call[at].shape[axis] for call in calls)
            if len(set(sizes)) == 1:
                continue
            if sizes not in known:
                is_batch = axis == 0 and "batch" not in known.values()
                known[sizes] = unique("batch" if is_batch else f"{argument}_{axis}")
            dims[at, axis] = known[sizes]
    return dims
