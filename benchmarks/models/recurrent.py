"""Text classifiers on bidirectional recurrent layers: LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho et al. 2014)."""

import torch
from torch import Tensor, nn

from benchmarks.models.case import Case, Draw, Inputs, Sizes, tags

VOCABULARY = 5000
REASON = "torch.export freezes the sequence of aten.lstm and aten.gru at the example's length"


class LSTMClassifier(nn.Module):
    """int64[n, t] -> logits f32[n, classes], from the last layer's final states."""

    def __init__(self, width: int = 128, hidden: int = 256, classes: int = 5) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.lstm = nn.LSTM(width, hidden, num_layers=2, bidirectional=True, batch_first=True, dropout=0.3)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, input_ids: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(self.embedding(input_ids))
        return self.head(torch.cat([hidden[-2], hidden[-1]], dim=1))


class GRUClassifier(nn.Module):
    """int64[n, t] -> logits f32[n, classes], from the mean over time, with an explicit initial state."""

    def __init__(self, width: int = 128, hidden: int = 256, classes: int = 5) -> None:
        super().__init__()
        self.hidden = hidden
        self.embedding = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.gru = nn.GRU(width, hidden, num_layers=2, bidirectional=True, batch_first=True, dropout=0.3)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, input_ids: Tensor) -> Tensor:
        initial = torch.zeros(4, input_ids.size(0), self.hidden, device=input_ids.device)
        output, _ = self.gru(self.embedding(input_ids), initial)
        return self.head(output.mean(dim=1))


def token_ids(draw: Draw, sizes: Sizes) -> Inputs:
    """int64[batch, sequence]."""
    return (draw.integers(VOCABULARY, sizes["batch"], sizes["sequence"]),), {}


CASES = tuple(
    Case(
        name=name,
        module=module,
        inputs=token_ids,
        sizes={"batch": 2, "sequence": 32},
        other_sizes={"batch": 3},
        dynamic={"input_ids": {0: "batch"}},
        dynamic_reason=REASON,
        tags=tags("recurrent", "quick"),
    )
    for name, module in {"lstm": LSTMClassifier, "gru": GRUClassifier}.items()
)
