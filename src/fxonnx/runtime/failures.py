"""Turns what ONNX Runtime raises into errors with a place, a cause and a cure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import onnx

from fxonnx import errors
from fxonnx.location import Location
from fxonnx.runtime.weights import graphs

Locate: TypeAlias = Callable[[str], Location | None]

_NO_KERNEL = re.compile(
    r"(?:Could not find an implementation|Failed to find kernel) for (?P<op>[\w.]+)\((?P<since>\d+)\)"
)
_NODE = re.compile(r"(?:Name:|node with name |\(node:|In Node, \()['\"](?P<name>[^'\"]+)['\"]")
_CURES = {
    r"ValidateOpsetForDomain": "upgrade onnxruntime, or compile with an older opset",
    r"is not a registered function/op": 'name the library that has it: configure(custom_ops=["libfancy.so"])',
}
_NOISE = re.compile(
    r"^Error in execution: |\[ONNXRuntimeError\] : \d+ : \w+ : |Non-zero status code returned while "
    r"|/onnxruntime_src/\S+ "
)


def runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its own exceptions have no common base, and I/O binding raises RuntimeError."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "EPFail EngineError Fail InvalidArgument InvalidGraph InvalidProtobuf ModelLoadCanceled ModelLoaded "
        "ModelRequiresCompilation NoModel NoSuchFile NotFound NotImplemented RuntimeException"
    )
    return (RuntimeError, *(getattr(state, name) for name in names.split()))


class Failure:
    """Makes errors about one model: `locate` gives the place of an ONNX node by its name."""

    def __init__(self, model: onnx.ModelProto, locate: Locate | None) -> None:
        self.places = {node.name: node for graph in graphs(model.graph) for node in graph.node if node.name}
        self.opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
        self.locate = locate or self._by_metadata

    def loading(self, error: Exception) -> errors.RuntimeFailed:
        """The runtime refused the model."""
        message = str(error)
        name, location = self._place(message)
        if kernel := _NO_KERNEL.search(message):
            op, since = kernel["op"], kernel["since"]
            return errors.RuntimeFailed(
                f"ONNX Runtime has no kernel for {op}-{since} with these dtypes" + (f", node {name}" if name else ""),
                cause=f"in opset {self.opset} {op} is of version {since}; the kernels are for other versions or dtypes",
                cure="fxonnx.compile without a target: the default knows the kernels; or cast to float32 before it",
                location=location,
            )
        cure = next((cure for cause, cure in _CURES.items() if re.search(cause, message)), _REPORT)
        return errors.RuntimeFailed(
            "ONNX Runtime cannot load the model", cause=_clean(message), cure=cure, location=location
        )

    def running(self, error: Exception) -> errors.RuntimeFailed:
        """The runtime stopped at a node."""
        message = str(error)
        name, location = self._place(message)
        return errors.RuntimeFailed(
            f"ONNX Runtime stopped at node {name}" if name else "ONNX Runtime stopped",
            cause=_clean(message),
            cure="check the values that reach this place; if PyTorch runs them, please report it",
            location=location,
        )

    def _place(self, message: str) -> tuple[str, Location | None]:
        """The node a message names, and its place in the user's model.

        Fused nodes carry the names of those they were made of.
        """
        found = _NODE.search(message)
        if found is None:
            return "", None
        name = found["name"]
        known = (
            name if name in self.places else max((each for each in self.places if each in name), key=len, default=name)
        )
        return name, self.locate(known)

    def _by_metadata(self, name: str) -> Location | None:
        node = self.places.get(name)
        return Location.from_metadata({each.key: each.value for each in node.metadata_props}) if node else None


_REPORT = "run `onnx.checker.check_model` on the saved file; if it passes, please report it with the file"


def _clean(message: str) -> str:
    """The message without the runtime's own file names and status words."""
    return " ".join(_NOISE.sub("", message).split())
