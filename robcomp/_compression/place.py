"""Where a network is asked, and how exactly: on the device of a trial, in full float32 there.

A GPU computes convolutions in TF32 (ten bits of fraction) unless it is told not to, and a processor may be set to
bfloat16. What is measured or calibrated must not depend on that, so both are set aside for the time being."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_EXACT = (  # owner, setting, value
    (torch.backends.cudnn.conv, "fp32_precision", "ieee"),
    (torch.backends.cuda.matmul, "fp32_precision", "ieee"),
    (torch.backends.mkldnn.conv, "fp32_precision", "ieee"),
    (torch.backends.mkldnn.matmul, "fp32_precision", "ieee"),
    (torch.backends.cudnn, "benchmark", False),
    (torch.backends.cudnn, "deterministic", True),
)


@contextmanager
def full_precision() -> Iterator[None]:
    """Within the block, float32 products are float32 products, and the same kernels are chosen every time."""
    before = [getattr(owner, name) for owner, name, _ in _EXACT]
    try:
        for owner, name, value in _EXACT:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(_EXACT, before):
            setattr(owner, name, value)


def in_channels_last(module: nn.Module, device: str | torch.device) -> nn.Module:
    """A network on a device, in channels-last order where its weights have no more than two dimensions of space."""
    flat = all(value.ndim < 5 for value in (*module.parameters(), *module.buffers()))
    return module.to(device, memory_format=torch.channels_last) if flat else module.to(device)


@contextmanager
def moved(module: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Within the block, a network is on a device; afterwards it is where it was."""
    home = next(module.parameters()).device
    try:
        yield module.to(device)
    finally:
        module.to(home)


@contextmanager
def placed(module: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Within the block, a network is on a device and computes in full precision; afterwards it is where it was."""
    with full_precision(), moved(module, device):
        yield module
