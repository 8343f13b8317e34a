"""The compiled inner loops of the corruptions that work byte by byte, on small neighbourhoods or on blocks.

Each goes over a share of the images, keeps the order of operations of the published script, and truncates to bytes as
it does. Tables and weights come in as arrays (`tables.py`), so that one compiled loop serves every severity and size.
The corruptions that weave and draw (snow, fog, glass ...) are in `weather.py`, `snow.py` and so on.
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
                    if b == v:
                        h = 4.0 + (r - g) / delta
                    elif g == v:
                        h = 2.0 + (b - r) / delta
                    else:
                        h = (g - b) / delta
                    h = h / 6.0
                    if h < 0:
                        h += 1.0
                s = min(max(s * factor + offset, 0.0), 1.0)
                v = min(max(v + lift, 0.0), 1.0)
                sector = np.floor(h * 6)
                f = h * 6 - sector
                p, q, t = v * (1 - s), v * (1 - f * s), v * (1 - (1 - f) * s)
                k = int(sector) % 6
                if k == 0:
                    r, g, b = v, t, p
                elif k == 1:
                    r, g, b = q, v, p
                elif k == 2:
                    r, g, b = p, v, t
                elif k == 3:
                    r, g, b = p, q, v
                elif k == 4:
                    r, g, b = t, p, v
                else:
                    r, g, b = v, p, q
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
                for x in range(size):
                    total += images[i, y, x, c] / 255.0
            mean = total / (size * size)
            for k in range(256):
                table[k] = _byte((k / 255.0 - mean) * factor + mean)
            for y in range(size):
                for x in range(size):
                    out[i, y, x, c] = table[images[i, y, x, c]]


@njit(cache=True, nogil=True)
def blur(images, out, weights):
    """Columns, then rows, by a symmetric filter given from its centre outwards; the edge pixel goes on for ever."""
    n, size = images.shape[:2]
    reach, width = len(weights) - 1, size * 3
    value, line = np.empty((size + 2 * reach, width)), np.empty((size + 2 * reach) * 3)
    middle, total = line[3 * reach : 3 * reach + width], np.empty(width)
    for i in range(n):
        for y in range(size + 2 * reach):
            source = images[i, min(max(y - reach, 0), size - 1)].reshape(-1)
            for j in range(width):
                value[y, j] = source[j] / 255.0
        for y in range(size):
            for j in range(width):
                middle[j] = value[y + reach, j] * weights[0]
            for d in range(reach, 0, -1):
                for j in range(width):
                    middle[j] += (value[y + reach - d, j] + value[y + reach + d, j]) * weights[d]
            for j in range(3 * reach):
                line[j] = middle[j % 3]
                line[3 * reach + width + j] = middle[width - 3 + j % 3]
            for j in range(width):
                total[j] = middle[j] * weights[0]
            for d in range(reach, 0, -1):
                before, after = line[3 * (reach - d) :], line[3 * (reach + d) :]
                for j in range(width):
                    total[j] += (before[j] + after[j]) * weights[d]
            target = out[i, y].reshape(-1)
            for j in range(width):
                target[j] = _byte(total[j])


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
                for c in range(3):
                    value[y, 3 * x + c] = images[i, row, column, c] / 255.0
        for y in range(size):
            total[:] = 0.0
            for a in range(len(kernel)):
                for b in range(len(kernel)):
                    weight = kernel[a, b]
                    if weight == 0:
                        continue
                    line = value[y + a, 3 * b :]
                    for j in range(width):
                        total[j] += line[j] * weight
            target = out[i, y].reshape(-1)
            for j in range(width):
                target[j] = _byte(total[j])


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
            for j in range(3 * size):
                value[y, j] = np.float32(source[j] / 255.0)
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
                        layer = np.float32(
                            upper[j] * left + upper[j + 3] * right + lower[j] * left + lower[j + 3] * right
                        )
                        for _ in range(times[k]):
                            total[y, 3 * x + c] += layer
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
                    for t in range(taps):
                        a += np.int32(images[i, y, first[x] + t, c]) * weights[x, t]
                    narrow[y, x, c] = a >> 22
        for y in range(few):
            total[:] = 1 << 21
            for t in range(taps):
                source = narrow[first[y] + t].reshape(-1)
                for j in range(3 * few):
                    total[j] += np.int32(source[j]) * weights[y, t]
            for j in range(3 * few):
                small[y, j] = total[j] >> 22
        for y in range(size):
            for x in range(size):
                for c in range(3):
                    out[i, y, x, c] = small[back[y], 3 * back[x] + c]


# JPEG works on many blocks at once: samples[y, x, b] is sample (y, x) of block b, so that every loop below runs over
# blocks, which the compiler turns into vector instructions. Cosines are mirrored (even ones), or mirrored with the sign
# turned (odd ones), about the middle of their points, which halves the multiplications. In integers every order of
# adding gives the same.


@njit(inline="always")
def _add_four(total, lines, first, step, weights):
    """Add four lines, `step` apart, times their weights."""
    a, b, c, d = lines[first], lines[first + step], lines[first + 2 * step], lines[first + 3 * step]
    wa, wb, wc, wd = weights[0], weights[1], weights[2], weights[3]
    for x in range(len(total)):
        total[x] += a[x] * wa + b[x] * wb + c[x] * wc + d[x] * wd


@njit(cache=True, nogil=True)
def _forward(source, matrix, shift, out):
    """out[o, q] is the sum of source[o, p] * matrix[p, q] over the points p, by 2**shift, rounded; uses up source."""
    points, half = source.shape[1], np.int32(1 << (shift - 1))
    for o in range(len(source)):
        lines = source[o]
        for p in range(points // 2):
            left, right = lines[p], lines[points - 1 - p]
            for x in range(len(left)):
                a, b = left[x], right[x]
                left[x], right[x] = a + b, a - b
        for q in range(8):
            total = out[o, q]
            total[:] = half
            for p in range(0, points // 2, 4):
                first, step = (p, 1) if q % 2 == 0 else (points - 1 - p, -1)
                _add_four(total, lines, first, step, matrix[p : p + 4, q])
            for x in range(len(total)):
                total[x] >>= shift


@njit(cache=True, nogil=True)
def _backward(source, matrix, shift, out):
    """out[o, p] is the sum of source[o, q] * matrix[q, p] over the eight cosines q, by 2**shift, rounded."""
    points, half = out.shape[1], np.int32(1 << (shift - 1))
    for o in range(len(source)):
        for p in range(points // 2):
            even, odd = out[o, p], out[o, points - 1 - p]
            even[:], odd[:] = half, 0
            _add_four(even, source[o], 0, 2, matrix[0::2, p])
            _add_four(odd, source[o], 1, 2, matrix[1::2, p])
            for x in range(len(even)):
                a, b = even[x], odd[x]
                even[x], odd[x] = (a + b) >> shift, (a - b) >> shift


@njit(cache=True, nogil=True)
def _quantised(level, steps):
    """Coefficients (64, blocks), eight times too large, rounded to multiples of their steps.

    The quotients are cut to whole numbers, and integers below 2**17 are divided closely enough for that in float32.
    """
    for k in range(64):
        line, step = level[k], steps[k // 8, k % 8]
        half, whole = np.float32(4 * step), np.float32(8 * step)
        for x in range(len(line)):
            value = line[x]
            quotient = np.int32((np.float32(abs(value)) + half) / whole) * step
            line[x] = quotient if value >= 0 else -quotient


@njit(cache=True, nogil=True)
def _coded(samples, forward, inverse, steps, lines, level):
    """Samples less 128, (points, points, blocks), as the codec gives them back; its lossless half changes nothing."""
    points, blocks = samples.shape[1:]
    _forward(samples, forward, 11, lines)
    _forward(lines.reshape(1, points, 8 * blocks), forward, 15 if points == 8 else 17, level.reshape(1, 8, 8 * blocks))
    _quantised(level.reshape(64, blocks), steps)
    _backward(level.reshape(1, 8, 8 * blocks), inverse, 11, lines.reshape(1, points, 8 * blocks))
    _backward(lines, inverse, 18, samples)


@njit(inline="always")
def _clipped(value):
    return min(max(value, np.int32(0)), np.int32(255))


@njit(inline="always")
def _planes_of(pixels, planes):
    """A row of RGB bytes as luma, blue and red differences less 128; beyond the picture its last pixel goes on."""
    size = len(pixels) // 3
    luma, blue, red = planes[0, :size], planes[1, :size], planes[2, :size]
    for x in range(size):
        r, g, b = np.int32(pixels[3 * x]), np.int32(pixels[3 * x + 1]), np.int32(pixels[3 * x + 2])
        luma[x] = np.int32(np.int32(19595 * r + 38470 * g + 7471 * b + 32768) >> 16) - 128
        blue[x] = np.int32(-11059 * r - 21709 * g + 32768 * b + 32767) >> 16
        red[x] = np.int32(32768 * r - 27439 * g - 5329 * b + 32767) >> 16
    for x in range(size, planes.shape[1]):
        for c in range(3):
            planes[c, x] = planes[c, size - 1]


@njit(inline="always")
def _pixels_of(planes, pixels):
    """The way back."""
    size = len(pixels) // 3
    lumas, blues, reds = planes[0, :size], planes[1, :size], planes[2, :size]
    for x in range(size):
        luma, blue, red = _clipped(lumas[x] + 128), _clipped(blues[x] + 128) - 128, _clipped(reds[x] + 128) - 128
        pixels[3 * x] = _clipped(luma + (np.int32(91881 * red + 32768) >> 16))
        pixels[3 * x + 1] = _clipped(luma + (np.int32(-22553 * blue - 46802 * red + 32768) >> 16))
        pixels[3 * x + 2] = _clipped(luma + (np.int32(116130 * blue + 32768) >> 16))


@njit(cache=True, nogil=True)
def _apart(row, samples):
    """Deal a row of samples out to its blocks: (points, blocks)."""
    points, blocks = samples.shape
    for p in range(points):
        line, every = samples[p], row[p:]
        for b in range(blocks):
            line[b] = every[points * b]


@njit(cache=True, nogil=True)
def _together(samples, row):
    """The way back."""
    points, blocks = samples.shape
    for p in range(points):
        line, every = samples[p], row[p:]
        for b in range(blocks):
            every[points * b] = line[b]


@njit(cache=True, nogil=True)
def jpeg(images, out, cosines, steps):
    """JPEG in the integers of the IJG library 9b: 8 x 8 luma blocks, 16 x 16 chroma blocks kept by 8 x 8 coefficients.

    `cosines` are the transforms forward by 8 and 16 points and back by 8 and 16. Rows of 16 x 16 blocks are taken
    together, from several images where these are small: enough for long loops, few enough for the cache.
    """
    forward8, forward16, inverse8, inverse16 = cosines
    n, size = images.shape[:2]
    across = (size + 15) // 16
    rows = max(1, 28 // across)
    luma, chroma = np.zeros((8, 8, 4 * rows * across), np.int32), np.zeros((16, 16, 2 * rows * across), np.int32)
    lines, level = np.empty_like(luma), np.empty_like(luma)
    half_lines, half_level = np.empty((16, 8, chroma.shape[2]), np.int32), np.empty((8, 8, chroma.shape[2]), np.int32)
    planes = np.empty((3, 16 * across), np.int32)
    for start in range(0, n * across, rows):
        for row in range(min(rows, n * across - start)):
            image, top = images[(start + row) // across], (start + row) % across * 16
            for y in range(16):
                _planes_of(image[min(top + y, size - 1)].reshape(-1), planes)
                first, blue, red = (2 * row + y // 8) * 2 * across, row * across, (rows + row) * across
                _apart(planes[0], luma[y % 8, :, first : first + 2 * across])
                _apart(planes[1], chroma[y, :, blue : blue + across])
                _apart(planes[2], chroma[y, :, red : red + across])
        _coded(luma, forward8, inverse8, steps[0], lines, level)
        _coded(chroma, forward16, inverse16, steps[1], half_lines, half_level)
        for row in range(min(rows, n * across - start)):
            image, top = out[(start + row) // across], (start + row) % across * 16
            for y in range(min(16, size - top)):
                first, blue, red = (2 * row + y // 8) * 2 * across, row * across, (rows + row) * across
                _together(luma[y % 8, :, first : first + 2 * across], planes[0])
                _together(chroma[y, :, blue : blue + across], planes[1])
                _together(chroma[y, :, red : red + across], planes[2])
                _pixels_of(planes, image[top + y].reshape(-1))
