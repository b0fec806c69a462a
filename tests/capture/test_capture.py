"""What capture accepts, what it hands on, and that it leaves the model as it found it."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.capture.interpret import run, writes
from torch import Tensor, fx, nn
from torch.export import Dim

import fxonnx
from fxonnx import errors
from fxonnx.capture import Program, capture

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A linear layer with a scale that is a Python number and a mask that may be missing."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor, mask: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        y = self.drop(self.fc(x)) * scale
        return y if mask is None else y * mask


@dataclass(frozen=True)
class Pair:
    """An unregistered dataclass."""

    left: Tensor
    right: Tensor
    label: str = "pair"


Point = namedtuple("Point", "x y")


# ── structures ────────────────────────────────────────


def names(program: Program) -> list[str]:
    return [item.name for item in program.inputs]


def test_names_follow_the_structure() -> None:
    def model(x: Tensor, past: list[dict[str, Tensor]], *rest: Tensor, pair: Pair, **more: Tensor) -> Tensor:
        return x + past[0]["key"] + past[1]["key"] + rest[0] + pair.left + pair.right + more["extra"]

    past = [{"key": X}, {"key": X}]
    program = capture(model, (X, past, X), {"pair": Pair(X, X), "extra": X})
    assert names(program) == ["x", "past.0.key", "past.1.key", "rest.0", "pair.left", "pair.right", "extra"]
    torch.testing.assert_close(run(program, (X, past, X), {"pair": Pair(X, X), "extra": X})[0], 7 * X)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: x,
        lambda x: (x, None, 3, "text"),
        lambda x: [x, [x * 2, (x,)]],
        lambda x: {"a": x, "b": {"c": None}},
        lambda x: OrderedDict(a=x),
        lambda x: Point(x, x + 1),
        lambda x: Pair(x, x * 2),
        lambda x: (x.shape[0], x),
        lambda x: (),
        lambda x: (x, x),
    ],
)
def test_results_come_back_as_the_model_returns_them(build: Any) -> None:
    def model(x: Tensor) -> Any:
        return build(x + 1)

    result = run(capture(model, X), (X,))[0]
    expected = model(X)
    assert type(result) is type(expected)
    torch.testing.assert_close(_plain(result), _plain(expected))


def _plain(value: Any) -> Any:
    value = vars(value) if isinstance(value, Pair) else value
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, (Tensor, int))]


def test_output_names() -> None:
    assert capture(lambda x: x + 1, X).signature.output_names() == ("output",)
    assert capture(lambda x: (x + 1, {"y": x}), X).signature.output_names() == ("output_0", "output_1.y")
    program = capture(lambda x: {"x": x + 1, "y": x}, X)
    assert program.signature.output_names() == ("x.out", "y")
    assert program.signature.output_names(["first"]) == ("first", "y")
    with pytest.raises(errors.NameClash):
        program.signature.output_names(["y"])
    with pytest.raises(errors.NameClash):
        program.signature.output_names(["a", "b", "c"])


def test_input_names() -> None:
    assert names(capture(lambda x, y: x + y, (X, X), input_names=["first"])) == ["first", "y"]
    with pytest.raises(errors.NameClash):
        capture(lambda x, y: x + y, (X, X), input_names=["y"])
    with pytest.raises(errors.NameClash):
        capture(lambda x: x, (X,), input_names=["a", "b"])


def test_transformers_outputs_and_caches() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=11)
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        first = model(ids, use_cache=True)
    past = first.past_key_values
    program = capture(
        model,
        (),
        {"input_ids": ids, "past_key_values": past},
        dynamic_shapes={"input_ids": {0: "batch"}, "past_key_values": {0: "batch", 2: "past"}},
    )
    assert names(program)[:3] == ["input_ids", "past_key_values.0.key", "past_key_values.0.value"]
    assert past.get_seq_length() == 3, "the example's cache is not the model's to write into"
    result = run(program, (), {"input_ids": ids, "past_key_values": past})[0]
    with torch.no_grad():
        expected = model(input_ids=ids, past_key_values=past)
    assert type(result) is type(expected)
    torch.testing.assert_close(result.logits, expected.logits)
    torch.testing.assert_close(result.past_key_values.layers[1].keys, expected.past_key_values.layers[1].keys)


# ── calls ────────────────────────────────────────


def test_a_call_may_be_written_differently() -> None:
    program = capture(Net(), (X,), {"scale": 2.0})
    flat = program.signature.flatten
    assert flat((), {"x": X, "scale": 2.0})[0] is X
    assert flat((X, None), {"scale": 2.0})[0] is X


@pytest.mark.parametrize(
    ("args", "kwargs", "word"),
    [
        ((X,), {}, "scale"),
        ((X,), {"scale": 3.0}, "3.0"),
        ((X, X), {"scale": 2.0}, "mask"),
        ((1.0,), {"scale": 2.0}, "x"),
        ((), {"scale": 2.0}, "x"),
        ((X,), {"scale": 2.0, "other": 1}, "other"),
    ],
)
def test_a_call_that_is_built_differently_is_refused(args: tuple[Any, ...], kwargs: dict[str, Any], word: str) -> None:
    program = capture(Net(), (X,), {"scale": 2.0})
    with pytest.raises(errors.CallMismatch, match=word):
        program.signature.flatten(args, kwargs)


# ── models ────────────────────────────────────────


def test_weights_are_the_models_own_tensors() -> None:
    model = Net()
    program = capture(model, X)
    assert {weight.key: id(weight.tensor) for weight in program.weights.values()} == {
        key: id(value) for key, value in model.named_parameters()
    }


def test_tied_weights_are_one() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    program = capture(model, X)
    assert [weight.key for weight in program.weights.values()] == ["0.weight"]
    torch.testing.assert_close(run(program, (X,))[0], model(X))


def test_unused_weights_are_dropped() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    assert {weight.key for weight in capture(Half(), X).weights.values()} == {"used.weight", "used.bias"}


def test_a_method_of_a_module() -> None:
    class Coder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def encode(self, x: Tensor) -> Tensor:
            return self.fc(x)

    model = Coder()
    program = capture(model.encode, X)
    assert [weight.key for weight in program.weights.values()] == ["fc.weight", "fc.bias"]
    torch.testing.assert_close(run(program, (X,))[0], model.encode(X))


def test_a_graph_module_and_a_builtin() -> None:
    traced = fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    torch.testing.assert_close(run(capture(traced, X), (X,))[0], traced(X))
    torch.testing.assert_close(run(capture(torch.relu, X), (X,))[0], X.relu())


@pytest.mark.parametrize("decomposed", [False, True])
def test_an_exported_program_is_taken_as_it_is(decomposed: bool) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x: Tensor, scale: float, *, pair: dict[str, Tensor]) -> dict[str, Any]:
            self.count.add_(1)
            pair["b"].mul_(2)
            return {"y": self.fc(x).relu_() * scale + self.count, "none": None, "b": pair["b"]}

    model = Model()
    kwargs = {"pair": {"b": X.clone()}}
    exported = torch.export.export(
        model, (X, 2.0), kwargs, dynamic_shapes={"x": {0: Dim("n")}, "scale": None, "pair": {"b": None}}
    )
    before = str(exported.graph)
    program = capture(exported.run_decompositions() if decomposed else exported, dynamic_shapes={"x": {0: "batch"}})
    assert str(exported.graph) == before
    assert not writes(program.graph)
    assert names(program) == ["x", "pair.b"]
    assert [state.key for state in program.states] == ["count"]
    assert [each.input for each in program.writebacks] == [1]
    assert [str(program.dim(size)) for size in program.inputs[0].node.meta["val"].shape] == ["batch", "3"]
    assert {weight.key for weight in program.weights.values()} == {"fc.weight", "fc.bias"}
    result, written, states = run(program, (X, 2.0), {"pair": {"b": X.clone()}})
    expected = model(X, 2.0, pair={"b": X.clone()})
    torch.testing.assert_close(result["y"], expected["y"])
    torch.testing.assert_close(result["b"], expected["b"])
    assert result.keys() == expected.keys()
    torch.testing.assert_close(written[0], X * 2)
    assert states[0] == 1


def test_an_exported_program_cannot_be_made_dynamic() -> None:
    exported = torch.export.export(Net(), (X,))
    with pytest.raises(errors.FrozenDimension, match="axis 0 of x is 2"):
        capture(exported, dynamic_shapes={"x": {0: "n"}})


# ── modes ────────────────────────────────────────


@pytest.mark.parametrize(("mode", "expected"), [("eval", False), ("train", True), ("keep", True)])
def test_mode(mode: str, expected: bool) -> None:
    model = Net()
    model.drop.train()
    (call,) = (node for node in capture(model, X, mode=mode).graph.nodes if "dropout" in str(node.target))
    assert call.args[2] is expected


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_restored(fails: bool) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Dropout(), nn.Dropout().eval()

        def forward(self, x: Tensor) -> Tensor:
            if fails:
                raise KeyError("no")
            return self.b(self.a(x))

    model = Model().train()
    model.b.eval()
    before = {name: module.training for name, module in model.named_modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        capture(model, X)
    except errors.ModelRaised:
        assert fails
    assert {name: module.training for name, module in model.named_modules()} == before
    assert torch.backends.mha.get_fastpath_enabled() is fast
    assert torch.is_grad_enabled()


def test_fast_path_is_off_while_capturing() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    targets = {str(node.target) for node in capture(layer, torch.randn(1, 4, 8)).graph.nodes}
    assert "aten._transformer_encoder_layer_fwd.default" not in targets
    assert "aten.linear.default" in targets


# ── the graph ────────────────────────────────────────


def test_ranges_and_aliases_are_gone() -> None:
    def model(x: Tensor) -> Tensor:
        kept = x[x > 0].detach()
        torch._check(kept.shape[0] > -1)
        torch._check(kept.shape[0] < 1000)
        torch._check(kept.shape[0] > 0)
        return kept + torch.tensor(1.0)

    program = capture(model, X)
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert not any(word in target for target in targets for word in ("constrain", "metadata", "detach", "lift"))
    assert [(check.text, check.location.function) for check in program.checks] == [("kept.shape[0] > 0", "model")]
    torch.testing.assert_close(run(program, (X,))[0], model(X))


def test_grad_regions_are_inlined() -> None:
    def model(x: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x * 2
            with torch.no_grad():
                y = y + torch.cond(x.sum() > 0, lambda t: t + 1, lambda t: t - 1, (y,))
        return y

    program = capture(model, X)
    assert not any("wrap" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(run(program, (X,))[0], model(X))


def test_autocast_becomes_casts() -> None:
    linear, norm = nn.Linear(3, 3), nn.LayerNorm(3)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = linear, norm

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                y = self.linear(x) @ x.T
                y = y + y.float().softmax(-1)
                return torch.cat([y, self.linear(x).float() @ x.T])

    model = Model()
    with torch.no_grad():
        expected = model(X)
    program = capture(model, X)
    result = run(program, (X,))[0]
    assert result.dtype is expected.dtype
    torch.testing.assert_close(result, expected)


def test_capturing_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        model = nn.Linear(3, 3)
        program = capture(model, X)
        expected = model(X)
    result = run(program, (X,))[0]
    assert result.dtype is expected.dtype is torch.bfloat16
    torch.testing.assert_close(result, expected)


def test_locations() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x).relu()

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Inner(), Inner()])

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = block(x)
            return x + 1

    program = capture(Outer(), X)
    by_op = {str(node.target): program.location(node) for node in program.graph.nodes}
    linear = by_op["aten.linear.default"]
    assert (linear.module, linear.kind, linear.function, linear.code) == (
        "blocks.1.fc",
        "Linear",
        "forward",
        "return self.fc(x).relu()",
    )
    assert linear.file == __file__
    assert linear.op == "aten.linear.default"
    added = by_op["aten.add.Tensor"]
    assert (added.module, added.kind, added.code) == ("", "Outer", "return x + 1")


def test_a_model_of_torchs_modules_only_shows_their_lines() -> None:
    program = capture(nn.Sequential(nn.Linear(3, 3)), X)
    (node,) = (node for node in program.graph.nodes if node.op == "call_function")
    assert program.location(node).module == "0"
    assert program.location(node).source.startswith("linear.py:")


# ── models without tensors ────────────────────────────────────────


class Constant(nn.Module):
    """A model whose forward takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self) -> Tensor:
        return self.weight * 2


@pytest.mark.parametrize(
    ("model", "args"),
    [
        (lambda: torch.arange(5), ()),
        (Constant(), ()),
        (lambda n, scale, missing=None: torch.arange(n) * scale, (5, 2.0)),
        (lambda n, missing: torch.arange(n), (5, None)),
    ],
)
def test_models_without_tensor_inputs(model: Any, args: tuple[Any, ...]) -> None:
    program = capture(model, args)
    assert program.inputs == ()
    torch.testing.assert_close(run(program, args)[0], model(*args))


# ── lines of helpers ────────────────────────────────────────


def doubled(x: Tensor) -> Tensor:
    return x.sigmoid() * 2


class Helped(nn.Module):
    """A forward that leaves its work to a method, a property and a function."""

    def squared(self, x: Tensor) -> Tensor:
        return x.square()

    @property
    def shift(self) -> Tensor:
        return torch.ones(3).cos()

    def forward(self, x: Tensor) -> Tensor:
        return doubled(self.squared(x)) + self.shift + x.shape[0]


def test_lines_of_helpers() -> None:
    program = capture(Helped(), X, dynamic_shapes={"x": {0: "n"}})
    places = {str(node.target): program.location(node) for node in program.graph.nodes}
    assert places["aten.square.default"].code == "return x.square()"
    assert places["aten.sigmoid.default"].code == "return x.sigmoid() * 2"
    assert places["aten.cos.default"].code == "return torch.ones(3).cos()"
    assert places["aten.add.Tensor"].function == "forward"
    assert places["aten.sym_size.int"].file == "", "torch adds it, at no line of the model"


# ── what torch's fake kernels refuse ────────────────────────────────────────


@pytest.mark.filterwarnings("ignore:where received a uint8 condition")
def test_conditions_and_classes_of_uint8() -> None:
    rows, bytes_ = torch.randn(3, 3), torch.tensor([0, 2, 1], dtype=torch.uint8)
    for function in (
        lambda x, y: torch.where(y, x, 0.0),
        lambda x, y: x.where(y, torch.zeros(3)),
        lambda x, y: nn.functional.nll_loss(x, y),
        lambda x, y: nn.functional.cross_entropy(x, y),
    ):
        torch.testing.assert_close(fxonnx.compile(function, (rows, bytes_))(rows, bytes_), function(rows, bytes_))


@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")
def test_an_index_of_uint8_is_a_mask() -> None:
    def model(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, mask], x.index_put((mask[:2],), torch.ones(3))

    mask = torch.tensor([1, 0, 1], dtype=torch.uint8)
    for got, wanted in zip(fxonnx.compile(model, (X, mask))(X, mask), model(X, mask), strict=True):
        torch.testing.assert_close(got, wanted)
