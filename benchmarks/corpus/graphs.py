"""Graph networks of `torch_geometric`, over any number of nodes and edges, and a tabular one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.corpus.entry import Entry, text_sizes
from benchmarks.models.case import Draw, Inputs, Sizes

SIZES = tuple({"nodes": n, "edges": e} for n, e in ((6, 14), (9, 30), (4, 5), (1, 1)))


def edges(draw: Draw, s: Sizes) -> Inputs:
    """f32[nodes, 8] and int64[2, edges]."""
    return (draw.normal(s["nodes"], 8), draw.integers(s["nodes"], 2, s["edges"])), {}


def pyg(name: str, model: str, **fields: Any) -> Entry:
    """One of torch_geometric's networks of two layers."""

    def factory() -> nn.Module:
        from importlib import import_module

        module: nn.Module = getattr(import_module("torch_geometric.nn"), model)(8, 16, 2, 4, **fields)
        return module

    return Entry(f"torch_geometric/{name}", factory, edges, SIZES, {"x": {0: "nodes"}, "edge_index": {1: "edges"}})


def tabnet() -> nn.Module:
    """Rows of 8 features, by attention to some at each step."""
    from pytorch_tabnet.tab_network import TabNet

    module: nn.Module = TabNet(8, 3, n_d=4, n_a=4, n_steps=2, cat_idxs=[], cat_dims=[], cat_emb_dim=1,
                               group_attention_matrix=torch.eye(8))  # fmt: skip
    return module


def rows(draw: Draw, s: Sizes) -> Inputs:
    """f32[batch, 8]."""
    return (draw.normal(s["batch"], 8),), {}


ENTRIES = (
    pyg("gcn", "GCN"),
    pyg("gat", "GAT"),
    pyg("sage", "GraphSAGE"),
    pyg("gin", "GIN"),
    Entry("pytorch_tabnet/tabnet", tabnet, rows, text_sizes((4, 1), (7, 1), (1, 1), (16, 1)), {"x": {0: "batch"}}),
)
