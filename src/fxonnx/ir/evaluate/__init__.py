"""A node computed with numpy: what folding needs of small tensors, in the newest opset.

`onnx.reference` computes the operators. Functions of our own stand before it: `direct` for the few that nearly every
compile folds, which need not wait for its import, and `gaps` for what it computes wrongly or refuses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fxonnx.ir.evaluate.direct import DIRECT, Array
from fxonnx.ir.evaluate.gaps import GAPS
from fxonnx.ir.evaluate.reference import CannotEvaluate, compute_by_reference
from fxonnx.ir.graph import Node


def evaluate_node(node: Node, arrays: Sequence[Array | None]) -> list[Array]:
    """The node's outputs for its inputs, of which absent ones are None, by the first that knows the operator.

    Overflow and invalid arithmetic give what the dtype gives, silently. Raises CannotEvaluate for an operator nobody
    here knows.
    """
    function = GAPS.get(node.op) or DIRECT.get(node.op)
    with np.errstate(all="ignore"):
        result = None if function is None else function(*arrays, **node.attributes)
        if result is None:
            return compute_by_reference(node, arrays)
        return [np.asarray(each) for each in (result if isinstance(result, list) else [result])]


__all__ = ["CannotEvaluate", "evaluate_node"]
