"""The functions for sizes, put where the model's files look for Python's own."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch

from fxonnx.capture.state import injected
from fxonnx.capture.tracer.python.constructors import TYPES
from fxonnx.capture.tracer.python.functions import FFT, MATH, NUMPY, PYTHON, SCALAR, TORCH

# Packages that compute no sizes of models, those of the standard library apart.
_OTHERS = frozenset({
    "IPython", "PIL", "_pytest", "certifi", "filelock", "fsspec", "fxonnx", "google", "hypothesis", "jinja2",
    "matplotlib", "ml_dtypes", "mpmath", "networkx", "numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript",
    "packaging", "pandas", "pluggy", "pytest", "regex", "requests", "safetensors", "scipy", "sympy", "tokenizers",
    "torch", "tqdm", "typing_extensions", "urllib3", "yaml",
})  # fmt: skip
# Of torch's own: how many sequences are packed is int(batch_sizes[0]), and layers that forward makes of sizes.
_LAYERS = frozenset({"torch.nn.modules.rnn", "torch.nn.modules.flatten", "torch.nn.modules.upsampling"})
_KNOWN = ((math, MATH), (np, NUMPY), (np.fft, FFT), (torch, TORCH | TYPES))
_ORIGINALS = {id(getattr(module, name)): stand_in for module, known in _KNOWN for name, stand_in in known.items()}
_NAMES = frozenset(name for _, known in _KNOWN for name in known)


@contextmanager
def numbers_of_sizes(functions: Iterable[Any], builtins: Mapping[str, Any] = PYTHON) -> Iterator[None]:
    """`int`, `len`, `math.sqrt` and the like that know sizes, in all files but torch's and the standard library's;
    `functions` may be of files that are no modules; `builtins` are those that need no module."""
    try:
        for namespace in _namespaces(functions):
            _put_into(namespace, builtins)
        for module, known in _KNOWN:
            for name, function in known.items():
                injected.put(vars(module), name, function)
        for kind in (torch.SymInt, torch.SymFloat):
            for name, method in SCALAR.items():
                injected.put(kind, name, method)
        yield
    finally:
        injected.take_back()


def _put_into(namespace: dict[str, Any], builtins: Mapping[str, Any]) -> None:
    for name, value in builtins.items():
        if name not in namespace:
            injected.put(namespace, name, value)
    for name in _NAMES & namespace.keys():  # from math import sqrt, from torch import from_numpy
        function = _ORIGINALS.get(id(namespace[name]))
        if function is not None:
            injected.put(namespace, name, function)


def _namespaces(functions: Iterable[Any]) -> Iterator[dict[str, Any]]:
    seen = set[int]()
    for name, module in sys.modules.copy().items():  # at once: other threads import
        if not is_model_file(name) or module is None:
            continue
        seen.add(id(vars(module)))
        yield vars(module)
    for function in functions:
        namespace = getattr(function, "__globals__", None)
        if namespace is not None and id(namespace) not in seen and is_model_file(namespace.get("__name__", "")):
            seen.add(id(namespace))
            yield namespace


@cache
def is_model_file(module: str) -> bool:
    """Whether a module, by its name, may have code of a model's."""
    package = module.partition(".")[0]
    return module in _LAYERS or (package not in _OTHERS and package not in sys.stdlib_module_names)
