"""Motion blur, and the trail that falling snow leaves too."""

from __future__ import annotations

from math import ceil, exp, pi, sqrt

import numpy as np
from numba import njit

from robcomp._corruptions.draws import uniforms
from robcomp._corruptions.parts import in_parts, made, scale_of

_MOTION = dict(
    cifar=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)), imagenet=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
)  # radius px, sigma px


def trail(radius: float, sigma: float) -> np.ndarray:
    """One-sided Gaussian weights of ImageMagick's motion blur, 2 * ceil(radius) + 1 of them."""
    steps = range(2 * ceil(radius) + 1)
    weights = [exp(-(step * step) / (2.0 * sigma * sigma)) / (sqrt(2 * pi) * sigma) for step in steps]
    return np.array(weights) / sum(weights)


@njit(cache=True, nogil=True)
def streak(plane, weights, degrees, step, margin, blurred):
    """ImageMagick 6.9.11's MotionBlurImage: whole-pixel steps, sums rounded to 16 bits, then cut to the levels 0..255.

    `plane` is (size, (size + 2 * margin) * step) with 257 * level in the middle; the edge is repeated outwards. The
    inner loops run over slices, as numba otherwise checks every index for being negative and vectorises nothing.
    """
    size, count = plane.shape[0], len(weights)
    middle, width = margin * step, size * step
    along, down = count * np.cos(np.pi * degrees / 180.0), count * np.sin(np.pi * degrees / 180.0)
    length = np.hypot(down, along)
    for y in range(size):
        for x in range(margin):
            for channel in range(step):
                plane[y, x * step + channel] = plane[y, middle + channel]
                plane[y, middle + width + x * step + channel] = plane[y, middle + width - step + channel]
    for y in range(size):
        sums = blurred[y]
        sums[:] = 0.0
        for k in range(count):
            start = middle + int(np.ceil(k * along / length - 0.5)) * step
            row, weight = min(max(y + int(np.ceil(k * down / length - 0.5)), 0), size - 1), weights[k]
            line = plane[row, start : start + width]
            for x in range(width):
                sums[x] += weight * line[x]
        for x in range(width):
            sums[x] = np.floor(np.floor(sums[x] + 0.5) / 257.0)


@njit(cache=True, nogil=True)
def _motion_kernel(images, draws, out, weights):
    size, margin = images.shape[1], len(weights)
    plane, blurred = np.empty((size, 3 * (size + 2 * margin))), np.empty((size, 3 * size))
    for i in range(len(images)):
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    plane[y, 3 * (margin + x) + c] = 257.0 * images[i, y, x, c]
        streak(plane, weights, -45 + 90 * draws[i, 0], 3, margin, blurred)
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    out[i, y, x, c] = np.uint8(blurred[y, 3 * x + c])


def _motion_blur(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """A one-sided trail under an angle between -45 and 45 degrees."""
    radius, sigma = (constant * scale_of(images, strengths) for constant in _MOTION[strengths][severity - 1])
    return made(_motion_kernel, images, draws, trail(radius, sigma))


def motion_blur(
    images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar"
) -> np.ndarray:
    """The camera moved: a Gaussian trail in one direction."""
    return in_parts(
        images,
        numbers,
        lambda part, who: _motion_blur(part, uniforms(seed, "motion_blur", severity, who, 1), severity, strengths),
    )
