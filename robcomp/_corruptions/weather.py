"""The corruptions in which neighbouring pixels share their luck: glass, fog, motion, snow, frost, elastic, spatter.

Each comes in two halves. The draws of an image are one row of a plain float64 array of standard uniforms or standard
normals, a pure function of (seed, corruption, severity, image number); the arithmetic, `_fog(images, draws, severity)`
and so on, is determined, so that any other implementation can be fed the same draws and must give the same pixels. The
order of a row's draws is the order in which the published CIFAR-10-C script asks for them.

The published constants are for 32 pixels a side (`cifar`) and for 224 (`imagenet`). For other square sizes every constant in
pixels is multiplied by size / 32 or size / 224, and smoothed white noise by the same factor, so that it keeps its variance: our
extension, not the official benchmark.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil, exp, pi, sqrt
from pathlib import Path

import numpy as np
from numba import njit
from scipy.ndimage import zoom

from robcomp._corruptions.draws import normals, uniforms
from robcomp._corruptions.frost import packed, pictures as at_scale
from robcomp._corruptions.tables import REFERENCE
from robcomp._corruptions.threads import in_threads

SIZES = 8, 512   # smallest and largest side, pixels
_TOGETHER = 256  # images whose draws are in memory at once


def _scale(images: np.ndarray, strengths: str) -> float:
    """By how much constants in pixels grow."""
    return images.shape[1] / REFERENCE[strengths]


def _made(kernel: Callable, images: np.ndarray, draws: np.ndarray, *constants) -> np.ndarray:
    """What `kernel(images, draws, out, *constants)` writes."""
    out = np.empty_like(images)
    kernel(images, draws, out, *constants)
    return out


def _in_parts(images: np.ndarray, numbers: np.ndarray, corrupted: Callable) -> np.ndarray:
    """Apply `corrupted(images, numbers)` in threads, to a few hundred images at a time: their draws take memory."""
    size = images.shape[1]
    if images.shape[2] != size or not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"images of {size} x {images.shape[2]} pixels: only squares of {SIZES[0]} to {SIZES[1]} "
                         "pixels can be corrupted; crop or resize them first")
    out, together = np.empty_like(images, order="C"), max(1, _TOGETHER * 1024 // size**2)

    def share(images, numbers, out):
        for first in range(0, len(images), together):
            part = slice(first, first + together)
            out[part] = corrupted(np.require(images[part], np.uint8, "CW"), numbers[part])

    in_threads(share, (images, np.asarray(numbers, np.int64), out))
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


@njit(cache=True, nogil=True)
def _smooth(plane, between, weights, step, mirrored, single):
    """Separable symmetric filter over (rows, columns * step) float64, in place; outermost taps are added first.

    `between` is room for (rows, columns * (step + 2 * radius)); `step` is the number of interleaved channels; `single`
    rounds to float32 after either axis.
    """
    rows, width, radius = plane.shape[0], plane.shape[1], len(weights) // 2
    columns, middle = width // step, radius * step
    if radius == 0:
        return
    for y in range(rows):
        line, into = plane[y], between[y, middle:middle + width]
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
        into, line = plane[y], between[y, middle:middle + width]
        for x in range(width):
            into[x] = line[x] * weights[radius]
        for k in range(radius, 0, -1):
            left, right = between[y, middle - k * step:], between[y, middle + k * step:]
            weight = weights[radius - k]
            for x in range(width):
                into[x] += (left[x] + right[x]) * weight
        if single:
            for x in range(width):
                into[x] = np.float32(into[x])


# ---------------------------------------------------------------------------------------------------- glass_blur

_GLASS = dict(
    cifar=((.05, 1, 1), (.25, 1, 1), (.4, 1, 1), (.25, 1, 2), (.4, 1, 2)),
    imagenet=((.7, 1, 2), (.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)))  # sigma px, reach px, rounds


@njit(cache=True, nogil=True)
def _glass_kernel(images, draws, out, weights, reach, rounds):
    size, radius = images.shape[1], len(weights) // 2
    plane, between = np.empty((size, 3 * size)), np.empty((size, 3 * (size + 2 * radius)))
    for i in range(len(images)):
        at = 0
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    plane[y, 3 * x + c] = images[i, y, x, c] / 255.
        _smooth(plane, between, weights, 3, False, False)
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
                    plane[y, 3 * x + c] = out[i, y, x, c] / 255.
        _smooth(plane, between, weights, 3, False, False)
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    out[i, y, x, c] = np.uint8(min(max(plane[y, 3 * x + c], 0.), 1.) * 255)


def _glass_draws(severity: int, size: int, strengths: str = "cifar") -> int:
    """How many uniforms an image takes: column and row offset of every pixel visited."""
    _, reach, rounds = _GLASS[strengths][severity - 1]
    reach = max(1, round(reach * size / REFERENCE[strengths]))
    return 2 * rounds * (size - 2 * reach)**2


def _glass_blur(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """Smooth, let every pixel take the colour of a neighbour above or to the left (or keep its own), smooth again.

    The published loop means to swap the two pixels; its swap assigns through views, so the neighbour keeps its colour.
    Pixels are visited from the last to the first and only ever look back, so a round equals one gather.
    """
    sigma, reach, rounds = _GLASS[strengths][severity - 1]
    scale = _scale(images, strengths)
    return _made(_glass_kernel, images, draws, _bell(sigma * scale), max(1, round(reach * scale)), rounds)


def glass_blur(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar") -> np.ndarray:
    """Seen through frosted glass: pixels displaced by at most one (other sizes: size / 32) between two weak blurs."""
    count = _glass_draws(severity, images.shape[1], strengths)
    return _in_parts(images, numbers, lambda part, who: _glass_blur(
        part, uniforms(seed, "glass_blur", severity, who, count), severity, strengths))


# ----------------------------------------------------------------------------------------------------------- fog

_FOG = dict(
    cifar=((.2, 3), (.5, 3), (.75, 2.5), (1, 2), (1.5, 1.75)),
    imagenet=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)))  # amount, decay of the wibble from one scale to the next


@njit(cache=True, nogil=True)
def _plasma(draws, i, field, decay):
    """Diamond-square height map in [0, 1], periodic, side a power of two; row i of draws: size**2 - 1 uniforms."""
    size, wibble, at = len(field), 100., 0
    step = size
    field[0, 0] = 0
    while step >= 2:
        half = step // 2
        for y in range(0, size, step):
            for x in range(0, size, step):
                below, right = (y + step) & (size - 1), (x + step) & (size - 1)
                total = (field[y, x] + field[below, x]) + (field[y, right] + field[below, right])
                field[y + half, x + half] = total / 4 + wibble * (-wibble + (wibble + wibble) * draws[i, at])
                at += 1
        for y in range(0, size, step):
            for x in range(0, size, step):
                total = ((field[y + half, x + half] + field[(y - half) & (size - 1), x + half])
                         + (field[y, x] + field[y, (x + step) & (size - 1)]))
                field[y, x + half] = total / 4 + wibble * (-wibble + (wibble + wibble) * draws[i, at])
                at += 1
        for y in range(0, size, step):
            for x in range(0, size, step):
                total = ((field[y + half, x + half] + field[y + half, (x - half) & (size - 1)])
                         + (field[y, x] + field[(y + step) & (size - 1), x]))
                field[y + half, x] = total / 4 + wibble * (-wibble + (wibble + wibble) * draws[i, at])
                at += 1
        step, wibble = half, wibble / decay
    low = high = 0.
    for y in range(size):
        for x in range(size):
            low, high = min(low, field[y, x]), max(high, field[y, x])
    for y in range(size):
        for x in range(size):
            field[y, x] = (field[y, x] - low) / (high - low)


@njit(cache=True, nogil=True)
def _fog_kernel(images, draws, out, side, amount, decay):
    size, field = images.shape[1], np.empty((side, side))
    for i in range(len(images)):
        _plasma(draws, i, field, decay)
        level = 0
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    level = max(level, images[i, y, x, c])
        brightest = level / 255.
        for y in range(size):
            for x in range(size):
                veil = amount * field[y, x]
                for c in range(3):
                    value = (images[i, y, x, c] / 255. + veil) * brightest / (brightest + amount)
                    out[i, y, x, c] = np.uint8(min(max(value, 0.), 1.) * 255)


def _side(size: int) -> int:
    """Side of the fog's map: the next power of two."""
    return 1 << (size - 1).bit_length()


def _fog(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """A random height map laid over the image, then everything scaled back to the image's own brightest value."""
    amount, decay = _FOG[strengths][severity - 1]
    return _made(_fog_kernel, images, draws, _side(images.shape[1]), float(amount), float(decay))


def fog(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar") -> np.ndarray:
    """Fog from a diamond-square map; other sizes than 32 px take the next power of two and crop it (ours)."""
    count = _side(images.shape[1])**2 - 1
    return _in_parts(images, numbers, lambda part, who: _fog(
        part, uniforms(seed, "fog", severity, who, count), severity, strengths))


# --------------------------------------------------------------------------------------------------- motion_blur

_MOTION = dict(
    cifar=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    imagenet=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)))  # radius px, sigma px


def _trail(radius: float, sigma: float) -> np.ndarray:
    """One-sided Gaussian weights of ImageMagick's motion blur, 2 * ceil(radius) + 1 of them."""
    steps = range(2 * ceil(radius) + 1)
    weights = [exp(-(step * step) / (2. * sigma * sigma)) / (sqrt(2 * pi) * sigma) for step in steps]
    return np.array(weights) / sum(weights)


@njit(cache=True, nogil=True)
def _streak(plane, weights, degrees, step, margin, blurred):
    """ImageMagick 6.9.11's MotionBlurImage: whole-pixel steps, sums rounded to 16 bits, then cut to the levels 0..255.

    `plane` is (size, (size + 2 * margin) * step) with 257 * level in the middle; the edge is repeated outwards. The
    inner loops run over slices, as numba otherwise checks every index for being negative and vectorises nothing.
    """
    size, count = plane.shape[0], len(weights)
    middle, width = margin * step, size * step
    along, down = count * np.cos(np.pi * degrees / 180.), count * np.sin(np.pi * degrees / 180.)
    length = np.hypot(down, along)
    for y in range(size):
        for x in range(margin):
            for channel in range(step):
                plane[y, x * step + channel] = plane[y, middle + channel]
                plane[y, middle + width + x * step + channel] = plane[y, middle + width - step + channel]
    for y in range(size):
        sums = blurred[y]
        sums[:] = 0.
        for k in range(count):
            start = middle + int(np.ceil(k * along / length - 0.5)) * step
            row, weight = min(max(y + int(np.ceil(k * down / length - 0.5)), 0), size - 1), weights[k]
            line = plane[row, start:start + width]
            for x in range(width):
                sums[x] += weight * line[x]
        for x in range(width):
            sums[x] = np.floor(np.floor(sums[x] + 0.5) / 257.)


@njit(cache=True, nogil=True)
def _motion_kernel(images, draws, out, weights):
    size, margin = images.shape[1], len(weights)
    plane, blurred = np.empty((size, 3 * (size + 2 * margin))), np.empty((size, 3 * size))
    for i in range(len(images)):
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    plane[y, 3 * (margin + x) + c] = 257. * images[i, y, x, c]
        _streak(plane, weights, -45 + 90 * draws[i, 0], 3, margin, blurred)
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    out[i, y, x, c] = np.uint8(blurred[y, 3 * x + c])


def _motion_blur(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """A one-sided trail under an angle between -45 and 45 degrees."""
    radius, sigma = (constant * _scale(images, strengths) for constant in _MOTION[strengths][severity - 1])
    return _made(_motion_kernel, images, draws, _trail(radius, sigma))


def motion_blur(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar") -> np.ndarray:
    """The camera moved: a Gaussian trail in one direction."""
    return _in_parts(images, numbers, lambda part, who: _motion_blur(
        part, uniforms(seed, "motion_blur", severity, who, 1), severity, strengths))


# ---------------------------------------------------------------------------------------------------------- snow

_SNOW = dict(
    cifar=((.1, .2, 1, .6, 8, 3, .95), (.1, .2, 1, .5, 10, 4, .9), (.15, .3, 1.75, .55, 10, 4, .9),
           (.25, .3, 2.25, .6, 12, 6, .85), (.3, .3, 1.25, .65, 14, 12, .8)),
    imagenet=((.1, .3, 3, .5, 10, 4, .8), (.2, .3, 2, .5, 12, 4, .7), (.55, .3, 4, .9, 12, 8, .7),
              (.55, .3, 4.5, .85, 12, 8, .65), (.55, .3, 2.5, .85, 12, 12, .55)))
# mean and deviation of the flakes, zoom, threshold, radius px and sigma px of their fall, share of the image's colour


@lru_cache(maxsize=32)
def _zoomed(size: int, factor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """scipy's order-1 zoom, `factor` >= 1, of the central square, cut to `size`: first of two source lines and the weights of both."""
    kept = ceil(size / factor)
    lines = zoom(np.eye(kept), (factor, 1), order=1)
    lines = lines[(len(lines) - size) // 2:][:size]
    first = np.minimum((lines != 0).argmax(1), kept - 2) if kept > 1 else np.zeros(size, np.int64)
    rows = np.arange(size)
    return first + (size - kept) // 2, lines[rows, first], lines[rows, np.minimum(first + 1, kept - 1)] * (kept > 1)


@njit(cache=True, nogil=True)
def _snow_kernel(images, draws, out, first, near, far, weights, mean, deviation, threshold, colour):
    size, margin = images.shape[1], len(weights)
    plane, blurred = np.empty((size, size + 2 * margin)), np.empty((size, size))
    colour, white = np.float32(colour), np.float32(1 - colour)
    red, green, blue = np.float64(np.float32(.299)), np.float32(.587), np.float64(np.float32(.114))
    for i in range(len(images)):
        for y in range(size):
            for x in range(size):
                at = first[y] * size + first[x]
                flake = (((mean + deviation * draws[i, at]) * near[y] * near[x]
                          + (mean + deviation * draws[i, at + 1]) * near[y] * far[x])
                         + (mean + deviation * draws[i, at + size]) * far[y] * near[x]
                         + (mean + deviation * draws[i, at + size + 1]) * far[y] * far[x])
                plane[y, margin + x] = 257. * int(min(flake, 1.) * 255) if flake >= threshold else 0.
        _streak(plane, weights, -135 + 90 * draws[i, size * size], 1, margin, blurred)
        for y in range(size):
            for x in range(size):
                r, g, b = images[i, y, x, 0], images[i, y, x, 1], images[i, y, x, 2]
                r, g, b = (np.float32(r) / np.float32(255), np.float32(g) / np.float32(255),
                           np.float32(b) / np.float32(255))
                grey = np.float32(r * red + np.float64(g * green))  # fused: products not rounded before they are added
                grey = np.float32(b * blue + np.float64(grey))
                pale = grey * np.float32(1.5) + np.float32(.5)
                fallen, risen = blurred[y, x] / 255., blurred[size - 1 - y, size - 1 - x] / 255.
                for c, level in enumerate((r, g, b)):
                    value = np.float64(colour * level + white * max(level, pale)) + fallen + risen
                    out[i, y, x, c] = np.uint8(min(max(value, 0.), 1.) * 255)


def _snow(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """Falling flakes over a paler image; the layer is laid on a second time, turned by 180 degrees."""
    mean, deviation, factor, threshold, radius, sigma, colour = _SNOW[strengths][severity - 1]
    scale = _scale(images, strengths)
    larger = max(factor * scale, 1.)  # no flake is smaller than a pixel
    return _made(_snow_kernel, images, draws, *_zoomed(images.shape[1], larger),
                 _trail(radius * scale, sigma * scale), mean, deviation, threshold, colour)


def snow(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar") -> np.ndarray:
    """Snow: thresholded noise, enlarged, blurred along its fall; the enlargement grows with size / 32 from 1 on (ours)."""
    count = images.shape[1]**2
    return _in_parts(images, numbers, lambda part, who: _snow(part, np.hstack([
        normals(seed, "snow", severity, who, count),
        uniforms(seed, "snow", severity, who, 1, start=count)]), severity, strengths))


# --------------------------------------------------------------------------------------------- elastic_transform

_ELASTIC = dict(
    cifar=((0, 0, .08), (.05, .2, .07), (.08, .06, .06), (.1, .04, .05), (.1, .03, .03)),
    imagenet=tuple(tuple(244 / 224 * share for share in shares) for shares in (  # the script counts in pictures 244 pixels wide
        (2, .7, .1), (2, .08, .2), (.05, .01, .02), (.07, .01, .02), (.12, .01, .02))))  # all times the size:
# displacement, its smoothing and the largest shift of the affine map's three points


@njit(cache=True, nogil=True)
def _affine(draws, i, size, shift, system, inverse):
    """OpenCV's getAffineTransform (elimination with row pivots) for three shaken points, then its inverse, 2 x 3."""
    middle, arm = size // 2, size // 3
    for point in range(3):
        x = np.float32(middle - arm if point == 2 else middle + arm)
        y = np.float32(middle + arm if point == 0 else middle - arm)
        for axis in range(2):
            row, moved = 2 * point + axis, np.float32(-shift + 2 * shift * draws[i, 2 * point + axis])
            for column in range(6):
                system[row, column] = 0.
            system[row, 3 * axis], system[row, 3 * axis + 1], system[row, 3 * axis + 2] = x, y, 1.
            system[row, 6] = (x if axis == 0 else y) + moved
    for column in range(6):
        pivot = column
        for row in range(column + 1, 6):
            if abs(system[row, column]) > abs(system[pivot, column]):
                pivot = row
        for k in range(7):
            system[column, k], system[pivot, k] = system[pivot, k], system[column, k]
        scale = -1 / system[column, column]
        for row in range(column + 1, 6):
            factor = system[row, column] * scale
            for k in range(column + 1, 7):
                system[row, k] += factor * system[column, k]
    for row in range(5, -1, -1):
        total = system[row, 6]
        for k in range(row + 1, 6):
            total -= system[row, k] * system[k, 6]
        system[row, 6] = total / system[row, row]
    m0, m1, m2, m3, m4, m5 = system[0, 6], system[1, 6], system[2, 6], system[3, 6], system[4, 6], system[5, 6]
    scale = 1. / (m0 * m4 - m1 * m3)
    inverse[0], inverse[1], inverse[3], inverse[4] = m4 * scale, -m1 * scale, -m3 * scale, m0 * scale
    inverse[2] = -inverse[0] * m2 - inverse[1] * m5
    inverse[5] = -inverse[3] * m2 - inverse[4] * m5


@njit(cache=True)
def _bounced(i, n):
    """Index of a line of n that stands in for position i: d c b | a b c d | c b a."""
    while i < 0 or i >= n:
        i = -i if i < 0 else 2 * n - 2 - i
    return i


@njit(cache=True, nogil=True)
def _warp(image, size, inverse, warped):
    """OpenCV 4.10's linear warpAffine on float32: positions in 1024ths, cut to 32nds; borders mirrored."""
    one = np.float32(1)
    for y in range(size):
        across = int(np.rint((inverse[1] * y + inverse[2]) * 1024)) + 16
        down = int(np.rint((inverse[4] * y + inverse[5]) * 1024)) + 16
        for x in range(size):
            column = (across + int(np.rint(inverse[0] * x * 1024))) >> 5
            row = (down + int(np.rint(inverse[3] * x * 1024))) >> 5
            right, below = np.float32(column & 31) / np.float32(32), np.float32(row & 31) / np.float32(32)
            left, top = column >> 5, row >> 5
            near, far = left + 1, top + 1
            if left < 0 or near >= size or top < 0 or far >= size:
                left, near = _bounced(left, size), _bounced(near, size)
                top, far = _bounced(top, size), _bounced(far, size)
            w00, w01 = (one - below) * (one - right), (one - below) * right
            w10, w11 = below * (one - right), below * right
            p00, p01 = 3 * (top * size + left), 3 * (top * size + near)
            p10, p11, to = 3 * (far * size + left), 3 * (far * size + near), 3 * (y * size + x)
            for c in range(3):
                warped[to + c] = (image[p00 + c] * w00 + image[p01 + c] * w01
                                  + image[p10 + c] * w10 + image[p11 + c] * w11)


@njit(cache=True)
def _reflected(position, n):
    """scipy's 'reflect' for a real position: a b c d | d c b a."""
    if position < 0:
        if position < -2 * n:
            position += 2 * n * int(-position / (2 * n))
        return position + 2 * n if position < -n else (1e-15 if position > -1e-15 else -position) - 1.
    if position > n - 1:
        position -= 2 * n * int(position / (2 * n))
        if position >= n:
            position = 2 * n - position - 1
    return position


@njit(cache=True, nogil=True)
def _elastic_kernel(images, draws, out, weights, reach, shift):
    size, area, radius = images.shape[1], images.shape[1]**2, len(weights) // 2
    system, inverse = np.empty((6, 7)), np.empty(6)
    image, warped = np.empty(3 * area, np.float32), np.empty(3 * area, np.float32)
    fields, between = np.zeros((2, size, size)), np.empty((size, size + 2 * radius))
    for i in range(len(images)):
        source, made = images[i].ravel(), out[i].ravel()
        for k in range(3 * area):
            image[k] = np.float32(source[k]) / np.float32(255)
        _affine(draws, i, size, shift, system, inverse)
        _warp(image, size, inverse, warped)
        if reach > 0:
            for axis in range(2):
                for y in range(size):
                    row = draws[i, 6 + axis * area + y * size:]
                    for x in range(size):
                        fields[axis, y, x] = -1 + 2 * row[x]
                _smooth(fields[axis], between, weights, 1, True, False)
        for y in range(size):
            for x in range(size):
                row = _reflected(y + np.float64(np.float32(fields[1, y, x] * reach)), size)
                column = _reflected(x + np.float64(np.float32(fields[0, y, x] * reach)), size)
                top, left = int(np.floor(row)), int(np.floor(column))
                above, before = 1. - (row - top), 1. - (column - left)
                below, behind = 1. - above, 1. - before
                far, near = min(top + 1, size - 1), min(left + 1, size - 1)
                top, left = max(top, 0), max(left, 0)
                p00, p01 = 3 * (top * size + left), 3 * (top * size + near)
                p10, p11, to = 3 * (far * size + left), 3 * (far * size + near), 3 * (y * size + x)
                for c in range(3):
                    value = np.float32(warped[p00 + c] * above * before + warped[p01 + c] * above * behind
                                       + warped[p10 + c] * below * before + warped[p11 + c] * below * behind)
                    made[to + c] = np.uint8(min(max(value, np.float32(0)), np.float32(1)) * np.float32(255))


def _elastic_transform(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """A random affine map, then every pixel displaced by a smooth random field (none at severity 1)."""
    size = images.shape[1]
    reach, sigma, shift = (constant * size for constant in _ELASTIC[strengths][severity - 1])
    weights = _bell(sigma, 3.) if sigma else np.ones(1)
    return _made(_elastic_kernel, images, draws, weights, reach * _scale(images, strengths), shift)


def elastic_transform(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar") -> np.ndarray:
    """Stretched as if printed on rubber."""
    count = 6 + 2 * images.shape[1]**2
    return _in_parts(images, numbers, lambda part, who: _elastic_transform(
        part, uniforms(seed, "elastic_transform", severity, who, count), severity, strengths))


# ------------------------------------------------------------------------------------------------------- spatter

_SPATTER = dict(
    cifar=((.62, .1, .7, .7, .5, 0), (.65, .1, .8, .7, .5, 0), (.65, .3, 1, .69, .5, 0),
           (.65, .1, .7, .69, .6, 1), (.65, .1, .5, .68, .6, 1)),
    imagenet=((.65, .3, 4, .69, .6, 0), (.65, .3, 3, .68, .6, 0), (.65, .3, 2, .68, .5, 0),
              (.65, .3, 1, .65, 1.5, 1), (.67, .4, 1, .65, 1.5, 1)))
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
def _water_kernel(images, draws, out, weights, mean, deviation, threshold, opacity, cap):
    size = images.shape[1]
    liquid, between = np.empty((size, size)), np.empty((size, size + 2 * (len(weights) // 2)))
    planes = np.empty((3, size, size), np.int64)
    level, grey, relief = planes[0], planes[1], planes[2]
    slopes, marks = np.zeros((3, size + 2, size + 2), np.int64), np.zeros((size + 2, size + 2), np.int64)
    stack, counts = np.empty(size * size, np.int64), np.empty(256, np.int64)
    far, mass = np.empty((size + 4, size + 4), np.float32), np.empty((size, size), np.float32)
    colour = (np.float32(175 / 255.), np.float32(238 / 255.), np.float32(238 / 255.))  # pale turquoise
    for i in range(len(images)):
        for y in range(size):
            for x in range(size):
                liquid[y, x] = mean + deviation * draws[i, y * size + x]
        _smooth(liquid, between, weights, 1, False, False)
        for y in range(size):
            for x in range(size):
                level[y, x] = int(liquid[y, x] * 255) & 255 if liquid[y, x] >= threshold else 0
        _edges(level, slopes, marks, stack, 50, 150)
        _distance(marks, far, cap)
        for y in range(size):
            for x in range(size):
                total = 0.
                for row in (_bounced(y - 1, size), y, _bounced(y + 1, size)):
                    for column in (_bounced(x - 1, size), x, _bounced(x + 1, size)):
                        total += min(far[row + 2, column + 2], cap)
                grey[y, x] = min(int(np.float32(total * (1. / 9))), 255)
        _equalize(grey, counts)
        for y in range(size):
            above, below = _bounced(y - 1, size), _bounced(y + 1, size)
            for x in range(size):
                left, right = _bounced(x - 1, size), _bounced(x + 1, size)
                total = (-2 * grey[above, left] - grey[above, x] - grey[y, left] + grey[y, x] + grey[y, right]
                         + grey[below, x] + 2 * grey[below, right])
                relief[y, x] = min(max(total, 0), 255)
        most = np.float32(0)
        for y in range(size):
            above, below = _bounced(y - 1, size), _bounced(y + 1, size)
            for x in range(size):
                left, right = _bounced(x - 1, size), _bounced(x + 1, size)
                total = (relief[above, left] + relief[above, x] + relief[above, right] + relief[y, left] + relief[y, x]
                         + relief[y, right] + relief[below, left] + relief[below, x] + relief[below, right])
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
    colour = (np.float32(63 / 255.), np.float32(42 / 255.), np.float32(20 / 255.))  # mud brown
    for i in range(len(images)):
        for y in range(size):
            for x in range(size):
                liquid[y, x] = mean + deviation * draws[i, y * size + x]
        _smooth(liquid, between, weights, 1, False, False)
        for y in range(size):
            for x in range(size):
                liquid[y, x] = 1. if liquid[y, x] > threshold else 0.
        _smooth(liquid, between, soft, 1, False, True)
        for y in range(size):
            for x in range(size):
                share = np.float32(liquid[y, x])
                share = np.float32(0) if share < np.float32(.8) else share
                for c in range(3):
                    value = np.float32(images[i, y, x, c]) / np.float32(255) * (one - share) + colour[c] * share
                    out[i, y, x, c] = np.uint8(min(max(value, np.float32(0)), one) * np.float32(255))


def _spatter(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """Drops of water shaded along their rims (severities 1 to 3) or splashes of mud (4 and 5).

    An image on which no drop forms turns black in the published script (it divides by zero); so it does here.
    """
    mean, deviation, sigma, threshold, last, mud = _SPATTER[strengths][severity - 1]
    scale = _scale(images, strengths)
    weights, deviation = _bell(sigma * scale), deviation * scale
    if mud:
        return _made(_mud_kernel, images, draws, weights, mean, deviation, threshold, _bell(last * scale))
    return _made(_water_kernel, images, draws, weights, mean, deviation, threshold, last, np.float32(20 * scale))


def spatter(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar") -> np.ndarray:
    """The lens was splashed, with water or with mud."""
    count = images.shape[1]**2
    return _in_parts(images, numbers, lambda part, who: _spatter(
        part, normals(seed, "spatter", severity, who, count), severity, strengths))


# --------------------------------------------------------------------------------------------------------- frost

_FROST = dict(
    cifar=((1, .2), (1, .3), (.9, .4), (.85, .4), (.75, .45)),
    imagenet=((1, .4), (.8, .6), (.7, .7), (.65, .7), (.6, .75)))  # share of the image, share of the picture


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
                    out[i, y, x, c] = np.uint8(min(value, 255.))


def _frost(images: np.ndarray, draws: np.ndarray, severity: int, pictures: tuple[np.ndarray, ...],
           strengths: str = "cifar") -> np.ndarray:
    """A random cut of a random picture of frost added to the dimmed image."""
    kept, added = _FROST[strengths][severity - 1]
    return _made(_frost_kernel, images, draws, *packed(pictures), float(kept), float(added))


def frost(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *,
          pictures: str | Path | tuple[np.ndarray, ...] = "own", strengths: str = "cifar") -> np.ndarray:
    """Ice on the lens; `pictures` is "own", "imagecorruptions" (official), a folder, or pictures at the right scale."""
    taken = pictures if isinstance(pictures, tuple) else at_scale(pictures, images.shape[1], strengths)
    return _in_parts(images, numbers, lambda part, who: _frost(
        part, uniforms(seed, "frost", severity, who, 3), severity, taken, strengths))
