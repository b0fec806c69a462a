"""A graph as a picture: its modules as boxes, down to a depth, with dtypes and shapes on the edges between them.

nodes ──▶ runs of nodes of one module are blocks ──▶ layers, laid out by igraph (Sugiyama et al. 1981) ──▶ SVG
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from fxonnx import errors
from fxonnx.emit.files import saying_what
from fxonnx.ir.graph import Graph, Node, Value

_BLOCKS = 40  # as many are looked at; a depth that has more is not taken by itself

_COLOURS = {"products": "#3b78d8", "attention": "#9a6fd0", "norms": "#2a8f8f", "activations": "#c0405a",
            "movements": "#8a8a8a", "control": "#b06a1f", "others": "#5c8a3a"}  # fmt: skip
_OPERATORS = {
    "products": """MatMul Gemm Conv ConvTranspose Einsum MatMulInteger ConvInteger QLinearConv QLinearMatMul
        MatMulNBits LSTM GRU RNN""",
    "attention": "Attention MultiHeadAttention GroupQueryAttention RotaryEmbedding",
    "norms": """LayerNormalization RMSNormalization BatchNormalization GroupNormalization InstanceNormalization Softmax
        LogSoftmax""",
    "activations": """Relu Gelu QuickGelu Sigmoid Tanh Swish Mish HardSwish HardSigmoid Elu Selu Celu LeakyRelu PRelu
        Softplus Erf Clip""",
    "movements": """Reshape Transpose Concat Split Slice Gather GatherElements GatherND Squeeze Unsqueeze Expand Pad
        Tile Cast Shape Flatten Resize""",
    "control": "If Loop Scan",
}
_FAMILY = {op: family for family, names in _OPERATORS.items() for op in names.split()}

_WIDTH, _HEIGHT, _GAP = 190, 46, 56  # of a box, and between layers, in pixels
_KEY = 110  # pixels of an entry of the key
_LETTERS = 26  # of 12 pixels' monospace in a box


@dataclass(eq=False)
class Block:
    """Nodes in a row that belong to one module; or an input or output, which has none."""

    title: str
    kind: str = ""
    nodes: list[Node] = field(default_factory=list)
    layer: int = 0

    @property
    def family(self) -> str:
        """What most of its nodes do."""
        counts = Counter(_FAMILY.get(node.op.rpartition("::")[2], "others") for node in self.nodes)
        return counts.most_common(1)[0][0] if counts else ""

    @property
    def operators(self) -> str:
        """Its operators, the commonest first."""
        counts = Counter(node.op.rpartition("::")[2] for node in self.nodes)
        return ", ".join(f"{op} ×{count}" if count > 1 else op for op, count in counts.most_common())

    @property
    def lines(self) -> Iterator[str]:
        """The user's lines that its nodes come from."""
        places = dict.fromkeys((node.location.file, node.location.line, node.location.code) for node in self.nodes)
        return (f"{Path(file).name}:{line}  {code}".rstrip() for file, line, code in places if file)


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG, shown by notebooks as it is."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file. Raises CannotWrite."""
        with saying_what(Path(path)):
            Path(path).write_text(self.svg, encoding="utf-8")
        return Path(path)

    def __repr__(self) -> str:
        return f"<fxonnx picture: {len(self.svg)} characters of SVG>"


def picture(graph: Graph, depth: int | None = None) -> Picture:
    """A graph down to a depth of modules, by default the deepest that is looked at with ease. Raises InvalidOption
    without igraph."""
    depths = range(1, 1 + max((len(node.location.scopes) for node in graph.nodes), default=0))
    fitting = [each for each in depths if len(_blocks(graph, each)) <= _BLOCKS]
    blocks = _blocks(graph, depth or (fitting[-1] if fitting else 1))
    edges = _edges(graph, blocks)
    for source, target in edges:  # in the order of their targets, which come behind their sources
        target.layer = max(target.layer, source.layer + 1)
    return Picture(_svg(blocks, edges))


def _blocks(graph: Graph, depth: int) -> list[Block]:
    """The inputs, runs of nodes in one module, and the outputs."""
    blocks = [Block(value.name or "") for value in graph.inputs]
    last: tuple[str, ...] | None = None
    for node in graph.nodes:
        scopes = node.location.scopes[:depth]
        if scopes != last:
            last = scopes
            blocks.append(Block(".".join(scopes) or "the model"))
        if scopes and scopes == node.location.scopes:
            blocks[-1].kind = node.location.kind
        blocks[-1].nodes.append(node)
    return blocks + [Block(name) for name in graph.output_names]


Edges = Mapping[tuple[Block, Block], Sequence[Value]]


def _edges(graph: Graph, blocks: Sequence[Block]) -> Edges:
    """What goes from one block to another, in the order of the blocks."""
    source = {output: block for block in blocks for node in block.nodes for output in node.outputs}
    source |= dict(zip(graph.inputs, blocks, strict=False))
    reads = [(block, value) for block in blocks for node in block.nodes for value in node.reads]
    reads += list(zip(blocks[len(blocks) - len(graph.outputs) :], graph.outputs, strict=True))
    found: dict[tuple[Block, Block], dict[Value, None]] = {}
    for block, value in reads:
        if value in source and source[value] is not block:
            found.setdefault((source[value], block), {})[value] = None
    return {pair: list(values) for pair, values in found.items()}


Point = tuple[float, float]
_STYLE = (
    "text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #222; } .small { font-size: 10px; fill: #555; } "
    "path { fill: none; stroke: #999; } rect { fill: #fff; stroke-width: 1.5; }"
)


def _svg(blocks: Sequence[Block], edges: Edges) -> str:
    """Boxes in layers, edges from top to bottom through places of their own in the layers that they pass."""
    places, routes = _layout(blocks, list(edges))
    width = max(x for route in (places, *routes) for x, _ in route) + _WIDTH + 2 * _GAP
    height = max(y for _, y in places) + _HEIGHT + _GAP
    paths = (_edge(route, values) for route, values in zip(routes, edges.values(), strict=True))
    boxes = (_box(block, place) for block, place in zip(blocks, places, strict=True))
    families = dict.fromkeys(block.family for block in blocks if block.nodes)
    width = max(width, 2 * _GAP + len(families) * _KEY)
    key = _key(families, height)
    size = f'width="{width:.0f}" height="{height + _GAP / 2:.0f}"'
    lines = (f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{_STYLE}</style>",
             '<rect width="100%" height="100%"/>', f'<g transform="translate({_GAP},{_GAP / 2})">', *paths, *boxes,
             "</g>", *key, "</svg>")  # fmt: skip
    return "\n".join(lines)


def _layout(blocks: Sequence[Block], pairs: Sequence[tuple[Block, Block]]) -> tuple[list[Point], list[list[Point]]]:
    """The upper left corner of every box, and the places that every edge goes through."""
    layers = [block.layer for block in blocks]
    number = {block: index for index, block in enumerate(blocks)}
    routes = list[list[int]]()
    for source, target in pairs:
        between = range(source.layer + 1, target.layer)
        routes.append([number[source], *range(len(layers), len(layers) + len(between)), number[target]])
        layers += between
    graph = _igraph().Graph(len(layers), [pair for each in routes for pair in pairwise(each)], directed=True)
    laid = graph.layout_sugiyama(layers=layers, hgap=_WIDTH + 30, vgap=_HEIGHT + _GAP).coords
    left = min(x for x, _ in laid)
    points = [(x - left, y) for x, y in laid]
    return points[: len(blocks)], [[points[each] for each in route] for route in routes]


def _igraph() -> Any:
    try:
        import igraph
    except ImportError as error:
        raise errors.InvalidOption(
            "a picture cannot be drawn", cause="igraph lays it out, and is not installed",
            cure="pip install 'fxonnx[view]'; or compiled.view(), a page of text that needs nothing",
        ) from error  # fmt: skip
    return igraph


def _edge(route: Sequence[Point], values: Sequence[Value]) -> str:
    """A curve from the bottom of one box to the top of another, with what goes along it."""
    centres = [(x + _WIDTH / 2, y) for x, y in route]
    (x, y), *rest = centres
    path = [f"M{x:.0f},{y + _HEIGHT:.0f}"]
    above = y + _HEIGHT
    for x_next, y_next in rest:
        middle = (above + y_next) / 2
        path.append(f"C{x:.0f},{middle:.0f} {x_next:.0f},{middle:.0f} {x_next:.0f},{y_next:.0f}")
        path += [f"V{y_next + _HEIGHT:.0f}"] if y_next != rest[-1][1] else []
        x, above = x_next, y_next + _HEIGHT
    first, *more = dict.fromkeys(str(value.type) for value in values)
    said = first + (f" and {len(values) - 1} more" if len(values) > 1 else "")
    words = "\n".join(map(repr, values)) if more or len(values) > 1 else repr(values[0])
    end, top = rest[-1]
    return (f'<g><title>{escape(words)}</title><path d="{" ".join(path)}"/>'
            f'<text class="small" x="{end + 4:.0f}" y="{top - 6:.0f}">{escape(said)}</text></g>')  # fmt: skip


def _box(block: Block, place: Point) -> str:
    x, y = place
    colour = _COLOURS.get(block.family, "#bbb")
    hover = "\n".join((f"{block.title} {block.kind}".rstrip(), block.operators, *block.lines))
    title = f"{block.title}  {block.kind}".rstrip() if block.nodes else block.title
    texts = [(title, 18, ""), (block.operators, 35, ' class="small"')] if block.nodes else [(title, 27, "")]
    written = (f'<text{style} x="{x + 8:.0f}" y="{y + below:.0f}">{escape(_cut(text))}</text>'
               for text, below, style in texts)  # fmt: skip
    round_ = 4 if block.nodes else _HEIGHT // 2
    rect = f'<rect x="{x:.0f}" y="{y:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="{round_}" stroke="{colour}"/>'
    return f"<g><title>{escape(hover)}</title>{rect}{''.join(written)}</g>"


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _key(families: Iterable[str], top: float) -> Iterator[str]:
    """Which colour stands for what."""
    for index, family in enumerate(families):
        x = _GAP + index * _KEY
        yield f'<rect x="{x}" y="{top:.0f}" width="10" height="10" stroke="{_COLOURS[family]}"/>'
        yield f'<text class="small" x="{x + 16}" y="{top + 9:.0f}">{family}</text>'
