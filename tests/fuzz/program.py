"""A random program: inputs, the model's own tensors, statements, results; and the plain PyTorch module it prints as."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

import torch
from torch import Tensor

Sizes = Mapping[str, int]
Dim = int | str


@dataclass(frozen=True)
class Op:
    """A line of the table: a family, and a template like `torch.relu({x:float})`.

    What stands behind a colon is the kind of the argument (`strategy.py` draws one of each kind). A template that
    begins with `!` is a statement; the others are expressions that get a name.
    """

    family: str
    template: str

    @property
    def is_statement(self) -> bool:
        """Whether it writes something rather than return a value."""
        return self.template.startswith("!")

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The arguments in order of their first appearance: name and kind; repeated ones have none."""
        return tuple((name, kind) for _, name, kind, _ in Formatter().parse(self.template) if name and kind)

    def source(self, arguments: Mapping[str, str]) -> str:
        """The template with the arguments in it."""
        parts = Formatter().parse(self.template.removeprefix("! "))
        return "".join(text + (arguments[name] if name else "") for text, name, _, _ in parts)


def family(name: str, lines: str) -> list[Op]:
    """The ops of a family, a line each."""
    return [Op(name, line.strip()) for line in lines.splitlines() if line.strip()]


@dataclass(frozen=True)
class Statement:
    """One line of forward: an op, its arguments as they are written, and the name its value gets."""

    op: Op
    arguments: Mapping[str, str]
    target: str

    def __str__(self) -> str:
        source = self.op.source(self.arguments)
        return source if self.op.is_statement else f"{self.target} = {source}"


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to be made: its dims are numbers or names of sizes. `transposed`: not contiguous in memory."""

    name: str
    dtype: torch.dtype
    dims: tuple[Dim, ...]
    transposed: bool = False

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        """The dims as numbers."""
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.dims)

    def source(self, sizes: Sizes) -> str:
        """The expression that makes it, random values from torch's generator."""
        shape = self.shape(sizes)
        if not self.transposed:
            return _made(self.dtype, shape)
        return f"{_made(self.dtype, shape[::-1])}.permute({list(reversed(range(len(shape))))})"


def _made(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    if dtype is torch.bool:
        return f"(torch.rand({list(shape)}) < 0.5)"
    if not dtype.is_floating_point:
        return f"torch.randint({0 if dtype is torch.uint8 else -4}, 9, {list(shape)}, dtype={dtype})"
    if dtype is torch.float16:
        return f"torch.randn({list(shape)}).half()"
    return f"torch.randn({list(shape)}, dtype={dtype})"


@dataclass(frozen=True)
class Program:
    """A module with inputs, buffers and weights, and the sizes to try it at, the example's first."""

    inputs: tuple[TensorSpec, ...]
    owned: tuple[TensorSpec, ...]
    statements: tuple[Statement, ...]
    result: str
    sizes: tuple[Sizes, ...] = field(default=({},))

    @property
    def dynamic_shapes(self) -> dict[str, dict[int, str]]:
        """What `compile` is told: which axes of which inputs are named sizes."""
        named = {
            each.name: {axis: dim for axis, dim in enumerate(each.dims) if isinstance(dim, str)} for each in self.inputs
        }
        return {name: axes for name, axes in named.items() if axes}

    @property
    def module(self) -> str:
        """The source of the module."""
        owned = [f"self.register_buffer({each.name!r}, {each.source({})})" for each in self.owned]
        sizes = [f"{name} = {self._axis(name)}" for name in sorted(self._names())]
        body = [*sizes, *map(str, self.statements), f"return {self.result}"]
        names = "".join(f", {each.name}" for each in self.inputs)
        lines = [
            "import math", "", "import torch", "import torch.nn.functional as F", "", "",
            "class Model(torch.nn.Module):",
            "    def __init__(self):", "        super().__init__()",
            *(f"        {line}" for line in owned), "",
            f"    def forward(self{names}):", *(f"        {line}" for line in body),
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def call(self, sizes: Sizes) -> str:
        """The expression of the arguments at some sizes."""
        return f"({', '.join(each.source(sizes) for each in self.inputs)},)"

    def __str__(self) -> str:
        dynamic = f", dynamic_shapes={self.dynamic_shapes}" if self.dynamic_shapes else ""
        others = "".join(f"# also at {sizes}: {self.call(sizes)}\n" for sizes in self.sizes[1:])
        return (
            f"{self.module}\n\ntorch.manual_seed(0)\n"
            f"model, x = Model().eval(), {self.call(self.sizes[0])}\n"
            f"compiled = fxonnx.compile(model, x{dynamic})\n{others}"
        )

    def _names(self) -> set[str]:
        return {dim for each in self.inputs for dim in each.dims if isinstance(dim, str)}

    def _axis(self, name: str) -> str:
        return next(f"{each.name}.shape[{each.dims.index(name)}]" for each in self.inputs if name in each.dims)

    def makes(self, sizes: Sizes) -> tuple[Tensor, ...]:
        """The arguments at some sizes, always the same ones."""
        seed(sum(sizes.values()))
        arguments: tuple[Tensor, ...] = eval(self.call(sizes), {"torch": torch})
        return arguments


def seed(number: int) -> None:
    """Seed torch's generator. `torch.manual_seed` seeds those of other devices too, which takes as long as a call."""
    torch.default_generator.manual_seed(number)


def elements(value: Any) -> int:
    """How many elements a value holds, if it is a tensor or a tuple of some."""
    if isinstance(value, Tensor):
        return math.prod(value.shape)
    return sum(map(elements, value)) if isinstance(value, tuple | list) else 0
