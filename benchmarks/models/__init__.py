"""Real architectures at their real depths with seeded random weights, in plain torch or from `transformers`.

`MODELS["resnet50"].build()` gives the module in eval mode, args and kwargs. Listing the table builds nothing and does
not import `transformers`.
"""

from collections.abc import Iterable

from benchmarks.models import (
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
    resnet, mobilenet, efficientnet, convnext, densenet, vit, swin, unet, recurrent, layers, encoder, transformers,
)  # fmt: skip

MODELS: dict[str, Case] = {case.name: case for family in FAMILIES for case in family.CASES}


def find(name: str) -> Case:
    """The case of that name; `encoder_<depth>` exists for every depth. KeyError names what there is."""
    if name in MODELS:
        return MODELS[name]
    family, _, depth = name.rpartition("_")
    if family == "encoder" and depth.isdecimal():
        return encoder.encoder_case(int(depth))
    raise KeyError(f"no model {name!r}; there are encoder_<depth>, {', '.join(MODELS)}")


def select(words: Iterable[str]) -> list[str]:
    """Names of the models that `words` name: a model each, a tag for all that carry it, or "all"; each model once."""
    chosen: dict[str, None] = {}
    for word in words:
        tagged = [name for name, case in MODELS.items() if word == "all" or word in case.tags]
        chosen.update(dict.fromkeys(tagged or [find(word).name]))
    return list(chosen)


__all__ = ["MODELS", "Case", "find", "select"]
