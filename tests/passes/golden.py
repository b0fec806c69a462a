"""Golden cases: text files that show what a rule or pass makes of a graph. `pytest --update-golden` writes the results.

    case divided by the root of two
    run erf_gelu
    before
    graph(x: f32[n,4]) opset=28
      ...
    after
    graph(x: f32[n,4]) opset=28
      ...

Constants in a header have no content in the text; they get random numbers, always the same ones for a name.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fxonnx.ir.graph import Graph
from fxonnx.ir.text import parse_graph, print_graph
from fxonnx.ir.types import parse_type
from fxonnx.passes import rules
from fxonnx.passes.channels import channels_in_vectors
from fxonnx.passes.cse import cse
from fxonnx.passes.dce import dce
from fxonnx.passes.fold import fold
from fxonnx.passes.integer_kernels import integer_kernels, weights_in_floats
from fxonnx.passes.movements import expands_into_readers, movements, slices_into_split, transposes_behind_linear
from fxonnx.passes.past import past_into_attention
from fxonnx.passes.pipeline import Pass
from fxonnx.passes.rewriting.rewrite import rewrite
from fxonnx.passes.unsigned import unsigned_activations
from fxonnx.target import Target

DIRECTORY = Path(__file__).parents[1] / "golden"
RULES = {rule.name: rule for rule in (*rules.ALGEBRA, *rules.SHAPE, *rules.CAST, *rules.FUSION)}
_PASSES = (fold, cse, dce, past_into_attention, unsigned_activations, integer_kernels, channels_in_vectors,
           weights_in_floats, expands_into_readers, movements, slices_into_split, transposes_behind_linear)  # fmt: skip
PASSES = {each.name: each for each in _PASSES}
PASSES |= {name: rewrite(rule) for name, rule in RULES.items()}
TARGET = Target.onnxruntime("1.32", opset=23)

_CASE = re.compile(
    r"case (?P<name>.*)\nrun (?P<run>.*)\n"
    r"before\n(?P<before>(?:.|\n)*?)\nafter\n(?P<after>(?:.|\n)*?)(?:\n\n(?=case )|\s*\Z)"
)
_CONSTANT = re.compile(r"(?:^  |   )(?!%)([^\s:]+): (\w+\[[\d,]*\])(?=   |$)", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One case of a file. `run` is the name of a rule or of a pass."""

    file: Path
    name: str
    run: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file.stem}: {self.run} {self.name}"

    @property
    def fires(self) -> bool:
        """Whether anything changes; the other cases show what is left alone."""
        return self.before != self.after

    @property
    def does(self) -> Pass:
        """The pass that is run."""
        return PASSES[self.run]

    def text(self, after: str) -> str:
        """The case as it stands in the file, with a result."""
        return f"case {self.name}\nrun {self.run}\nbefore\n{self.before}\nafter\n{after}\n"


def read(file: Path) -> list[Case]:
    """The cases of a file, in its order."""
    return [Case(file, **match.groupdict()) for match in _CASE.finditer(file.read_text(encoding="utf-8"))]


CASES = [case for file in sorted(DIRECTORY.glob("*.ir")) for case in read(file)]


def graph(text: str) -> Graph:
    """The graph of a text, with contents for the constants in its header."""
    header = text.split("\n\n")[0]
    return parse_graph(text, {name: content(name, type) for name, type in _CONSTANT.findall(header)})


def content(name: str, spelled: str) -> np.ndarray:
    """Random numbers for a constant: positive for a variance, the same in both halves of a row for what is doubled."""
    type = parse_type(spelled)
    numbers = np.random.default_rng(zlib.crc32(name.encode())).standard_normal([int(str(dim)) for dim in type.shape])
    if "variance" in name:
        numbers = np.abs(numbers) + 0.5
    if "doubled" in name:
        numbers[..., numbers.shape[-1] // 2 :] = numbers[..., : numbers.shape[-1] // 2]
    return numbers.astype(type.dtype.numpy)


def result(case: Case) -> Graph:
    """What the case's rule or pass makes of its graph."""
    return case.does(graph(case.before), TARGET)


def printed(result: Graph) -> str:
    """A graph as it stands in a case."""
    return print_graph(result, places=False)


def write(case: Case, after: str) -> None:
    """Put a result into the case's file."""
    cases = read(case.file)
    texts = [each.text(after if (each.name, each.run) == (case.name, case.run) else each.after) for each in cases]
    case.file.write_text("\n".join(texts), encoding="utf-8")
