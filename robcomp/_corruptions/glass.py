"""Frosted glass."""

from __future__ import annotations

import numpy as np
from numba import njit

from robcomp._corruptions.draws import uniforms
from robcomp._corruptions.parts import in_parts, made, scale_of
from robcomp._corruptions.smoothing import bell, smooth
from robcomp._corruptions.tables import REFERENCE

_GLASS = dict(
    cifar=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    imagenet=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
)  # sigma px, reach px, rounds


@njit(cache=True, nogil=True)
def _glass_kernel(images, draws, out, weights, reach, rounds):
    size, radius = images.shape[1], len(weights) // 2
    plane, between = np.empty((size, 3 * size)), np.empty((size, 3 * (size + 2 * radius)))
    for i in range(len(images)):
        at = 0
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    plane[y, 3 * x + c] = images[i, y, x, c] / 255.0
        smooth(plane, between, weights, 3, False, False)
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    out[i, y, x, c] = np.uint8(plane[y, 3 * x + c] * 255)
        for _ in range(rounds):
            for y in range(size - reach, reach, -1):
                for x in range(size - reach, reach, -1):
                    column = min(x + int(draws[i, at] * (2 * reach)) - reach, size - 1)
                    row = min(y + int(draws[i, at + 1] * (2 * reach)) - reach, size - 1)
                    at += 2
                    for c in range(3):
                        out[i, y, x, c] = out[i, row, column, c]
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    plane[y, 3 * x + c] = out[i, y, x, c] / 255.0
        smooth(plane, between, weights, 3, False, False)
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    out[i, y, x, c] = np.uint8(min(max(plane[y, 3 * x + c], 0.0), 1.0) * 255)


def _glass_draws(severity: int, size: int, strengths: str = "cifar") -> int:
    """How many uniforms an image takes: column and row offset of every pixel visited."""
    _, reach, rounds = _GLASS[strengths][severity - 1]
    reach = max(1, round(reach * size / REFERENCE[strengths]))
    return 2 * rounds * (size - 2 * reach) ** 2


def _glass_blur(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """Smooth, let every pixel take the colour of a neighbour above or to the left (or keep its own), smooth again.

    The published loop means to swap the two pixels; its swap assigns through views, so the neighbour keeps its colour.
    Pixels are visited from the last to the first and only ever look back, so a round equals one gather.
    """
    sigma, reach, rounds = _GLASS[strengths][severity - 1]
    scale = scale_of(images, strengths)
    return made(_glass_kernel, images, draws, bell(sigma * scale), max(1, round(reach * scale)), rounds)


def glass_blur(
    images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar"
) -> np.ndarray:
    """Seen through frosted glass: pixels displaced by at most one (other sizes: size / 32) between two weak blurs."""
    count = _glass_draws(severity, images.shape[1], strengths)
    return in_parts(
        images,
        numbers,
        lambda part, who: _glass_blur(part, uniforms(seed, "glass_blur", severity, who, count), severity, strengths),
    )
