"""Graphs as HTML: nothing of the text is lost, tokens are what they are, modules are folds."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from tests.ir.graphs import chain, graphs

from fxonnx.ir.text import print_graph
from fxonnx.ir.text.html import SHOWN_LINES, graph_html, highlight


class Balanced(HTMLParser):
    """Reads HTML whose tags are all closed, each in its turn."""

    def __init__(self):
        super().__init__()
        self.open, self.depth = [], 0

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.depth = max(self.depth, self.open.count("details"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(html):
    parser = Balanced()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def text_of(html):
    lines = re.findall(r'<div class="line"[^>]*>(.*?)</div>', html, re.DOTALL)
    return "\n".join(unescape(re.sub(r"<[^>]*>", "", line)) for line in lines)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_the_text_is_all_there(graph):
    html = graph_html(graph, "lower")
    read(html)
    assert text_of(html) == print_graph(graph, stage="lower")


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("  %0: f32[n,4] = Gemm(x, fc.0.weight, _) {alpha=0.5, transB=1}", "operator", ["Gemm"]),
        ("  %0: f32[n,4] = Gemm(x, fc.0.weight, _) {alpha=0.5, transB=1}", "type", ["f32[n,4]"]),
        ("  %0: f32[n,4] = Gemm(x, fc.0.weight, _) {alpha=0.5, transB=1}", "number", ["0.5", "1"]),
        ("  %1: b8[] = com.microsoft::Gelu(%0)   · gelu, by erf_gelu", "operator", ["com.microsoft::Gelu"]),
        ("  %1: b8[] = com.microsoft::Gelu(%0)   · gelu, by erf_gelu", "origin", ["   · gelu, by erf_gelu"]),
        ("  %1: b8[] = com.microsoft::Gelu(%0)   · gelu, by erf_gelu", "value", ["%1", "%0"]),
        ("  @ layers.0.fc  Linear  encoder.py:31", "place", ["  @ layers.0.fc  Linear  encoder.py:31"]),
        ('  "a < b": f32[] = Cast("%0", i64[2](0, -1)) {to="f(32"}', "string", ['"a < b"', '"%0"', '"f(32"']),
        ("  return %1 as graph.1", "keyword", ["return"]),
        ("graph(x: f32[2]) opset=28", "keyword", ["graph"]),
    ],
)
def test_tokens(line, kind, words):
    found = re.findall(rf'<span class="{kind}">(.*?)</span>', highlight(line))
    assert list(map(unescape, found)) == words


def test_modules_are_folds_and_lines_are_on_hover():
    html = graph_html(chain(25, "Relu"))
    assert read(html).depth == 2  # an item of layers, the module in it
    assert re.findall("<summary>(.*?)</summary>", html) == ["layers.0", "act", "layers.1", "act", "layers.2", "act"]
    assert 'title="net.py:7  x = self.act_6(x)  # &lt;/script&gt;"' in html


def test_long_graphs_are_cut():
    html = graph_html(chain(SHOWN_LINES, "Relu"))
    read(html)
    assert html.count('<div class="line"') == SHOWN_LINES + 1
    assert "more lines" in html
