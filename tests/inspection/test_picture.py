"""Pictures of graphs: boxes that do not overlap, edges between them, words under the mouse."""

import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import pytest
import torch
from torch import nn

import fxonnx
from fxonnx.errors import InvalidOption

SVG = "{http://www.w3.org/2000/svg}"


class Block(nn.Module):
    """A residual block."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        """x + gelu(conv(x))"""
        return x + nn.functional.gelu(self.conv(x))


class Net(nn.Module):
    """Blocks whose results meet at the end."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))

    def forward(self, x):
        """All results, side by side."""
        results = []
        for block in self.blocks:
            x = block(x)
            results.append(x)
        return torch.cat(results, 1)


def drawn(blocks, **options):
    """The tree of a picture of a net of so many blocks."""
    compiled = fxonnx.compile(Net(blocks).eval(), (torch.ones(2, 4, 8, 8),), dynamic_shapes={"x": {0: "batch"}})
    return ElementTree.fromstring(compiled.picture(**options).svg)


def titles(tree):
    """The words of every box: the first text behind its rectangle."""
    groups = [group for group in tree.iter(f"{SVG}g") if group.find(f"{SVG}rect") is not None]
    return [group.find(f"{SVG}text").text for group in groups]


def corners(tree):
    """Where the boxes lie."""
    rects = [group.find(f"{SVG}rect") for group in tree.iter(f"{SVG}g") if group.find(f"{SVG}rect") is not None]
    return [tuple(float(rect.get(name)) for name in ("x", "y", "width", "height")) for rect in rects]


@pytest.mark.parametrize(("blocks", "depth"), [(1, None), (3, 1), (3, 2), (9, None)])
def test_boxes_do_not_overlap(blocks, depth):
    """And all of them are inside the picture, as are the bends of edges."""
    tree = drawn(blocks, depth=depth)
    boxes = corners(tree)
    for (x, y, width, height), (x_other, y_other, _, _) in combinations(boxes, 2):
        assert abs(x - x_other) >= width or abs(y - y_other) >= height
    assert max(x + width for x, _, width, _ in boxes) <= float(tree.get("width"))
    assert max(y + height for _, y, _, height in boxes) <= float(tree.get("height"))


def test_modules_down_to_a_depth():
    """A module is a box; at depth 2 its parts are boxes of their own."""
    assert titles(drawn(2, depth=1)) == ["x", "blocks.0  Block", "blocks.1  Block", "the model", "output"]
    assert "blocks.0.conv  Conv2d" in titles(drawn(2, depth=2))


def test_what_is_said():
    """Types on the edges; operators and the model's lines where the mouse is."""
    svg = ElementTree.tostring(drawn(2, depth=1), encoding="unicode")
    assert "f32[batch,4,8,8]" in svg and "f32[batch,8,8,8]" in svg
    assert "Conv, Gelu, Add" in svg and "return x + nn.functional.gelu(self.conv(x))" in svg


def test_the_deepest_that_is_looked_at_with_ease():
    """Many blocks are not taken apart."""
    assert titles(drawn(30))[1] == "blocks.0  Block"


def test_depth_is_a_number():
    """0 and words are none."""
    for depth in (0, "all"):
        with pytest.raises(InvalidOption, match="depth"):
            drawn(1, depth=depth)


def test_without_igraph(monkeypatch):
    """The cure names the extra."""
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(InvalidOption, match=r"fxonnx\[view\]"):
        drawn(1)


def test_written(tmp_path):
    """As notebooks show it."""
    found = fxonnx.compile(Net(1).eval(), (torch.ones(2, 4, 8, 8),)).picture()
    assert found.write(tmp_path / "net.svg").read_text() == found.svg == found._repr_svg_()
