"""What is left that the target does not know becomes a located error; all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

from fxonnx import errors
from fxonnx.ir import schema
from fxonnx.ir.graph import Graph, Node
from fxonnx.passes.legalize.inputs_to_attributes import signature_fits
from fxonnx.passes.legalize.support import admitted, bindings, runs_or_inlines
from fxonnx.passes.pipeline import graph_pass
from fxonnx.target import MICROSOFT, NEWEST_OPSET, OLDEST_OPSET, Target

RUNTIME_DOMAINS = (MICROSOFT,)


@graph_pass
def guard(graph: Graph, target: Target) -> Graph:
    """The graph unchanged. Raises NotInOpset, NoKernel, UnsupportedDtype (Failures for several)."""
    found = (complaint(node, target) for node in (*graph.all_nodes(), *_copies(graph)))
    errors.raise_all([error for error in found if error is not None])
    return graph


def _copies(graph: Graph) -> list[Node]:
    """The Identity nodes of outputs that no node makes, which are written where the file is."""
    made = {output for node in graph.nodes for output in node.outputs}
    return [Node("Identity", (each,), (each,)) for each in graph.outputs if each not in made]


def complaint(node: Node, target: Target) -> errors.Error | None:
    """The error about a node that the target cannot have; None for the others."""
    domain, _ = schema.split_name(node.op)
    if domain in RUNTIME_DOMAINS and not target.allows(domain):
        return _not_in_opset(node, target, f"{node.op} is an operator of one runtime, and the target is standard ONNX")
    if not target.allows(domain):
        return _unknown_domain(node, target, domain)
    if schema.facts(node.op) is None:  # another domain: whoever brought it knows
        return None
    facts = schema.facts(node.op, target.opset)
    if facts is None:
        return _not_in_opset(node, target, f"{node.op} exists from opset {min(schema.versions(node.op))}")
    misfit = signature_fits(node, facts)
    if misfit is not None:
        return _not_in_opset(node, target, f"{node.op} in this form needs a newer opset: {misfit}")
    bound = bindings(node, facts)
    if not admitted(node.op, target.opset, bound):
        return _not_in_opset(
            node, target, f"{node.op} does not take {_dtypes(bound)} there, and no wider dtype is exact"
        )
    if runs_or_inlines(node.op, target, bound):
        return None
    return errors.NoKernel(
        f"{_subject(node)} does not run on {target}",
        cause=f"it has no kernel for {node.op} (opset {facts.since}) with {_dtypes(bound)}",
        cure=_opset_cure(target.opsets_with_kernel(node.op, dict(bound))),
        location=node.location, value=str(node.output.type),
    )  # fmt: skip


def _not_in_opset(node: Node, target: Target, cause: str) -> errors.Error:
    return errors.NotInOpset(
        f"{_subject(node)} cannot be written in opset {target.opset}", cause=f"{cause}; fxonnx has no expansion",
        cure=_opset_cure([opset for opset in range(OLDEST_OPSET, NEWEST_OPSET + 1) if _would_fit(node, opset)]),
        location=node.location, value=str(node.output.type),
    )  # fmt: skip


def _unknown_domain(node: Node, target: Target, domain: str) -> errors.Error:
    made = "onnxruntime()" if target.kernels else f"onnx({target.opset})"
    return errors.NotInOpset(
        f"{_subject(node)} is written as {node.op}, and the target does not know {domain}",
        cause=f"{target} has the domains {', '.join(['ai.onnx', *sorted(target.domains), *dict(target.own)])}",
        cure=f'target=fxonnx.Target.{made}.knowing("{domain}"), and a library that has it where the file is run, '
        f"compiled.configure(custom_ops=[…]); in fxonnx.compat.export custom_opsets={{{domain!r}: 1}}",
        location=node.location, value=str(node.output.type),
    )  # fmt: skip


def _would_fit(node: Node, opset: int) -> bool:
    facts = schema.facts(node.op, opset)
    return facts is not None and signature_fits(node, facts) is None and admitted(node.op, opset, bindings(node, facts))


def _opset_cure(opsets: Sequence[int]) -> str:
    return (
        f"fxonnx.compile(model, args, opset={opsets[0]})"
        if opsets
        else "change the dtype, or register another lowering for the op"
    )


def _subject(node: Node) -> str:
    return node.location.op or node.op


def _dtypes(bound: tuple[tuple[str, object], ...]) -> str:
    return ", ".join(f"{variable} = {dtype}" for variable, dtype in bound)
