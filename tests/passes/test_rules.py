"""Every rule, tested for nothing: it has a picture, fires in a golden case, changes no number and not its own result.

What a rule has to bring is a golden case. `EXACT` rules change no bit, not even of NaNs, infinities and zeros with a
sign; the others are allowed the rounding of the dtype they compute in.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.ir.graphs import evaluate
from tests.passes import golden

from fxonnx import dtypes
from fxonnx.emit.onnx import emit
from fxonnx.emit.weights import inline_model
from fxonnx.errors import InternalError, NoKernel
from fxonnx.ir import dims
from fxonnx.ir.evaluate import CannotEvaluate
from fxonnx.ir.graph import Graph, Value
from fxonnx.ir.verify import verify
from fxonnx.passes import rules
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.passes.optimize import optimizer
from fxonnx.passes.rewriting import rewrite as rewriting
from fxonnx.passes.rewriting.rewrite import rewrite
from fxonnx.passes.rules import (
    activation,
    algebra,
    attention,
    branches,
    cast,
    convolution,
    linear,
    normalization,
    quantized,
    rotary,
    rules_in,
    shape,
)
from fxonnx.target import Target

EXACT = {rule.name for rule in (*rules.ALGEBRA, *rules.SHAPE, *rules.CAST)}
FIRING = [case for case in golden.CASES if case.run in golden.RULES and case.fires]
SIZES = {"n": 3, "b": 2, "s": 5, "t": 7}
ODD = [0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0, 1e-45, -1e-40, 3e38, 0.5]
FLOATS = ["f16", "bf16", "f32", "f64"]
ROUNDINGS = 16  # units in the last place of the largest number that a fused and a written-out form may be apart

# Rules that fire in the models that are quick to capture, and what the others wait for.
CORPUS = {
    "llama_4": {
        "add_zero", "double_unsqueeze", "and_true", "multiply_by_one", "cosine_of_doubled", "sine_of_doubled",
        "rms_norm", "rotary_embedding", "rotary_of_joined_heads", "grouped_heads", "joined_heads",
    },
    "multihead_attention": {
        "view_and_back", "double_transpose", "views_before_linear", "transpose_before_linear",
    },
    "llama_4_decode": {"rotary_embedding_by_table"},
    "unet": {"conv_batch_norm"},
}  # fmt: skip
SLOW = {
    "residual_layer_norm": "bert_base",
    "double_reshape": "gpt2",
    "tanh_gelu": "gpt2",
    "view_of_nothing": "wav2vec2_base",
}
NOT_IN_THE_CORPUS = {
    "identity": "lowerings make none; ONNX function bodies, once inlined, do",
    "subtract_zero": "the counterpart of add_zero",
    "divide_by_one": "the counterpart of multiply_by_one",
    "square": "aten.pow is lowered to a product; ONNX function bodies are not",
    "double_negative": "user code",
    "double_not": "masks that are inverted twice, in transformers before 4.40",
    "or_false": "the counterpart of and_true",
    "known_choice": "masks that come out constant",
    "transpose_of_nothing": "permute with the identity, in user code",
    "expand_of_nothing": "lowerings leave out what they can tell; the rest shows after other rules",
    "slice_of_everything": "as expand_of_nothing",
    "cast_to_itself": "as expand_of_nothing",
    "cast_over_a_wider_dtype": "models in half precision",
    "erf_gelu": "GELU written out, in models from before F.gelu",
    "hard_sigmoid": "MobileNet V3 in the spelling of 2019",
    "hard_swish": "MobileNet V3 in the spelling of 2019",
    "mish": "YOLO v4",
    "rms_norm_in_float32": "Llama in half precision",
    "layer_norm": "Cohere: LayerNorm written out",
    "layer_norm_bias": "LayerNorm written out",
    "layer_norm_of_channels": "LayerNorm2d of ConvNeXt, NAFNet and SAM, written out",
    "batch_norm_of_rows": "LeViT, PointNet: BatchNorm1d of what a linear layer makes",
    "conv_transpose_batch_norm": "GANs, segmentation decoders",
    "gemm_batch_norm": "BatchNorm1d after Linear",
    "conv_bias": "a bias parameter of its own, after the convolution",
    "pad_conv": "ZeroPad2d, in models that came from TensorFlow",
    "cosine_of_repeated": "Cohere: rotary positions in pairs",
    "sine_of_repeated": "as cosine_of_repeated",
    "rotary_embedding_of_halves": "gpt-oss",
    "rotary_embedding_of_pairs": "GPT-J, Cohere, GLM",
    "eager_attention": "attention written out, without a mask",
    "grouped_queries": "decoders with a past of any length: tests/hf",
    "joined_heads_with_past": "as grouped_queries",
    "one_head_for_all": "Falcon",
    "sum_of_branches": "RepVGG and its kind, not yet one convolution",
    "branch_beside_input": "as sum_of_branches",
    "branches_around": "as sum_of_branches",
    "branch_around_input": "as sum_of_branches",
    "scaled_branch": "layer scale behind a convolution",
    "shifted_branch": "a sum that begins with 0",
    "branch_before_conv": "a normalization in front of a convolution",
    "conv_of_conv": "an autoencoder's last layers",
    "scaled_linear": "layer scale",
    "two_biases": "linear layers in a row",
    "batch_norm_gemm": "LeViT's head",
    "linear_of_linear": "linear layers in a row",
    "low_rank_update": "LoRA, not merged",
    "sum_of_linears": "user code",
    "transposed_integers": "quantized models: tests/lowering/aten/nn",
    "linear_of_integers": "as transposed_integers",
    "clipped_integers": "as transposed_integers",
    "scaled_product": "as transposed_integers",
    "blocks_of_integers": "as transposed_integers",
    "rows_of_steps": "as transposed_integers",
    "quantized_again": "as transposed_integers",
    "rows_of_integers": "as transposed_integers",
}

MORE_NODES = {
    "grouped_queries": "keys are read once for a group of heads; what is said of the mask, all layers share",
    "linear_of_integers": "the weight is transposed where it is written, and the runtime fuses the rest",
    "transposed_integers": "constants are transposed where they are written",
    "views_before_linear": "a matrix and a row for Gemm; the views go, once they meet others",
    "rows_of_integers": "only the rows that are read are dequantized",
}


def unknown(value: np.ndarray) -> np.ndarray:
    """An array's bits, all NaNs alike."""
    if value.dtype.kind not in "fV" and not dtypes.dtype(value.dtype).is_float:
        return value
    bits = np.where(np.isnan(value), np.array(np.nan, value.dtype), value).astype(value.dtype)
    return bits.view(f"u{value.dtype.itemsize}")


def inputs(graph: Graph, odd: bool) -> list[np.ndarray]:
    """Random inputs; with odd numbers among them where a rule claims to change no bit."""
    random = np.random.default_rng(7)
    return [one(value, random, odd) for value in graph.inputs]


def one(value: Value, random: np.random.Generator, odd: bool) -> np.ndarray:
    """A random array for an input."""
    size = [dims.evaluate(dim, SIZES) for dim in value.shape]
    match value.dtype.kind:
        case "bool":
            return random.random(size) < 0.7
        case "int":
            return random.integers(-9, 9, size).astype(value.dtype.numpy)
    numbers = random.standard_normal(size)
    if odd:
        numbers = random.choice([*ODD, *numbers.reshape(-1)[:4]], size)
    with np.errstate(over="ignore"):
        return numbers.astype(value.dtype.numpy)


def compute(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """What a graph computes; by ONNX Runtime where the reference does not (a ConvTranspose in groups)."""
    try:
        return evaluate(graph, arrays)
    except CannotEvaluate:
        import onnxruntime

        named = replace(graph, output_names=tuple(f"y{index}" for index in range(len(graph.outputs))))
        try:
            model = inline_model(emit(LEGALIZE(named, Target.onnxruntime()))).SerializeToString()
        except NoKernel as reason:
            pytest.skip(str(reason))
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = [value.name for value in graph.inputs]
        return session.run(None, dict(zip(names, arrays, strict=True)))


def in_dtype(text: str, dtype: str) -> str:
    """A golden case in another floating-point dtype."""
    code = dtypes.dtype(dtype).code
    swapped = text.replace("f32", dtype)
    return swapped.replace("stash_type=1}", f"stash_type={code}}}") if dtype == "f64" else swapped


def check(before: Graph, after: Graph, exact: bool, dtype: dtypes.DType) -> None:
    """Both graphs compute the same."""
    arrays = inputs(before, odd=exact)
    for wanted, found in zip(compute(before, arrays), compute(after, arrays), strict=True):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        if exact:
            np.testing.assert_array_equal(unknown(found), unknown(wanted))
        else:
            scale = max(1.0, float(np.abs(wanted.astype(np.float64)).max(initial=0.0)))
            apart = np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0)
            assert apart <= ROUNDINGS * 2.0 ** -(dtype.digits - 1) * scale


@pytest.mark.parametrize("case", FIRING, ids=str)
def test_before_computes_what_after_computes(case):
    before, after = golden.graph(case.before), golden.result(case)
    halves = any(value.dtype.bits == 16 for value in before.inputs)
    check(before, after, case.run in EXACT, dtypes.FLOAT16 if halves else dtypes.FLOAT32)


@pytest.mark.parametrize("dtype", [each for each in FLOATS if each != "f32"])
@pytest.mark.parametrize("case", [case for case in FIRING if "f32" in case.before], ids=str)
def test_in_every_dtype(case, dtype):
    """A rule need not fire in every dtype, but where it does it keeps the numbers."""
    before = golden.graph(in_dtype(case.before, dtype))
    try:
        verify(before)
    except InternalError:
        pytest.skip("ONNX does not admit it")
    after = case.does(before, golden.TARGET)
    if after is not before:
        check(before, after, case.run in EXACT, dtypes.dtype(dtype))


@pytest.mark.parametrize("case", FIRING, ids=str)
def test_a_rule_does_not_match_its_own_result(case):
    after = golden.result(case)
    assert rewrite(golden.RULES[case.run])(after, golden.TARGET) is after


@pytest.mark.parametrize("case", FIRING, ids=str)
def test_rules_together_come_to_an_end(case):
    """No circle: what all rules make of a result is left alone by all of them."""
    settled = optimizer()(golden.graph(case.before), golden.TARGET)
    assert optimizer()(settled, golden.TARGET) is settled


@pytest.mark.parametrize("case", FIRING, ids=str)
def test_a_rule_makes_no_more_work(case):
    before, after = golden.graph(case.before), golden.result(case)
    assert len(after.nodes) <= len(before.nodes) or case.run in MORE_NODES


@pytest.mark.parametrize("name", golden.RULES)
def test_a_rule_has_a_golden_case_and_a_picture(name):
    assert any(case.run == name for case in FIRING)
    assert "─▶" in golden.RULES[name].picture
    assert "becomes" in golden.RULES[name].picture


def test_every_rule_is_in_one_of_the_lists():
    fused = (activation, normalization, convolution, branches, linear, attention, rotary, quantized)
    files = (algebra, shape, cast, *fused)
    written = [rule.name for file in files for rule in rules_in(file)]
    assert sorted(golden.RULES) == sorted(written)


def test_every_rule_fires_in_the_corpus_or_says_why_not():
    told = [*NOT_IN_THE_CORPUS, *SLOW, *(name for names in CORPUS.values() for name in names)]
    assert sorted(told) == sorted(golden.RULES)


@cache
def fired(model: str) -> frozenset[str]:
    """The rules that fire in a model of the benchmarks."""
    from benchmarks.models import find

    from fxonnx.capture import capture
    from fxonnx.capture.graph.decompose import Decomposer
    from fxonnx.lowering.importer import import_program
    from fxonnx.lowering.registry import standard

    case = find(model)
    module, args, kwargs = case.build()
    options = {"input_names": None, "mode": "eval"}
    program = capture(module, args, kwargs, dynamic_shapes=case.dynamic, **options)
    graph = import_program(program, standard(), Decomposer(program), golden.TARGET.opset)
    names: set[str] = set()
    apply = rewriting.apply_rule
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewriting, "apply_rule", lambda rule, *rest: (names.add(rule.name), apply(rule, *rest))[1])
        optimizer()(graph, Target.onnxruntime())
    return frozenset(names)


@pytest.mark.parametrize("model", CORPUS)
def test_rules_fire_in_the_corpus(model):
    assert fired(model) >= CORPUS[model]
