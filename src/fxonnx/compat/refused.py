"""The arguments of torch.onnx.export that have no meaning here, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fxonnx.errors import InvalidOption, raise_all


@dataclass(frozen=True, slots=True)
class Refused:
    """An argument with the values that change nothing, the reason, and the cure."""

    harmless: tuple[Any, ...]
    cause: str
    cure: str


REFUSED: Mapping[str, Refused] = {
    "operator_export_type": Refused(
        (None, "ONNX", "ONNX_FALLTHROUGH", "ONNX_ATEN_FALLBACK"),  # which are ONNX where every op has a lowering
        "files have ONNX operators alone: an op that has no lowering is an error, never an aten node",
        '@fxonnx.register_lowering("mylib.fancy") over def fancy(op, x): … for an op of your own',
    ),
    "autograd_inlining": Refused(
        (None, True),
        "functions of torch.autograd are always looked into",
        "leave it out; for an op of its own use torch.library.custom_op and @fxonnx.register_lowering",
    ),
    "dump_exported_program": Refused(
        (None, False),
        "there is no ExportedProgram: models are captured otherwise",
        'torch.export.save(torch.export.export(model, args), "model.pt2"), or fxonnx.compile(…, dump="stages")',
    ),
    "strip_doc_string": Refused(
        (None, True), "a file has no text of source lines unless asked", 'compiled.save("m.onnx", source_lines=True)'
    ),
    "use_external_data_format": Refused(
        (None,), "torch.onnx calls it external_data", "external_data=True, or leave it out: large weights go there"
    ),
    "enable_onnx_checker": Refused((None, True), "a graph is checked after every step", "leave it out"),
    "enable_fake_mode": Refused((None, False), "weights are read when a file is written", "leave it out"),
    "export_options": Refused(
        (None,), "it is of torch.onnx.dynamo_export, which is gone", 'dynamic_shapes="auto" for dynamic_shapes=True'
    ),
    "_retain_param_name": Refused((None, True), "weights have the model's names", "leave it out"),
    "state_dict": Refused((None,), "the model's own weights are written", "model.load_state_dict(state_dict) before"),
    "propagate": Refused((None, False), "it chose nothing", "leave it out"),
    "aten": Refused((None, False), "files have ONNX operators alone", "leave it out"),
    "export_raw_ir": Refused((None, False), "files have ONNX operators alone", 'compiled.show("lowered")'),
}
"""By name; another value than a harmless one is an error."""

MODULE: Mapping[str, str] = {
    "ONNXProgram": "fxonnx.Compiled, which is what export returns",
    "dynamo_export": "fxonnx.compat.export(model, args), or fxonnx.compile(model, args)",
    "export_to_pretty_string": "fxonnx.compile(model, args).show()",
    "ops": "op.Attention(…) and other operators of ONNX in a lowering, see fxonnx.register_lowering",
    "unregister_custom_op_symbolic": "lowerings={…} of fxonnx.compile, which holds for one call",
    "utils": "fxonnx.compat.export(…) for utils.export(…)",
    "verification": "fxonnx.compile(model, args).verify()",
}
"""What else torch.onnx has, and what stands in its place."""

UNREAD = frozenset({"example_outputs"})
"""Arguments of which no value changes anything: results are computed, not given."""

POSITIONAL = (
    "export_params", "verbose", "training", "input_names", "output_names", "operator_export_type", "opset_version",
    "do_constant_folding", "dynamic_axes", "keep_initializers_as_inputs", "custom_opsets",
    "export_modules_as_functions", "autograd_inlining",
)  # fmt: skip
"""What torch.onnx once took after the file, in this order."""


def check(
    others: Mapping[str, Any], positional: Sequence[Any], *, keep_initializers_as_inputs: Any, external_data: Any
) -> None:
    """Raises InvalidOption for arguments that mean nothing here, several as Failures."""
    if positional:
        named = ", ".join(f"{name}={value!r}" for name, value in zip(POSITIONAL, positional, strict=False))
        raise InvalidOption(
            f"export has {len(positional)} arguments without a name after the file",
            cause="torch.onnx.export takes them by name too",
            cure=f"export(model, args, f, {named})",
        )
    found = [_error(name, value) for name, value in others.items() if not _is_harmless(name, value)]
    if keep_initializers_as_inputs and external_data:
        found.append(
            InvalidOption(
                "keep_initializers_as_inputs goes with weights in the file alone",
                cause="a runtime that brings the weights does not read those beside the file",
                cure="leave out external_data",
            )
        )
    raise_all(found)


def _is_harmless(name: str, value: Any) -> bool:
    if name in UNREAD:
        return True
    known = REFUSED.get(name)
    given = getattr(value, "name", value)
    return known is not None and any(given is each or (isinstance(each, str) and given == each)
                                     for each in known.harmless)  # fmt: skip


def _error(name: str, value: Any) -> InvalidOption:
    known = REFUSED.get(name)
    if known is not None:
        return InvalidOption(f"{name}={value!r} has no meaning here", cause=known.cause, cure=known.cure)
    near = get_close_matches(name, [*REFUSED, "opset_version", "dynamic_shapes", "dynamic_axes", "input_names"], n=1)
    return InvalidOption(
        f"torch.onnx.export has no argument {name!r}",
        cause=f"did you mean {near[0]}?" if near else "neither of its generations takes it",
        cure="leave it out, or see help(fxonnx.compat.export)",
    )
