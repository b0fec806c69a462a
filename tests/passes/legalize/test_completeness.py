"""`onnx.defs` is asked for every change between the oldest opset served and the newest; legalize must have an answer to
each.

A new ONNX release that adds or changes an operator makes this fail and tells what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import pytest

from fxonnx.ir import schema
from fxonnx.passes.legalize.inputs_to_attributes import FORMER_NAMES
from fxonnx.passes.legalize.registry import EXPANSIONS, FORMS, load

OLDEST_SERVED = 9

# Operators that older opsets cannot say at all: a model that needs one there gets NotInOpset with the opset that has
# it.
NO_EXPANSION = {
    "Bernoulli": "random: RandomUniformLike and Less draw from another stream",
    "ConvInteger": "quantized kernels; from opset 10",
    "Det": "an elimination with pivots; from opset 11",
    "DeformConv": "gathers by learned offsets; from opset 19",
    "ImageDecoder": "decodes files",
    "MatMulInteger": "quantized kernels; from opset 10",
    "MelWeightMatrix": "lowerings make the matrix as a constant",
    "NonMaxSuppression": "picks boxes one after the other; from opset 10",
    "QLinearConv": "quantized kernels; from opset 10",
    "QLinearMatMul": "quantized kernels; from opset 10",
    "ReverseSequence": "from opset 10",
    "RoiAlign": "samples by computed positions; from opset 10",
    "TensorScatter": "writes a cache at computed positions; from opset 24",
    "Unique": "sorts and counts; from opset 11",
}
OUT_OF_SCOPE = {
    "sequence": ("Sequence", "Optional", "ConcatFromSequence", "SplitToSequence"),
    "text": ("String", "Regex"),
}

# Differences that no mechanical rule answers, with the answer.
ANSWERED = {
    ("Attention", "nonpad_kv_seqlen"): "expand",
    ("Dropout", "training_mode"): "guard",
    ("Pad", "axes"): "form",
    ("Resize", "axes"): "form",
    ("Resize", "roi"): "form",
    ("Resize", "sizes"): "form",
    ("Shape", "start"): "form",
    ("Shape", "end"): "form",
    ("Slice", "steps"): "form",
    ("Split", "num_outputs"): "form",
}


def operators() -> list[str]:
    """Operators on tensors in the newest opset."""
    names = {s.name for s in onnx.defs.get_all_schemas() if s.domain == "" and not s.deprecated}
    hidden = tuple(prefix for prefixes in OUT_OF_SCOPE.values() for prefix in prefixes)
    return sorted(name for name in names if not name.startswith(hidden))


def changes(op: str) -> Iterator[tuple[int, str, str]]:
    """(opset, kind, name) for each thing of the newest `op` that an older opset lacks."""
    newest = schema.facts(op)
    for opset in range(OLDEST_SERVED, schema.NEWEST):
        older = schema.facts(op, opset)
        if older is None:
            yield opset, "operator", op
            continue
        former = {p.name for p in older.inputs}
        if len(newest.inputs) != len(older.inputs):
            yield from ((opset, "input", p.name) for p in newest.inputs if p.name not in former)
        yield from ((opset, "attribute", name) for name in newest.attributes if name not in older.attributes)


def has_answer(op: str, opset: int, kind: str, name: str) -> bool:
    load()
    if kind == "operator":
        return (
            op in EXPANSIONS
            or any(form.since > opset for form in FORMS.get(op, ()))
            or op in NO_EXPANSION
            or onnx.defs.get_schema(op, schema.NEWEST, "").has_function
            or _is_context_function(op)
        )
    if (op, name) in ANSWERED:
        return ANSWERED[op, name] != "form" or op in FORMS
    if kind == "input":
        return FORMER_NAMES.get((op, name), name) in schema.facts(op, opset).attributes
    fact = schema.facts(op).attributes[name]
    return not fact.required  # saying nothing is neutral; saying something is reported by guard


def _is_context_function(op: str) -> bool:
    return onnx.defs.get_schema(op, schema.NEWEST, "").has_context_dependent_function


@pytest.mark.parametrize("op", operators())
def test_every_change_has_an_answer(op: str) -> None:
    missing = [change for change in changes(op) if not has_answer(op, *change)]
    assert not missing, f"{op}: legalize has no answer to {missing}; add an expansion, a form, or a row with the reason"


def test_no_row_is_stale() -> None:
    for op in NO_EXPANSION:
        assert op not in EXPANSIONS, f"{op} has an expansion now; remove its row"
        assert schema.facts(op, OLDEST_SERVED) is None
