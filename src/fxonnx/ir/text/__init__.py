"""The graph as text, and the text as a graph.

    graph(x: f32[n,128]) opset=23 stage=03-rewrite-fusion
      layers.0.fc.weight: f32[512,128]   layers.0.fc.bias: f32[512]

      @ layers.0.fc  Linear  encoder.py:31
      %0: f32[n,512] = Gemm(x, layers.0.fc.weight, layers.0.fc.bias) {transB=1}   · linear
      @ layers.0.act  GELU  encoder.py:32
      %1: f32[n,512] = Gelu(%0)                                                   · gelu, by erf_gelu
      return %1 as y

Constants without a name and of at most 8 elements stand where they are read, `i64[2](0, -1)`; all others in the header,
without contents. A heading holds until the next one. Names that are no plain words are quoted as in JSON. Printing what
was parsed from a printed text gives that text again.
"""

from __future__ import annotations

from fxonnx.ir.text.parser import parse_graph
from fxonnx.ir.text.printer import Line, graph_lines, print_graph
from fxonnx.ir.text.scanner import ParseError

__all__ = ["Line", "ParseError", "graph_lines", "parse_graph", "print_graph"]
