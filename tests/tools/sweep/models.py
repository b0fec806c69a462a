"""Models that tests sweep over, each made by a factory that other processes can import."""

import os

import torch
from torch import nn


def small():
    """Two linear layers."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), (torch.ones(3, 4),)


class Counts(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        """x + how many calls there were."""
        self.calls += 1
        return x + self.calls


def counts():
    """A model with a state."""
    return Counts(), (torch.ones(2),)


def refused():
    """A model that PyTorch itself does not run."""
    return nn.Linear(4, 8), (torch.ones(3, 5),)


def ends():
    """Ends the process that asks for the model."""
    os._exit(3)
