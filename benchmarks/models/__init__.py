"""Real architectures at their real depths with seeded random weights, in plain torch or from `transformers`.

`MODELS["resnet50"].build()` gives the module in eval mode, args and kwargs. Listing the table builds nothing and does
not import `transformers`.
"""

from collections.abc import Iterable
from dataclasses import replace

from benchmarks.models import (
    branches,
    convnext,
    densenet,
    efficientnet,
    encoder,
    layers,
    mobilenet,
    recurrent,
    resnet,
    swin,
    transformers,
    unet,
    vit,
)
from benchmarks.models.case import Case

FAMILIES = (
    resnet, mobilenet, efficientnet, convnext, densenet, branches, vit, swin, unet, recurrent, layers, encoder,
    transformers,
)  # fmt: skip

MODELS: dict[str, Case] = {case.name: case for family in FAMILIES for case in family.CASES}


# What latency is promised for: with the sizes of their inputs, in the order in which the case names them.
PROMISE = (
    "resnet50@1", "mobilenet_v3_large@1", "efficientnet_b0@1", "convnext_tiny@1", "repvgg_a0@1", "mobileone_s0@1",
    "fastvit_t8@1", "detector@1", "vit_b_16@1", "swin_t@1", "segformer_b0@1x224x224", "detr@1", "unet@1x128x128",
    "bert_base@1x16", "bert_base@8x16", "bert_base@1x64", "bert_base@1x128", "bert_base@1x512", "distilbert@2x64",
    "clip@2x1x16", "t5_small_encoder@1x64", "gpt2@1x64", "gpt2_past@1x128", "llama_4@1x128", "llama_4_decode@1x128",
    "qwen3_4@1x32", "whisper_tiny_encoder@1", "wav2vec2_base@1x16000", "lstm@1x64", "gru@8x32",
)  # fmt: skip


def find(name: str) -> Case:
    """The case of that name; `encoder_<depth>` exists for every depth, and `bert_base@1x128` is one at other sizes, in
    the case's order. KeyError names what there is."""
    name, _, sizes = name.partition("@")
    if sizes:
        case, given = find(name), [int(size) for size in sizes.split("x")]
        return replace(case, name=f"{name}@{sizes}", sizes=dict(zip(case.sizes, given, strict=True)))
    if name in MODELS:
        return MODELS[name]
    family, _, depth = name.rpartition("_")
    if family == "encoder" and depth.isdecimal():
        return encoder.encoder_case(int(depth))
    raise KeyError(f"no model {name!r}; there are encoder_<depth>, {', '.join(MODELS)}")


def select(words: Iterable[str]) -> list[str]:
    """Names of the models that `words` name: a model each, a tag for all that carry it, "all", or "promise" for those
    that latency is promised for; each model once."""
    chosen: dict[str, None] = {}
    for word in words:
        if word == "promise":
            chosen.update(dict.fromkeys(PROMISE))
            continue
        tagged = [name for name, case in MODELS.items() if word == "all" or word in case.tags]
        chosen.update(dict.fromkeys(tagged or [find(word).name]))
    return list(chosen)


__all__ = ["MODELS", "PROMISE", "Case", "find", "select"]
