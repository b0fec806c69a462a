"""Names that mean something else while a model runs, in namespaces and in classes, and what is left of it."""

from types import SimpleNamespace

import pytest
import torch

from fxonnx.capture.state import injected


class Own:
    kept = 1


def test_all_names_are_taken_back() -> None:
    names = {"kept": 1}
    injected.put(names, {"kept": 2, "new": 3})
    injected.put(Own, {"kept": 2, "new": 3})
    assert names == {"kept": 2, "new": 3} and (Own.kept, Own.new) == (2, 3)  # type: ignore[attr-defined]
    injected.take_back()
    assert names == {"kept": 1} and Own.kept == 1 and not hasattr(Own, "new")


def test_methods_of_classes_that_c_defines() -> None:
    shape, original = torch.Size([2, 3]), torch.Size.numel
    assert shape.numel() == 6
    injected.put(torch.Size, {"numel": lambda shape: "stood for", "new": 1})
    try:
        assert shape.numel() == "stood for" and shape.new == 1  # type: ignore[attr-defined, comparison-overlap]
    finally:
        injected.take_back()
    assert shape.numel() == 6 and torch.Size.numel is original and not hasattr(shape, "new")
    with pytest.raises(TypeError):
        torch.Size.numel = SimpleNamespace()  # type: ignore[method-assign, assignment]
