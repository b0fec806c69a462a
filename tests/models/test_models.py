"""The main job on real architectures: each compiles, runs in ONNX Runtime and gives what eager gives, at the example's
sizes and at others.

Static at opset 17, dynamic at the default target: what they share is tried in both. The models are those of the
benchmarks: real layer counts, random weights.
"""

from __future__ import annotations

import pytest
import torch
from benchmarks.models import MODELS, Case

import fxonnx

STATIC = [case for case in MODELS.values() if "refused" not in case.tags]
DYNAMIC = [case for case in STATIC if case.dynamic]


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("case", STATIC, ids=names(STATIC))
def test_static(case: Case) -> None:
    module, args, kwargs = case.build()
    compiled = fxonnx.compile(module, args, kwargs, opset=17)
    compiled.verify().check()


@pytest.mark.parametrize("case", DYNAMIC, ids=names(DYNAMIC))
def test_dynamic(case: Case) -> None:
    module, args, kwargs = case.build()
    compiled = fxonnx.compile(module, args, kwargs, dynamic_shapes=case.dynamic)
    assert dynamic_names(compiled) == {name for dims in case.dynamic.values() for name in dims.values()}
    compiled.verify(*args, **kwargs).check()
    other_args, other_kwargs = case.resize(case.other_sizes, seed=1)
    compiled.verify(*other_args, **other_kwargs).check()


def dynamic_names(compiled: fxonnx.Compiled) -> set[str]:
    """The user's dim names that the compiled inputs really have."""
    return set().union(*(value.type.symbols for value in compiled.graph.inputs))
