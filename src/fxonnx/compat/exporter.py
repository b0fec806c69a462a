"""`torch.onnx.export`'s arguments, those of both its generations, with the same meaning here."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch

from fxonnx.capture.call.dynamic import Label
from fxonnx.capture.call.inputs import as_call, example_arguments, parameters_of
from fxonnx.capture.call.tree import flatten
from fxonnx.compat.refused import check
from fxonnx.compat.translation import lowerings_of
from fxonnx.compiled import Compiled
from fxonnx.compiler import compile
from fxonnx.emit.files import checked_path, saying_what
from fxonnx.errors import CannotWrite, InvalidDynamicShapes, InvalidOption
from fxonnx.errors.arguments import names_options
from fxonnx.target import Target

_MODES = {None: "eval", "EVAL": "eval", "TRAINING": "train", "PRESERVE": "keep", False: "eval", True: "train"}


@names_options
def export(
    model: Any,
    args: Any = (),
    f: Any = None,
    *positional: Any,
    kwargs: Mapping[str, Any] | None = None,
    export_params: bool = True,
    verbose: bool | None = None,
    training: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    do_constant_folding: bool = True,
    dynamic_axes: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    keep_initializers_as_inputs: bool | None = None,
    external_data: bool | None = None,
    custom_translation_table: Mapping[Any, Callable[..., Any]] | None = None,
    custom_opsets: Mapping[str, int] | None = None,
    export_modules_as_functions: bool | Collection[type] = False,
    optimize: bool = True,
    verify: bool = False,
    report: bool = False,
    profile: bool = False,
    artifacts_dir: str | os.PathLike[str] = ".",
    dynamo: bool = True,
    fallback: bool = False,
    **others: Any,
) -> Compiled:
    """`torch.onnx.export` by fxonnx: the same arguments, of the exporters by tracing and by torch.export alike.

    What is returned stands for the ONNXProgram: it is called, `save(path)` and `model_proto()` write it. `f` is a path,
    a file that is open for writing, or None. `dynamo` and `fallback` choose nothing: there is one way here.
    `external_data` is decided by size where it is not given. `report` and `profile` write `fxonnx_report.md` into
    `artifacts_dir`, with the times of all stages.

    Raises InvalidOption, with what to write instead, for arguments that have no meaning here; the errors of `compile`,
    CannotWrite and TooLarge.
    """
    check(others, positional, keep_initializers_as_inputs=keep_initializers_as_inputs, external_data=external_data)
    mode = _mode(training)
    args, kwargs = _call(model, args, kwargs)
    _check_names(model, args, kwargs, input_names)
    if dynamic_shapes is None and dynamic_axes is not None:
        dynamic_shapes = _shapes(model, args, kwargs, dynamic_axes, input_names)
    compiled = compile(
        model, args, kwargs, dynamic_shapes=_labelled(dynamic_shapes),
        input_names=input_names, output_names=output_names,
        target=Target.onnx(opset_version).knowing(custom_opsets or {}),
        opset=opset_version,
        optimize=all((optimize, do_constant_folding, export_params)),  # weights are folded into others otherwise
        lowerings=lowerings_of(custom_translation_table or {}),
        functions="all" if export_modules_as_functions is True else list(export_modules_as_functions or ()),
        mode=mode,
        verify=verify,
    )  # fmt: skip
    _warn_of_unknown(dynamic_axes or (), compiled)
    if verbose:
        print(compiled.show())
    if report or profile:
        _write_report(compiled, Path(artifacts_dir))
    if f is not None:
        _write(compiled, f, external_data, bool(keep_initializers_as_inputs), export_params)
    return compiled


def _call(model: Any, args: Any, kwargs: Mapping[str, Any] | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example as arguments and keywords; a dict at the end of `args` has keywords, as torch.onnx takes it."""
    if args is None and isinstance(model, torch.export.ExportedProgram):
        return (), dict(kwargs or {})  # it brings its own
    if isinstance(args, Mapping) and kwargs is None:
        return (), dict(args)
    if isinstance(args, (tuple, list)) and args and isinstance(args[-1], dict) and kwargs is None:
        return tuple(args[:-1]), dict(args[-1])
    return as_call(args, kwargs)


def _shapes(
    model: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    axes: Mapping[str, Any],
    input_names: Sequence[str] | None,
) -> dict[str, dict[int, Any]]:
    """`dynamic_axes` as dynamic_shapes: its names are those of the file, input_names. Names of outputs go without
    saying: their sizes follow from the inputs'."""
    if not isinstance(axes, Mapping):
        raise InvalidDynamicShapes(
            f"dynamic_axes is a {type(axes).__name__}",
            cause="it is a dict from names of inputs and outputs to axes",
            cure='dynamic_axes={"x": {0: "batch"}}',
        )
    own = _argument_names(model, args, kwargs)
    names = {name: own[index] or name for index, name in enumerate(input_names or ()) if index < len(own)}
    known = {each for each in own if each}
    found: dict[str, dict[int, Any]] = {}
    for name, given in axes.items():
        if name in names or (not input_names and name in known):
            found[names.get(name, name)] = _named_axes(name, given)
        elif input_names is None and not known:
            found[name] = _named_axes(name, given)
    return found


def _labelled(shapes: Any) -> Any:
    """dynamic_shapes whose names promise nothing, as torch.onnx takes them; a `torch.export.Dim` does."""
    if isinstance(shapes, Mapping):
        return {key: _labelled(each) for key, each in shapes.items()}
    if isinstance(shapes, (list, tuple)):
        return type(shapes)(map(_labelled, shapes))
    return Label(shapes) if isinstance(shapes, str) else shapes


def _mode(training: Any) -> str:
    """A mode of `compile` for a TrainingMode, or for the bool that it was once. Raises InvalidOption."""
    given = getattr(training, "name", training)
    if given not in _MODES:
        raise InvalidOption(
            f"training is {training!r}",
            cause="it is a torch.onnx.TrainingMode",
            cure="training=torch.onnx.TrainingMode.EVAL, TRAINING or PRESERVE",
        )
    return _MODES[given]


def _check_names(
    model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], input_names: Sequence[str] | None
) -> None:
    """Raises InvalidOption for names of weights, which torch.onnx takes after those of the inputs."""
    if isinstance(model, torch.export.ExportedProgram) or not isinstance(input_names, (list, tuple)):
        return
    count = len(_argument_names(model, args, kwargs))
    if 0 < count < len(input_names):
        raise InvalidOption(
            f"{len(input_names)} input_names for {count} input tensors",
            cause="torch.onnx gives weights the names past the inputs'; here weights have the model's own",
            cure=f"input_names={list(input_names[:count])!r}",
        )


def _warn_of_unknown(axes: Collection[str], compiled: Compiled) -> None:
    """Tell of names that are neither of an input nor of an output, as torch.onnx does: scripts for several models have
    them."""
    known = [*compiled.program.signature.names, *compiled.graph.output_names]
    if unknown := [name for name in axes if name not in known]:
        warnings.warn(
            f"dynamic_axes names {', '.join(map(repr, unknown))}: inputs and outputs are {', '.join(known)}; "
            "no size varies by it",
            stacklevel=3,
        )


def _named_axes(name: str, given: Any) -> dict[int, Any]:
    """Axes with names: those of a list get torch.onnx's."""
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, (list, tuple)):
        return {axis: f"{name}_dynamic_axes_{number}" for number, axis in enumerate(given, start=1)}
    raise InvalidDynamicShapes(
        f"dynamic_axes[{name!r}] is a {type(given).__name__}",
        cause="it is a dict from axes to names, or a list of axes",
        cure=f'dynamic_axes={{"{name}": {{0: "batch"}}}}',
    )


def _argument_names(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
    """The argument that each tensor of the example is, in order; empty for tensors inside of one."""
    names: list[str] = []
    for name, value in example_arguments(parameters_of(model), args, kwargs).values.items():
        leaves, _, _ = flatten(value)
        names += [name if isinstance(value, torch.Tensor) else ""] * len(leaves)
    return names


def _write(
    compiled: Compiled, file: Any, external_data: bool | None, keep_initializers: bool, export_params: bool
) -> None:
    """Write to a path or an open file. Raises CannotWrite, TooLarge."""
    if not hasattr(file, "write") and not keep_initializers and export_params:
        weights = {None: "auto", True: "external", False: "inline"}[external_data]
        compiled.save(file, weights=weights)
        return
    if isinstance(file, io.TextIOBase):
        raise CannotWrite("a model cannot be written as text", cause="the file is open for text", cure="open(…, 'wb')")
    model = compiled.model_proto()
    if keep_initializers or not export_params:
        _make_inputs(model, compiled, keep=export_params)
    if hasattr(file, "write"):
        file.write(model.SerializeToString(deterministic=True))
        return
    path = checked_path(file)
    with saying_what(path):
        path.write_bytes(model.SerializeToString(deterministic=True))


def _make_inputs(model: onnx.ModelProto, compiled: Compiled, *, keep: bool) -> None:
    """Let a caller bring the weights: as inputs that have their values, or, if those are not to be kept, have none."""
    keys = {weight.key for weight in compiled.program.weights.values()}
    for tensor in [each for each in model.graph.initializer if each.name in keys or keep]:
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        model.graph.input.append(info)
        if not keep:
            model.graph.initializer.remove(tensor)


def _write_report(compiled: Compiled, directory: Path) -> None:
    with saying_what(directory):
        directory.mkdir(parents=True, exist_ok=True)
        text = f"# fxonnx\n\n```text\n{compiled.report()}\n```\n"
        (directory / "fxonnx_report.md").write_text(text, encoding="utf-8")
