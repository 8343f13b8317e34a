"""Smoothing by a Gaussian, in rows and columns, and what stands in for the pixels beyond an edge."""

from __future__ import annotations

import numpy as np
from numba import njit


def bell(sigma: float, truncate: float = 4.0) -> np.ndarray:
    """Normalised samples of a Gaussian out to `truncate` sigmas."""
    radius = int(truncate * sigma + 0.5)
    steps = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * steps**2)
    return weights / weights.sum()


@njit(cache=True)
def _inside(i, n, mirrored):
    """Index of a line of n that stands in for position i: the nearest end, or the mirror image (d c b a | a b c d)."""
    if not mirrored:
        return min(max(i, 0), n - 1)
    while i < 0 or i >= n:
        i = -1 - i if i < 0 else 2 * n - 1 - i
    return i


@njit(cache=True, nogil=True)
def smooth(plane, between, weights, step, mirrored, single):
    """Separable symmetric filter over (rows, columns * step) float64, in place; outermost taps are added first.

    `between` is room for (rows, columns * (step + 2 * radius)); `step` is the number of interleaved channels; `single`
    rounds to float32 after either axis.
    """
    rows, width, radius = plane.shape[0], plane.shape[1], len(weights) // 2
    columns, middle = width // step, radius * step
    if radius == 0:
        return
    for y in range(rows):
        line, into = plane[y], between[y, middle : middle + width]
        for x in range(width):
            into[x] = line[x] * weights[radius]
        for k in range(radius, 0, -1):
            above, below = plane[_inside(y - k, rows, mirrored)], plane[_inside(y + k, rows, mirrored)]
            weight = weights[radius - k]
            for x in range(width):
                into[x] += (above[x] + below[x]) * weight
        if single:
            for x in range(width):
                into[x] = np.float32(into[x])
        for k in range(1, radius + 1):
            left, right = _inside(-k, columns, mirrored) * step, _inside(columns - 1 + k, columns, mirrored) * step
            for channel in range(step):
                between[y, middle - k * step + channel] = into[left + channel]
                between[y, middle + width + (k - 1) * step + channel] = into[right + channel]
    for y in range(rows):
        into, line = plane[y], between[y, middle : middle + width]
        for x in range(width):
            into[x] = line[x] * weights[radius]
        for k in range(radius, 0, -1):
            left, right = between[y, middle - k * step :], between[y, middle + k * step :]
            weight = weights[radius - k]
            for x in range(width):
                into[x] += (left[x] + right[x]) * weight
        if single:
            for x in range(width):
                into[x] = np.float32(into[x])


@njit(cache=True)
def bounced(i, n):
    """Index of a line of n that stands in for position i: d c b | a b c d | c b a."""
    while i < 0 or i >= n:
        i = -i if i < 0 else 2 * n - 2 - i
    return i
