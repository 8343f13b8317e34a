"""What enters: the libraries of the extra, a network before it is written as ONNX, and the images and settings that a file is run with."""
from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import numpy as np
from torch import nn


def library(name: str):  # onnx or onnxruntime
    """A library of the `onnx` extra, or one line that says how to get it."""
    try: return import_module(name)
    except ImportError: raise ImportError(f"{name} is not installed: pip install 'robcomp[onnx]'") from None


def pad_explicitly(module: nn.Module) -> nn.Module:  # the same, changed in place
    """Padding in numbers where it was given as a word."""
    for part in module.modules():
        if not isinstance(getattr(part, "padding", None), str) or part.padding_mode != "zeros": continue
        sides = part._reversed_padding_repeated_twice  # left, right, top, bottom, ...
        if sides[::2] == sides[1::2]:
            part.padding = tuple(sides[::-2])
        else:
            part.padding = (0,) * (len(sides) // 2)
            part.register_forward_pre_hook(lambda own, inputs, sides=sides: (nn.functional.pad(inputs[0], sides), *inputs[1:]))
    return module


def check_exportable(module: nn.Module) -> None:
    """One line about a layer whose answer for an image depends on the others."""
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            raise ValueError(f"layer {name} normalises by the batch it is in (track_running_stats=False), "
                             "so no file can answer for one image: keep running statistics")


def whole(value: object, name: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`; one line of error, with its name, where it is none."""
    if isinstance(value, (int, np.integer)) and low <= value <= high: return int(value)
    raise ValueError(f"{name} is a whole number from {low:,} to {high:,}, got {value!r}")


def batches(images: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Images, `batch` at a time; one line of error where there are none."""
    if not hasattr(images, "shape"): raise TypeError(f"images are an array of (n, size, size, 3) uint8, got {type(images).__name__}")
    if not len(images): raise ValueError("there are no images to answer for: pass at least one")
    step = whole(batch, "batch", 1, 1_000_000)
    return (images[start:start + step] for start in range(0, len(images), step))
