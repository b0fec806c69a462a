"""A file as a page, whoever wrote it."""

import onnx
import pytest
import torch
from onnx.parser import parse_model

import fxonnx
from fxonnx import errors
from fxonnx.inspection.file import file_page

OWN = """<ir_version: 10, opset_import: ["": 20, "local": 1]>
main (float[n,4] x, bool c) => (float[n,4] y) <float[4] w = {1, 2, 3, 4}> {
  a = Add(x, w)
  b = If(c) <
    then_branch = then () => (float[n,4] t) { t = Relu(a) },
    else_branch = else () => (float[n,4] e) { e = Softmax<axis = 1>(a) }
  >
  k = Constant<value = float[2] {1, 2}>()
  y = local.twice(b)
}
<domain: "local", opset_import: ["": 20]> twice (v) => (r) { r = Add(v, v) }"""


def test_a_file_of_others(tmp_path):
    model = parse_model(OWN)
    model.graph.node[0].name = "/encoder/layer.0/Add"
    onnx.save(model, tmp_path / "own.onnx")
    page = file_page(tmp_path / "own.onnx")
    main, function = page.sections
    assert (main.title, function.title) == ("main  6 nodes", "local::twice")
    assert [row.text for row in main.rows] == [
        "graph(x: f32[n,4], c: b8[])",
        "  w: f32[4]",
        "",
        "  a = Add(x, w)",
        "  b = If(c)",
        "    then_branch = graph()",
        "      t: f32[n,4] = Relu(a)",
        "      return t",
        "    else_branch = graph()",
        "      e: f32[n,4] = Softmax(a) {axis=1}",
        "      return e",
        "  k = Constant() {value=f32[2]}",
        "  y: f32[n,4] = local::twice(b)",
        "  return y",
    ]
    assert main.rows[3].module == "encoder.layer.0"
    assert "opset onnx 20, local 1" in page.facts


def test_a_file_of_ours_knows_its_places(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    fxonnx.compile(model, (torch.ones(1, 2),)).save(tmp_path / "own.onnx", source_lines=True)
    (main,) = file_page(tmp_path / "own.onnx").sections
    (row,) = (row for row in main.rows if "Gemm" in row.text)
    assert row.module == "0" and ".py:" in row.hover


def test_a_file_of_torchs_knows_its_places(tmp_path):
    model = parse_model('<ir_version: 10, opset_import: ["": 20]> main (float[n] x) => (float[n] y) { y = Relu(x) }')
    trace = 'File "net.py", line 3, in forward\n    x = act(x)'
    said = {"name_scopes": "['', 'body', 'body.act', 'relu']", "stack_trace": trace}
    for key, value in said.items():
        model.graph.node[0].metadata_props.add(key=f"pkg.torch.onnx.{key}", value=value)
    onnx.save(model, tmp_path / "torch.onnx")
    (main,) = file_page(tmp_path / "torch.onnx").sections
    assert main.rows[2].module == "body.act"
    assert main.rows[2].hover == 'File "net.py", line 3, in forward  x = act(x)'


@pytest.mark.parametrize("content", [None, b"no file of ONNX's"])
def test_what_is_none(tmp_path, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.InvalidOption, match="cannot be read"):
        file_page(path)
