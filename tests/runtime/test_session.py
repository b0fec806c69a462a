"""Sessions: what goes in, what comes out, from which memory, and what is said when it fails."""

import threading

import numpy as np
import onnx
import pytest
import torch
from tests.runtime.models import model, node, unary, value

from fxonnx import errors
from fxonnx.dtypes import FLOAT32
from fxonnx.ir.dims import symbol
from fxonnx.ir.types import TensorType
from fxonnx.location import Location
from fxonnx.runtime.configuration import Configuration
from fxonnx.runtime.session import Session

PLAIN = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.bool,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]


def identical(one: torch.Tensor, other: torch.Tensor) -> bool:
    same = one.dtype is other.dtype and one.shape == other.shape
    return same and one.contiguous().reshape(-1).view(torch.uint8).equal(
        other.contiguous().reshape(-1).view(torch.uint8)
    )


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
@pytest.mark.parametrize("dim", ["n", None], ids=["known", "unknown"])
def test_every_dtype_passes_through(dtype, dim):
    x = torch.arange(12).reshape(3, 4).to(torch.float32).to(dtype)
    session = Session(unary("Identity", dtype, (dim, 4)), {})
    (y,) = session.run([x])
    assert identical(y, x)
    assert y.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("shape", [(), (0,), (0, 4), (1,), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("known", [True, False])
def test_scalars_and_empty_tensors(shape, known):
    x = torch.randn(shape)
    declared = list(shape) if known else [None] * len(shape)
    (y,) = Session(unary("Neg", shape=declared), {}).run([x])
    assert identical(y, -x)


def test_inputs_that_need_care():
    session = Session(unary("Neg"), {})
    base = torch.randn(4, 5)
    for x in (
        base.T[1:],
        torch.randn(3, 8)[:, ::2],
        torch.randn(1, 4).expand(6, 4),
        torch.randn(2, 4, requires_grad=True),
        torch.nn.Parameter(torch.randn(2, 4)),
        torch._neg_view(torch.randn(2, 4)),
        torch.randn(2, 4, dtype=torch.complex64).conj().imag,
    ):
        (y,) = session.run([x])
        torch.testing.assert_close(y, -x.detach().resolve_neg().contiguous())
        assert not y.requires_grad


def test_sizes_may_change_from_call_to_call():
    session = Session(unary("Neg", shape=("n", "m")), {})
    for size in ((3, 4), (1, 7), (3, 4), (0, 2)):
        x = torch.randn(size)
        assert identical(session.run([x])[0], -x)


def test_outputs_are_computed_from_declared_expressions():
    twice = model(
        [node("Concat", ["x", "x"], ["y"], axis=0)],
        [value("x", torch.float32, ["n", 2])],
        [value("y", torch.float32, None)],
    )
    n = symbol("n")
    types = {"inputs": [TensorType(FLOAT32, (n, 2))], "outputs": [TensorType(FLOAT32, (2 * n, 2))]}
    session = Session(twice, {}, **types)
    x = torch.randn(3, 2)
    assert identical(session.run([x])[0], torch.cat([x, x]))
    assert session._idle[0].has_unknown is False


def test_data_dependent_outputs_outlive_the_session():
    where = model(
        [node("NonZero", ["x"], ["i"]), node("Neg", ["x"], ["y"])],
        [value("x", torch.float32, ["n"])],
        [value("i", torch.int64, [1, None]), value("y", torch.float32, ["n"])],
    )
    session = Session(where, {})
    x = torch.tensor([0.0, 1.0, 2.0, 0.0])
    first = session.run([x])
    second = session.run([torch.ones(4)])
    del session
    assert first[0].tolist() == [[1, 2]]
    assert identical(first[1], -x)
    assert second[0].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    "hold",
    [
        lambda y: y,
        lambda y: y[0],
        lambda y: y.numpy(),
        lambda y: y.untyped_storage(),
        lambda y: torch.utils.dlpack.to_dlpack(y),
        lambda y: np.asarray(memoryview(y.numpy())),
        lambda y: y.data,
        lambda y: y.view(torch.int32).t(),
        lambda y: y.requires_grad_().mul(2),  # whose gradient reads it
    ],
)
def test_results_that_are_held_are_not_written_to(hold):
    session = Session(unary("Neg"), {})
    ones = torch.ones(2, 4)
    held = [hold(session.run([ones * number])[0]) for number in range(5)]
    del held[2]  # the memory of this one may serve again
    for number in range(5, 9):
        session.run([ones * number])
    for each, number in zip(held, (0, 1, 3, 4), strict=True):
        assert bits(each) == bits(hold(-ones * number))


def bits(held):
    """The bytes of whatever holds a result."""
    whole = torch.utils.dlpack.from_dlpack(held) if type(held).__name__ == "PyCapsule" else torch.as_tensor(held)
    return whole.detach().contiguous().view(torch.uint8).tolist()


def test_memory_of_dropped_results_serves_again():
    session = Session(unary("Neg"), {})
    addresses = set()
    for number in range(20):
        y = session.run([torch.full((2, 4), float(number))])[0]
        assert y.eq(-number).all()
        addresses.add(y.data_ptr())
    assert len(addresses) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.resize_(40, 40),
        lambda y: y.untyped_storage().resize_(0),
        lambda y: y.share_memory_(),
        lambda y: y.t_(),
        lambda y: y.set_(torch.zeros(3)),
        lambda y: y.requires_grad_(),
    ],
)
def test_what_was_done_to_a_result_is_not_met_again(change):
    session = Session(unary("Neg"), {})
    for number in range(8):
        (y,) = session.run([torch.full((2, 4), float(number))])
        assert identical(y, torch.full((2, 4), -float(number)))
        assert not y.requires_grad
        change(y)


def test_results_of_inference_mode_are_good_outside():
    session, weight = Session(unary("Neg"), {}), torch.ones(4, requires_grad=True)
    for mode in (True, False, True, False):
        with torch.inference_mode(mode):
            (y,) = session.run([torch.ones(2, 4)])
        (y * weight).sum().backward()


def test_a_model_without_inputs():
    constant = node("Constant", [], ["y"], value=onnx.numpy_helper.from_array(torch.arange(3).numpy()))
    session = Session(model([constant], [], [value("y", torch.int64, [3])]), {})
    first = session.run([])[0]
    first.zero_()
    assert session.run([])[0].tolist() == [0, 1, 2]


def test_the_default_device_does_not_matter():
    session = Session(unary("Neg"), {})
    x = torch.ones(2, 4)
    with torch.device("meta"):
        assert session.run([x])[0].device.type == "cpu"


def test_threads_share_a_session():
    session = Session(unary("Neg"), {}, configuration=Configuration(threads=1))
    wrong = []

    def work(number: int) -> None:
        for step in range(200):
            x = torch.full((1 + step % 5, 4), float(number))
            if not session.run([x])[0].eq(-number).all():
                wrong.append((number, step))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert 2 <= len(session._idle) <= 5


@pytest.mark.parametrize(
    ("given", "what", "cure"),
    [
        ([], "takes 1 tensors, not 0", "like the example"),
        (
            [torch.ones(2, 4, dtype=torch.float64)],
            "input x is torch.float64, compiled for torch.float32",
            "x.to(torch.float32)",
        ),
        ([torch.ones(2, 4, device="meta")], "input x is on meta", "x.cpu()"),
        ([torch.ones(2, 4).to_sparse()], "input x is on torch.sparse_coo", "x.to_dense()"),
        ([[1.0]], "input x is no tensor", "torch.as_tensor"),
        ([torch.ones(2, 5)], "input x has shape [2, 5], compiled for [n,4]", "dynamic_shapes"),
        ([torch.ones(4)], "input x has shape [4], compiled for [n,4]", "dynamic_shapes"),
    ],
)
def test_wrong_inputs_are_named(given, what, cure):
    session = Session(unary("Neg"), {})
    with pytest.raises(errors.CallMismatch) as caught:
        session.run(given)
    assert what in caught.value.what
    assert cure in caught.value.cure
    assert session.run([torch.ones(2, 4)])[0].shape == (2, 4)


def test_one_name_is_one_size():
    add = model(
        [node("Add", ["a", "b"], ["y"])],
        [value("a", torch.float32, ["n"]), value("b", torch.float32, ["n"])],
        [value("y", torch.float32, ["n"])],
    )
    with pytest.raises(errors.CallMismatch, match="input b") as caught:
        Session(add, {}).run([torch.ones(3), torch.ones(1)])
    assert "n is 3 in another place" in caught.value.cause


def test_a_failing_node_has_a_place():
    place = Location(module="emb", kind="Embedding", file="model.py", line=7)
    gather = model(
        [node("Gather", ["t", "i"], ["y"], name="emb/Gather")],
        [value("t", torch.float32, [4, 2]), value("i", torch.int64, ["n"])],
        [value("y", torch.float32, ["n", 2])],
    )
    session = Session(gather, {}, locate={"emb/Gather": place}.get)
    with pytest.raises(errors.RuntimeFailed) as caught:
        session.run([torch.ones(4, 2), torch.tensor([9])])
    assert caught.value.locations == (place,)
    assert "emb/Gather" in caught.value.what
    assert "idx=9" in caught.value.cause
    assert "onnxruntime_src" not in str(caught.value)
    assert session.run([torch.ones(4, 2), torch.tensor([1])])[0].shape == (1, 2)


def test_places_are_read_from_the_nodes_by_default():
    erf = unary("Erf", torch.float64)
    for key, text in Location(module="act", line=3, file="m.py").to_metadata().items():
        erf.graph.node[0].metadata_props.add(key=key, value=text)
    with pytest.raises(errors.RuntimeFailed) as caught:
        Session(erf, {})
    assert caught.value.locations[0].module == "act"


def test_a_missing_kernel_is_named():
    with pytest.raises(errors.RuntimeFailed, match="no kernel for Erf-13") as caught:
        Session(unary("Erf", torch.float64), {})
    assert "opset 23" in caught.value.cause


def test_an_unknown_operator_and_opset_are_named():
    with pytest.raises(errors.RuntimeFailed) as caught:
        Session(unary("Frobnicate"), {})
    assert "No Op registered for Frobnicate" in caught.value.cause
    with pytest.raises(errors.RuntimeFailed) as caught:
        Session(unary("Neg", opset=99), {})
    assert "opset" in caught.value.cure


def test_wrong_output_sizes_are_an_error():
    types = {"inputs": [TensorType(FLOAT32, (symbol("n"), 4))], "outputs": [TensorType(FLOAT32, (symbol("n"), 3))]}
    with pytest.raises(errors.RuntimeFailed):
        Session(unary("Neg"), {}, **types).run([torch.ones(2, 4)])


def test_dtypes_torch_lacks_cannot_cross():
    with pytest.raises(errors.UnsupportedDtype, match="x is int4"):
        Session(unary("Identity", "int4"), {})


def test_names_of_dims_may_be_anything():
    session = Session(unary("Neg", shape=("batch-size", "past.0 länge")), {})
    assert session.run([torch.ones(2, 3)])[0].shape == (2, 3)


def test_bfloat16_between_casts_does_not_end_the_process():
    """ONNX Runtime's NchwcTransformer does so on this layer; the session keeps it away from bfloat16."""
    import fxonnx

    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu").bfloat16().eval()
    assert fxonnx.compile(layer, (torch.randn(2, 5, 32).bfloat16(),)).verify().ok


@pytest.mark.parametrize("dims", [("n", 3), (2, 3)])
def test_memory_is_planned_for_sizes_that_do_not_vary(dims, monkeypatch):
    import onnxruntime

    planned = []
    plain = onnxruntime.InferenceSession

    def noting(model, options, **more):
        planned.append(options.enable_mem_pattern)
        return plain(model, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noting)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", 1, dims)], [value("y", 1, dims)]
    )
    Session(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), {})
    assert planned == [all(isinstance(dim, int) for dim in dims)]


def test_an_output_in_the_memory_of_an_input():
    shape = [2, 1, "room", 3]
    nodes = [node("TensorScatter", ["cache", "new", "place"], ["present"], axis=2), node("Neg", ["new"], ["negative"])]
    inputs = [value("cache", FLOAT32, shape), value("new", FLOAT32, [2, 1, "tokens", 3]), value("place", "int64", [2])]
    outputs = [value("negative", FLOAT32, [2, 1, "tokens", 3]), value("present", FLOAT32, shape)]
    session = Session(model(nodes, inputs, outputs, opset=24), {}, configuration=Configuration(in_place={1: 0}))
    for room in (5, 5, 9):
        cache, new = torch.zeros(2, 1, room, 3), torch.randn(2, 1, 2, 3)
        negative, present = session.run([cache, new, torch.tensor([1, 3])])
        assert present is cache
        assert torch.equal(negative, -new)
        assert torch.equal(cache[0, :, 1:3], new[0])
        assert torch.equal(cache[1, :, 3:5], new[1])
