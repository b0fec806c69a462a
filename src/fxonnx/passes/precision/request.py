"""What a user may ask for by `precision=`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any

from fxonnx.dtypes import BFLOAT16, FLOAT16, INT4, INT8, DType
from fxonnx.errors import InvalidOption
from fxonnx.errors.arguments import names_options
from fxonnx.ir import schema

METHODS = ("minmax", "entropy")

_LEAST_BLOCK = 16  # of ONNX Runtime's MatMulNBits, whose blocks are powers of two


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Batches to find the steps of activations with, by which method, and how far large inputs of linear layers are
    taken over into weights."""

    batches: tuple[Any, ...]
    method: str
    smooth: float | None


@dataclass(frozen=True, slots=True)
class Precision:
    """Weights of linear layers in `dtype`, with a scale for each `block` inputs of an output, or for all of them; a
    floating point one is of the whole model.

    `dynamic` says whether activations are quantized too, on the steps of their range at each call, and `calibration`
    how steps for all calls are found; `keep` names layers that stay as they are.
    """

    dtype: DType
    block: int | None = None
    dynamic: bool = False
    calibration: Calibration | None = None
    keep: tuple[str, ...] = ()

    def check_names(self, names: Iterable[str]) -> None:
        """Raises InvalidOption for a layer to keep that has nothing among the names of weights and modules."""
        known = list(names)
        if unmet := [each for each in self.keep if not any(f".{each}." in f".{name}." for name in known)]:
            raise InvalidOption(
                f"keep has {', '.join(map(repr, unmet))}",
                cause=f"the model has {', '.join(known[:5])}{', …' * (len(known) > 5)}",
                cure="name layers by their paths, or parts of these: "
                f"keep=[{(get_close_matches(unmet[0], known, n=1) or known)[0]!r}]",
            )

    def keeps(self, name: str | None) -> bool:
        """Whether a weight belongs to a layer that stays as it is."""
        return name is not None and any(f".{each}." in f".{name}." for each in self.keep)


@names_options
def int8_weights(*, keep: Sequence[str] = ()) -> Precision:
    """Weights in int8 with a scale for each output; activations stay in floating point."""
    return Precision(INT8, keep=_names(keep))


@names_options
def int4_weights(*, block: int = 32, keep: Sequence[str] = ()) -> Precision:
    """Weights in int4 with a scale for each `block` inputs of an output; activations stay in floating point.

    Raises InvalidOption for a block that is no power of two from 16 up.
    """
    if not isinstance(block, int) or block < _LEAST_BLOCK or block & (block - 1):
        raise InvalidOption(f"block is {block!r}", cause="it is a power of two, from 16 up", cure="block=32")
    return Precision(INT4, block, keep=_names(keep))


@names_options
def int8_dynamic(*, keep: Sequence[str] = ()) -> Precision:
    """Weights in int8, and activations of linear layers in uint8 on the steps of their range at each call."""
    return Precision(INT8, dynamic=True, keep=_names(keep))


@names_options
def int8_static(
    batches: Iterable[Any], *, count: int = 32, method: str = "minmax", smooth: float | None = None,
    keep: Sequence[str] = (),
) -> Precision:  # fmt: skip
    """Weights in int8, and activations of layers in uint8 on steps that are found by running the model on `batches`.

    Args:
        batches: a tensor, a tuple of positional arguments or a dict of keyword arguments each, of the example's sizes
            where those are not dynamic; a DataLoader, say. What a batch has beyond the model's arguments (labels) is
            left out.
        count: how many of them are run.
        method: "minmax", the least and greatest values; or "entropy", which cuts off outliers.
        smooth: from 0 to 1, how far large channels of what linear layers read are divided by, and their weights
            multiplied (0.5 is usual). Source: Xiao et al., SmoothQuant, 2022.
        keep: layers that stay as they are, by their path: the first and the last one, say.

    Raises InvalidOption.
    """
    if method not in METHODS:
        raise InvalidOption(f"method is {method!r}", cause=f"it is one of {', '.join(METHODS)}", cure='method="minmax"')
    if smooth is not None and not 0 <= smooth <= 1:
        raise InvalidOption(f"smooth is {smooth!r}", cause="it is a number from 0 to 1, or None", cure="smooth=0.5")
    if not isinstance(batches, Iterable) or isinstance(batches, (str, dict)):
        raise InvalidOption(f"batches is {batches!r}", cause="it holds inputs of the model", cure="int8_static([(x,)])")
    found = tuple(islice(batches, count))
    if not found:
        raise InvalidOption("batches is empty", cause="steps are found by running it", cure="int8_static([(x,)])")
    return Precision(INT8, calibration=Calibration(found, method, smooth), keep=_names(keep))


@names_options
def float16(*, keep: Sequence[str] = ()) -> Precision:
    """Computed in float16 where the target has kernels for it, and else with weights stored in it; inputs and outputs
    stay as they are."""
    return Precision(FLOAT16, keep=_names(keep))


@names_options
def bfloat16(*, keep: Sequence[str] = ()) -> Precision:
    """Computed in bfloat16 where the target has kernels for it, and else with weights stored in it; inputs and outputs
    stay as they are."""
    return Precision(BFLOAT16, keep=_names(keep))


REQUESTS = {
    "float16": float16, "bfloat16": bfloat16,
    "int8-dynamic": int8_dynamic, "int8-weights": int8_weights, "int4-weights": int4_weights,
}  # fmt: skip


def requested(precision: Any, opset: int) -> Precision | None:
    """What is asked for, by name or as an object. Raises InvalidOption, also where the opset has no such dtype."""
    if isinstance(precision, str) and precision in REQUESTS:
        precision = REQUESTS[precision]()
    if isinstance(precision, Precision) and precision.block is not None and not schema.has_blocks(opset):
        raise InvalidOption(
            f"{precision.dtype.name} cannot be written in opset {opset}",
            cause="DequantizeLinear knows no blocks there",
            cure='leave the opset out, or precision="int8-weights"',
        )
    if precision is None or isinstance(precision, Precision):
        return precision
    raise InvalidOption(
        f"precision is {precision!r}",
        cause=f"it is one of {', '.join(map(repr, REQUESTS))}, or an object of fxonnx.int4_weights and its kind",
        cure=f"{_likely(precision)}, or leave it out",
    )


_OTHER_NAMES = {
    "half": "float16", "fp16": "float16", "bf16": "bfloat16", "int4": "int4-weights", "int8": "int8-dynamic",
}  # fmt: skip


def _likely(asked: Any) -> str:
    """What was meant, ready to paste."""
    name = str(asked).rpartition(".")[2].lower().replace("_", "-")
    if "static" in name:
        return "precision=fxonnx.int8_static([(x,)])"
    near = get_close_matches(_OTHER_NAMES.get(name, name), REQUESTS, n=1)
    return f'precision="{near[0] if near else "int8-dynamic"}"'


def _names(keep: Sequence[str]) -> tuple[str, ...]:
    if isinstance(keep, str) or not all(isinstance(each, str) for each in keep):
        raise InvalidOption(f"keep is {keep!r}", cause="it lists names of layers", cure='keep=["lm_head"]')
    return tuple(keep)
