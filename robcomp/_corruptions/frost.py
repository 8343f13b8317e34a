"""Frost, cut out of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

from robcomp._corruptions.draws import uniforms
from robcomp._corruptions.frost_pictures import packed, pictures as at_scale
from robcomp._corruptions.parts import in_parts, made

_FROST = dict(
    cifar=((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    imagenet=((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
)  # share of the image, share of the picture


@njit(cache=True, nogil=True)
def _frost_kernel(images, draws, out, levels, starts, heights, widths, kept, added):
    size = images.shape[1]
    for i in range(len(images)):
        which = int(draws[i, 0] * len(starts))
        top, left = int(draws[i, 1] * (heights[which] - size)), int(draws[i, 2] * (widths[which] - size))
        for y in range(size):
            at = starts[which] + ((top + y) * widths[which] + left) * 3
            for x in range(size):
                for c in range(3):
                    value = kept * images[i, y, x, c] + added * levels[at + 3 * x + c]
                    out[i, y, x, c] = np.uint8(min(value, 255.0))


def _frost(
    images: np.ndarray, draws: np.ndarray, severity: int, pictures: tuple[np.ndarray, ...], strengths: str = "cifar"
) -> np.ndarray:
    """A random cut of a random picture of frost added to the dimmed image."""
    kept, added = _FROST[strengths][severity - 1]
    return made(_frost_kernel, images, draws, *packed(pictures), float(kept), float(added))


def frost(
    images: np.ndarray,
    severity: int,
    seed: int,
    numbers: np.ndarray,
    *,
    pictures: str | Path | tuple[np.ndarray, ...] = "own",
    strengths: str = "cifar",
) -> np.ndarray:
    """Ice on the lens; `pictures` is "own", "imagecorruptions" (official), a folder, or pictures at the right scale."""
    taken = pictures if isinstance(pictures, tuple) else at_scale(pictures, images.shape[1], strengths)
    return in_parts(
        images,
        numbers,
        lambda part, who: _frost(part, uniforms(seed, "frost", severity, who, 3), severity, taken, strengths),
    )
