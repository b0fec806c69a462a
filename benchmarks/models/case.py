"""What a benchmark model is: how to build it, what to feed it, which of its dims may change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Sizes = Mapping[str, int]
Inputs = tuple[tuple[Any, ...], dict[str, Any]]
Dynamic = Mapping[str, Mapping[int, str]]


class Draw:
    """A seeded source of random inputs: the same seed and the same calls give the same tensors."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal float32 of `shape`: images, waveforms, features, hidden states."""
        return torch.randn(*shape, generator=self.generator)

    def integers(self, high: int, *shape: int, low: int = 0) -> Tensor:
        """int64 of `shape`, uniform in [low, high): token ids, indices."""
        return torch.randint(low, high, shape, generator=self.generator)

    def padding(self, batch: int, sequence: int) -> Tensor:
        """int64[batch, sequence] attention mask: ones, then zeros; row 0 is full, no row is empty."""
        lengths = self.integers(sequence + 1, batch, 1, low=1)
        lengths[0] = sequence
        return (torch.arange(sequence) < lengths).long()


@dataclass(frozen=True, slots=True)
class Case:
    """One benchmark model with its inputs.

    `module` makes the bare nn.Module, `inputs(draw, sizes)` its (args, kwargs). `sizes` names every dim that `resize`
    can set, with its default; `other_sizes` is a second valid choice. `dynamic` is the short form
    `{"input_ids": {0: "batch", 1: "sequence"}}` keyed by forward's argument names, or None; `dynamic_reason` says why
    a dim one would expect there is missing: what torch.export refuses, or what the model itself fixes.
    """

    name: str
    module: Callable[[], nn.Module]
    inputs: Callable[[Draw, Sizes], Inputs]
    sizes: Sizes
    other_sizes: Sizes
    dynamic: Dynamic | None
    dynamic_reason: str = ""
    tags: frozenset[str] = frozenset()

    def build(self) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
        """The module in eval mode with seeded random weights, and its default inputs. Global random state is kept."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = self.module().eval()
            unsettle(module)
        return module, *self.resize({}, seed=0)

    def resize(self, sizes: Sizes, seed: int = 1) -> Inputs:
        """Fresh random (args, kwargs) at `sizes`; dims not named keep their default. KeyError for a dim it lacks."""
        if unknown := sizes.keys() - self.sizes.keys():
            raise KeyError(f"{self.name} has no dim {', '.join(sorted(unknown))}; it has {', '.join(self.sizes)}")
        return self.inputs(Draw(seed), {**self.sizes, **sizes})


def unsettle(module: nn.Module) -> None:
    """Add noise where initialization left a constant: biases of 0, scales of 1 or 1e-6, running statistics.

    With those constants a normalization's scale or a whole residual branch could be compiled wrongly and no output
    would tell.
    """
    with torch.no_grad():
        for tensor in module.parameters():
            if tensor.is_floating_point() and tensor.numel() and tensor.min() == tensor.max():
                tensor.add_(torch.randn_like(tensor) * 0.1)
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
                layer.running_mean.normal_(std=0.1)
                layer.running_var.uniform_(0.5, 1.5)


def tags(*words: str) -> frozenset[str]:
    """A case's tags, written as words."""
    return frozenset(words)


def image_case(
    name: str, module: Callable[[], nn.Module], argument: str = "x", *, side: int = 224, **fields: Any
) -> Case:
    """A case whose one input is `argument`: f32[batch, 3, side, side], dynamic in batch."""
    return Case(
        name=name,
        module=module,
        inputs=lambda draw, sizes: ((draw.normal(sizes["batch"], 3, side, side),), {}),
        sizes={"batch": 2},
        other_sizes={"batch": 3},
        dynamic={argument: {0: "batch"}},
        **{"tags": tags("vision"), **fields},
    )
