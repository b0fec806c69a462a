"""The arguments of what users call: what is misspelt, missing or superfluous is an error in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from typing import Any, TypeVar

from fxonnx.errors import InvalidOption, raise_all

TORCH_NAMES: Mapping[str, str] = {
    "args": "example_inputs",
    "f": 'fxonnx.export(model, (x,), "model.onnx")',
    "kwargs": "example_kwargs={…}",
    "opset_version": "opset=17",
    "dynamic_axes": 'dynamic_shapes={"x": {0: "batch"}}',
    "training": 'mode="train"',
    "do_constant_folding": "optimize=False",
    "custom_translation_table": 'lowerings={"mylib.fancy": fancy}',
    "external_data": 'weights="external" of export and save',
    "include_initializers": "fxonnx.compat.export(…, export_params=False)",
    "use_external_data_format": 'weights="external" of export and save',
    "export_params": "fxonnx.compat.export(…, export_params=False)",
    "keep_initializers_as_inputs": "fxonnx.compat.export(…, keep_initializers_as_inputs=True)",
    "verbose": "print(compiled.show())",
    "report": "print(compiled.report())",
    "profile": "print(compiled.report())",
    "artifacts_dir": 'dump="stages"',
    "dynamo": "leave it out: models are captured in one way",
    "fallback": "leave it out: models are captured in one way",
    "custom_opsets": "op.custom of a lowering names the domain",
}
"""What torch.onnx.export calls what, and how it is said here."""

PROGRAM_NAMES: Mapping[str, str] = {
    "apply_weights": "compiled.rebind(state_dict)",
    "call_reference": "compiled.verify(*args), or fxonnx.compile(…, target=fxonnx.Target.reference(17))",
    "compute_values": "compiled.locate(*args), which has all values beside PyTorch's",
    "exported_program": "compiled.program, as fxonnx has captured it",
    "initialize_inference_session": "compiled.configure(providers=[…], session_options={…}), and the first call",
    "optimize": "optimize=True of fxonnx.compile, whose rules have run already",
    "release": "del compiled",
    "rename_axes": 'dynamic_shapes={"x": {0: "batch"}} of fxonnx.compile, which names them',
}
"""What torch.onnx's ONNXProgram has, and what stands in its place."""

ELSEWHERE: Mapping[str, str] = {
    "device": 'compiled.to("cuda")',
    "dtype": 'precision="float16"',
    "fp16": 'precision="float16"',
    "half": 'precision="float16"',
    "quantize": 'precision="int8-dynamic"',
    "path": 'compiled.save("model.onnx")',
    "threads": "compiled.configure(threads=2)",
    "providers": 'compiled.configure(providers=["CPUExecutionProvider"])',
    "session_options": "compiled.configure(session_options={…})",
    "custom_ops": 'compiled.configure(custom_ops=["libfancy.so"])',
    "guards": 'compiled.save("model.onnx", guards="in file")',
    "seed": "compiled.verify(seed=0)",
    "rtol": "compiled.verify(rtol=1e-3)",
    "atol": "compiled.verify(atol=1e-5)",
}
"""What users look for in compile and is said elsewhere, and where."""

Function = TypeVar("Function", bound=Callable[..., Any])


def names_options(function: Function) -> Function:
    """A function whose misspelt, missing and superfluous arguments are errors of ours. Raises InvalidOption."""
    signature = inspect.signature(function)
    given = signature.parameters.values()
    known = [each.name for each in given if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    known = [name for name in known if name != "self"]

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            signature.bind(*args, **options)
        except TypeError as error:
            raise_all([_unknown(function, name, known) for name in options if name not in known])
            raise InvalidOption(
                f"{function.__name__} cannot be called like this: {error}",
                cause=f"its arguments are {', '.join(known)}",
                cure=f"help({_public_name(function)})",
            ) from None
        return function(*args, **options)

    return call  # type: ignore[return-value]


def _public_name(function: Callable[..., Any]) -> str:
    """How a user calls it: "fxonnx.Compiled.save"."""
    owner, _, name = function.__qualname__.rpartition(".")
    if function.__module__.startswith("fxonnx.compat."):
        return f"fxonnx.compat.{name}"
    if name == "__init__":
        return f"fxonnx.{owner}"
    return f"fxonnx.{'Compiled.' if owner and owner != 'Target' else owner and 'Target.'}{name}"


def _unknown(function: Callable[..., Any], name: str, known: Sequence[str]) -> InvalidOption:
    if name in TORCH_NAMES:
        cause, cure = "it is torch.onnx.export's name", f"{TORCH_NAMES[name]}; fxonnx.compat.export takes torch's names"
    elif name in ELSEWHERE:
        cause, cure = "it is said elsewhere", ELSEWHERE[name]
    else:
        near = get_close_matches(name, known, n=1)
        cause = f"there is {near[0]}" if near else f"its arguments are {', '.join(known)}"
        cure = f"write {near[0]}=…" if near else "take one of these, or leave it out"
    return InvalidOption(f"{function.__name__} has no option {name!r}", cause=cause, cure=cure)
