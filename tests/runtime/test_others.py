"""Other runtimes than ONNX Runtime, behind the same interface; those of OpenVINO are skipped where it is missing."""

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fxonnx
from fxonnx import Target, errors

NO_OPENVINO = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed: fxonnx[openvino]")
RUNTIMES = [pytest.param("openvino", marks=NO_OPENVINO), "reference"]


class Mixed(nn.Module):
    """A result of each kind of dtype, one that nothing computes, and one whose size is data."""

    def __init__(self):
        super().__init__()
        self.embedding, self.norm, self.head = nn.Embedding(11, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, ids, scale, unused):
        x = self.norm(self.embedding(ids)) * scale
        found = self.head(F.gelu(x)).mean(1)
        return {"scores": found.softmax(-1), "best": found.argmax(-1), "above": found > 0, "ids": ids, "hits": x[x > 1]}


def inputs(rows, columns):
    ids = torch.arange(rows * columns).reshape(rows, columns) % 11
    return ids, torch.tensor(1.5), torch.zeros(2)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_results_are_torchs(runtime):
    torch.manual_seed(0)
    model = Mixed().eval()
    dynamic = {"ids": {0: "rows", 1: "columns"}}
    compiled = fxonnx.compile(model, inputs(2, 5), target=Target.named(runtime), dynamic_shapes=dynamic)
    for sizes in ((2, 5), (1, 1), (4, 3), (2, 5)):
        close(compiled(*inputs(*sizes)), model(*inputs(*sizes)))
    kept = compiled(*inputs(2, 5))
    compiled(*inputs(4, 3))
    close(kept, model(*inputs(2, 5)))  # results are the caller's
    with pytest.raises(errors.CallMismatch):
        compiled(inputs(2, 5)[0].float(), *inputs(2, 5)[1:])
    assert compiled.verify().ok


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32, torch.uint8, torch.bool])
def test_dtypes_cross_the_border(runtime, dtype):
    x = torch.tensor([[1, 0, 3], [0, 5, 6]]).to(dtype)
    compiled = fxonnx.compile(lambda x: (x.T, x.flip(0)), (x,), target=Target.named(runtime))
    close(compiled(x), (x.T, x.flip(0)))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_several_threads(runtime):
    compiled = fxonnx.compile(lambda x: (x * 2).sum(-1), (torch.ones(3, 4),), target=Target.named(runtime))
    given = [torch.full((3, 4), float(number)) for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        for x, found in zip(given, pool.map(compiled, given), strict=True):
            close(found, (x * 2).sum(-1))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_options_that_it_does_not_have(runtime):
    compiled = fxonnx.compile(torch.relu, (torch.ones(3),), target=Target.named(runtime))
    with pytest.raises(errors.InvalidOption, match="has no prepack"):
        compiled.configure(prepack=False)(torch.ones(3))
    assert compiled.configure(threads=1)(torch.ones(3)).sum() == 3


def test_a_failure_of_the_runtimes():
    session = fxonnx.compile(lambda x, y: x @ y, (torch.ones(2, 2),) * 2, target=Target.reference()).session
    session._evaluator = None
    with pytest.raises(errors.RuntimeFailed, match="reference evaluator stopped"):
        session.run([torch.ones(2, 2)] * 2)


@pytest.mark.parametrize("kind", RUNTIMES)
def test_rows_of_which_nothing_is_seen(kind):
    rows = torch.tensor([[-torch.inf] * 3, [1, -torch.inf, 2], [0, 0, 0]])
    compiled = fxonnx.compile(lambda x: torch.ops.aten._safe_softmax(x, -1), (rows,), target=getattr(Target, kind)())
    torch.testing.assert_close(compiled(rows), torch.ops.aten._safe_softmax(rows, -1))


@pytest.mark.skipif(find_spec("openvino") is not None, reason="OpenVINO is installed")
def test_a_runtime_that_is_missing():
    compiled = fxonnx.compile(torch.relu, (torch.ones(3),), target=Target.openvino())
    with pytest.raises(errors.RuntimeFailed, match="OpenVINO is not installed") as caught:
        compiled(torch.ones(3))
    assert "fxonnx[openvino]" in caught.value.cure


def test_a_provider_that_is_missing():
    compiled = fxonnx.compile(torch.relu, (torch.ones(3),), target=Target.onnxruntime(provider="CUDA"))
    with pytest.raises(errors.InvalidOption, match="CUDAExecutionProvider"):
        compiled(torch.ones(3))
    assert compiled.configure(providers=["CPUExecutionProvider"])(torch.ones(3)).sum() == 3
