"""Is it a graph? What a pass must leave behind, checked. A failure is printed under the guilty node:

    %3: f32[n,4] = Relu(y)
    ^^^ reads y: f32[n,4], which nobody has written before

All faults are found in one walk.
"""

from __future__ import annotations

from fxonnx.errors import InternalError
from fxonnx.ir.graph import Graph
from fxonnx.ir.text import print_graph
from fxonnx.ir.verify.structure import Faults, structural_faults

CONTEXT = 6  # lines shown around a fault in a long graph
LONG = 100


def verify(graph: Graph, *, admitted: bool = True, since: Graph | None = None) -> None:
    """Raise InternalError, with all faults in the print-out, unless the graph is well formed and well typed.

    Every value is written once and before it is read; operators exist in the graph's opset and are called as their
    schema says; types are consistent, and what inference tells where the opset is the newest. `admitted` False lets
    nodes have dtypes that the schema does not admit, as they may before legalization widens them. `since` is a graph
    that was verified so before: calls that it has too are right.
    """
    faults = structural_faults(graph, admitted, since)
    if not faults:
        return
    messages = [message for each in faults.values() for message in each]
    more = f", and {len(messages) - 1} more" if len(messages) > 1 else ""
    raise InternalError(
        "a graph does not verify",
        cause=f"{messages[0]}{more}",
        text=_excerpt(print_graph(graph, notes=faults)),
        location=[owner.location for owner in faults if not isinstance(owner, Graph)],
    )


def _excerpt(text: str) -> str:
    """A long text's first line and the surroundings of its notes."""
    lines = text.split("\n")
    if len(lines) <= LONG:
        return text
    noted = [index for index, line in enumerate(lines) if line.lstrip().startswith("^^^")]
    shown = {0, *(near for index in noted for near in range(index - CONTEXT, index + CONTEXT + 1))}
    kept: list[str] = []
    for index, line in enumerate(lines):
        if index in shown:
            kept.append(line)
        elif kept[-1] != "  ⋮":
            kept.append("  ⋮")
    return "\n".join(kept)


__all__ = ["Faults", "verify"]
