"""What eager refuses for its dtypes, numbers and static sizes is refused at compile, with eager's reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture
from fxonnx.capture.tracer.results import asked
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.location import Location

FLOATS, DOUBLES, INTS = torch.rand(3), torch.rand(3).double(), torch.tensor([0, 1, 2])
BYTES, TRUTHS, NOTHING = INTS.to(torch.uint8), INTS > 0, torch.rand(0, 3)
IMAGES = torch.rand(1, 2, 4, 4)

REFUSED: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    # ranks and sizes that meta kernels do not look at
    "bucketize between rows": (torch.bucketize, (FLOATS, torch.rand(2, 3))),
    "histogramdd of fewer bins": (lambda x: torch.histogramdd(x, [2, 2])[0], (torch.rand(4, 3),)),
    # dtypes that do not go together
    "binary_cross_entropy": (F.binary_cross_entropy, (FLOATS, DOUBLES)),
    "binary_cross_entropy of ints": (F.binary_cross_entropy, (FLOATS, INTS)),
    "index_put": (lambda x, index, values: x.index_put((index,), values), (FLOATS, INTS, DOUBLES)),
    "index_add": (lambda x, index, source: x.index_add(0, index, source), (FLOATS, INTS, DOUBLES)),
    "index_copy_": (lambda x, index, source: x.clone().index_copy_(0, index, source), (FLOATS, INTS, DOUBLES)),
    "index_select by floats": (lambda x, index: x.index_select(0, index), (FLOATS, FLOATS)),
    "heaviside": (torch.heaviside, (FLOATS, DOUBLES)),
    "batch_norm": (F.batch_norm, (torch.rand(2, 3), DOUBLES, DOUBLES)),
    "group_norm": (lambda x, weight: F.group_norm(x, 3, weight), (torch.rand(2, 3), DOUBLES)),
    "one_hot": (lambda x: F.one_hot(x, 4), (INTS.int(),)),
    "cross_entropy": (F.cross_entropy, (torch.rand(3, 4), INTS.int())),
    "matmul": (torch.matmul, (torch.rand(3, 3), DOUBLES)),
    "conv2d": (F.conv2d, (IMAGES, torch.rand(2, 2, 3, 3).double())),
    "mul_": (lambda x: x.clone().mul_(1.5), (INTS,)),
    "bilinear": (lambda x, y, weight: F.bilinear(x, y, weight), (FLOATS, DOUBLES, torch.rand(2, 3, 3))),
    "addbmm": (torch.addbmm, (torch.rand(3, 3), torch.rand(2, 3, 3).double(), torch.rand(2, 3, 3))),
    "cdist": (torch.cdist, (torch.rand(2, 3), torch.rand(2, 3).double())),
    "grid_sample": (lambda x, grid: F.grid_sample(x, grid), (IMAGES, torch.rand(1, 2, 2, 2).double())),
    "index_reduce": (lambda x, index, source: x.index_reduce(0, index, source, "amax"), (FLOATS, INTS, DOUBLES)),
    "lstsq": (lambda x, b: torch.linalg.lstsq(x, b)[0], (torch.rand(3, 2), torch.rand(3, 1).double())),
    "complex": (torch.complex, (FLOATS, DOUBLES)),
    # the dtype of out=
    "amax into double": (lambda x: torch.amax(x, 0, out=torch.zeros(()).double()), (FLOATS,)),
    "isin into ints": (lambda x: torch.isin(x, x, out=torch.zeros(3).int()), (FLOATS,)),
    "complex into double": (lambda x: torch.complex(x, x, out=torch.zeros(3, dtype=torch.complex128)), (FLOATS,)),
    "a solution into complex": (lambda x: torch.linalg.solve(x, x, out=torch.zeros(3, 3) * 1j), (torch.eye(3),)),
    "places into complex": (lambda x: torch.bucketize(x, x, out=torch.zeros(3) * 1j), (FLOATS,)),
    "ints into floats": (lambda x: torch.index_copy(x, 0, x, x, out=FLOATS + 0), (INTS,)),
    "ints by floats": (lambda x: x.index_reduce(0, FLOATS, x, "prod"), (INTS,)),
    "an angle into ints": (lambda x: torch.angle(x, out=torch.zeros(3).int()), (FLOATS,)),
    "index_select into double": (lambda x, index: torch.index_select(x, 0, index, out=DOUBLES + 0), (FLOATS, INTS)),
    # dtypes that no kernel takes
    "cholesky": (torch.linalg.cholesky, (torch.eye(3).long(),)),
    "lu": (lambda x: torch.linalg.lu(x)[2], (torch.eye(3).long(),)),
    "huber_loss": (F.huber_loss, (INTS, INTS)),
    "trace": (torch.trace, (torch.eye(3) > 0,)),
    "addmv": (torch.addmv, (TRUTHS, torch.eye(3) > 0, TRUTHS)),
    "silu": (F.silu, (INTS,)),
    "glu of complex": (lambda x: F.glu(x, 0), (torch.rand(4).to(torch.complex64),)),
    "round of nothing": (torch.round, (NOTHING.bool(),)),
    "unfold": (lambda x: F.unfold(x, 2), (IMAGES.int(),)),
    "relu": (F.relu, (TRUTHS,)),
    "gelu": (F.gelu, (INTS,)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), (IMAGES.int(),)),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2), (IMAGES.int(),)),
    "gcd": (torch.gcd, (FLOATS, FLOATS)),
    "topk": (lambda x: x.topk(1), (TRUTHS,)),
    "bincount": (torch.bincount, (FLOATS,)),
    "one_hot of floats": (lambda x: F.one_hot(x, 4), (FLOATS,)),
    # numbers beyond their dtype
    "clamp": (lambda x: x.clamp(0, 300), (BYTES,)),
    "full": (lambda x: torch.full((2,), 300, dtype=torch.uint8) + x[0], (BYTES,)),
    "fill_": (lambda x: x.clone().fill_(300), (BYTES,)),
    "pad": (lambda x: F.pad(x, (1, 1), value=300), (BYTES,)),
    "masked_fill": (lambda x: x.masked_fill(x > 1, 300), (BYTES,)),
    "masked_fill of halves": (lambda x: x.masked_fill(x > 1, -1e9), (FLOATS.half(),)),
    "where": (lambda x: torch.where(x > 1, x, 300), (BYTES,)),
    "where of small ints": (lambda x: torch.where(x > 1, -200, x), (INTS.to(torch.int8),)),
    "scalar_tensor": (lambda x: torch.scalar_tensor(300, dtype=torch.uint8) + x, (BYTES,)),
    "pow": (lambda x: x**-1, (INTS,)),
    # numbers of windows and bounds
    "conv2d without dilation": (lambda x: F.conv2d(x, torch.ones(2, 2, 3, 3), dilation=0), (IMAGES,)),
    "conv1d without stride": (lambda x: F.conv1d(x[0], torch.ones(2, 4, 3), stride=0), (IMAGES,)),
    "conv2d of less than there is": (lambda x: F.conv2d(x, torch.ones(2, 2, 3, 3), padding=-1), (IMAGES,)),
    "conv_transpose1d beyond its stride": (
        lambda x: F.conv_transpose1d(x[0], torch.ones(4, 2, 3), output_padding=1),
        (IMAGES,),
    ),
    "smooth_l1_loss below 0": (lambda x: F.smooth_l1_loss(x, x, beta=-1.0), (FLOATS,)),
    "huber_loss below 0": (lambda x: F.huber_loss(x, x, delta=-1.0), (FLOATS,)),
    # numbers of draws
    "uniform_": (lambda x: x.clone().uniform_(3, -1), (FLOATS,)),
    "random_": (lambda x: x.clone().random_(5, 2), (FLOATS,)),
    "bernoulli_": (lambda x: x.clone().bernoulli_(1.5), (FLOATS,)),
    "dropout": (lambda x: torch.dropout(x, 1.5, True), (FLOATS,)),
    "multinomial of more than there are": (lambda x: torch.multinomial(x, 9), (FLOATS,)),
    "multinomial of ints": (lambda x: torch.multinomial(x, 1), (INTS,)),
    # sizes
    "chunks of nothing": (lambda x: torch._chunk_cat([x], 0, 2), (NOTHING,)),
    "min of nothing": (torch.min, (NOTHING,)),
    "max of nothing": (lambda x: x.max(0), (NOTHING,)),
    "an axis that is not there": (lambda x: x.softmax(2), (FLOATS,)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_eager_refuses_is_refused_at_compile(name: str) -> None:
    function, arguments = REFUSED[name]
    with pytest.raises((RuntimeError, IndexError)) as eager:
        function(*arguments)
    with pytest.raises(errors.ModelRaised) as ours:
        fxonnx.compile(function, arguments)
    assert str(eager.value).partition("\n")[0][:40] in str(ours.value)


WEIGHTED: dict[str, tuple[Callable[..., Any], torch.Tensor]] = {
    "whole numbers as frequencies": (lambda x, weights: torch.cov(x, fweights=weights), FLOATS),
    "floats as weights": (lambda x, weights: torch.cov(x, aweights=weights), INTS),
    "one for each": (lambda x, weights: torch.cov(x, fweights=weights), INTS[:1]),
}


@pytest.mark.parametrize("dynamic", [None, "auto"])
@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_that_eager_refuses(name: str, dynamic: Any) -> None:
    function, weights = WEIGHTED[name]
    with pytest.raises(RuntimeError, match="expected"):
        function(torch.rand(2, 3), weights)
    with pytest.raises(errors.ModelRaised, match="expected"):
        fxonnx.compile(function, (torch.rand(2, 3), weights), dynamic_shapes=dynamic)


def test_dtypes_are_refused_where_sizes_are_not_known_to_go_together() -> None:
    for dynamic in ("auto", None):  # the first says nothing of the second
        with pytest.raises(errors.ModelRaised, match="scalar type Double"):
            fxonnx.compile(torch.complex, (FLOATS, DOUBLES), dynamic_shapes=dynamic)


TAKEN: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "one embedding": (F.embedding, (torch.zeros(3, dtype=torch.int64), torch.rand(1, 2))),
    "index of one row": (lambda x, index: x[index], (torch.rand(1, 2), torch.zeros(2, dtype=torch.int64))),
    "promoted": (F.mse_loss, (FLOATS, DOUBLES)),
    "infinite": (lambda x: x.masked_fill(x > 1, float("-inf")), (FLOATS.half(),)),
    "wrapped": (lambda x: x + 300, (BYTES,)),
    "negative as unsigned": (lambda x: torch.full((2,), -1, dtype=torch.uint8) + x[0], (BYTES,)),
    "ints sorted": (lambda x: x.sort()[0], (INTS,)),
    "ints gathered": (lambda x, index: x.gather(0, index), (INTS, INTS)),
    "sum of nothing": (torch.sum, (NOTHING,)),
    "max along": (lambda x: x.amax(1), (NOTHING,)),
    "classes of uint8": (F.cross_entropy, (torch.rand(3, 4), BYTES)),
    "ints of nothing divided": (lambda x, y: x.long() // y[:1], (NOTHING, INTS)),
    "ints divided": (lambda x: torch.floor_divide(x, x + 1), (INTS,)),
    "ints divided in place": (lambda x: x.clone().floor_divide_(x + 1), (INTS,)),
    "what is left of ints": (lambda x: (x % (x + 1), torch.fmod(x, x + 2)), (INTS,)),
    "a product of ints": (torch.addr, (torch.eye(3).long(), INTS, INTS)),
    "ints where a mask is": (lambda x, y: x.index_put((x > 0,), y[x > 0]), (INTS, INTS + 1)),
    "as many ints as a mask has": (lambda x: x.index_put((x > 0,), torch.tensor([7, 8])), (INTS,)),
    "sines into double": (lambda x: torch.sin(x, out=torch.zeros(3).double()), (FLOATS,)),
    "the greatest into its place": (lambda x: torch.max(x, 0, out=(torch.zeros(()), INTS[0] + 0)), (FLOATS,)),
    "ints and floats that meet": (lambda x, y: torch.stack((x, y)), (FLOATS, DOUBLES)),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_eager_takes_is_taken(name: str) -> None:
    function, arguments = TAKEN[name]
    torch.testing.assert_close(fxonnx.compile(function, arguments)(*arguments), function(*arguments))


def test_a_usual_call_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "no_dispatch", None)
    log = GuardLog({}, {}, {}, Location)
    with torch.no_grad():
        asked.ask_kernel(torch.ops.aten.gather.default, (FLOATS, 0, INTS), {}, log)
        asked.ask_kernel(torch.ops.aten.pad.default, (IMAGES, [1, 1]), {}, log)
        asked.ask_kernel(torch.ops.aten.add.Tensor, (FLOATS, DOUBLES), {}, log)


@torch.library.custom_op("asked::linear", mutates_args=())
def by_eights(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """An op of the user's that is called like one of torch's, and wants sizes that a few elements have not."""
    assert x.shape[-1] % 8 == 0
    return x @ weight.t()


@by_eights.register_fake
def _(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


def test_kernels_of_others_are_not_asked() -> None:
    program = capture(by_eights, (torch.rand(2, 8), torch.rand(3, 8)))
    assert any(node.target is torch.ops.asked.linear.default for node in program.graph.nodes)


def test_asking_an_op_that_draws_leaves_the_random_numbers_where_they_were() -> None:
    generator, model = torch.Generator(), lambda x: x.bernoulli(0.25) + torch.dropout(x, 0.125, True)
    before = torch.get_rng_state(), generator.get_state()
    capture(model, (FLOATS,))
    capture(lambda x: x.clone().uniform_(0.25, 0.5, generator=generator), (FLOATS,))
    assert torch.equal(before[0], torch.get_rng_state())
    assert torch.equal(before[1], generator.get_state())


STATISTICS: dict[str, Callable[..., Any]] = {
    "by batch": lambda x, w: torch.native_batch_norm(x, w, w, w + 0, w + 1, True, 0.1, 1e-5)[:3],
    "by running statistics": lambda x, w: torch.native_batch_norm(x, w, w, w + 0, w + 1, False, 0.1, 1e-5),
    "by group": lambda x, w: torch.native_group_norm(x, w, w, 2, 4, 9, 2, 1e-5),
    "by layer": lambda x, w: torch.native_layer_norm(x.flatten(2).mT.contiguous(), (4,), w, w, 1e-5),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_are_in_the_dtype_that_the_kernel_has_them_in(name: str, dtype: torch.dtype) -> None:
    """Of half precision beside weights of float32; torch's meta kernels say the dtype of the input."""
    x, weight = torch.randn(2, 4, 3, 3).to(dtype), torch.rand(4)
    found = fxonnx.compile(STATISTICS[name], (x, weight))(x, weight)
    torch.testing.assert_close(found, STATISTICS[name](x, weight), rtol=1e-2, atol=1e-2)


ASKED_ON_ZEROS: dict[str, Callable[..., Any]] = {
    "an inverse": lambda x: torch.linalg.inv(x, out=torch.empty(0)),
    "a rest": lambda x: torch.remainder(x.int(), x.int()[2, 2], out=torch.empty(0, dtype=torch.int8)),
}


@pytest.mark.parametrize("name", ASKED_ON_ZEROS)
def test_what_zeros_are_refused_for_is_no_refusal_of_the_place(name: str) -> None:
    """Kernels are asked on zeros, which none inverts or divides by."""
    x = torch.eye(3) * 2
    torch.testing.assert_close(fxonnx.compile(ASKED_ON_ZEROS[name], (x,))(x), ASKED_ON_ZEROS[name](x))


def test_windows_that_are_too_many_to_unfold_are_not_asked() -> None:
    """torch's kernel for volumes of ints ends the process there."""
    image, weight = torch.empty(11, 19, 17, 23, device="meta"), torch.empty(13, 11, 29, 31, 37, device="meta")
    op, size = torch.ops.aten.conv3d.default, lambda dim: int(str(dim))
    assert asked._Given((image, weight), {}, size).is_large(op)
    assert not asked._Given((image, weight), {}, size).is_large(torch.ops.aten.mul.Tensor)
    assert not asked._Given((image, weight[:, :, :3, :3, :3]), {}, size).is_large(op)
