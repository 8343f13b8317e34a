"""The corruptions that need more than one random number a pixel's worth of thought: glass, fog, motion, snow, frost,
elastic, spatter.

Each comes in two halves. The draws of an image are one row of a plain float64 array of standard uniforms or standard
normals, a pure function of (seed, corruption, severity, image number); the arithmetic, `_fog(images, draws, severity)`
and so on, is determined, so that any other implementation can be fed the same draws and must give the same pixels. The
order of a row's draws is the order in which the published CIFAR-10-C script asks for them.

The official benchmark is 32 x 32 pixels. For other square sizes every constant in pixels is multiplied by size / 32,
and smoothed white noise by the same factor, so that it keeps its variance: our extension, not the official benchmark.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit, prange

from robcomp._draws import CORRUPTION, normal_at, stream, uniform_at

SIZES = 8, 512   # smallest and largest side, pixels
_TOGETHER = 256  # images whose draws are in memory at once


@njit(cache=True, parallel=True)
def _draw(seed, corruption, severity, numbers, start, count, normal):
    """Rows of `count` standard normals or uniforms, one row an image, from position `start` of its stream."""
    draws = np.empty((len(numbers), count))
    for i in prange(len(numbers)):
        key = stream(seed, corruption, severity, numbers[i])
        if normal:
            for j in range(count):
                draws[i, j] = normal_at(key, start + j)
        else:
            for j in range(count):
                draws[i, j] = uniform_at(key, start + j)
    return draws


def _uniforms(seed: int, name: str, severity: int, numbers: np.ndarray, count: int, start: int = 0) -> np.ndarray:
    """(n, count) uniforms in [0, 1)."""
    return _draw(np.uint64(seed % 2**64), CORRUPTION[name], severity, numbers, start, count, False)


def _normals(seed: int, name: str, severity: int, numbers: np.ndarray, count: int, start: int = 0) -> np.ndarray:
    """(n, count) standard normals."""
    return _draw(np.uint64(seed % 2**64), CORRUPTION[name], severity, numbers, start, count, True)


def _in_parts(images: np.ndarray, numbers: np.ndarray, corrupted: Callable) -> np.ndarray:
    """Apply `corrupted(images, numbers)` to a few hundred images at a time, so that draws take little memory."""
    size = images.shape[1]
    if images.shape[2] != size or not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"images of {size} x {images.shape[2]} pixels: only squares of {SIZES[0]} to {SIZES[1]} pixels "
                         "can be corrupted; crop or resize them first")
    numbers, out = np.asarray(numbers, np.int64), np.empty_like(images, order="C")
    together = max(1, _TOGETHER * 1024 // size**2)
    for first in range(0, len(images), together):
        part = slice(first, first + together)
        out[part] = corrupted(np.require(images[part], np.uint8, "CW"), numbers[part])
    return out


# ---------------------------------------------------------------------------------------------- smoothing, shared

def _bell(sigma: float, truncate: float = 4.0) -> np.ndarray:
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


@njit(cache=True)
def _smooth(plane, weights, step, mirrored, single):
    """Separable symmetric filter over (rows, columns * step) float64, in place; outermost taps are added first.

    `step` is the number of interleaved channels; `single` rounds to float32 after either axis.
    """
    rows, width, radius = plane.shape[0], plane.shape[1], len(weights) // 2
    if radius == 0:
        return
    between, line = np.empty((rows, width)), np.empty(width + 2 * radius * step)
    for y in range(rows):
        between[y] = plane[y] * weights[radius]
        for k in range(radius, 0, -1):
            above, below, weight = _inside(y - k, rows, mirrored), _inside(y + k, rows, mirrored), weights[radius - k]
            for x in range(width):
                between[y, x] += (plane[above, x] + plane[below, x]) * weight
        if single:
            for x in range(width):
                between[y, x] = np.float32(between[y, x])
    columns, middle = width // step, radius * step
    for y in range(rows):
        line[middle:middle + width] = between[y]
        for k in range(radius):
            left, right = _inside(-1 - k, columns, mirrored) * step, _inside(columns + k, columns, mirrored) * step
            for channel in range(step):
                line[middle - (1 + k) * step + channel] = between[y, left + channel]
                line[middle + width + k * step + channel] = between[y, right + channel]
        plane[y] = line[middle:middle + width] * weights[radius]
        for k in range(radius, 0, -1):
            weight, shift = weights[radius - k], k * step
            for x in range(width):
                plane[y, x] += (line[middle + x - shift] + line[middle + x + shift]) * weight
        if single:
            for x in range(width):
                plane[y, x] = np.float32(plane[y, x])


# ---------------------------------------------------------------------------------------------------- glass_blur

_GLASS = ((.05, 1, 1), (.25, 1, 1), (.4, 1, 1), (.25, 1, 2), (.4, 1, 2))  # sigma px, reach px, rounds


@njit(cache=True, parallel=True)
def _glass_kernel(images, draws, weights, reach, rounds):
    n, size = images.shape[0], images.shape[1]
    out = np.empty_like(images)
    for i in prange(n):
        plane, shuffled, at = np.empty((size, 3 * size)), out[i], 0
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    plane[y, 3 * x + c] = images[i, y, x, c] / 255.
        _smooth(plane, weights, 3, False, False)
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    shuffled[y, x, c] = np.uint8(plane[y, 3 * x + c] * 255)
        for _ in range(rounds):
            for y in range(size - reach, reach, -1):
                for x in range(size - reach, reach, -1):
                    column = min(x + int(draws[i, at] * (2 * reach)) - reach, size - 1)
                    row = min(y + int(draws[i, at + 1] * (2 * reach)) - reach, size - 1)
                    at += 2
                    for c in range(3):
                        shuffled[y, x, c] = shuffled[row, column, c]
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    plane[y, 3 * x + c] = shuffled[y, x, c] / 255.
        _smooth(plane, weights, 3, False, False)
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    shuffled[y, x, c] = np.uint8(min(max(plane[y, 3 * x + c], 0.), 1.) * 255)
    return out


def _glass_draws(severity: int, size: int) -> int:
    """How many uniforms an image takes: column and row offset of every pixel visited."""
    _, reach, rounds = _GLASS[severity - 1]
    reach = max(1, round(reach * size / 32))
    return 2 * rounds * (size - 2 * reach)**2


def _glass_blur(images: np.ndarray, draws: np.ndarray, severity: int) -> np.ndarray:
    """Smooth, let every pixel take the colour of a neighbour above or to the left (or keep its own), smooth again.

    The published loop means to swap the two pixels; its swap assigns through views, so the neighbour keeps its colour.
    Pixels are visited from the last to the first and only ever look back, so a round equals one gather.
    """
    sigma, reach, rounds = _GLASS[severity - 1]
    scale = images.shape[1] / 32
    return _glass_kernel(images, draws, _bell(sigma * scale), max(1, round(reach * scale)), rounds)


def glass_blur(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray) -> np.ndarray:
    """Seen through frosted glass: pixels displaced by at most one (other sizes: size / 32) between two weak blurs."""
    count = _glass_draws(severity, images.shape[1])
    return _in_parts(images, numbers, lambda part, who: _glass_blur(
        part, _uniforms(seed, "glass_blur", severity, who, count), severity))


# ----------------------------------------------------------------------------------------------------------- fog

_FOG = ((.2, 3), (.5, 3), (.75, 2.5), (1, 2), (1.5, 1.75))  # amount, decay of the wibble from one scale to the next


@njit(cache=True)
def _plasma(draws, size, decay):
    """Diamond-square height map in [0, 1], periodic, side a power of two; consumes size**2 - 1 uniforms."""
    field, step, wibble, at = np.empty((size, size)), size, 100., 0
    field[0, 0] = 0
    while step >= 2:
        half = step // 2
        for y in range(0, size, step):
            for x in range(0, size, step):
                below, right = (y + step) % size, (x + step) % size
                total = (field[y, x] + field[below, x]) + (field[y, right] + field[below, right])
                field[y + half, x + half] = total / 4 + wibble * (-wibble + (wibble + wibble) * draws[at])
                at += 1
        for y in range(0, size, step):
            for x in range(0, size, step):
                total = ((field[y + half, x + half] + field[(y - half) % size, x + half])
                         + (field[y, x] + field[y, (x + step) % size]))
                field[y, x + half] = total / 4 + wibble * (-wibble + (wibble + wibble) * draws[at])
                at += 1
        for y in range(0, size, step):
            for x in range(0, size, step):
                total = ((field[y + half, x + half] + field[y + half, (x - half) % size])
                         + (field[y, x] + field[(y + step) % size, x]))
                field[y + half, x] = total / 4 + wibble * (-wibble + (wibble + wibble) * draws[at])
                at += 1
        step, wibble = half, wibble / decay
    field -= field.min()
    return field / field.max()


@njit(cache=True, parallel=True)
def _fog_kernel(images, draws, amount, decay):
    n, size = images.shape[0], images.shape[1]
    side, out = int(round(np.sqrt(draws.shape[1] + 1.))), np.empty_like(images)
    for i in prange(n):
        field, brightest = _plasma(draws[i], side, decay), images[i].max() / 255.
        for y in range(size):
            for x in range(size):
                veil = amount * field[y, x]
                for c in range(3):
                    value = (images[i, y, x, c] / 255. + veil) * brightest / (brightest + amount)
                    out[i, y, x, c] = np.uint8(min(max(value, 0.), 1.) * 255)
    return out


def _fog_draws(size: int) -> int:
    """How many uniforms an image takes: one a point of the map but its origin; its side is a power of two."""
    return (1 << (size - 1).bit_length())**2 - 1


def _fog(images: np.ndarray, draws: np.ndarray, severity: int) -> np.ndarray:
    """A random height map laid over the image, then everything scaled back to the image's own brightest value."""
    amount, decay = _FOG[severity - 1]
    return _fog_kernel(images, draws, float(amount), float(decay))


def fog(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray) -> np.ndarray:
    """Fog from a diamond-square map; other sizes than 32 px take the next power of two and crop it (ours)."""
    count = _fog_draws(images.shape[1])
    return _in_parts(images, numbers, lambda part, who: _fog(
        part, _uniforms(seed, "fog", severity, who, count), severity))
