"""A batch in parts: threads share it, and no more draws are in memory at once than a few hundred images take."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robcomp._corruptions.tables import REFERENCE
from robcomp._corruptions.threads import in_threads

SIZES = 8, 512  # smallest and largest side, pixels
_TOGETHER = 256  # images whose draws are in memory at once


def scale_of(images: np.ndarray, strengths: str) -> float:
    """By how much constants in pixels grow."""
    return images.shape[1] / REFERENCE[strengths]


def made(kernel: Callable, images: np.ndarray, draws: np.ndarray, *constants) -> np.ndarray:
    """What `kernel(images, draws, out, *constants)` writes."""
    # A kernel takes its constants one by one, however many they are: a class that numba knows cannot be kept compiled
    # on the disk, and every caller would wait for the compiler again.
    out = np.empty_like(images)
    kernel(images, draws, out, *constants)
    return out


def in_parts(images: np.ndarray, numbers: np.ndarray, corrupted: Callable) -> np.ndarray:
    """Apply `corrupted(images, numbers)` in threads, to a few hundred images at a time: their draws take memory."""
    size = images.shape[1]
    if images.shape[2] != size or not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(
            f"images of {size} x {images.shape[2]} pixels: only squares of {SIZES[0]} to {SIZES[1]} "
            "pixels can be corrupted; crop or resize them first"
        )
    out, together = np.empty_like(images, order="C"), max(1, _TOGETHER * 1024 // size**2)

    def share(images, numbers, out):
        for first in range(0, len(images), together):
            part = slice(first, first + together)
            out[part] = corrupted(np.require(images[part], np.uint8, "CW"), numbers[part])

    in_threads(share, (images, np.asarray(numbers, np.int64), out))
    return out
