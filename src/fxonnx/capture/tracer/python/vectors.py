"""What a tensor of data is to Python: the list of tolist(), whose numbers are known when the model runs; and the array
of numpy(), or the list of a tensor whose length varies, as `Numbers`, of which torch takes the tensor again.

    lengths.cpu().numpy() ──▶ Numbers ──pack_padded_sequence──▶ torch.as_tensor(Numbers) is lengths
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch


class Numbers:
    """The numbers of a tensor. They can be taken one by one, where the tensor has a fixed size; `refuse` gives the
    error for what else an array can do."""

    __slots__ = ("refuse", "tensor")

    def __init__(self, tensor: torch.Tensor, refuse: Callable[[], Exception]) -> None:
        self.tensor, self.refuse = tensor, refuse

    def tolist(self) -> Any:
        """As a list."""
        return listed(self.tensor, self.refuse)

    def __len__(self) -> int:
        return int(self.tensor.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return map(self._part, self.tensor.unbind())

    def __getitem__(self, index: Any) -> Any:
        return self._part(self.tensor[index])

    def _part(self, part: torch.Tensor) -> Any:
        return Numbers(part, self.refuse) if part.dim() else part.item()

    def _refuse(self, *others: Any) -> Any:
        raise self.refuse()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__array__":  # what copy and pickle ask for
            raise AttributeError(name)
        raise self.refuse()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __mod__ = __neg__ = __lt__ = __le__ = __gt__ = __ge__ = __setitem__ = __bool__ = _refuse
    __eq__ = __ne__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def listed(tensor: torch.Tensor, refuse: Callable[[], Exception]) -> Any:
    """tolist(), each number asked for: torch would read a weight's memory, which no call tells of."""
    if not tensor.dim():
        return tensor.item()
    if isinstance(tensor.shape[0], torch.SymInt):
        return Numbers(tensor, refuse)
    return [listed(each, refuse) for each in tensor.unbind()]


def as_tensor(numbers: Numbers, dtype: torch.dtype | None, device: Any) -> torch.Tensor:
    """What torch makes of them: the tensor."""
    return numbers.tensor.to(device=device, dtype=dtype or numbers.tensor.dtype)
