"""Tries one entry as its user would: compile, call at several sizes twice each, save, run the file by itself.

`python -m benchmarks.corpus.judge NAME` prints what came of it as its last line, a JSON object.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import onnxruntime
import torch
from torch import nn
from torch.utils import _pytree as pytree

import fxonnx
from benchmarks.corpus import find, torchvision_cpu
from benchmarks.corpus.entry import Entry
from benchmarks.models.case import Inputs

RIGHT, REFUSED, WRONG, CRASHED = "right", "refused", "wrong", "crashed"
_CALLS = 2  # what a model keeps from call to call shows at the second
_TOLERANCE = 2e-3  # of the greatest value; models of many layers add up what the runtime rounds otherwise


@dataclass(frozen=True)
class Verdict:
    """What came of an entry: one of the words above, why, the seconds of compiling and who captured."""

    name: str
    word: str
    detail: str = ""
    seconds: float = 0.0


def judge(entry: Entry) -> Verdict:
    """Try it. Errors of fxonnx are refusals, all others are crashes."""
    model = entry.build()
    reference = copy.deepcopy(model)
    calls = list(entry.calls())
    args, kwargs = calls[0]
    start = perf_counter()
    try:
        compiled = fxonnx.compile(model, *_copied(args, kwargs), dynamic_shapes=entry.dynamic)
        seconds = perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            compiled.save(path)
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            found = [found for call in calls for found in _differences(compiled, session, reference, call)]
    except fxonnx.errors.Error as error:
        return Verdict(entry.name, REFUSED, _brief(error), perf_counter() - start)
    except Exception as error:  # noqa: BLE001 (whatever reaches a user is what this looks for)
        return Verdict(entry.name, CRASHED, f"{type(error).__name__}: {_brief(error)}", perf_counter() - start)
    word = WRONG if found else RIGHT
    return Verdict(entry.name, word, "; ".join(found[:2]), seconds)


def _differences(
    compiled: fxonnx.Compiled, session: onnxruntime.InferenceSession, reference: nn.Module, call: Inputs
) -> list[str]:
    """How the compiled model and its file differ from eager at one call's arguments."""
    found = []
    states = [state.tensor.detach().clone() for state in compiled.program.states]
    for _ in range(_CALLS):
        with torch.no_grad():
            args, kwargs = _copied(*call)
            expected = _tensors(reference(*args, **kwargs))
        args, kwargs = _copied(*call)
        found += _compared("compiled", _tensors(compiled(*args, **kwargs)), expected)
    leaves = [*compiled.program.signature.flatten(*_copied(*call))]
    if not states and compiled.limits.check(leaves) is None:  # else the call has a program of its own, not this file
        feeds = {each.name: leaf.detach().numpy() for each, leaf in zip(session.get_inputs(), leaves, strict=True)}
        results = iter([torch.from_numpy(each) for each in session.run(None, feeds)])
        outputs = [_output(leaf, results) for leaf in compiled.program.outputs]
        found += _compared("file", _tensors(compiled.program.signature.unflatten(outputs)), expected)
    return found


def _output(leaf: Any, results: Iterator[torch.Tensor]) -> Any:
    """What the model returns for one of the file's outputs, of which there is none for what is no tensor."""
    if leaf is None:
        return None
    result, returned = next(results), getattr(leaf, "meta", {}).get("val", leaf)
    if not isinstance(returned, torch.Tensor):
        return result.item()
    return torch.view_as_complex(result) if returned.is_complex() else result


def _compared(who: str, actual: Sequence[Any], expected: Sequence[Any]) -> list[str]:
    if len(actual) != len(expected):
        return [f"{who}: {len(actual)} results for {len(expected)}"]
    return [
        f"{who} output {at}: {text}"
        for at, pair in enumerate(zip(actual, expected, strict=True))
        if (text := _difference(*pair))
    ]


def _difference(actual: torch.Tensor, expected: torch.Tensor) -> str:
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return f"{actual.dtype}{list(actual.shape)} for {expected.dtype}{list(expected.shape)}"
    one, other = actual.to(torch.complex128), expected.to(torch.complex128)
    finite = other[other.isfinite()]
    greatest = finite.abs().max().item() if finite.numel() else 0.0
    if torch.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE * max(greatest, 1e-6), equal_nan=True):
        return ""
    return f"differs by {(one - other).abs().nan_to_num().max().item():.3g} of {greatest:.3g}"


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf.detach() for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _copied(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
    copied: Inputs = pytree.tree_map_only(torch.Tensor, torch.clone, (args, kwargs))
    return copied


def _brief(error: BaseException) -> str:
    """The first lines of an error: what, where, why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " | ".join(lines[:5])[:400]


def main() -> None:
    """Judge the entry that is named."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        if find_spec("torchvision") is not None:
            torchvision_cpu.install()
        verdict = judge(find(sys.argv[1]))
    print(json.dumps(asdict(verdict)))


if __name__ == "__main__":
    main()
