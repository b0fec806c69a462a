"""A model of transformers whose steps are run by somebody else, while its loop of generation is its own."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

from fxonnx.errors import InvalidOption

_INNER = ("output_attentions", "output_hidden_states")


def twin_of(model: Any, step: Callable[..., Any], **members: Any) -> Any:
    """The model, another object with the same weights, whose forward is `step`, and which has further members; on the
    CPU, where steps are run."""
    kind = type(model)

    @functools.wraps(kind.forward)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        first = {model.main_input_name: args[0]} if args else {}
        return step(**first, **kwargs)

    twin = copy.copy(model)
    own = {"forward": forward, "device": torch.device("cpu"), "__module__": kind.__module__}
    twin.__class__ = type(kind.__name__, (kind,), {**own, **members})
    return twin


def refuse_inner(given: Mapping[str, Any]) -> None:
    """Raise InvalidOption where a call asks for what a compiled step does not return."""
    for name in _INNER:
        if given.get(name):
            raise InvalidOption(
                f"{name}=True: a compiled step returns logits and its cache alone",
                cause="what layers compute in between is in no output of the file",
                cure=f"leave {name} out, or ask the model of transformers itself",
            )
