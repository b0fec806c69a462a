"""Growth of resident memory, in MB, while a session is made over MB of matrices held by torch.

`memory.py MB` prints it with prepack off, then on.
"""

import os
import sys
from pathlib import Path

import onnx
import torch

from fxonnx.runtime.configuration import Configuration
from fxonnx.runtime.session import Session


def resident() -> float:
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def chain(layers: int, width: int) -> tuple[onnx.ModelProto, dict[str, torch.Tensor]]:
    """A chain of matrix products, and its weights."""
    helper = onnx.helper
    nodes = [helper.make_node("MatMul", [f"h{layer}", f"w{layer}"], [f"h{layer + 1}"]) for layer in range(layers)]
    first, last = (helper.make_tensor_value_info(name, 1, [1, width]) for name in ("h0", f"h{layers}"))
    graph = helper.make_graph(nodes, "chain", [first], [last])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    return model, {f"w{layer}": torch.randn(width, width) / width**0.5 for layer in range(layers)}


def main() -> None:
    """Measure both ways in one process; a tiny session first, so that libraries are loaded."""
    torch.set_num_threads(1)
    Session(*chain(1, 64))
    model, weights = chain(max(1, int(sys.argv[1]) // 16), 2048)
    kept = []
    for prepack in (False, True):
        before = resident()
        kept.append(Session(model, weights, configuration=Configuration(prepack=prepack)))
        print(f"{resident() - before:.1f}")


if __name__ == "__main__":
    main()
