"""A BERT-like encoder of any depth, narrow: to see how compile time grows with the number of layers."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.case import Case, tags

VOCABULARY = 1000


class Layer(nn.Module):
    """Post-norm self-attention and perceptron, as in BERT: f32[n, t, width] -> the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.output_norm = nn.LayerNorm(width)

    def split(self, x: Tensor) -> Tensor:
        """f32[n, t, width] -> f32[n, heads, t, width / heads]."""
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.attention_norm(x + self.output(mixed.transpose(1, 2).flatten(2)))
        return self.output_norm(x + self.contract(F.gelu(self.expand(x))))


class Encoder(nn.Module):
    """int64[n, t] token ids and mask -> f32[n, t, width]."""

    def __init__(self, depth: int, width: int = 256, heads: int = 4, longest: int = 512) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Embedding(longest, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        positions = torch.arange(input_ids.size(1), device=input_ids.device)
        x = self.norm(self.tokens(input_ids) + self.positions(positions))
        mask = attention_mask[:, None, None, :].bool()
        for layer in self.layers:
            x = layer(x, mask)
        return x


def encoder_case(depth: int) -> Case:
    """The encoder with `depth` layers, under the name `encoder_<depth>`."""
    return Case(
        name=f"encoder_{depth}",
        module=lambda: Encoder(depth),
        inputs=lambda draw, sizes: (
            (
                draw.integers(VOCABULARY, sizes["batch"], sizes["sequence"]),
                draw.padding(sizes["batch"], sizes["sequence"]),
            ),
            {},
        ),
        sizes={"batch": 2, "sequence": 32},
        other_sizes={"batch": 3, "sequence": 21},
        dynamic={"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "sequence"}},
        tags=tags("attention", "depth"),
    )


CASES = (encoder_case(12),)
