"""Fog."""

from __future__ import annotations

import numpy as np
from numba import njit

from robcomp._corruptions.draws import uniforms
from robcomp._corruptions.parts import in_parts, made

_FOG = dict(
    cifar=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    imagenet=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
)
# amount, decay of the wibble from one scale to the next


@njit(cache=True, nogil=True)
def _plasma(draws, i, field, decay):
    """Diamond-square height map in [0, 1], periodic, side a power of two; row i of draws: size**2 - 1 uniforms."""
    size, wibble, at = len(field), 100.0, 0
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
                total = (field[y + half, x + half] + field[(y - half) & (size - 1), x + half]) + (
                    field[y, x] + field[y, (x + step) & (size - 1)]
                )
                field[y, x + half] = total / 4 + wibble * (-wibble + (wibble + wibble) * draws[i, at])
                at += 1
        for y in range(0, size, step):
            for x in range(0, size, step):
                total = (field[y + half, x + half] + field[y + half, (x - half) & (size - 1)]) + (
                    field[y, x] + field[(y + step) & (size - 1), x]
                )
                field[y + half, x] = total / 4 + wibble * (-wibble + (wibble + wibble) * draws[i, at])
                at += 1
        step, wibble = half, wibble / decay
    low = high = 0.0
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
        brightest = level / 255.0
        for y in range(size):
            for x in range(size):
                veil = amount * field[y, x]
                for c in range(3):
                    value = (images[i, y, x, c] / 255.0 + veil) * brightest / (brightest + amount)
                    out[i, y, x, c] = np.uint8(min(max(value, 0.0), 1.0) * 255)


def _side(size: int) -> int:
    """Side of the fog's map: the next power of two."""
    return 1 << (size - 1).bit_length()


def _fog(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """A random height map laid over the image, then everything scaled back to the image's own brightest value."""
    amount, decay = _FOG[strengths][severity - 1]
    return made(_fog_kernel, images, draws, _side(images.shape[1]), float(amount), float(decay))


def fog(images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar") -> np.ndarray:
    """Fog from a diamond-square map; other sizes than 32 px take the next power of two and crop it (ours)."""
    count = _side(images.shape[1]) ** 2 - 1
    return in_parts(
        images, numbers, lambda part, who: _fog(part, uniforms(seed, "fog", severity, who, count), severity, strengths)
    )
