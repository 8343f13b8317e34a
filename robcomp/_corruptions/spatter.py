"""Spatter: water and mud."""

from __future__ import annotations

import numpy as np
from numba import njit

from robcomp._corruptions.draws import normals
from robcomp._corruptions.parts import in_parts, made, scale_of
from robcomp._corruptions.smoothing import bell, bounced, smooth

_SPATTER = dict(
    cifar=(
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
    imagenet=(
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ),
)
# mean and deviation of the liquid, smoothing px, threshold, opacity (water) or smoothing px (mud), mud or water


@njit(cache=True, nogil=True)
def _edges(level, slopes, marks, stack, low, high):
    """Canny's detector as OpenCV computes it (3 x 3 Sobel, L1 gradient): marks 2 on an edge, 0 or 1 elsewhere.

    `slopes` is (3, size + 2, size + 2) with a zero rim: across, down and magnitude.
    """
    size, waiting = level.shape[0], 0
    for y in range(size):
        above, below = max(y - 1, 0), min(y + 1, size - 1)
        for x in range(size):
            left, right = max(x - 1, 0), min(x + 1, size - 1)
            a, b, c, d = level[above, left], level[above, right], level[below, left], level[below, right]
            across = (b - a) + 2 * (level[y, right] - level[y, left]) + (d - c)
            down = (c - a) + 2 * (level[below, x] - level[above, x]) + (d - b)
            slopes[0, y + 1, x + 1], slopes[1, y + 1, x + 1] = across, down
            slopes[2, y + 1, x + 1] = abs(across) + abs(down)
    for y in range(1, size + 1):
        for x in range(1, size + 1):
            slope, across, down = slopes[2, y, x], slopes[0, y, x], slopes[1, y, x]
            marks[y, x], peak = 0, False
            if slope > low:
                flat, steep = abs(across) * 13573, abs(down) << 15  # 13573: tan(22.5 degrees) in 32768ths
                if steep < flat:
                    peak = slope > slopes[2, y, x - 1] and slope >= slopes[2, y, x + 1]
                elif steep > flat + (abs(across) << 16):
                    peak = slope > slopes[2, y - 1, x] and slope >= slopes[2, y + 1, x]
                else:
                    turn = -1 if (across ^ down) < 0 else 1
                    peak = slope > slopes[2, y - 1, x - turn] and slope > slopes[2, y + 1, x + turn]
            if peak:
                marks[y, x] = 1
                if slope > high:
                    marks[y, x], stack[waiting] = 2, y * (size + 2) + x
                    waiting += 1
    while waiting > 0:
        waiting -= 1
        y, x = stack[waiting] // (size + 2), stack[waiting] % (size + 2)
        for row in range(y - 1, y + 2):
            for column in range(x - 1, x + 2):
                if marks[row, column] == 1:
                    marks[row, column], stack[waiting] = 2, row * (size + 2) + column
                    waiting += 1


@njit(cache=True, nogil=True)
def _distance(marks, far, farthest):
    """Distance to the nearest mark 2: the 5 x 5 chamfer (1, 1.4, 2.1969) in float32, two sweeps.

    This is what OpenCV computes where Intel's IPP is built in (its wheels); without, it rounds to 2**-16.
    `far` has a rim of 2.
    """
    size = marks.shape[0] - 2
    a, b, c = np.float32(1), np.float32(1.4), np.float32(2.1969)
    for y in range(size + 4):
        for x in range(size + 4):
            far[y, x] = farthest
    for y in range(2, size + 2):
        for x in range(2, size + 2):
            knights = min(min(far[y - 2, x - 1], far[y - 2, x + 1]), min(far[y - 1, x - 2], far[y - 1, x + 2])) + c
            corners = min(far[y - 1, x - 1], far[y - 1, x + 1]) + b
            far[y, x] = min(min(knights, corners), min(far[y - 1, x], far[y, x - 1]) + a)
            if marks[y - 1, x - 1] == 2:
                far[y, x] = 0
    for y in range(size + 1, 1, -1):
        for x in range(size + 1, 1, -1):
            knights = min(min(far[y + 2, x - 1], far[y + 2, x + 1]), min(far[y + 1, x - 2], far[y + 1, x + 2])) + c
            corners = min(far[y + 1, x - 1], far[y + 1, x + 1]) + b
            far[y, x] = min(far[y, x], min(min(knights, corners), min(far[y + 1, x], far[y, x + 1]) + a))


@njit(cache=True, nogil=True)
def _equalize(grey, counts):
    """Spread the levels of a plane over 0..255, in place, as OpenCV's equalizeHist rounds them."""
    size = grey.shape[0]
    counts[:] = 0
    for y in range(size):
        for x in range(size):
            counts[grey[y, x]] += 1
    lowest = 0
    while counts[lowest] == 0:
        lowest += 1
    if counts[lowest] == size * size:
        return
    scale, total = np.float32(255) / np.float32(size * size - counts[lowest]), 0
    counts[lowest] = 0
    for level in range(lowest + 1, 256):
        total += counts[level]
        counts[level] = min(int(np.rint(np.float32(total) * scale)), 255)
    for y in range(size):
        for x in range(size):
            grey[y, x] = counts[grey[y, x]]


@njit(cache=True, nogil=True)
def _pour(draws, liquid, between, weights, mean, deviation):
    size = len(liquid)
    for y in range(size):
        for x in range(size):
            liquid[y, x] = mean + deviation * draws[y * size + x]
    smooth(liquid, between, weights, 1, False, False)


@njit(cache=True, nogil=True)
def _water_kernel(images, draws, out, weights, mean, deviation, threshold, opacity, cap):
    size = images.shape[1]
    liquid, between = np.empty((size, size)), np.empty((size, size + 2 * (len(weights) // 2)))
    planes = np.empty((3, size, size), np.int64)
    level, grey, relief = planes[0], planes[1], planes[2]
    slopes, marks = np.zeros((3, size + 2, size + 2), np.int64), np.zeros((size + 2, size + 2), np.int64)
    stack, counts = np.empty(size * size, np.int64), np.empty(256, np.int64)
    far, mass = np.empty((size + 4, size + 4), np.float32), np.empty((size, size), np.float32)
    colour = (np.float32(175 / 255.0), np.float32(238 / 255.0), np.float32(238 / 255.0))  # pale turquoise
    for i in range(len(images)):
        _pour(draws[i], liquid, between, weights, mean, deviation)
        for y in range(size):
            for x in range(size):
                level[y, x] = int(liquid[y, x] * 255) & 255 if liquid[y, x] >= threshold else 0
        _edges(level, slopes, marks, stack, 50, 150)
        _distance(marks, far, cap)
        for y in range(size):
            for x in range(size):
                total = 0.0
                for row in (bounced(y - 1, size), y, bounced(y + 1, size)):
                    for column in (bounced(x - 1, size), x, bounced(x + 1, size)):
                        total += min(far[row + 2, column + 2], cap)
                grey[y, x] = min(int(np.float32(total * (1.0 / 9))), 255)
        _equalize(grey, counts)
        for y in range(size):
            above, below = bounced(y - 1, size), bounced(y + 1, size)
            for x in range(size):
                left, right = bounced(x - 1, size), bounced(x + 1, size)
                total = (
                    -2 * grey[above, left]
                    - grey[above, x]
                    - grey[y, left]
                    + grey[y, x]
                    + grey[y, right]
                    + grey[below, x]
                    + 2 * grey[below, right]
                )
                relief[y, x] = min(max(total, 0), 255)
        most = np.float32(0)
        for y in range(size):
            above, below = bounced(y - 1, size), bounced(y + 1, size)
            for x in range(size):
                left, right = bounced(x - 1, size), bounced(x + 1, size)
                total = (
                    relief[above, left]
                    + relief[above, x]
                    + relief[above, right]
                    + relief[y, left]
                    + relief[y, x]
                    + relief[y, right]
                    + relief[below, left]
                    + relief[below, x]
                    + relief[below, right]
                )
                mass[y, x] = level[y, x] * ((total + 4) // 9)
                most = max(most, mass[y, x])
        for y in range(size):
            for x in range(size):
                share = mass[y, x] / most * np.float32(opacity) if most > 0 else np.float32(0)
                for c in range(3):
                    value = np.float32(images[i, y, x, c]) / np.float32(255) + share * colour[c]
                    value = min(max(value, np.float32(0)), np.float32(1)) * np.float32(255)
                    out[i, y, x, c] = np.uint8(value) if most > 0 else np.uint8(0)


@njit(cache=True, nogil=True)
def _mud_kernel(images, draws, out, weights, mean, deviation, threshold, soft):
    size, one = images.shape[1], np.float32(1)
    liquid, between = np.empty((size, size)), np.empty((size, size + 2 * max(len(weights) // 2, len(soft) // 2)))
    colour = (np.float32(63 / 255.0), np.float32(42 / 255.0), np.float32(20 / 255.0))  # mud brown
    for i in range(len(images)):
        _pour(draws[i], liquid, between, weights, mean, deviation)
        for y in range(size):
            for x in range(size):
                liquid[y, x] = 1.0 if liquid[y, x] > threshold else 0.0
        smooth(liquid, between, soft, 1, False, True)
        for y in range(size):
            for x in range(size):
                share = np.float32(liquid[y, x])
                share = np.float32(0) if share < np.float32(0.8) else share
                for c in range(3):
                    value = np.float32(images[i, y, x, c]) / np.float32(255) * (one - share) + colour[c] * share
                    out[i, y, x, c] = np.uint8(min(max(value, np.float32(0)), one) * np.float32(255))


def _spatter(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """Drops of water shaded along their rims (severities 1 to 3) or splashes of mud (4 and 5).

    An image on which no drop forms turns black in the published script (it divides by zero); so it does here.
    """
    mean, deviation, sigma, threshold, last, mud = _SPATTER[strengths][severity - 1]
    scale = scale_of(images, strengths)
    weights, deviation = bell(sigma * scale), deviation * scale
    if mud:
        return made(_mud_kernel, images, draws, weights, mean, deviation, threshold, bell(last * scale))
    return made(_water_kernel, images, draws, weights, mean, deviation, threshold, last, np.float32(20 * scale))


def spatter(
    images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar"
) -> np.ndarray:
    """The lens was splashed, with water or with mud."""
    count = images.shape[1] ** 2
    return in_parts(
        images,
        numbers,
        lambda part, who: _spatter(part, normals(seed, "spatter", severity, who, count), severity, strengths),
    )
