"""What operators take in old opsets (inputs_to_attributes); test_completeness asks for an answer to each change."""

import onnx
import pytest
import torch

import fxonnx
from fxonnx.errors import NotInOpset


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


def first_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if x.sum() > 0:
        return x[:1], x + 1
    if x.max() > 0:
        return torch.cat([x, x]), x
    return x[:2] * 2, x.abs()


@pytest.mark.parametrize("dims", [None, {"x": {0: "n"}}], ids=["static", "dynamic"])
@pytest.mark.parametrize("opset", [9, 10, 11, 17])
def test_branches_give_other_sizes_at_every_opset(opset: int, dims: dict[str, dict[int, str]] | None) -> None:
    ones = torch.ones(3, 2)
    compiled = fxonnx.compile(first_rows, (ones,), dynamic_shapes=dims, target=fxonnx.Target.onnx(opset))
    onnx.checker.check_model(compiled.model_proto())
    for x in (ones, -ones, torch.tensor([[-9.0, 1.0]] * 3)):
        torch.testing.assert_close(compiled(x), first_rows(x))


def pasted(x: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    wide = x.repeat(max(int(box[1] - box[0] + 1), 1))
    first, last = max(int(box[0]), 0), min(int(box[1]) + 1, 20)
    return wide[(first - int(box[0])) : (last - int(box[0]))]


def test_parts_of_what_data_says_need_an_opset_that_has_them() -> None:
    example = torch.randn(9), torch.tensor([1, 3])
    with pytest.raises(NotInOpset, match="opset 9"):
        fxonnx.compile(pasted, example, target=fxonnx.Target.onnx(9))
    compiled = fxonnx.compile(pasted, example, target=fxonnx.Target.onnx(10))
    for box in (example[1], torch.tensor([-2, 4]), torch.tensor([17, 25])):
        torch.testing.assert_close(compiled(example[0], box), pasted(example[0], box))
