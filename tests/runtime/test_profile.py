"""What is measured of nodes: whose kernel it was, and that it is there after calls that were measured."""

from dataclasses import replace

import torch
from torch import nn

import fxonnx
from fxonnx.machines import Machine, shipped
from fxonnx.runtime.profile import by_node


def test_kernels_belong_to_the_nodes_that_they_are_named_after():
    kernels = {"a/MatMul/MatMulAddFusion": 1.0, "a/MatMul_2": 2.0, "a/MatMul_2_nchwc": 4.0, "ReorderOutput_3": 8.0}
    assert by_node(kernels, {"a/MatMul", "a/MatMul_2", "a"}) == {"a/MatMul": 1.0, "a/MatMul_2": 6.0, "": 8.0}


def test_calls_are_measured_when_asked_for():
    model, x = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Tanh()).eval(), torch.randn(2, 8)
    compiled = fxonnx.compile(model, (x,), dynamic_shapes={"input": {0: "n"}})
    assert "measured" not in compiled.show(costs=True)
    compiled.configure(profile=True)
    for _ in range(3):
        torch.testing.assert_close(compiled(x), model(x))
    text, costs = compiled.show(costs=True), compiled.costs(compiled.graph)
    assert text.count("measured") == sum(cost.measured is not None for cost in costs.values()) >= 2
    assert "FLOP" in text
    assert "measured" in compiled.report()
    torch.testing.assert_close(compiled(x), model(x))
    assert compiled.costs(compiled.graph) != costs, "another run, another measurement"


def test_the_report_says_which_rules_fired_how_often_and_what_they_saved():
    block = [nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU()]
    model = nn.Sequential(*block, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).eval()
    compiled = fxonnx.compile(model, (torch.randn(1, 4, 8, 8),))
    assert "rules: conv_batch_norm 2" in compiled.report()
    compiled.target = replace(compiled.target, machine=Machine(shipped()[0]))
    count, saved = compiled.worth()["conv_batch_norm"]
    assert count == 2 and saved.bytes > 2 * 2 * 4 * 6 * 6 * 4 and saved.predicted > 0.0
