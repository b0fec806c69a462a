"""Layers and whole models: the same IR as of torch.export's program, the same numbers as eager, and what torch.export
refuses."""

from __future__ import annotations

import pytest
import torch
from benchmarks.models import MODELS
from tests.capture.interpret import run
from tests.capture.tracer.compare import difference
from torch import Tensor, nn

import fxonnx
from fxonnx.capture import capture

REFUSED_BY_EXPORT = {
    "transformer_unhinted": "torch.export lets nn.Transformer look into a mask's values for whether it is causal",
}
# Others of the same kind at another depth or size: `python -m tests.capture.tracer.compare parity` compares these too.
ALIKE = {
    "densenet121": "resnet50", "efficientnet_b0": "mobilenet_v3_large", "mobileone_s0": "repvgg_a0", "gru": "lstm",
    "encoder_12": "transformer_masks", "bert_base": "distilbert", "llama_16": "llama_4", "qwen2_4": "llama_4",
    "gpt2": "gpt2_past", "t5_small_encoder": "t5_small_decoder", "clip": "vit_b_16", "segformer_b0": "swin_t",
}  # fmt: skip
KINDS = [(name, "dynamic" if case.dynamic else "static") for name, case in MODELS.items()]
COMPARED = [each for each in KINDS if each[0] not in REFUSED_BY_EXPORT.keys() | ALIKE.keys()]


@pytest.mark.parametrize(("name", "kind"), COMPARED, ids=map("-".join, COMPARED))
def test_both_captures_lead_to_the_same_graph(name: str, kind: str) -> None:
    lines = difference(MODELS[name], dynamic=kind == "dynamic")
    assert not lines, "\n".join(lines[:20])


@pytest.mark.parametrize("name", REFUSED_BY_EXPORT)
def test_what_torch_export_refuses_is_captured(name: str) -> None:
    module, args, kwargs = MODELS[name].build()
    with pytest.raises(Exception, match="data-dependent"):
        torch.export.export(module, args, kwargs, strict=False)
    capture(module, args, kwargs)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_with_any_sequence(kind: type[nn.Module]) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = kind(4, 5, num_layers=2, bidirectional=True, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x)[0]

    model = Model().eval()
    compiled = fxonnx.compile(
        model, torch.randn(2, 7, 4), dynamic_shapes={"x": {0: "batch", 1: "time"}}
    )
    assert [str(dim) for dim in compiled.graph.inputs[0].shape] == ["batch", "time", "4"]
    compiled.verify(torch.randn(3, 11, 4)).check()


def test_a_transformer_with_masks() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = nn.Transformer(
                16, 2, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=32, batch_first=True
            )

        def forward(self, source: Tensor, target: Tensor, padding: Tensor) -> Tensor:
            causal = nn.Transformer.generate_square_subsequent_mask(target.size(1))
            return self.transformer(
                source, target, tgt_mask=causal, src_key_padding_mask=padding, memory_key_padding_mask=padding
            )

    def inputs(batch: int, source: int, target: int) -> tuple[Tensor, ...]:
        padding = torch.zeros(batch, source, dtype=torch.bool)
        padding[:, -1] = True
        return torch.randn(batch, source, 16), torch.randn(batch, target, 16), padding

    dims = {"source": {0: "b", 1: "s"}, "target": {0: "b", 1: "t"}, "padding": {0: "b", 1: "s"}}
    compiled = fxonnx.compile(Model().eval(), inputs(2, 5, 4), dynamic_shapes=dims)
    compiled.verify(*inputs(3, 7, 6)).check()


def test_weights_on_no_device() -> None:
    """A model too large for memory is captured from its shapes."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(100_000, 100_000), nn.ReLU(), nn.Linear(100_000, 10))
    program = capture(model, (torch.empty(2, 100_000),))
    assert [str(node.target) for node in program.graph.nodes if node.op == "call_function"] == [
        "aten.linear.default", "aten.relu.default", "aten.linear.default",
    ]  # fmt: skip
    assert all(weight.tensor.is_meta for weight in program.weights.values())


def test_fake_weights() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        model = nn.Linear(4, 5)
    program = capture(model, (torch.empty(2, 4),))
    assert [weight.key for weight in program.weights.values()] == ["weight", "bias"]


def test_tied_weights_are_one() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    program = capture(model, (torch.randn(2, 4),))
    assert [weight.key for weight in program.weights.values()] == ["0.weight", "0.bias", "1.bias"]
    assert next(iter(program.weights.values())).tensor is model[0].weight


def test_a_module_called_twice() -> None:
    layer = nn.Linear(4, 4)
    program = capture(nn.Sequential(layer, nn.ReLU(), layer), (torch.randn(2, 4),))
    linears = [node for node in program.graph.nodes if "linear" in str(node.target)]
    assert [program.location(node).module for node in linears] == ["0", "0"]


def test_parametrizations() -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))
    program = capture(model, (torch.randn(2, 4),))
    x = torch.randn(2, 4)
    torch.testing.assert_close(run(program, (x,))[0], model(x))
    assert "parametrizations.weight.original1" in {weight.key for weight in program.weights.values()}


def test_constants_of_the_code_are_weights() -> None:
    table = torch.randn(4)
    program = capture(lambda x: x * table + torch.tensor([1.0, 2, 3, 4]), (torch.randn(2, 4),))
    assert [weight.key for weight in program.weights.values()] == ["lifted_tensor_0", "lifted_tensor_1"]
    assert next(iter(program.weights.values())).tensor is table


def test_autocast_is_casts() -> None:
    def model(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = x @ x
        return y.float() + 1

    x = torch.randn(4, 4)
    program = capture(model, (x,))
    assert "aten.to.dtype" in [str(node.target) for node in program.graph.nodes]
    torch.testing.assert_close(run(program, (x,))[0], model(x))


@pytest.mark.parametrize("region", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_regions_of_gradients(region: type) -> None:
    def model(x: Tensor) -> Tensor:
        with region():
            y = x * 2
        return y.detach() + 1

    x = torch.randn(4)
    torch.testing.assert_close(run(capture(model, (x,)), (x,))[0], x * 2 + 1)


def test_a_buffer_that_forward_replaces_is_a_state() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(4))

        def forward(self, x: Tensor) -> Tensor:
            self.total = self.total + x
            return self.total * 2

    model, x = Model(), torch.randn(4)
    program = capture(model, (x,))
    (state,) = program.states
    assert state.key == "total"
    result, _, (after,) = run(program, (x,))
    torch.testing.assert_close((result, after), (2 * x, x))


def test_places() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.fc(x))

    program = capture(nn.Sequential(Block(), Block()), (torch.randn(2, 4),))
    places = [program.location(node) for node in program.graph.nodes if node.op == "call_function"]
    assert [(place.module, place.kind) for place in places] == [
        ("0.fc", "Linear"), ("0", "Block"), ("1.fc", "Linear"), ("1", "Block"),
    ]  # fmt: skip
    assert all(place.file == __file__ and "self.fc(x)" in place.code for place in places)
