"""What a user may ask for besides a model and its example: each option's values, checked before anything is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fxonnx.errors import InvalidOption, raise_all
from fxonnx.passes.rewriting.rewrite import Rule
from fxonnx.passes.rules import ALGEBRA, CAST, FORMS, FUSION, SHAPE
from fxonnx.target import Target, spelled

METADATA, IN_FILE = "metadata", "in file"
"""Where it stands for which sizes a file holds."""

IR_TEXT, ONNX_TEXT = "ir", "onnx"
"""How a graph is printed: in our own words, or in ONNX's."""

_THREADS = 1024  # more than any machine has; the runtime allocates for each


@dataclass(frozen=True, slots=True)
class Option:
    """The values that an option takes: a test, the words for it, and an example as code, or what makes one of what was
    given instead."""

    admits: Callable[[Any], bool]
    words: str
    example: str | Callable[[Any], str]

    def for_the_given(self, value: Any) -> str:
        """The example for somebody who gave this value."""
        return (self.example(value) if callable(self.example) else self.example) or str(bool(value))


def _is_name(value: object) -> bool:
    """Whether a value can be a name in a file, whose strings are UTF-8."""
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)  # halves of pairs, which UTF-8 does not have


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_names(value: object) -> bool:
    return value is None or (isinstance(value, (list, tuple)) and all(map(_is_name, value)))


def _are_rules(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, Rule) for each in value)


def _are_lowerings(value: object) -> bool:
    return value is None or (isinstance(value, Mapping) and all(map(callable, value.values())))


def _are_classes(value: object) -> bool:
    return value == "all" or (isinstance(value, (list, tuple)) and all(isinstance(each, (type, str)) for each in value))


def _are_hints(value: object) -> bool:
    return value is None or (
        isinstance(value, Mapping)
        and all(isinstance(sizes, (list, tuple)) and sizes and all(_is_int(size) and size > 0 for size in sizes)
                for sizes in value.values())
    )  # fmt: skip


def _is_optimize(value: object) -> bool:
    if not isinstance(value, Mapping):
        return isinstance(value, bool)
    return value.keys() <= _RULES.keys() and all(isinstance(wanted, bool) for wanted in value.values())


def _without_a_rule(value: object) -> str:
    """An example with the names that are nearest to those that were given."""
    given = map(str, value) if isinstance(value, Mapping) else ()
    near = [name for each in given for name in get_close_matches(each, _RULES, n=1)]
    return "{" + ", ".join(f'"{name}": False' for name in dict.fromkeys(near) or ("erf_gelu",)) + "}"


_RULES = {rule.name: rule for rule in (*ALGEBRA, *SHAPE, *CAST, *FUSION, *FORMS)}
_FLAG = Option(lambda value: isinstance(value, bool), "True or False", "")
_NAMES = Option(_are_names, "a list of strings that are not empty, one for each tensor", '["x", "mask"]')


def _are_providers(value: object) -> bool:
    """Whether a value lists execution providers, by name or as (name, options)."""
    names = [each[0] if isinstance(each, tuple) and len(each) == 2 else each for each in _listed(value)]
    return bool(names) and all(map(_is_name, names))


def _are_paths(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, (str, os.PathLike)) for each in value)


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


_TOLERANCE = Option(
    lambda value: value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0),
    "a number from 0 up, or None for the dtype's own",
    "1e-3",
)

OPTIONS: Mapping[str, Option] = {
    "input_names": _NAMES,
    "output_names": _NAMES,
    "target": Option(
        lambda value: value is None or isinstance(value, Target),
        "a fxonnx.Target, or None for the installed ONNX Runtime",
        lambda value: spelled(value) if isinstance(value, str) else "fxonnx.Target.onnx(17) for any runtime",
    ),
    "opset": Option(lambda value: value is None or _is_int(value), "an int, or None for the target's own", "17"),
    "optimize": Option(_is_optimize, "True, False, or a dict of fxonnx's rules to switch off, by the names that "
                       "compiled.changes has", _without_a_rule),
    "rules": Option(_are_rules, "a list of rewrite rules, made by @fxonnx.rule", "[my_rule]"),
    "lowerings": Option(_are_lowerings, "a dict from names of ops to functions", '{"mylib.swoosh": swoosh}'),
    "functions": Option(_are_classes, 'a list of classes of modules, or "all"', "[Block]"),
    "hints": Option(_are_hints, "a dict from names of dynamic dims to lists of sizes", '{"seq": [16, 128]}'),
    "tune": Option(
        lambda value: isinstance(value, (bool, int, float)) and 0 <= value < float("inf"),
        "True, False, or how many seconds to try",
        "30",
    ),
    "verify": _FLAG,
    "progress": Option(lambda value: value is None or callable(value), "a function of a step, or None", "print"),
    "capture": Option(
        lambda value: value in ("auto", "trace"), "gone: models are captured in one way", '"auto", or better left out'
    ),
    "dump": Option(
        lambda value: value is None or (isinstance(value, (str, os.PathLike)) and "\0" not in os.fspath(value)),
        "the path of a folder",
        '"stages"',
    ),
    "threads": Option(
        lambda value: value is None or (_is_int(value) and 1 <= value <= _THREADS),
        f"an int from 1 to {_THREADS}, or None for as many as torch uses",
        "2",
    ),
    "depth": Option(lambda value: value is None or (_is_int(value) and value > 0), "an int from 1 up, or None", "2"),
    "prepack": _FLAG,
    "ways": _FLAG,
    "format": Option(lambda value: value in (IR_TEXT, ONNX_TEXT), f"{IR_TEXT!r} or {ONNX_TEXT!r}", f"{ONNX_TEXT!r}"),
    "guards": Option(lambda value: value in (METADATA, IN_FILE), f"{METADATA!r} or {IN_FILE!r}", f"{IN_FILE!r}"),
    "providers": Option(
        _are_providers, "a list of the runtime's execution providers, by name", '["CPUExecutionProvider"]'
    ),
    "session_options": Option(
        lambda value: isinstance(value, Mapping) and all(map(_is_name, value)),
        "a dict from names of options to values",
        '{"graph_optimization_level": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC}',
    ),
    "custom_ops": Option(_are_paths, "a list of paths of shared libraries", '["libfancy.so"]'),
    "source_lines": _FLAG,
    "strict": _FLAG,
    "adapters": Option(
        lambda value: value is not None and _are_names(value),
        "a list of names of parameters, or patterns",
        '["*.lora_?.*"]',
    ),
    "costs": _FLAG,
    "profile": _FLAG,
    "rtol": _TOLERANCE,
    "atol": _TOLERANCE,
    "seed": Option(lambda value: _is_int(value) and -(2**63) <= value < 2**64, "an int of 64 bits", "0"),
}


def check_options(**given: Any) -> None:
    """Raises InvalidOption for what an option does not take; several at once as Failures."""
    raise_all(
        [
            InvalidOption(
                f"{name} is {_said(value)}",
                cause=f"it is {OPTIONS[name].words}",
                cure=f"{name}={OPTIONS[name].for_the_given(value)}",
            )
            for name, value in given.items()
            if not OPTIONS[name].admits(value)
        ]
    )


def _said(value: object) -> str:
    """A value as a message shows it, by its type where it is long."""
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"
