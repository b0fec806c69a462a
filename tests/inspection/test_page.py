"""The page: it holds all lines of all stages, is written in linear time, and nothing in it ends its script."""

import json
import re

import pytest
from tests.ir.graphs import chain, work

from fxonnx import errors
from fxonnx.inspection.page import Page, Row, Section, stage_sections
from fxonnx.ir.text import print_graph
from fxonnx.passes.pipeline import Stage

DATA = re.compile(r'<script id="page" type="application/json">(.*?)</script>', re.DOTALL)


def data(html):
    (found,) = DATA.findall(html)
    return json.loads(found)


def of_stages(*graphs):
    stages = [Stage(f"s{index}", graph, 0.001, "lowered") for index, graph in enumerate(graphs)]
    return Page("Net", "facts", stage_sections(stages))


def test_it_holds_every_line_of_5000_nodes():
    before, after = chain(5000, "Relu"), chain(5000, "Tanh")
    found = data(of_stages(before, before, after).html())
    assert [each["title"] for each in found["sections"]] == ["s0  5000 nodes  1.0 ms", "s2  5000 nodes  1.0 ms"]
    for section, graph, stage in zip(found["sections"], (before, after), ("s0", "s2"), strict=True):
        assert "\n".join(text for text, _, _ in section["rows"]) == print_graph(graph, stage=stage)
    text, module, hover = found["sections"][1]["rows"][-2]
    assert text.startswith("  %4999: f32[2,4] = Tanh(%4998)")
    assert found["words"][module] == "layers.499.act"
    assert found["words"][hover] == "net.py:5000  x = self.act_4999(x)  # </script>"


def test_it_is_written_in_linear_time():
    def calls(nodes):
        graph = chain(nodes, "Relu")
        return work(lambda: of_stages(graph).html())

    assert calls(4000) < 5 * calls(1000)


@pytest.mark.parametrize("text", ["</script>", "<!--", "/* data */", "/* style */", "é\u2028\\"])
def test_texts_that_could_break_it(text):
    html = Page(text, text, [Section(text, [Row(text, text, text)])]).html()
    found = data(html)
    assert (found["title"], found["facts"], found["words"]) == (text, text, [text])
    assert html.count("<script") == html.count("</script>") == 2


def test_it_needs_nothing_else():
    html = of_stages(chain(3, "Relu")).html()
    assert not re.search(r"""(src|href)\s*=|@import|url\(|https?://""", html)


def test_it_is_opened(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    path = of_stages(chain(3, "Relu")).open()
    assert opened == [path.as_uri()] and data(path.read_text(encoding="utf-8"))["title"] == "Net"
    with pytest.raises(errors.CannotWrite):
        of_stages().write(tmp_path / "none" / "page.html")
