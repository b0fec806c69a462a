"""Tuning: what wins is taken and kept, equal places are tried once, and results stay what they are."""

import pytest
import torch
from torch import nn

import fxonnx
from fxonnx import machines
from fxonnx.errors import InvalidOption
from fxonnx.machines import Contested
from fxonnx.runtime import tune
from fxonnx.runtime.tune import Tuning

X = torch.randn(1, 8, 512)


class Layers(nn.Module):
    """Two places of the same sizes, one of others."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(512, 512), nn.Linear(512, 512), nn.Linear(512, 528)

    def forward(self, x):
        return self.third(nn.functional.silu(self.second(self.first(x).relu())))


@pytest.fixture
def trials(tmp_path, monkeypatch):
    """A machine of its own, on which the form by blocks takes half the time; what is timed is listed."""
    found = []

    def timed(contest, sizes, threads):
        found.append(tuple(sizes.values()))
        return {form: 0.5 if form == "linear_by_blocks" else 1.0 for form in contest.forms}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tune, "timed", timed)
    machines.this_machine.cache_clear()
    yield found
    machines.this_machine.cache_clear()


def compiled_with(monkeypatch, model, races, **options):
    """The model tuned, where trials against what is best so far take so much of its time."""
    ratios = iter(races)
    monkeypatch.setattr(tune, "_gain", lambda one, other, over: (other(), next(ratios))[1])
    return fxonnx.compile(model, (X,), tune=True, **options)


def operators(compiled):
    return [node.op for node in compiled.graph.nodes]


def test_what_wins_alone_and_in_the_model_is_taken_once_for_equal_places(trials, monkeypatch):
    model = Layers().eval()
    compiled = compiled_with(monkeypatch, model, [0.5, 1.0, 0.5, 1.0, 1.0])
    assert sorted(trials) == [(8, 512, 512), (8, 512, 528)]
    assert operators(compiled).count("Conv") == 3
    assert len(compiled.tuning.without) == 1
    assert compiled.tuning.ratio == 0.25
    assert "linear_by_blocks" in compiled.report()
    torch.testing.assert_close(compiled(X), model(X))
    again = compiled_with(monkeypatch, model, [])
    assert len(trials) == 2, "the second time it is read"
    assert operators(again) == operators(compiled)
    assert again.tuning == compiled.tuning


def test_what_wins_alone_and_not_in_the_model_is_left(trials, monkeypatch):
    compiled = compiled_with(monkeypatch, Layers().eval(), [1.0] * 9)
    assert "Conv" not in operators(compiled)
    assert compiled.tuning.without == ()
    assert "nothing is faster" in str(compiled.tuning)


def test_dynamic_sizes_are_tried_as_hinted(trials, monkeypatch):
    model = Layers().eval()
    options = {"dynamic_shapes": {"x": {1: "n"}}, "hints": {"n": [8, 64]}}
    compiled = compiled_with(monkeypatch, model, [0.5, *[1.0] * 9], **options)
    assert sorted(trials) == [(8, 512, 512), (8, 512, 528), (64, 512, 512), (64, 512, 528)]
    torch.testing.assert_close(compiled(X[:, :3].clone()), model(X[:, :3]))


def test_longer_time_than_was_too_short_is_taken(trials, monkeypatch):
    model = Layers().eval()
    assert fxonnx.compile(model, (X,), tune=1e-9).tuning.seconds == 1e-9
    assert trials == []
    assert compiled_with(monkeypatch, model, [1.0] * 9).tuning.seconds is None
    assert trials


def test_a_session_without_an_optimizer_computes_the_same(trials):
    model = Layers().eval()
    compiled = fxonnx.compile(model, (X,))
    for name in tune.SWITCHES:
        torch.testing.assert_close(compiled.new_session([name]).run([X])[0], model(X))


def test_standard_files_are_not_tuned():
    with pytest.raises(InvalidOption, match="cannot be tuned"):
        fxonnx.compile(Layers(), (X,), target=fxonnx.Target.onnx(), tune=True)
    with pytest.raises(InvalidOption):
        fxonnx.compile(Layers(), (X,), tune=-1)


def test_a_tuning_survives_its_file():
    place = Contested("a", "b", ((("rows", 3), ("columns", 4)), (("rows", 5), ("columns", 4))))
    found = Tuning({place: True}, ("X",), 0.5, 3.0)
    assert Tuning.read(found.to_text()) == found


def test_a_race_is_won_by_the_quicker():
    quick, slow = lambda: None, lambda: sum(range(20000))
    assert tune._gain(slow, quick, float("inf")) < 0.5 < 1.5 < tune._gain(quick, slow, float("inf"))
