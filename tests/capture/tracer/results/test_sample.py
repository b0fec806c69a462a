"""Results computed on a few elements are what torch's meta kernels say; what a few elements do not tell is left to
those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fxonnx.capture.tracer.results.cache import FakeCache
from fxonnx.capture.tracer.results.meta import CachedArgument, CachedTensor, CachedTuple, TensorMeta
from fxonnx.capture.tracer.results.sample import _draws, sample
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import sym_int
from fxonnx.capture.tracer.torch_private import OneThread
from fxonnx.ir.dims import symbol
from fxonnx.location import Location

aten = torch.ops.aten
Call = Callable[..., tuple[Any, ...]]

CALLS: dict[str, Call] = {
    "linear": lambda n: (aten.linear.default, torch.ones(2, n, 768), torch.ones(3072, 768), torch.ones(3072)),
    "broadcast": lambda n: (aten.add.Tensor, torch.ones(4, 1, n), torch.ones(7, 1)),
    "comparison": lambda n: (aten.eq.Scalar, torch.ones(4, 1, n), 2),
    "promotion": lambda n: (aten.mul.Tensor, torch.ones(n, dtype=torch.int32), torch.ones(n, dtype=torch.half)),
    "transposed": lambda n: (aten.gelu.default, torch.ones(4, n, 6).transpose(0, 2)),
    "channels last": lambda n: (aten.relu.default, torch.ones(n, 6, 5, 3).permute(0, 3, 1, 2)),
    "reduction": lambda n: (aten.mean.dim, torch.ones(4, n, 6), [0], True),
    "several": lambda n: (aten.max.dim, torch.ones(4, n, 6), 2),
    "layer norm": lambda n: (aten.layer_norm.default, torch.ones(n, 768), [768], torch.ones(768), torch.ones(768)),
    "embedding": lambda n: (aten.embedding.default, torch.ones(1000, 64), torch.ones(2, n, dtype=torch.int64)),
}

UNTOLD: dict[str, Call] = {
    "sizes": lambda n: (aten.view.default, torch.ones(4, 6), [8, 3]),
    "random": lambda n: (aten.dropout.default, torch.ones(n), 0.5, True),
    "gaps": lambda n: (aten.relu.default, torch.ones(4, 6)[:, ::2]),
    "view": lambda n: (aten.alias.default, torch.ones(n)),
    "refused": lambda n: (aten.matmul.default, torch.ones(4, 6), torch.ones(4, 6)),
    "two dims": lambda n: (aten.add.Tensor, torch.ones(n), torch.ones(7)),
    "empty": lambda n: (aten.relu.default, torch.ones(0, n)),
}


def fake_call(call: Call) -> tuple[FakeCache, Any, tuple[Any, ...]]:
    """A call whose `n` is a symbol, and a cache that knows its tensors."""
    guard_log = GuardLog({}, {}, {"n": 9}, Location)
    cache = FakeCache(OneThread(RuntimeError), guard_log)
    with cache.mode:
        func, *args = call(sym_int(symbol("n"), 9, guard_log))
    for each in args:
        if isinstance(each, torch.Tensor):
            cache.meta(each)
    return cache, func, tuple(args)


def found(call: Call) -> Any:
    """What a few elements tell of a call."""
    cache, func, args = fake_call(call)
    with torch.no_grad():
        return sample(func, args, {}, cache.guard_log, cache.metas)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_it_is_what_the_meta_kernel_says(call: Call) -> None:
    cache, func, args = fake_call(call)
    with torch.no_grad():
        given = sample(func, args, {}, cache.guard_log, cache.metas)
        with cache.mode:
            asked = func(*args)
    parts = given.parts if isinstance(given, CachedTuple) else [given]
    assert all(isinstance(each, CachedTensor) for each in parts)
    assert [each.meta for each in parts] == list(map(TensorMeta.of, asked if isinstance(asked, tuple) else [asked]))


def test_in_place_it_is_the_argument() -> None:
    assert found(lambda n: (aten.relu_.default, torch.ones(n))) == CachedArgument(0)


@pytest.mark.parametrize("call", UNTOLD.values(), ids=UNTOLD)
def test_the_meta_kernel_is_asked_where_a_few_elements_do_not_tell(call: Call) -> None:
    before = torch.get_rng_state()
    assert found(call) is None
    assert torch.equal(before, torch.get_rng_state())


def test_attention_is_sampled_where_it_draws_nothing() -> None:
    x = torch.ones(1, 2, 3, 4)
    attention = torch.ops.aten.scaled_dot_product_attention.default
    assert not _draws(attention, (x, x, x), {}) and not _draws(attention, (x, x, x, None, 0.0), {})
    assert _draws(attention, (x, x, x), {"dropout_p": 0.5}) and _draws(attention, (x, x, x, None, 0.5), {})
    assert _draws(torch.ops.aten.rrelu.default, (x,), {})
