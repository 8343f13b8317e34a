"""The compiled inner loops of the corruptions that work byte by byte, on small neighbourhoods or on blocks.

Each goes over a share of the images, keeps the order of operations of the published script, and truncates to bytes as it
does. Tables and weights come in as arrays (`_tables.py`), so that one compiled loop serves every severity and size. The
corruptions that weave and draw (snow, fog, glass ...) are in `_weather.py`.
"""
from __future__ import annotations

import numpy as np
from numba import njit

from robcomp._corruptions.draws import stream, word_at

_MASK24, _MASK32, _S8, _S24 = np.uint32(0xFFFFFF), np.uint64(0xFFFFFFFF), np.uint32(8), np.uint32(24)


@njit(cache=True, nogil=True)
def sample(images, numbers, out, table, seed, corruption, severity):
    """Each byte replaced by a draw from its row of an alias table of 256 x 256 words (24 bits of share, 8 of alias).

    Half of a 64-bit word a byte: its high 8 bits name a column, the other 24 decide between the column and its alias.
    """
    n = len(images)
    source, target = images.reshape(n, -1), out.reshape(n, -1)
    for i in range(n):
        key = stream(seed, corruption, severity, numbers[i])
        for p in range(source.shape[1]):
            word = word_at(key, p >> 1)
            bits = np.uint32(word & _MASK32) if p & 1 == 0 else np.uint32(word >> np.uint64(32))
            entry = table[source[i, p], bits >> _S24]
            target[i, p] = bits >> _S24 if (bits & _MASK24) < (entry >> _S8) else entry & np.uint32(255)


@njit(inline="always")
def _byte(value):
    """A value on the scale 0 to 1 as the published script stores it: clipped, truncated."""
    return np.uint8(min(max(value, 0.0), 1.0) * 255)


@njit(cache=True, nogil=True)
def recolour(images, out, factor, offset, lift):
    """Saturation times `factor` plus `offset` and value plus `lift`, both clipped, through HSV and back."""
    n, size = images.shape[:2]
    for i in range(n):
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


@njit(cache=True, nogil=True)
def contrast(images, out, factor):
    """Distances from each channel's mean times `factor`; a table of 256 results a channel."""
    n, size = images.shape[:2]
    table = np.empty(256, np.uint8)
    for i in range(n):
        for c in range(3):
            total = 0.0
            for y in range(size):
                for x in range(size): total += images[i, y, x, c] / 255.0
            mean = total / (size * size)
            for k in range(256): table[k] = _byte((k / 255.0 - mean) * factor + mean)
            for y in range(size):
                for x in range(size): out[i, y, x, c] = table[images[i, y, x, c]]


@njit(cache=True, nogil=True)
def blur(images, out, weights):
    """Columns, then rows, by a symmetric filter given from its centre outwards; the edge pixel goes on for ever."""
    n, size = images.shape[:2]
    reach, width = len(weights) - 1, size * 3
    value, line = np.empty((size + 2 * reach, width)), np.empty((size + 2 * reach) * 3)
    middle, total = line[3 * reach:3 * reach + width], np.empty(width)
    for i in range(n):
        for y in range(size + 2 * reach):
            source = images[i, min(max(y - reach, 0), size - 1)].reshape(-1)
            for j in range(width): value[y, j] = source[j] / 255.0
        for y in range(size):
            for j in range(width): middle[j] = value[y + reach, j] * weights[0]
            for d in range(reach, 0, -1):
                for j in range(width): middle[j] += (value[y + reach - d, j] + value[y + reach + d, j]) * weights[d]
            for j in range(3 * reach):
                line[j] = middle[j % 3]
                line[3 * reach + width + j] = middle[width - 3 + j % 3]
            for j in range(width): total[j] = middle[j] * weights[0]
            for d in range(reach, 0, -1):
                before, after = line[3 * (reach - d):], line[3 * (reach + d):]
                for j in range(width): total[j] += (before[j] + after[j]) * weights[d]
            target = out[i, y].reshape(-1)
            for j in range(width): target[j] = _byte(total[j])


@njit(cache=True, nogil=True)
def correlate(images, out, kernel):
    """The weighted sum over a square neighbourhood, images mirrored about their border pixels."""
    n, size = images.shape[:2]
    reach, width = len(kernel) // 2, size * 3
    value, total = np.empty((size + 2 * reach, (size + 2 * reach) * 3)), np.empty(width)
    for i in range(n):
        for y in range(size + 2 * reach):
            row = size - 1 - abs(size - 1 - abs(y - reach))
            for x in range(size + 2 * reach):
                column = size - 1 - abs(size - 1 - abs(x - reach))
                for c in range(3): value[y, 3 * x + c] = images[i, row, column, c] / 255.0
        for y in range(size):
            total[:] = 0.0
            for a in range(len(kernel)):
                for b in range(len(kernel)):
                    weight = kernel[a, b]
                    if weight == 0: continue
                    line = value[y + a, 3 * b:]
                    for j in range(width): total[j] += line[j] * weight
            target = out[i, y].reshape(-1)
            for j in range(width): target[j] = _byte(total[j])


@njit(cache=True, nogil=True)
def zoom(images, out, first, weights, times):
    """The mean of an image and of its enlargements, in float32 as published.

    Line y of enlargement k is `weights[k, y, 0]` of line `first[k, y]` and `weights[k, y, 1]` of the next one, columns
    alike; enlargement k counts `times[k]` times.
    """
    n, size = images.shape[:2]
    width = 3 * (size + 1)
    count = np.float32(times.sum() + 1)
    value, total = np.zeros((size + 1, width), np.float32), np.empty((size, 3 * size), np.float32)
    upper, lower = np.empty(width), np.empty(width)
    for i in range(n):
        for y in range(size):
            source = images[i, y].reshape(-1)
            for j in range(3 * size): value[y, j] = np.float32(source[j] / 255.0)
        total[:] = 0
        for k in range(len(first)):
            for y in range(size):
                above, below, row = weights[k, y, 0], weights[k, y, 1], first[k, y]
                for j in range(width):
                    upper[j] = value[row, j] * above
                    lower[j] = value[row + 1, j] * below
                for x in range(size):
                    left, right, column = weights[k, x, 0], weights[k, x, 1], 3 * first[k, x]
                    for c in range(3):
                        j = column + c
                        layer = np.float32(upper[j] * left + upper[j + 3] * right + lower[j] * left + lower[j + 3] * right)
                        for _ in range(times[k]): total[y, 3 * x + c] += layer
        for y in range(size):
            target = out[i, y].reshape(-1)
            for j in range(3 * size):
                mean = (value[y, j] + total[y, j]) / count
                target[j] = np.uint8(min(max(mean, np.float32(0)), np.float32(1)) * np.float32(255))


@njit(cache=True, nogil=True)
def pixelate(images, out, first, weights, back):
    """Lines averaged, then columns, in 22-bit fixed point and rounded to bytes each time; enlarged by copying."""
    n, size = images.shape[:2]
    few, taps = weights.shape
    narrow, small = np.empty((size, few, 3), np.uint8), np.empty((few, few * 3), np.uint8)
    total = np.empty(3 * few, np.int32)
    for i in range(n):
        for y in range(size):
            for x in range(few):
                for c in range(3):
                    a = np.int32(1 << 21)
                    for t in range(taps): a += np.int32(images[i, y, first[x] + t, c]) * weights[x, t]
                    narrow[y, x, c] = a >> 22
        for y in range(few):
            total[:] = 1 << 21
            for t in range(taps):
                source = narrow[first[y] + t].reshape(-1)
                for j in range(3 * few): total[j] += np.int32(source[j]) * weights[y, t]
            for j in range(3 * few): small[y, j] = total[j] >> 22
        for y in range(size):
            for x in range(size):
                for c in range(3): out[i, y, x, c] = small[back[y], 3 * back[x] + c]


@njit(cache=True)
def _rows(source, matrix, shift, out):
    """Each run of `a` values in a row times the (a, b) matrix, divided by 2**shift and rounded."""
    a, b = matrix.shape
    half = np.int32(1 << (shift - 1))
    for y in range(len(source)):
        for block in range(source.shape[1] // a):
            line = out[y, block * b:(block + 1) * b]
            line[:] = half
            for p in range(a):
                for q in range(b): line[q] += source[y, block * a + p] * matrix[p, q]
            for q in range(b): line[q] >>= shift


@njit(cache=True)
def _columns(source, matrix, shift, out):
    """Each run of `a` values in a column times the (a, b) matrix, divided by 2**shift and rounded."""
    a, b = matrix.shape
    half, width = np.int32(1 << (shift - 1)), source.shape[1]
    for block in range(len(source) // a):
        for q in range(b):
            line = out[block * b + q]
            line[:] = half
            for p in range(a):
                for x in range(width): line[x] += source[block * a + p, x] * matrix[p, q]
            for x in range(width): line[x] >>= shift


@njit(cache=True)
def _coded(plane, forward, inverse, steps, shift, lines, level):
    """A plane of samples less 128 as it comes back from the codec, whose lossless half changes nothing."""
    _rows(plane, forward, 11, lines)
    _columns(lines, forward, shift, level)
    for y in range(len(level)):
        for x in range(len(level)):
            step = steps[y % 8, x % 8]
            quotient = np.int32((abs(level[y, x]) + 4.0 * step) / (8.0 * step)) * step
            level[y, x] = quotient if level[y, x] >= 0 else -quotient
    _columns(level, inverse, 11, lines)
    _rows(lines, inverse, 18, plane)


@njit(inline="always")
def _clipped(value):
    return min(max(value, np.int32(0)), np.int32(255))


@njit(cache=True, nogil=True)
def jpeg(images, out, forward8, forward16, inverse8, inverse16, steps):
    """JPEG in the integers of the IJG library 9b: 8 x 8 luma blocks, 16 x 16 chroma blocks kept by 8 x 8 coefficients."""
    n, size = images.shape[:2]
    side = (size + 15) // 16 * 16
    planes, lines, level = np.empty((3, side, side), np.int32), np.empty((side, side), np.int32), np.empty((side, side), np.int32)
    half_lines, half_level = np.empty((side, side // 2), np.int32), np.empty((side // 2, side // 2), np.int32)
    for i in range(n):
        for y in range(side):
            for x in range(side):
                pixel = images[i, min(y, size - 1), min(x, size - 1)]
                r, g, b = np.int32(pixel[0]), np.int32(pixel[1]), np.int32(pixel[2])
                planes[0, y, x] = ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16) - 128
                planes[1, y, x] = (-11059 * r - 21709 * g + 32768 * b + 32767) >> 16
                planes[2, y, x] = (32768 * r - 27439 * g - 5329 * b + 32767) >> 16
        _coded(planes[0], forward8, inverse8, steps[0], 15, lines, level)
        _coded(planes[1], forward16, inverse16, steps[1], 17, half_lines, half_level)
        _coded(planes[2], forward16, inverse16, steps[1], 17, half_lines, half_level)
        for y in range(size):
            for x in range(size):
                luma = _clipped(planes[0, y, x] + 128)
                blue, red = _clipped(planes[1, y, x] + 128) - 128, _clipped(planes[2, y, x] + 128) - 128
                out[i, y, x, 0] = _clipped(luma + ((91881 * red + 32768) >> 16))
                out[i, y, x, 1] = _clipped(luma + ((-22553 * blue - 46802 * red + 32768) >> 16))
                out[i, y, x, 2] = _clipped(luma + ((116130 * blue + 32768) >> 16))
