"""Location: cheap, printable, mergeable, and back from ONNX metadata."""

import pickle
import sys
from types import SimpleNamespace

import pytest
from IPython.core.compilerop import CachingCompiler

from fxonnx import errors
from fxonnx.location import Location

FC = Location("layers.0.fc", "Linear", "/src/encoder.py", 31, "forward", "x = self.fc(x)", "aten.linear", "linear")
ACT = Location("layers.0.act", "GELU", "/src/encoder.py", 32, "forward", "x = self.act(x)", "aten.gelu", "gelu")
LAYER = Location("layers.0", "Layer", op="aten.add", node="add", rules=("drop_identity",))


@pytest.mark.parametrize(
    ("location", "text"),
    [(FC, "layers.0.fc  Linear  encoder.py:31"), (LAYER, "layers.0  Layer"), (Location(), ""),
     (Location(file="a/b.py"), "b.py"), (Location(kind="Net", file="b.py", line=3), "Net  b.py:3")],
)  # fmt: skip
def test_text(location, text):
    assert str(location) == text


def test_merge_keeps_what_is_common_and_unites_the_rest():
    merged = Location.merge(FC, ACT, rule="linear_gelu")
    assert (merged.module, merged.kind, merged.source) == ("layers.0", "", "encoder.py:31")
    assert (merged.op, merged.node, merged.rules) == ("aten.linear+aten.gelu", "linear+gelu", ("linear_gelu",))


def test_merge_knows_the_class_of_the_module_that_holds_the_others():
    assert Location.merge(FC, LAYER).kind == "Layer"
    assert Location.merge(FC, Location("layers.01.fc")).module == "layers"
    assert Location.merge(FC, Location("head")).module == ""


def test_merge_takes_the_first_known_line():
    assert Location.merge(LAYER, ACT).code == ACT.code
    assert Location.merge(LAYER, Location()).file == ""


def test_merge_of_merged_repeats_nothing():
    once = Location.merge(FC, ACT, LAYER, rule="a")
    assert Location.merge(once, FC, ACT, rule="a") == once
    assert once.rules == ("drop_identity", "a")


def test_merge_of_one_or_none():
    assert Location.merge(FC, FC) is FC
    assert Location.merge() == Location()
    assert FC.by("a").by("a").rules == ("a",)


def test_is_small_hashable_and_picklable():
    assert not hasattr(FC, "__dict__")
    assert {FC: 1}[pickle.loads(pickle.dumps(FC))] == 1


def test_metadata_comes_back_without_the_directory():
    merged = Location.merge(FC, ACT, rule="a").by("b")
    back = Location.from_metadata(merged.to_metadata() | {"another.key": "x"})
    assert back.file == "encoder.py"
    assert (back.module, back.line, back.op, back.rules) == (merged.module, merged.line, merged.op, merged.rules)
    assert Location().to_metadata() == {}
    assert Location.from_metadata({}) == Location()


def test_modules_around_a_place():
    assert Location(module="encoder.layer.0.attention").scopes == ("encoder", "layer.0", "attention")
    assert Location(module="0.1.fc").scopes == ("0.1", "fc")
    assert Location().scopes == ()
    assert Location(module="encoder.layer.0.attention").to_metadata()["namespace"] == "encoder/layer.0/attention"


def test_a_cell_of_a_notebook_is_called_as_there(monkeypatch):
    compiler = CachingCompiler()
    file = compiler.cache("x = 1", number=3)
    assert not Location(file=file, line=2).source.startswith("Cell")
    shell = SimpleNamespace(compile=compiler)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert Location(file=file, line=2).source == "Cell In[3]:2"
    assert Location(file=file).to_metadata()["fxonnx.file"] == "Cell In[3]"
    assert "--> Cell In[3]:2" in str(errors.ModelRaised("no", location=Location(file=file, line=2)))
    assert Location(file="net.py", line=2).source == "net.py:2"
