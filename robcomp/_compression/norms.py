"""Running statistics of batch normalisation, measured again."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def running_norms(module: nn.Module) -> list[nn.Module]:
    """The batch normalisations; ValueError for one that keeps no running statistics."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    found = {name: layer for name, layer in module.named_modules() if isinstance(layer, kinds)}
    for name, layer in found.items():
        if not layer.track_running_stats or layer.running_mean is None or layer.running_var is None:
            raise ValueError(
                f"layer {name} keeps no running statistics and normalises by the batch it is in: there are none to "
                "measure again, leave that out"
            )
    return list(found.values())


@torch.no_grad()
def recalibrate(
    module: nn.Module,  # changed in place, left in evaluation mode
    batches: Iterable[Tensor],  # inputs as the model takes them
) -> None:
    """Replace the running statistics by those of the batches, each batch counting the same."""
    norms = running_norms(module.eval())
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    for batch in batches:
        module(batch)
    for layer, momentum in zip(norms, momenta):
        layer.momentum = momentum
        layer.eval()
