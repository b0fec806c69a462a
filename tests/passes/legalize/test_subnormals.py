"""What a finite mask leaves of a score does not come into a product (no_subnormal_products)."""

import onnxruntime
import pytest
import torch
from torch import nn

import fxonnx

X = torch.randn(2, 4, 5)
MASK = torch.zeros(4, 4).masked_fill(torch.eye(4) > 0, -100.0)


class Masked(nn.Module):
    """Attention written out, whose mask is made in one way or another."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores
        self.register_buffer("mask", MASK)

    def forward(self, x):
        weights = self.scores(x @ x.mT, self.mask).softmax(-1)
        return weights @ x, weights


MASKED = {
    "added": lambda s, mask: s + mask,
    "of windows": lambda s, mask: (s.view(1, 2, 4, 4) + mask[None, None]).view(2, 4, 4),
    "chosen": lambda s, mask: s + torch.where(mask == 0, 0.0, -90.0),
    "filled": lambda s, mask: s.masked_fill(mask != 0, -100.0),
}
NOT = {
    "none": lambda s, mask: s,
    "lowest": lambda s, mask: s.masked_fill(mask != 0, torch.finfo(s.dtype).min),
    "infinite": lambda s, mask: s.masked_fill(mask != 0, -torch.inf),
    "small": lambda s, mask: s + mask / 10,
    "ten thousand": lambda s, mask: s + torch.where(mask == 0, 0.0, -1e4),
}


def thresholds(compiled) -> int:
    return sum(node.op_type == "ThresholdedRelu" for node in compiled.emitted.proto.graph.node)


@pytest.mark.parametrize("name", MASKED)
def test_a_mask_whose_exp_is_subnormal_is_known_however_it_is_made(name, tmp_path):
    model = Masked(MASKED[name])
    compiled = fxonnx.compile(model, (X,), dynamic_shapes=({0: "b"},) if name != "of windows" else None)
    assert thresholds(compiled) == 1
    torch.testing.assert_close(compiled(X), model(X))
    compiled.save(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    result, weights = session.run(None, {"x": X.numpy()})
    torch.testing.assert_close(torch.from_numpy(result), model(X)[0])
    assert (weights > 0).all() == (model(X)[1] > 0).all().item()  # what the caller sees is eager's


@pytest.mark.parametrize("name", NOT)
def test_others_cost_nothing(name):
    model = Masked(NOT[name])
    compiled = fxonnx.compile(model, (X,))
    assert thresholds(compiled) == 0
    torch.testing.assert_close(compiled(X), model(X))


def test_other_dtypes_have_other_smallest_numbers():
    model = Masked(MASKED["added"]).double()
    compiled = fxonnx.compile(model, (X.double(),))
    assert thresholds(compiled) == 0
    torch.testing.assert_close(compiled(X.double()), model(X.double()))


def test_standard_files_are_left_alone():
    assert thresholds(fxonnx.compile(Masked(MASKED["added"]), (X,), target=fxonnx.Target.onnx())) == 0
