"""The functions for sizes, put where the model's files look for Python's own."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from fxonnx.capture.state import injected
from fxonnx.capture.tracer.python.bits import BITS
from fxonnx.capture.tracer.python.constructors import TYPES
from fxonnx.capture.tracer.python.contraction_paths import paths
from fxonnx.capture.tracer.python.functions import FFT, MATH, NUMPY, POWERS, PYTHON, SCALAR, SHAPE, TORCH
from fxonnx.capture.tracer.python.repeated import PRODUCTS

# Packages that compute no sizes of models, those of the standard library apart.
_OTHERS = frozenset({
    "IPython", "PIL", "_pytest", "attr", "attrs", "certifi", "charset_normalizer", "dateutil", "debugpy", "execnet",
    "fastjsonschema", "filelock", "fsspec", "fxonnx", "google", "hypothesis", "idna", "ipykernel", "jedi", "jinja2",
    "jsonschema", "jupyter_client", "jupyter_core", "matplotlib", "ml_dtypes", "mpmath", "nbclient", "nbformat",
    "networkx", "numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "packaging", "pandas", "parso", "pip",
    "platformdirs", "pluggy", "prompt_toolkit", "psutil", "pygments", "pytest", "referencing", "regex", "requests",
    "rich", "safetensors", "scipy", "setuptools", "sortedcontainers", "sympy", "tokenizers", "torch", "torchgen",
    "tornado", "tqdm", "traitlets", "typing_extensions", "urllib3", "xdist", "yaml", "zmq",
})  # fmt: skip
# Of torch's own: how many sequences are packed is int(batch_sizes[0]), how far an average moves that runs along is
# 1 / float(num_batches_tracked), and layers that forward makes of sizes.
_LAYERS = frozenset({f"torch.nn.modules.{name}" for name in ("batchnorm", "rnn", "flatten", "upsampling")})
_KNOWN = ((math, MATH), (np, NUMPY), (np.fft, FFT), (torch, TORCH | TYPES))
_ORIGINALS = {id(getattr(module, name)): stand_in for module, known in _KNOWN for name, stand_in in known.items()}
_NO_MODEL_FILES = set[str]()  # names of modules, of which there are thousands
_NAMES = frozenset(name for _, known in _KNOWN for name in known)


@contextmanager
def numbers_of_sizes(functions: Iterable[Any], builtins: Mapping[str, Any] = PYTHON) -> Iterator[None]:
    """`int`, `len`, `math.sqrt` and the like that know sizes, in all files but torch's and the standard library's;
    `functions` may be of files that are no modules; `builtins` are those that need no module."""
    try:
        for namespace in _namespaces(functions):
            injected.put(namespace, _stand_ins(namespace, builtins))
        for module, known in _KNOWN:
            injected.put(vars(module), known)
        for module, found in paths():
            injected.put(vars(module), found)
        for kind in (torch.SymInt, torch.SymFloat):
            injected.put(kind, SCALAR)
        injected.put(torch.SymInt, PRODUCTS | BITS)
        injected.put(torch.SymFloat, POWERS)
        injected.put(torch.Size, SHAPE)
        yield
    finally:
        injected.take_back()


def _stand_ins(namespace: dict[str, Any], builtins: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a file's names mean: Python's own where it has none of that name, and from math import sqrt."""
    own = namespace.keys()
    found = builtins if own.isdisjoint(builtins) else {name: builtins[name] for name in builtins.keys() - own}
    imported = {name: _ORIGINALS[key] for name in own & _NAMES if (key := id(namespace[name])) in _ORIGINALS}
    return {**found, **imported} if imported else found


def _namespaces(functions: Iterable[Any]) -> Iterator[dict[str, Any]]:
    modules = sys.modules.copy()  # at once: other threads import
    new = modules.keys() - _NO_MODEL_FILES
    _NO_MODEL_FILES.update(name for name in new if not is_model_file(name))
    for name in new - _NO_MODEL_FILES:
        if (module := modules[name]) is not None:
            yield module.__dict__
    others = {id(space): space for each in functions if (space := getattr(each, "__globals__", None)) is not None}
    for space in others.values():
        name = space.get("__name__", "")
        if is_model_file(name) and getattr(modules.get(name), "__dict__", None) is not space:
            yield space


def is_model_file(module: str) -> bool:
    """Whether a module, by its name, may have code of a model's."""
    package = module.partition(".")[0]
    return module in _LAYERS or (package not in _OTHERS and package not in sys.stdlib_module_names)
