"""`for_loop(body, trips, carried, outer)`: a higher-order op for a loop of Python's whose number of iterations is a
size.

`body(iteration, *carried, *outer)` returns the carried values of the next iteration, and then what is stacked along a
new first axis. With a `condition` it goes on as long as that is true, and not more often than `trips`: the body returns
the next one first. It is ONNX's Loop; torch's scan cannot run no times, and its while_loop stacks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._ops import HigherOrderOperator


class ForLoop(HigherOrderOperator):
    """Runs a body as often as it is told."""

    def __init__(self) -> None:
        super().__init__("for_loop")

    def __call__(
        self, body: Callable[..., Sequence[torch.Tensor]], trips: int, carried: Sequence[Any],
        outer: Sequence[Any] = (), may_be_empty: bool = False, condition: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """The carried values after the last iteration, and the stacks. Computes; at least one trip if it stacks.

        `may_be_empty` says that there may be none.
        """
        rows: list[Sequence[torch.Tensor]] = []
        now, going = list(carried), condition
        for iteration in range(trips):
            if going is not None and not going:
                break
            results = body(torch.tensor(iteration), *now, *outer)
            if going is not None:
                going, *results = results
            now = list(results[: len(now)])
            rows.append(results[len(now) :])
        return (*now, *(torch.stack(column) for column in zip(*rows, strict=True)))


FOR_LOOP = ForLoop()
