"""Candidates are measured in turns, and what they compute is compared and counted."""

import pytest
import torch
from benchmarks import precision
from benchmarks.latency import WARM_UP, Arm, _answer, take_turns
from benchmarks.models import PROMISE, find, select
from benchmarks.page import write_page
from benchmarks.results import Failure, LatencySample, compare, environment
from benchmarks.roofline import operations
from benchmarks.rules import SCENES, TARGET, graph_of
from torch import nn

import fxonnx
from fxonnx.passes.rewriting.rewrite import rewrite
from fxonnx.passes.rules import FUSION


def test_calls_take_turns():
    order = []
    found = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a"] * WARM_UP + ["b"] * WARM_UP + ["a", "b", "b", "a", "a", "b"]
    assert {name: len(rounds) for name, rounds in found.items()} == {"a": 3, "b": 3}


def test_files_in_few_bits_beside_the_float_file():
    found = list(precision.measure("multihead_attention", ["int8-weights", "float16"], rounds=2, threads=1))
    assert [(each.model, each.precision) for each in found] == [
        ("multihead_attention", "int8-weights"), ("multihead_attention", "float16"),
    ]  # fmt: skip
    assert all(each.time > 0 and 0.2 < each.size < 0.8 and 0 < each.error < 0.05 for each in found)


def test_operations_of_products_and_convolutions(tmp_path):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Linear(6, 5)

        def forward(self, x):
            return self.fc(self.conv(x).mean((2, 3)))

    fxonnx.export(Both(), (torch.randn(2, 4, 8, 8),), tmp_path / "both.onnx")
    assert operations(tmp_path / "both.onnx") == 2 * (2 * 6 * 64 * 2 * 9) + 2 * (2 * 6 * 5)


def test_a_case_at_other_sizes():
    case = find("bert_base@1x16")
    assert (case.name, case.sizes) == ("bert_base@1x16", {"batch": 1, "sequence": 16})
    assert select(["promise"]) == list(PROMISE)
    assert all(find(name).name == name for name in PROMISE)


def test_an_answer_that_differs_is_a_failure():
    expected = [torch.tensor([1.0, 2.0])]
    assert _answer(Arm(lambda: torch.tensor([1.0, 2.001])), expected) == pytest.approx(1e-3, rel=1e-2)
    assert isinstance(_answer(Arm(lambda: torch.tensor([1.0, 2.1])), expected), Failure)
    assert isinstance(_answer(Arm(lambda: torch.tensor([1.0])), expected), Failure)


def test_a_page_needs_nothing_beside_it(tmp_path):
    samples = [LatencySample("m", name, (0.1, 0.2, 0.3), 0.0, 1, 1000) for name in ("fxonnx", "eager")]
    compared = compare("latency", "ms", "fxonnx", {("m", each.contestant): each.seconds for each in samples})
    summaries = [each.summary(1e6) for each in samples]
    write_page(tmp_path / "page.html", compared, summaries, {("m", "x"): "no <such>"}, ["fxonnx", "eager", "x"],
               environment(1))  # fmt: skip
    text = (tmp_path / "page.html").read_text()
    assert "no &lt;such&gt;" in text
    assert "src=" not in text and "href=" not in text
    assert summaries[0]["roofline"] == pytest.approx(1.0)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"{scene.rule}, {scene.label}")
def test_a_rule_fires_in_its_scene(scene):
    rule = next(each for each in FUSION if each.name == scene.rule)
    before = graph_of(scene, rule)
    assert rewrite(rule)(before, TARGET) is not before
