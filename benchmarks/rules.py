"""What each rule that fuses is worth: what its picture shows, at sizes of real models, before and after it.

Both are whole models in ONNX Runtime, with all of its own optimizers on: a gain is what a rule brings on top of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from benchmarks.latency import take_turns
from benchmarks.results import Environment
from fxonnx.emit.onnx import emit
from fxonnx.emit.weights import inline_model
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph
from fxonnx.ir.types import parse_type
from fxonnx.passes.dce import dce
from fxonnx.passes.fold import fold
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.passes.rewriting.rewrite import Rule, rewrite
from fxonnx.passes.rules import FUSION
from fxonnx.target import Target

Body = Callable[..., Any]
RANDOM = np.random.default_rng(0)


class Picture(Builder):
    """Records what the `before` of a rule draws: of a choice the first, of any call what the scene says."""

    def __init__(self, calls: Mapping[str, Body]) -> None:
        super().__init__()
        self.calls = calls

    def any_of(self, *alternatives: Tensor) -> Tensor:
        """The first spelling."""
        return alternatives[0]

    def call(self, name: str, *ops: Any, **rest: Any) -> Any:
        """The call that the scene has by this name; else one of Builder's own."""
        if name in self.calls:
            return self.calls[name](self)
        return super().call(name, *ops, **rest)

    def keep(self, *values: Any) -> Any:
        """The value itself; or the node, which is what a Builder keeps."""
        return values[0] if isinstance(values[0], Tensor) else super().keep(*values)

    def bind(self, name: str, value: Tensor) -> Tensor:
        """The value itself."""
        return value

    def one_use(self, value: Tensor) -> Tensor:
        """The value itself."""
        return value


@dataclass(frozen=True, slots=True)
class Scene:
    """A rule at a size: its inputs by type, its constants by shape, what else its picture asks for."""

    rule: str
    label: str
    inputs: Mapping[str, str]
    weights: Mapping[str, tuple[int, ...]]
    given: Mapping[str, Any]
    calls: Mapping[str, Body]
    drawing: Body | None = None  # instead of the rule's own, where not all of its spellings fit the sizes


@dataclass(frozen=True, slots=True)
class Worth:
    """Milliseconds of a scene before and after its rule, the quickest of all rounds; None for `after` where it does not
    fire."""

    rule: str
    label: str
    before: float
    after: float | None

    @property
    def ratio(self) -> float | None:
        """After over before."""
        return None if self.after is None else self.after / self.before


def scene(
    rule: str, label: str, *, inputs: Mapping[str, str], calls: Mapping[str, Body] | None = None, **given: Any
) -> Scene:
    """A scene whose tuples are constants of that shape; lists are attributes."""
    weights = {name: shape for name, shape in given.items() if isinstance(shape, tuple)}
    others = {name: item for name, item in given.items() if name not in weights}
    rest = {name: tuple(item) if isinstance(item, list) else item for name, item in others.items()}
    return Scene(rule, label, inputs, weights, rest, calls or {})


def graph_of(of: Scene, rule: Rule) -> Graph:
    """What the rule's picture shows."""
    op = Picture({})
    values: dict[str, Any] = {name: op.input(parse_type(type), name) for name, type in of.inputs.items()}
    values |= {name: constant(op, name, shape) for name, shape in of.weights.items()}
    op.calls = {name: partial(body, x=values.get("x")) for name, body in of.calls.items()}
    if of.drawing is not None:
        result = of.drawing(op, **values)
    else:
        wanted, known = signature(rule.before).parameters, {**values, **of.given}
        result = rule.before(op, **{name: known[name] for name in wanted if name in known})
    graph = op.finish((result,), ("result",))
    return dce(fold(graph, TARGET), TARGET)


def constant(op: Builder, name: str, shape: tuple[int, ...]) -> Tensor:
    """Random numbers, positive ones for a variance."""
    numbers = RANDOM.standard_normal(shape).astype(np.float32) * 0.1
    return op.constant(np.abs(numbers) + 1 if name == "variance" else numbers, name=name)


TARGET = Target.onnxruntime()


def measure(rounds: int, threads: int, only: list[str]) -> Iterator[Worth]:
    """Time each scene of the rules (all where none are named) before and after."""
    rules = {rule.name: rule for rule in FUSION}
    for each in SCENES:
        if only and each.rule not in only:
            continue
        before = graph_of(each, rules[each.rule])
        after = rewrite(rules[each.rule])(before, TARGET)
        graphs = {"before": before} if after is before else {"before": before, "after": after}
        seconds = take_turns({name: call_of(graph, threads) for name, graph in graphs.items()}, rounds)
        quickest = {name: 1e3 * min(numbers) for name, numbers in seconds.items()}
        yield Worth(each.rule, each.label, quickest["before"], quickest.get("after"))


def call_of(graph: Graph, threads: int) -> Callable[[], Any]:
    """A call of a graph in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = inline_model(emit(LEGALIZE(graph, TARGET))).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    shapes = {value.name: value.shape for value in graph.inputs}
    feed = {each.name: RANDOM.standard_normal(shapes[each.name]).astype(np.float32) for each in session.get_inputs()}
    return lambda: session.run(None, feed)


def table(worths: list[Worth], environment: Environment) -> str:
    """The results as a page of Markdown."""
    runtime, count = environment.versions["onnxruntime"], environment.threads
    lines = [
        "# What the rules are worth", "",
        "`python -m benchmarks rules --table docs/rules.md` times what the picture of each rule shows, at sizes",
        "of real models, before and after it: whole models in ONNX Runtime with all of its own optimizers on, in",
        "turns, the quickest of all rounds. A gain is what a rule brings on top of them.",
        f"Measured with onnxruntime {runtime} on {environment.machine}, {count} thread{'s' * (count > 1)}.", "",
    ]  # fmt: skip
    lines += ["| rule | at | before, ms | after, ms | ratio |", "|---|---|---|---|---|"]
    for each in worths:
        told = "–" if each.after is None else f"{each.after:.3g}"
        ratio = "does not fire" if each.ratio is None else f"{each.ratio:.2f}"
        lines.append(f"| `{each.rule}` | {each.label} | {each.before:.3g} | {told} | {ratio} |")
    return "\n".join([*lines, ""])


# ── scenes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def conv(outputs: int, channels: int, size: int, **attributes: Any) -> Body:
    """A convolution of x that keeps sizes, as a call."""
    group, pads = attributes.get("group", 1), [(size - 1) // 2] * 4

    def body(op: Builder, x: Tensor) -> Any:
        weight = constant(op, f"w{size}", (outputs, channels // group, size, size))
        return op.Conv(x, weight, constant(op, f"b{size}", (outputs,)), pads=pads, **attributes)

    return body


def norm(channels: int) -> Body:
    """A normalization of x, as a call."""

    def body(op: Builder, x: Tensor) -> Any:
        statistics = (constant(op, name, (channels,)) for name in ("scale", "shift", "mean", "variance"))
        return op.BatchNormalization(x, *statistics)

    return body


def beside_input(op: Builder, x: Tensor) -> Any:
    """A depthwise convolution, and its input."""
    return conv(384, 384, 3, group=384)(op, x) + x


def adapted(op: Builder, x: Tensor) -> Any:
    """A linear layer beside one of rank 8."""
    base = op.Gemm(x, constant(op, "weight", (768, 768)), constant(op, "bias", (768,)), transB=1)
    low = op.Gemm(x, constant(op, "down", (8, 768)), transB=1)
    return base + op.Gemm(low, constant(op, "up", (768, 8)), transB=1) * 0.5


def statistics(channels: int) -> dict[str, tuple[int, ...]]:
    """Those of a normalization, as constants."""
    return dict.fromkeys(("scale", "shift", "mean", "variance"), (channels,))


IMAGE, DEEP = "f32[1,64,56,56]", "f32[1,384,14,14]"
TEXT, SHORT = "f32[1,128,768]", "f32[1,16,768]"
HEADS = "f32[1,12,128,64]"

SCENES = (
    *(scene(rule, label, inputs={"x": type}) for rule in ("erf_gelu", "tanh_gelu", "hard_sigmoid", "hard_swish", "mish")
      for label, type in (("128 x 3072", "f32[128,3072]"), ("64 x 56 x 56", IMAGE))),
    *(scene("rms_norm", label, inputs={"x": type}, weight=(768,), axes=[-1], epsilon=1e-6)
      for label, type in (("128 x 768", TEXT), ("16 x 768", SHORT))),
    *(scene("layer_norm", label, inputs={"x": type}, weight=(768,), bias=(768,), axes=[-1], epsilon=1e-6)
      for label, type in (("128 x 768", TEXT), ("16 x 768", SHORT))),
    *(scene("residual_layer_norm", label, inputs={"x": type, "y": type}, weight=(768,), bias=(768,))
      for label, type in (("128 x 768", TEXT), ("16 x 768", SHORT))),
    *(scene("layer_norm_of_channels", label, inputs={"x": type}, weight=shape, bias=shape, axes=[1], epsilon=1e-6)
      for label, type, shape in (("64 x 56 x 56", IMAGE, (64, 1, 1)), ("384 x 14 x 14", DEEP, (384, 1, 1)))),
    *(scene("batch_norm_of_rows", label, inputs={"x": type}, there=[0, 2, 1], back=[0, 2, 1], epsilon=1e-5,
            **statistics(768)) for label, type in (("128 x 768", TEXT), ("16 x 768", SHORT))),
    scene("conv_batch_norm", "64 x 56 x 56, 3 x 3", inputs={"x": IMAGE}, weight=(64, 64, 3, 3), epsilon=1e-5,
          **statistics(64)),
    scene("gemm_batch_norm", "128 x 768", inputs={"x": "f32[128,768]"}, weight=(768, 768), epsilon=1e-5, transB=1,
          **statistics(768)),
    *(scene("sum_of_branches", label, inputs={"x": type}, calls={"one": conv(c, c, 3, group=g), "plus": other,
                                                                 "less": other})
      for label, type, c, g, other in (
          ("64 x 56 x 56, 3 x 3 and 1 x 1", IMAGE, 64, 1, conv(64, 64, 1)),
          ("384 x 14 x 14, 3 x 3 and 1 x 1, depthwise", DEEP, 384, 384, conv(384, 384, 1, group=384)),
          ("64 x 56 x 56, 3 x 3 and a normalization", IMAGE, 64, 1, norm(64)),
          ("384 x 14 x 14, depthwise and a normalization", DEEP, 384, 384, norm(384)))),
    Scene("branch_beside_input", "384 x 14 x 14, depthwise", {"x": DEEP}, {}, {}, {}, beside_input),
    scene("scaled_branch", "64 x 56 x 56, 3 x 3", inputs={"x": IMAGE}, factor=(64, 1, 1), divisor=(64, 1, 1),
          calls={"one": conv(64, 64, 3)}),
    scene("shifted_branch", "64 x 56 x 56, 3 x 3", inputs={"x": IMAGE}, plus=(64, 1, 1), less=(64, 1, 1),
          whole=(64, 1, 1), calls={"one": conv(64, 64, 3)}),
    scene("branch_before_conv", "64 x 56 x 56, 1 x 1", inputs={"x": IMAGE}, weight=(64, 64, 1, 1),
          calls={"one": norm(64)}),
    scene("conv_of_conv", "64 x 56 x 56, 3 x 3 then 1 x 1", inputs={"x": IMAGE}, weight=(64, 64, 1, 1), strides=[1, 1],
          pads=[0, 0, 0, 0], dilations=[1, 1], calls={"one": conv(64, 64, 3)}),
    *(scene("scaled_linear", label, inputs={"x": type}, weight=(768, 768), bias=(768,), factor=(768,), transB=1)
      for label, type in (("128 x 768", "f32[128,768]"), ("16 x 768", "f32[16,768]"))),
    *(Scene("low_rank_update", label, {"x": type}, {}, {}, {}, adapted)
      for label, type in (("128 x 768", "f32[128,768]"), ("16 x 768", "f32[16,768]"))),
    scene("linear_of_linear", "128 x 768 x 768", inputs={"x": "f32[128,768]"}, first=(768, 768), between=(768,),
          second=(768, 768), bias=(768,), transA=1, transB=1),
    scene("sum_of_linears", "128 x 768 x 768", inputs={"x": "f32[128,768]"}, weight=(768, 768), bias=(768,),
          other=(768, 768), shift=(768,), transB=1),
    scene("batch_norm_gemm", "128 x 768 x 768", inputs={"x": "f32[128,768]"}, weight=(768, 768), transB=1,
          calls={"one": norm(768)}),
    scene("eager_attention", "12 heads, 128 x 64", inputs={**dict.fromkeys("qkv", HEADS), "seen": "bool[1,1,128,128]"},
          mask=(1, 1, 128, 128), shown=(1,), hidden=(1,), perm=[0, 1, 3, 2], scale=0.125, divisor=8.0, outer=8.0,
          rank=-1, cap=30.0),
)  # fmt: skip
