"""A step of a language model with a long past: eager transformers, fxonnx, its file and the peer's, one call of each
in turn.

Small configs with random weights: what is measured is how a step is written, its cache above all.
"""

import inspect
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.latency import TOLERANCE, Call, largest_difference, take_turns, tensors
from benchmarks.results import Failure, LatencyFailure, LatencySample, attempt

SIZES = {
    "vocab_size": 8000, "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8,
    "intermediate_size": 1376, "max_position_embeddings": 8192,
}  # fmt: skip
GROUPED = {**SIZES, "num_key_value_heads": 2, "head_dim": 64}
WIDE = {**SIZES, "hidden_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 16, "intermediate_size": 2816}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", GROUPED),
    "gpt2": ("GPT2LMHeadModel", {"vocab_size": 8000, "n_embd": 512, "n_layer": 4, "n_head": 8, "n_positions": 8192}),
    "qwen3": ("Qwen3ForCausalLM", GROUPED),
    "gemma3": ("Gemma3ForCausalLM", {**GROUPED, "sliding_window": 512}),
    "mistral": ("MistralForCausalLM", {**GROUPED, "sliding_window": 4096}),
    "llama-wide": ("LlamaForCausalLM", {**WIDE, "num_key_value_heads": 4}),
    "qwen3-wide": ("Qwen3ForCausalLM", {**WIDE, "num_key_value_heads": 8, "head_dim": 64}),
    "gpt2-wide": (
        "GPT2LMHeadModel", {"vocab_size": 8000, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 8192},
    ),
}
STEP = ("input_ids", "attention_mask", "position_ids")


@dataclass(frozen=True, slots=True)
class Step:
    """A model, the arguments of one step for one row by name, and the keys and values of its cache, a pair a layer."""

    model: Any
    arguments: dict[str, Tensor]
    cache: list[Tensor]
    threads: int


def measure(
    name: str, past: int, arms: list[str], *, rounds: int, threads: int
) -> Iterator[LatencySample | LatencyFailure]:
    """Prepare all arms of a model, then time a step of each in turns; what answers otherwise is not timed."""
    torch.set_num_threads(threads)
    step, label = built(name, past, threads), f"{name} {past}"
    expected = tensors(eager(step)())
    calls = {arm: attempt(partial(PREPARE[arm], step)) for arm in arms}
    apart = {arm: call if isinstance(call, Failure) else difference(call, expected) for arm, call in calls.items()}
    ready = {arm: calls[arm] for arm in arms if not isinstance(apart[arm], Failure)}
    seconds = take_turns(ready, rounds)
    for arm, found in apart.items():
        if isinstance(found, Failure):
            yield LatencyFailure(label, arm, found.error, threads)
        else:
            yield LatencySample(label, arm, seconds[arm], found, threads)


def difference(call: Call, expected: list[Tensor]) -> float | Failure:
    """How far an answer is from eager's."""
    answer = attempt(call)
    if isinstance(answer, Failure):
        return answer
    apart = largest_difference(expected, tensors(answer))
    far = apart is None or not apart <= TOLERANCE * max(float(each.abs().max()) for each in expected)
    return Failure(f"another answer: {apart} from eager's") if apart is None or far else apart


def built(name: str, past: int, threads: int) -> Step:
    """The model, and a step after so many tokens."""
    import transformers

    kind, config = MODELS[name]
    torch.manual_seed(0)
    model_class = getattr(transformers, kind)
    model = model_class(model_class.config_class(**config)).eval()
    arguments = step_arguments(model, 1, past, 1)
    return Step(model, arguments, states(model.config, 1, past), threads)


def step_arguments(model: Any, rows: int, past: int, tokens: int) -> dict[str, Tensor]:
    """What a step takes besides its cache."""
    known = {
        "input_ids": torch.ones(rows, tokens, dtype=torch.long),
        "attention_mask": torch.ones(rows, past + tokens, dtype=torch.long),
        "position_ids": torch.arange(past, past + tokens).expand(rows, -1).contiguous(),
    }
    taken = inspect.signature(model.forward).parameters
    return {name: known[name] for name in STEP if name in taken}


def states(config: Any, rows: int, past: int) -> list[Tensor]:
    """Random keys and values."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return [torch.randn(rows, heads, past, width) for _ in range(2 * config.num_hidden_layers)]


def cache_of(states: list[Tensor]) -> Any:
    """A cache of transformers with these keys and values."""
    from fxonnx.hf.caches import filled

    return filled(states)


def eager(step: Step) -> Call:
    """The model itself, without gradients."""

    def call() -> Any:
        with torch.inference_mode():
            return step.model(**step.arguments, past_key_values=cache_of(step.cache), use_cache=True).logits

    return call


def compiled(step: Step) -> Call:
    """A compiled decoder's step."""
    from fxonnx.hf import compile_causal_lm

    program = compile_causal_lm(step.model).compiled.configure(threads=step.threads)
    return lambda: program(**step.arguments, past_key_values=cache_of(step.cache), use_cache=True).logits


def shared(step: Step) -> Call:
    """A step of a compiled decoder whose cache grows where it lies; the new token is taken out again."""
    from fxonnx.hf import compile_causal_lm

    decoder = compile_causal_lm(step.model, cache="shared")
    decoder.compiled.configure(threads=step.threads)
    cache = cache_of(step.cache)

    def call() -> Any:
        logits = decoder(**step.arguments, past_key_values=cache).logits
        cache.crop(-1)
        return logits

    return call


class Flat(nn.Module):
    """The model with its cache as a list of tensors, which torch.onnx takes."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, arguments: dict[str, Tensor], past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the cache grown."""
        result = self.model(**arguments, past_key_values=cache_of(past), use_cache=True)
        return result.logits, [each for layer in result.past_key_values.layers for each in (layer.keys, layer.values)]


def dynamo(step: Step) -> Call:
    """The file of torch.onnx.export(dynamo=True), with every batch, prompt and past."""
    arguments, past = step_arguments(step.model, 2, 5, 3), states(step.model.config, 2, 5)
    auto = torch.export.Dim.AUTO
    shapes = ({name: {0: auto, 1: auto} for name in arguments}, [{0: auto, 2: auto} for _ in past])
    names = [*arguments, *names_of(past)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            Flat(step.model), (arguments, past), str(path), input_names=names, dynamic_shapes=shapes, dynamo=True,
            verbose=False,
        )  # fmt: skip
        return session(path, step)


def saved(step: Step) -> Call:
    """The file of a compiled decoder."""
    from fxonnx.hf import compile_causal_lm

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        compile_causal_lm(step.model).compiled.save(path)
        return session(path, step)


def session(path: Path, step: Step) -> Call:
    """A file in ONNX Runtime, arrays in, arrays out."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = step.threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    loaded = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = {**step.arguments, **dict(zip(names_of(step.cache), step.cache, strict=True))}
    wanted = {each.name for each in loaded.get_inputs()}
    feed = {name: tensor.numpy() for name, tensor in given.items() if name in wanted}
    return lambda: loaded.run(None, feed)[0]


def names_of(states: list[Tensor]) -> list[str]:
    """What keys and values are called in a file."""
    return [f"past_key_values.{index // 2}.{('key', 'value')[index % 2]}" for index in range(len(states))]


PREPARE = {"eager": eager, "fxonnx": compiled, "fxonnx shared": shared, "fxonnx file": saved, "dynamo": dynamo}
ARMS = tuple(name for name in PREPARE if name != "eager")
