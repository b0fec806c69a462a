"""Normalizations in training: what they write to their running statistics becomes a state, or is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.capture.interpret import run, writes
from torch import Tensor, nn

import fxonnx
from fxonnx.capture import capture
from fxonnx.capture.graph.running_statistics import _NORMALIZATIONS
from fxonnx.errors import CaptureRefused

NORMALIZATIONS: dict[str, Callable[..., Tensor]] = {
    "batch_norm": lambda x, m, v: nn.functional.batch_norm(x, m, v, training=True, momentum=0.3),
    "native_batch_norm": lambda x, m, v: torch.native_batch_norm(x, None, None, m, v, True, 0.3, 1e-5)[0],
    "_native_batch_norm_legit": lambda x, m, v: torch.ops.aten._native_batch_norm_legit(
        x, None, None, m, v, True, 0.3, 1e-5
    )[0],
    "_batch_norm_impl_index": lambda x, m, v: torch._batch_norm_impl_index(x, None, None, m, v, True, 0.3, 1e-5, False)[
        0
    ],
    "_batch_norm_with_update": lambda x, m, v: torch.ops.aten._batch_norm_with_update(
        x, torch.ones(6), torch.zeros(6), m, v, 0.3, 1e-5
    )[0],
    "instance_norm": lambda x, m, v: nn.functional.instance_norm(x, m, v, momentum=0.3),
}


class Running(nn.Module):
    """A normalization with statistics of 6 channels."""

    def __init__(self, normalize: Callable[..., Tensor]) -> None:
        super().__init__()
        self.normalize = normalize
        self.register_buffer("mean", torch.linspace(0, 1, 6))
        self.register_buffer("variance", torch.linspace(1, 2, 6))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.normalize(x, self.mean, self.variance)
        return y.relu_(), self.mean * 1


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_running_statistics_become_states(name: str) -> None:
    model = Running(NORMALIZATIONS[name])
    x = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))
    program = capture(model, (x,))
    assert not writes(program.graph)
    assert [state.key for state in program.states] == ["mean", "variance"]
    result, _, states = run(program, (x,))
    torch.testing.assert_close(result, model(x))
    torch.testing.assert_close(states, [model.mean, model.variance])


def test_statistics_that_are_only_read_are_no_states() -> None:
    model = Running(lambda x, m, v: nn.functional.instance_norm(x, m, v, use_input_stats=False))
    assert not capture(model, (torch.randn(4, 6, 5),)).states


def test_an_update_without_a_form_as_values_is_refused_with_its_place() -> None:
    model = Running(lambda x, m, v: x + torch.batch_norm_update_stats(x, m, v, 0.1)[0][:, None])
    with pytest.raises(CaptureRefused, match="running statistics") as caught:
        capture(model, (torch.randn(4, 6, 5),))
    assert caught.value.locations[0].function in ("forward", "<lambda>")


def test_every_normalization_of_torch_is_known() -> None:
    """Schemas with running statistics that declare no write: each is in the table, or does not write."""
    silent = {
        schema.name.partition("::")[2]
        for schema in torch._C._jit_get_all_schemas()
        if any(each.name == "running_mean" and each.alias_info is None for each in schema.arguments)
        and schema.name.startswith("aten::")
        and not schema.is_mutable
    }
    known = {target._schema.name.partition("::")[2] for target in _NORMALIZATIONS}
    reads = {name for name in silent if name.endswith(("_backward", "_functional", "_no_training", "_no_update"))}
    assert silent - reads == known


def test_statistics_of_dtypes_of_their_own() -> None:
    def model(x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return nn.functional.instance_norm(x, mean, variance, momentum=0.3), mean * 1, variance * 1

    x, mean, variance = torch.randn(2, 3, 5), torch.zeros(3).double(), torch.ones(3)
    compiled = fxonnx.compile(model, (x, mean, variance))
    found = compiled(x, mean.clone(), variance.clone())
    torch.testing.assert_close(found, model(x, mean.clone(), variance.clone()))
