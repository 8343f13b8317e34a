"""The compiled inner loops of the corruptions that work pixel by pixel, by small neighbourhoods or by blocks.

All of them go over images in parallel, keep the order of operations of the published script, and truncate to bytes as
it does. Tables and weights come in as arrays, so that one compiled loop serves every severity and size. The drawn and
woven ones (snow, fog, glass ...) are in `_weather.py`.
"""
from __future__ import annotations

import numpy as np
from numba import njit, prange

from robcomp._draws import stream, word_at

_MASK32, _S32 = np.uint64(0xFFFFFFFF), np.uint64(32)


@njit(cache=True, parallel=True)
def sample(images, table, seed, corruption, severity, numbers):
    """Each byte replaced by a draw from its row of an alias table of 256 x 256 words (24 bits of share, 8 of alias).

    One half of a 64-bit word a byte: its high 8 bits name a column, the other 24 decide between column and alias.
    """
    n = len(images)
    flat = images.reshape(n, -1)
    out = np.empty_like(flat)
    for i in prange(n):
        key = stream(seed, corruption, severity, numbers[i])
        for p in range(0, flat.shape[1], 2):
            word = word_at(key, p // 2)
            for half in range(min(2, flat.shape[1] - p)):
                bits = np.uint32(word & _MASK32)
                word >>= _S32
                column = bits >> np.uint32(24)
                entry = table[flat[i, p + half], column]
                keeps = (bits & np.uint32(0xFFFFFF)) < (entry >> np.uint32(8))
                out[i, p + half] = column if keeps else entry & np.uint32(255)
    return out.reshape(images.shape)


@njit(inline="always")
def _byte(value):
    """A float in units of the full scale as the published script stores it: clipped, truncated."""
    return np.uint8(min(max(value, 0.0), 1.0) * 255)


@njit(cache=True, parallel=True)
def recolour(images, factor, offset, lift):
    """Saturation times `factor` plus `offset` and value plus `lift`, both clipped, through HSV and back."""
    n, size = images.shape[:2]
    out = np.empty_like(images)
    for i in prange(n):
        for y in range(size):
            for x in range(size):
                r, g, b = images[i, y, x, 0] / 255.0, images[i, y, x, 1] / 255.0, images[i, y, x, 2] / 255.0
                v = max(r, max(g, b))
                delta = v - min(r, min(g, b))
                h = 0.0
                s = 0.0
                if delta > 0:
                    s = delta / v
                    if b == v: h = 4.0 + (r - g) / delta
                    elif g == v: h = 2.0 + (b - r) / delta
                    else: h = (g - b) / delta
                    h = h / 6.0
                    if h < 0: h += 1.0
                s = min(max(s * factor + offset, 0.0), 1.0)
                v = min(max(v + lift, 0.0), 1.0)
                sector = np.floor(h * 6)
                f = h * 6 - sector
                p, q, t = v * (1 - s), v * (1 - f * s), v * (1 - (1 - f) * s)
                k = int(sector) % 6
                if k == 0: r, g, b = v, t, p
                elif k == 1: r, g, b = q, v, p
                elif k == 2: r, g, b = p, v, t
                elif k == 3: r, g, b = p, q, v
                elif k == 4: r, g, b = t, p, v
                else: r, g, b = v, p, q
                out[i, y, x, 0], out[i, y, x, 1], out[i, y, x, 2] = _byte(r), _byte(g), _byte(b)
    return out


@njit(cache=True, parallel=True)
def contrast(images, factor):
    """Distances from each channel's mean times `factor`; a table of 256 results a channel."""
    n, size = images.shape[:2]
    out = np.empty_like(images)
    for i in prange(n):
        table = np.empty(256, np.uint8)
        for c in range(3):
            total = 0.0
            for y in range(size):
                for x in range(size): total += images[i, y, x, c] / 255.0
            mean = total / (size * size)
            for k in range(256): table[k] = _byte((k / 255.0 - mean) * factor + mean)
            for y in range(size):
                for x in range(size): out[i, y, x, c] = table[images[i, y, x, c]]
    return out


@njit(cache=True, parallel=True)
def blur(images, weights):
    """Rows, then columns, by a symmetric filter given from its centre outwards; the edge pixel goes on for ever."""
    n, size = images.shape[:2]
    reach, width = len(weights) - 1, size * 3
    out = np.empty_like(images)
    for i in prange(n):
        value = np.empty((size + 2 * reach, width))
        for y in range(size + 2 * reach):
            source = min(max(y - reach, 0), size - 1)
            for x in range(size):
                for c in range(3): value[y, 3 * x + c] = images[i, source, x, c] / 255.0
        line = np.empty((size + 2 * reach) * 3)
        for y in range(size):
            middle = line[3 * reach:3 * reach + width]
            for j in range(width): middle[j] = value[y + reach, j] * weights[0]
            for d in range(reach, 0, -1):
                weight = weights[d]
                for j in range(width): middle[j] += (value[y + reach - d, j] + value[y + reach + d, j]) * weight
            for x in range(3 * reach):
                line[x] = middle[x % 3]
                line[3 * reach + width + x] = middle[width - 3 + x % 3]
            for j in range(width):
                total = line[j + 3 * reach] * weights[0]
                for d in range(reach, 0, -1):
                    total += (line[j + 3 * (reach - d)] + line[j + 3 * (reach + d)]) * weights[d]
                out[i, y, j // 3, j % 3] = _byte(total)
    return out


@njit(cache=True, parallel=True)
def correlate(images, kernel):
    """The weighted sum over a square neighbourhood, images mirrored about their border pixels."""
    n, size = images.shape[:2]
    reach, width = len(kernel) // 2, size * 3
    out = np.empty_like(images)
    for i in prange(n):
        value = np.empty((size + 2 * reach, (size + 2 * reach) * 3))
        for y in range(size + 2 * reach):
            row = size - 1 - abs(size - 1 - abs(y - reach))
            for x in range(size + 2 * reach):
                column = size - 1 - abs(size - 1 - abs(x - reach))
                for c in range(3): value[y, 3 * x + c] = images[i, row, column, c] / 255.0
        total = np.empty(width)
        for y in range(size):
            total[:] = 0.0
            for a in range(len(kernel)):
                for b in range(len(kernel)):
                    weight = kernel[a, b]
                    if weight == 0: continue
                    for j in range(width): total[j] += value[y + a, 3 * b + j] * weight
            for j in range(width): out[i, y, j // 3, j % 3] = _byte(total[j])
    return out
