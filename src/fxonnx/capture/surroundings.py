"""What surrounds a model while it is captured; all of it is put back."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from threading import RLock, get_ident
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fxonnx.capture.state.as_found import TALKATIVE, AsFound, with_modes
from fxonnx.capture.state.thread_flag import ThreadFlag
from fxonnx.errors import InvalidOption

MODES = ("eval", "train", "keep")
ONE_AT_A_TIME = RLock()
"""Flags of the process and of modules are set for as long as a model runs, and torch keeps modes that are all threads':
whoever captures, or calls a model in another training mode, has this."""


@contextmanager
def training_mode(model: Any, mode: str) -> Iterator[None]:
    """The model in eval or train mode, and every submodule's own flag restored after, whatever happens."""
    if mode not in MODES:
        raise InvalidOption.among("mode", mode, MODES)
    modules = with_modes(model) if mode != "keep" else []
    with ONE_AT_A_TIME, (found := AsFound(model)), found:
        for module in modules:
            module.training = mode == "train"
        yield


@contextmanager
def no_fast_path() -> Iterator[None]:
    """nn.MultiheadAttention and nn.TransformerEncoder spelled out, instead of their fused inference ops, which
    nobody can lower; and what these return at padded positions. Models in other threads go on as they were."""
    before, encode = torch.backends.mha.get_fastpath_enabled(), nn.TransformerEncoder.forward
    try:
        torch.backends.mha.set_fastpath_enabled(ThreadFlag(False, before))
        if before:
            nn.TransformerEncoder.forward = _with_zeros_for_padding(encode)
        yield
    finally:
        nn.TransformerEncoder.forward = encode
        torch.backends.mha.set_fastpath_enabled(before)


def _with_zeros_for_padding(encode: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """nn.TransformerEncoder.forward as the fast path does it in inference: layers see a nested tensor without the
    padded positions, which are zeros before the last norm.

    It is taken where the padding follows the elements in every row, which the model asks when it runs.
    """
    own = get_ident()

    def forward(
        self: nn.TransformerEncoder, src: torch.Tensor, mask: torch.Tensor | None = None,
        src_key_padding_mask: torch.Tensor | None = None, is_causal: bool | None = None,
    ) -> torch.Tensor:  # fmt: skip
        is_other = get_ident() != own
        if is_other or src_key_padding_mask is None or mask is not None or not _nests(self, src):
            return encode(self, src, mask, src_key_padding_mask, is_causal)
        without_norm = copy.copy(self)
        without_norm._modules = self._modules | {"norm": None}
        output = encode(without_norm, src, mask, src_key_padding_mask, is_causal)
        present = src_key_padding_mask.logical_not()
        kept = present.unsqueeze(-1)
        if getattr(self, "mask_check", True):
            places = torch.arange(src.shape[1], device=src.device)
            kept = kept | (present != (places < present.sum(1, keepdim=True))).any()
        output = torch.where(kept, output, 0.0)
        return output if self.norm is None else self.norm(output)

    return forward


def _nests(encoder: nn.TransformerEncoder, src: torch.Tensor) -> bool:
    """Whether the encoder takes the fast path of a padded batch, whatever the padding (nn.TransformerEncoder.forward).

    Inference is meant: a call outside of torch.no_grad() of weights that ask for gradients takes the other path.
    """
    is_training = encoder.layers[0].training
    return getattr(encoder, "use_nested_tensor", False) and not is_training and src.dim() == 3 and not _autocasts()


def _autocasts() -> bool:
    return torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")


@contextmanager
def uncompiled() -> Iterator[None]:
    """What a model calls, without torch.compile, which would compile our modes with it.

    Where torch._dynamo is not loaded nothing has been compiled. torch takes its stance as soon as it is called: here,
    when this is entered, so that threads which capture in turn do so one after the other.
    """
    with torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext():
        yield


@contextmanager
def one_suppression() -> Iterator[None]:
    """torchvision's batched_nms as it is for few boxes, which shifts those of each class away from the others.

    Of many it suppresses class by class, to the same end, in a loop over as many classes as data has.
    """
    boxes: Any = sys.modules.get("torchvision.ops.boxes")
    before = getattr(boxes, "_batched_nms_vanilla", None)
    if before is None:
        yield
        return
    try:
        boxes._batched_nms_vanilla = boxes._batched_nms_coordinate_trick
        yield
    finally:
        boxes._batched_nms_vanilla = before


class EagerDtypes(TorchFunctionMode):
    """dtypes as they are in eager, where torch's fake kernels refuse them, or have others: masks and classes of uint8,
    and losses of a half precision input and a single precision target, which stay in half precision."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One function."""
        kwargs = kwargs or {}
        if func in _BYTES:
            place, dtype = _BYTES[func]
            args = tuple(_out_of_bytes(each, dtype) if at == place else each for at, each in enumerate(args))
        result = func(*args, **kwargs)
        if func not in _LOSSES_LIKE_INPUT or result.dtype is _dtype_of_loss(args, kwargs):
            return result
        return result.to(_dtype_of_loss(args, kwargs))


_LOSSES_LIKE_INPUT = frozenset({nn.functional.huber_loss, nn.functional.soft_margin_loss})


def _dtype_of_loss(args: Any, kwargs: Mapping[str, Any]) -> torch.dtype:
    """That of the input, times weights if there are any."""
    input, weight = args[0] if args else kwargs["input"], kwargs.get("weight")
    return input.dtype if weight is None else torch.promote_types(input.dtype, weight.dtype)


# function -> the argument that eager takes in uint8, and what its elements are
_BYTES = {
    torch.Tensor.__getitem__: (1, torch.bool),
    torch.Tensor.index_put: (1, torch.bool),
    torch.Tensor.index_put_: (1, torch.bool),
    torch.index_put: (1, torch.bool),
    torch.index_put_: (1, torch.bool),
    torch.where: (0, torch.bool),
    torch.Tensor.where: (1, torch.bool),
    nn.functional.nll_loss: (1, torch.int64),
    nn.functional.cross_entropy: (1, torch.int64),
}


def _out_of_bytes(argument: Any, dtype: torch.dtype) -> Any:
    """An argument, whose tensors of uint8 have that dtype now."""
    if isinstance(argument, torch.Tensor):
        return argument.to(dtype) if argument.dtype is torch.uint8 else argument
    is_list = type(argument) in (tuple, list)
    return type(argument)(_out_of_bytes(each, dtype) for each in argument) if is_list else argument


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch prints of failures that we report ourselves."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    try:
        for logger in loggers:
            logger.addFilter(_drop)
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return record.levelno < logging.WARNING
