"""Values on which pointwise functions are compared, and the samples of torch's operator database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch

NAN, INFINITY = float("nan"), float("inf")

# Signs of zeros, infinities, NaN, halves, and numbers whose sums with 1 lose them.
SPECIAL = (NAN, INFINITY, -INFINITY, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3.0, 7.0, -7.0, 1e-10, -1e-10, 20.0, -20.0)

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.int8, torch.uint8)


def special(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """SPECIAL as a vector."""
    return torch.tensor(SPECIAL, dtype=dtype)


def special_pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Every number of SPECIAL beside every other."""
    first, second = torch.meshgrid(special(), special(), indexing="ij")
    return first.reshape(-1), second.reshape(-1)


def integer_pairs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers of either sign, and divisors that are not 0."""
    first, second = torch.meshgrid(torch.arange(-7, 8, 2), torch.tensor([-3, -1, 1, 2, 5]), indexing="ij")
    return first.reshape(-1).to(dtype), second.reshape(-1).to(dtype)


def normal(dtype: torch.dtype, *size: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers of deviation 3; for integers rounded, for bool their signs."""
    drawn = torch.randn(size or (3, 4), generator=torch.Generator().manual_seed(seed)) * 3
    return drawn > 0 if dtype is torch.bool else drawn.to(dtype)


def database_samples(name: str, dtype: torch.dtype, count: int) -> Iterator[tuple[Callable[..., Any], list[torch.Tensor]]]:
    """Up to `count` functions of tensors, with arguments, from torch's operator database: spread over its samples of the op."""
    from torch.testing._internal.common_methods_invocations import op_db

    for info in (info for info in op_db if info.name == name and dtype in info.supported_dtypes("cpu")):
        samples = list(islice(info.sample_inputs("cpu", dtype, requires_grad=False), 100))
        for sample in samples[:: max(1, len(samples) // count)][:count]:
            yield _function_of_tensors(info.op, (sample.input, *sample.args), sample.kwargs)


def _function_of_tensors(op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """The call as a function of its tensors alone, in order; numbers and keywords stay what they are."""
    tensors = [item for item in (*args, *kwargs.values()) if isinstance(item, torch.Tensor)]

    def function(*given: torch.Tensor) -> Any:
        remaining = iter(given)
        put = lambda item: next(remaining) if isinstance(item, torch.Tensor) else item  # noqa: E731
        positional = [put(item) for item in args]
        return op(*positional, **{key: put(item) for key, item in kwargs.items()})

    return function, tensors
