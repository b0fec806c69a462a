"""Every op that torch calls core has a lowering or a decomposition, or a reason to have neither."""

from __future__ import annotations

from typing import Any

import onnx
import torch
from tests.lowering.database import check_samples, operators_by_name

from fxonnx.capture.graph.decompose import decompositions
from fxonnx.capture.graph.functional_form import functional_form, is_mutable
from fxonnx.lowering.importer import READS_OF_DATA
from fxonnx.lowering.registry import STANDARD, standard

_SIZE = "a size is a dim, and needs no node"

NOT_LOWERED = {
    "aten.sym_is_contiguous.default": "asks for the layout in memory, which a value has not",
    "aten.sym_numel.default": _SIZE,
    "aten.sym_size.int": _SIZE,
    "aten.sym_storage_offset.default": _SIZE,
    "aten.sym_stride.int": _SIZE,
}


def core_ops() -> list[Any]:
    """Every overload with the tag."""
    names = {schema.name.split("::")[1] for schema in torch._C._jit_get_all_schemas() if schema.name[:6] == "aten::"}
    packets = [getattr(torch.ops.aten, name) for name in sorted(names)]
    overloads = [getattr(packet, name) for packet in packets for name in packet.overloads()]
    return [overload for overload in overloads if torch.Tag.core in overload.tags]


def has_lowering(op: Any) -> bool:
    """Whether a lowering takes the op's arguments, or those of the op that returns what this one writes.

    What reads data is the importer's own.
    """
    standard()
    form = functional_form(op) if is_mutable(op) else None
    target = op if form is None else form.target
    names = [argument.name for argument in target._schema.arguments]
    found = (STANDARD.find(str(target), names, onnx.defs.onnx_opset_version(), kind) for kind in (False, True))
    return op in READS_OF_DATA or any(found)


CORE = core_ops()
DECOMPOSED = [op for op in CORE if not has_lowering(op) and str(op) not in NOT_LOWERED]


def test_there_are_as_many_as_ever() -> None:
    assert len(CORE) > 180


def test_what_has_no_lowering_is_taken_apart_or_listed() -> None:
    assert [str(op) for op in DECOMPOSED if not decompositions(op)] == []
    for name in {op.overloadpacket.__name__ for op in DECOMPOSED} & operators_by_name().keys():
        check_samples(name, torch.float32)


def test_the_list_is_not_stale() -> None:
    core = {str(op): op for op in CORE}
    assert set(NOT_LOWERED) <= set(core)
    assert [name for name in NOT_LOWERED if has_lowering(core[name])] == []
