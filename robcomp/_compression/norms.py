"""Running statistics of batch normalisation, measured again."""
from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def running_norms(module: nn.Module) -> list[nn.Module]:
    """The batch normalisations that keep running statistics."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return [layer for layer in module.modules() if isinstance(layer, kinds) and layer.track_running_stats]


@torch.no_grad()
def recalibrate(module: nn.Module,  # changed in place, left in evaluation mode
                batches: Iterable[Tensor],  # inputs as the model takes them
) -> None:
    """Replace the running statistics by those of the batches, each batch counting the same."""
    norms = running_norms(module.eval())
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    for batch in batches: module(batch)
    for layer, momentum in zip(norms, momenta):
        layer.momentum = momentum
        layer.eval()
