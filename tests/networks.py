"""Networks that tests of several modules use."""

import torch
from torch import nn


def unchecked(network, *, name, classes, contract):
    """A network made known without a look at it, as one that was changed after model_from had looked."""
    network.arch, network.classes, network.contract = name, classes, contract
    return network.eval()


class Attending(nn.Module):
    """Attention over the places of a small picture, or a matrix held as a bare parameter in its stead."""

    def __init__(self, bare, *, classes):
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 16, 3, 2), nn.Linear(16, classes)
        if bare:
            self.mix = nn.Parameter(torch.randn(16, 16) / 4)
        else:
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = x @ self.mix if hasattr(self, "mix") else self.attention(x, x, x, need_weights=False)[0]
        return self.last(x.relu().mean(1))


class Taking(nn.Module):
    """A network that takes the weights of a layer without calling it, and has a layer that it never uses."""

    def __init__(self, *, classes, width=32):
        super().__init__()
        self.stem, self.taken, self.idle = nn.Conv2d(3, 32, 3), nn.Conv2d(32, width, 3), nn.Linear(4, 4)
        self.mix, self.last = nn.Conv2d(width, 32, 1), nn.Linear(32, classes)

    def forward(self, x):
        x = nn.functional.conv2d(self.stem(x).relu(), self.taken.weight, self.taken.bias)
        return self.last(self.mix(x.relu()).relu().mean((2, 3)))
