"""What operators take in old opsets (inputs_to_attributes); test_completeness asks for an answer to each change."""

import onnx
import pytest
import torch

import fxonnx


def rows(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.stack([x[i].sin() + i * y for i in range(x.shape[0])])


@pytest.mark.parametrize("opset", [9, 10, 11, 17])
def test_a_loop_that_carries_nothing_carries_a_truth_where_it_has_to(opset: int) -> None:
    example = torch.randn(3, 4), torch.randn(4)
    target = fxonnx.Target.onnx(opset)
    compiled = fxonnx.compile(rows, example, dynamic_shapes={"x": {0: "n"}, "y": None}, target=target)
    onnx.checker.check_model(compiled.model_proto(), full_check=True)
    loop = next(node for node in compiled.emitted.proto.graph.node if node.op_type == "Loop")
    assert len(loop.input) == (3 if opset < 11 else 2)
    for length in (3, 1, 6):
        x, y = torch.randn(length, 4), torch.randn(4)
        torch.testing.assert_close(compiled(x, y), rows(x, y))
