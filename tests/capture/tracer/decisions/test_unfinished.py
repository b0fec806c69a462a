"""Models whose source cannot be read: typed into a console, or made by exec."""

import torch

import fxonnx

SOURCE = """
def model(x):
    x = x * 2
    x[x > 1] = 2
    assert x.shape[0] > 1
    return x if x.sum() > 3 else -x
"""


def test_a_model_without_source() -> None:
    names: dict[str, object] = {}
    exec(compile(SOURCE, "<console>", "exec"), names)
    compiled = fxonnx.compile(names["model"], torch.ones(3), dynamic_shapes={"x": {0: "n"}})
    for x in (torch.ones(3), -torch.ones(4)):
        torch.testing.assert_close(compiled(x), names["model"](x))  # type: ignore[operator]
