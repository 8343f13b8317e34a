"""One digest for the tensors of a network, however they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import torch


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Over names in order, kinds, shapes and values; half precision is widened first, memory order does not count."""
    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        if not isinstance(tensor, torch.Tensor):  # what a module adds by get_extra_state
            digest.update(f"{name} {tensor!r}\n".encode())
            continue
        tensor = tensor.detach().cpu()
        if tensor.dtype in (torch.float16, torch.bfloat16):
            tensor = tensor.float()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
