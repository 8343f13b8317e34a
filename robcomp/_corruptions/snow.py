"""Snow."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import numpy as np
from numba import njit
from scipy.ndimage import zoom

from robcomp._corruptions.draws import normals, uniforms
from robcomp._corruptions.motion import streak, trail
from robcomp._corruptions.parts import in_parts, made, scale_of

_SNOW = dict(
    cifar=(
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    imagenet=(
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
)
# mean and deviation of the flakes, zoom, threshold, radius px and sigma px of their fall, share of the image's colour


@lru_cache(maxsize=32)
def _zoomed(size: int, factor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """scipy's order-1 zoom by `factor` >= 1 of the central square, cut to `size`: first of two lines, both weights."""
    kept = ceil(size / factor)
    lines = zoom(np.eye(kept), (factor, 1), order=1)
    lines = lines[(len(lines) - size) // 2 :][:size]
    first = np.minimum((lines != 0).argmax(1), kept - 2) if kept > 1 else np.zeros(size, np.int64)
    rows = np.arange(size)
    return first + (size - kept) // 2, lines[rows, first], lines[rows, np.minimum(first + 1, kept - 1)] * (kept > 1)


@njit(cache=True, nogil=True)
def _snow_kernel(images, draws, out, first, near, far, weights, mean, deviation, threshold, colour):
    size, margin = images.shape[1], len(weights)
    plane, blurred = np.empty((size, size + 2 * margin)), np.empty((size, size))
    colour, white = np.float32(colour), np.float32(1 - colour)
    red, green, blue = np.float64(np.float32(0.299)), np.float32(0.587), np.float64(np.float32(0.114))
    for i in range(len(images)):
        for y in range(size):
            for x in range(size):
                at = first[y] * size + first[x]
                flake = (
                    (
                        (mean + deviation * draws[i, at]) * near[y] * near[x]
                        + (mean + deviation * draws[i, at + 1]) * near[y] * far[x]
                    )
                    + (mean + deviation * draws[i, at + size]) * far[y] * near[x]
                    + (mean + deviation * draws[i, at + size + 1]) * far[y] * far[x]
                )
                plane[y, margin + x] = 257.0 * int(min(flake, 1.0) * 255) if flake >= threshold else 0.0
        streak(plane, weights, -135 + 90 * draws[i, size * size], 1, margin, blurred)
        for y in range(size):
            for x in range(size):
                r, g, b = images[i, y, x, 0], images[i, y, x, 1], images[i, y, x, 2]
                r, g, b = (
                    np.float32(r) / np.float32(255),
                    np.float32(g) / np.float32(255),
                    np.float32(b) / np.float32(255),
                )
                grey = np.float32(r * red + np.float64(g * green))  # fused: products not rounded before they are added
                grey = np.float32(b * blue + np.float64(grey))
                pale = grey * np.float32(1.5) + np.float32(0.5)
                fallen, risen = blurred[y, x] / 255.0, blurred[size - 1 - y, size - 1 - x] / 255.0
                for c, level in enumerate((r, g, b)):
                    value = np.float64(colour * level + white * max(level, pale)) + fallen + risen
                    out[i, y, x, c] = np.uint8(min(max(value, 0.0), 1.0) * 255)


def _snow(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """Falling flakes over a paler image; the layer is laid on a second time, turned by 180 degrees."""
    mean, deviation, factor, threshold, radius, sigma, colour = _SNOW[strengths][severity - 1]
    scale = scale_of(images, strengths)
    larger = max(factor * scale, 1.0)  # no flake is smaller than a pixel
    return made(
        _snow_kernel,
        images,
        draws,
        *_zoomed(images.shape[1], larger),
        trail(radius * scale, sigma * scale),
        mean,
        deviation,
        threshold,
        colour,
    )


def snow(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar") -> np.ndarray:
    """Thresholded noise, enlarged, blurred along its fall; the enlargement grows with size / 32 from 1 on (ours)."""
    count = images.shape[1] ** 2
    return in_parts(
        images,
        numbers,
        lambda part, who: _snow(
            part,
            np.hstack(
                [normals(seed, "snow", severity, who, count), uniforms(seed, "snow", severity, who, 1, start=count)]
            ),
            severity,
            strengths,
        ),
    )
