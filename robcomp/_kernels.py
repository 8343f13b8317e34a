"""The inner loops of the corruptions, compiled by numba on first use and kept on disk.

Every kernel has the form `kernel(images, out, numbers, key, *constants)` and treats one image after the other, so that
`run` may cut the batch in pieces and give them to threads (the kernels do not hold the interpreter's lock). Plain
threads instead of `prange`: half the time to compile, and no thread pool that breaks under fork or a second caller.

Randomness is counter-based (splitmix64): draw k of an image is a hash of (key, number of the image, k) and of nothing
else. Floating-point work follows the order of operations of the reference (NumPy, SciPy, scikit-image 0.26, OpenCV 4.10,
ImageMagick 6.9.11), because the last bit decides where a value is truncated to 8 bits.
"""
from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from math import ceil, cos, floor, hypot, log, pi, sin, sqrt
from threading import Timer

import numpy as np
from numba import config, njit


def jit(function):
    """Compile without the interpreter's lock; keep the result on disk where some folder can be written."""
    try: return njit(cache=True, nogil=True)(function)
    except RuntimeError: return njit(nogil=True)(function)


_ready = set()


def run(kernel, images: np.ndarray, numbers: np.ndarray, key: int, constants: tuple, *, threads: int | None = None) -> np.ndarray:
    """`kernel` over all images, in as many threads as numba would take (NUMBA_NUM_THREADS)."""
    out, key = np.empty_like(images), np.uint64(key)
    if kernel not in _ready:
        name = kernel.__name__
        notice = Timer(.5, lambda: print(f"robcomp: compiling {name} (once, then kept on disk)", file=sys.stderr, flush=True))
        notice.daemon = True
        notice.start()
        try: kernel(images[:0], out[:0], numbers[:0], key, *constants)
        finally: notice.cancel()
        _ready.add(kernel)
    threads = min(threads or config.NUMBA_NUM_THREADS, -(-len(images) // 16))
    if threads <= 1:
        kernel(images, out, numbers, key, *constants)
        return out
    step = max(16, -(-len(images) // (8 * threads)))
    parts = [slice(start, start + step) for start in range(0, len(images), step)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: kernel(images[part], out[part], numbers[part], key, *constants), parts))
    return out


# ---------------------------------------------------------------------------------------------------------- draws
GOLDEN, MIX1, MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S11, S27, S30, S31, S32 = (np.uint64(shift) for shift in (11, 27, 30, 31, 32))
LOW24, LOW32 = np.uint64(0xFFFFFF), np.uint64(0xFFFFFFFF)


@jit
def mix(z):
    z = (z ^ (z >> S30)) * MIX1
    z = (z ^ (z >> S27)) * MIX2
    return z ^ (z >> S31)


@jit
def stream(key, number):
    """Where the draws of one image start."""
    return mix(key ^ mix(np.uint64(number) * MIX1 + GOLDEN))


@jit
def uniform(state, k):
    """Draw k, strictly between 0 and 1: an odd multiple of 2**-54."""
    return (np.int64(mix(state + np.uint64(k + 1) * GOLDEN) >> S11) + .5) * 2.**-53


@jit
def normal(state, k):
    """Draw k through the inverse of the normal distribution (Wichura, Applied Statistics 37, 1988, AS 241)."""
    q = uniform(state, k) - .5
    if abs(q) <= .425:
        r = .180625 - q * q
        return q * (((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r
                        + 45921.953931549871457) * r + 13731.693765509461125) * r + 1971.5909503065514427) * r
                     + 133.14166789178437745) * r + 3.387132872796366608) / \
            (((((((5226.495278852854561 * r + 28729.085735721942674) * r + 39307.89580009271061) * r
                 + 21213.794301586595867) * r + 5394.1960214247511077) * r + 687.1870074920579083) * r
              + 42.313330701600911252) * r + 1.)
    r = sqrt(-log(.5 + q if q < 0 else .5 - q))
    if r <= 5:
        r -= 1.6
        z = (((((((7.7454501427834140764e-4 * r + .0227238449892691845833) * r + .24178072517745061177) * r
                 + 1.27045825245236838258) * r + 3.64784832476320460504) * r + 5.7694972214606914055) * r
              + 4.6303378461565452959) * r + 1.42343711074968357734) / \
            (((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + .0151986665636164571966) * r
                 + .14810397642748007459) * r + .68976733498510000455) * r + 1.6763848301838038494) * r
              + 2.05319162663775882187) * r + 1.)
    else:
        r -= 5
        z = (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + .0012426609473880784386) * r
                 + .026532189526576123093) * r + .29656057182848504891) * r + 1.7848265399172913358) * r
              + 5.4637849111641143699) * r + 6.6579046435011037772) / \
            (((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r
                 + 7.868691311456132591e-4) * r + .0148753612908506148525) * r + .13692988092273580531) * r
              + .59983220655588793769) * r + 1.)
    return -z if q < 0 else z


@jit
def draws(key, number, n, normals):
    """The first n draws of an image, for tests and for the curious."""
    out, state = np.empty(n), stream(key, number)
    for k in range(n): out[k] = normal(state, k) if normals else uniform(state, k)
    return out


# ---------------------------------------------------------------------------------------------------- shared pieces
@jit
def cut(x):
    """0 to 1 in float64 to 0 to 255 in uint8, clipped and truncated."""
    return np.uint8(min(max(x, 0.), 1.) * 255.)


@jit
def blur(grid, weights, edge, step, lines, line):
    """A symmetric filter along both axes, in place, the outermost pair of taps first, as scipy.ndimage adds them.

    `grid` (size, size * step) float64; `edge` (size + 2 r) says which line stands at each place beyond the border.
    """
    size, width = grid.shape
    r = len(weights) - 1
    if r == 0: return
    for y in range(size + 2 * r):
        for j in range(width): lines[y, j] = grid[edge[y], j]
    for y in range(size):
        for j in range(width): grid[y, j] = lines[y + r, j] * weights[0]
        for tap in range(r, 0, -1):
            w = weights[tap]
            for j in range(width): grid[y, j] += (lines[y + r - tap, j] + lines[y + r + tap, j]) * w
    for y in range(size):
        for x in range(size + 2 * r):
            for c in range(step): line[x * step + c] = grid[y, edge[x] * step + c]
        for j in range(width): grid[y, j] = line[j + r * step] * weights[0]
        for tap in range(r, 0, -1):
            w, low, high = weights[tap], (r - tap) * step, (r + tap) * step
            for j in range(width): grid[y, j] += (line[j + low] + line[j + high]) * w


@jit
def smear(pixels, padded, total, weights, angle, step):
    """ImageMagick 6's motion blur: whole-pixel offsets along the angle, a one-sided Gaussian, repeated edge; in place.

    `pixels` (size, size * step) uint8, `padded` (size + 2 m, (size + 2 m) * step) uint8 with m = len(weights).
    """
    size, width = pixels.shape
    m = len(weights)
    for y in range(size + 2 * m):
        source = min(max(y - m, 0), size - 1)
        for x in range(m):
            for c in range(step):
                padded[y, x * step + c] = pixels[source, c]
                padded[y, (size + m + x) * step + c] = pixels[source, width - step + c]
        for j in range(width): padded[y, m * step + j] = pixels[source, j]
    down, right = m * sin(pi * angle / 180.), m * cos(pi * angle / 180.)
    length = hypot(down, right)
    for y in range(size):
        total[:] = 0.
        for tap in range(m):
            row = y + m + int(ceil(tap * down / length - .5))
            shift = (m + int(ceil(tap * right / length - .5))) * step
            w = weights[tap]
            for j in range(width): total[j] += w * np.float64(padded[row, j + shift] * 257)
        for j in range(width): pixels[y, j] = np.uint8(np.int32(total[j] + .5) // np.int32(257))


# ------------------------------------------------------------------------------------------------------- the kernels
@jit
def noise(images, out, numbers, key, table):
    """One sub-pixel, one 32-bit word, one look-up: `table` holds P(out | in) as alias tables (256, 256) uint32."""
    for i in range(len(images)):
        state, flat, made = stream(key, numbers[i]), images[i].ravel(), out[i].ravel()
        for k in range((len(flat) + 1) // 2):
            word = mix(state + np.uint64(k + 1) * GOLDEN)
            for half in range(2):
                j = 2 * k + half
                if j < len(flat):
                    column = (word >> np.uint64(24)) & np.uint64(255)
                    entry = table[flat[j], column]
                    made[j] = column if (word & LOW24) < np.uint64(entry >> np.uint32(8)) else entry & np.uint32(255)
                word >>= S32


@jit
def contrast(images, out, numbers, key, scale):
    size = images.shape[1]
    level, mean = np.empty((256, 3), np.uint8), np.empty(3)
    for i in range(len(images)):
        mean[:] = 0.
        for y in range(size):
            for x in range(size):
                for c in range(3): mean[c] += images[i, y, x, c] / 255.
        for c in range(3):
            mean[c] /= size * size
            for v in range(256): level[v, c] = cut((v / 255. - mean[c]) * scale + mean[c])
        for y in range(size):
            for x in range(size):
                for c in range(3): out[i, y, x, c] = level[images[i, y, x, c], c]


@jit
def hsv(images, out, numbers, key, times, plus, up):
    """Saturation times a factor plus a number, value plus a number, in scikit-image's order of operations."""
    size = images.shape[1]
    for i in range(len(images)):
        for y in range(size):
            for x in range(size):
                r, g, b = images[i, y, x, 0] / 255., images[i, y, x, 1] / 255., images[i, y, x, 2] / 255.
                v = max(r, g, b)
                delta, h, s = v - min(r, g, b), 0., 0.
                if delta > 0.:
                    s = delta / v
                    if b == v: h = 4. + (r - g) / delta
                    elif g == v: h = 2. + (b - r) / delta
                    else: h = (g - b) / delta
                    h /= 6.
                    if h < 0.: h += 1.
                s, v = min(max(s * times + plus, 0.), 1.), min(max(v + up, 0.), 1.)
                sector = floor(h * 6.)
                f = h * 6. - sector
                p, q, t = v * (1. - s), v * (1. - f * s), v * (1. - (1. - f) * s)
                sector = int(sector) % 6
                r = v if sector == 0 or sector == 5 else q if sector == 1 else t if sector == 4 else p
                g = v if sector == 1 or sector == 2 else t if sector == 0 else q if sector == 3 else p
                b = v if sector == 3 or sector == 4 else t if sector == 2 else q if sector == 5 else p
                out[i, y, x, 0], out[i, y, x, 1], out[i, y, x, 2] = cut(r), cut(g), cut(b)


@jit
def gaussian_blur(images, out, numbers, key, weights, edge):
    size = images.shape[1]
    grid, lines, line = np.empty((size, size * 3)), np.empty((len(edge), size * 3)), np.empty(len(edge) * 3)
    for i in range(len(images)):
        source, made = images[i].reshape(size, size * 3), out[i].reshape(size, size * 3)
        for y in range(size):
            for j in range(size * 3): grid[y, j] = source[y, j] / 255.
        blur(grid, weights, edge, 3, lines, line)
        for y in range(size):
            for j in range(size * 3): made[y, j] = cut(grid[y, j])


@jit
def glass_blur(images, out, numbers, key, weights, edge, reach, times):
    """Blur, let every pixel take the colour of a near one, blur. The published swap does not swap: see the page."""
    size = images.shape[1]
    grid, lines, line = np.empty((size, size * 3)), np.empty((len(edge), size * 3)), np.empty(len(edge) * 3)
    for i in range(len(images)):
        source, made = images[i].reshape(size, size * 3), out[i].reshape(size, size * 3)
        for y in range(size):
            for j in range(size * 3): grid[y, j] = source[y, j] / 255.
        blur(grid, weights, edge, 3, lines, line)
        for y in range(size):
            for j in range(size * 3): made[y, j] = np.uint8(grid[y, j] * 255.)
        state, k = stream(key, numbers[i]), 0
        for _ in range(times):
            for y in range(size - reach, reach, -1):
                for x in range(size - reach, reach, -1):
                    right = int(uniform(state, k) * (2 * reach)) - reach
                    down = int(uniform(state, k + 1) * (2 * reach)) - reach
                    k += 2
                    for c in range(3): out[i, y, x, c] = out[i, y + down, x + right, c]
        for y in range(size):
            for j in range(size * 3): grid[y, j] = made[y, j] / 255.
        blur(grid, weights, edge, 3, lines, line)
        for y in range(size):
            for j in range(size * 3): made[y, j] = cut(grid[y, j])


@jit
def defocus_blur(images, out, numbers, key, disk):
    """Correlation with a disk of odd side, borders mirrored without repeating the edge."""
    size, r = images.shape[1], len(disk) // 2
    period = 2 * size - 2
    padded, total = np.empty((size + 2 * r, (size + 2 * r) * 3)), np.empty(size * 3)
    for i in range(len(images)):
        for y in range(size + 2 * r):
            row = abs(y - r) % period
            row = min(row, period - row)
            for x in range(size + 2 * r):
                column = abs(x - r) % period
                column = min(column, period - column)
                for c in range(3): padded[y, x * 3 + c] = images[i, row, column, c] / 255.
        made = out[i].reshape(size, size * 3)
        for y in range(size):
            total[:] = 0.
            for dy in range(len(disk)):
                for dx in range(len(disk)):
                    w = disk[dy, dx]
                    if w == 0.: continue
                    for j in range(size * 3): total[j] += padded[y + dy, j + dx * 3] * w
            for j in range(size * 3): made[y, j] = cut(total[j])


@jit
def motion_blur(images, out, numbers, key, weights):
    size, m = images.shape[1], len(weights)
    padded, total = np.empty((size + 2 * m, (size + 2 * m) * 3), np.uint8), np.empty(size * 3)
    for i in range(len(images)):
        made = out[i].reshape(size, size * 3)
        made[:] = images[i].reshape(size, size * 3)
        smear(made, padded, total, weights, uniform(stream(key, numbers[i]), 0) * 90. - 45., 3)


@jit
def zoom_blur(images, out, numbers, key, low, w0, w1, counts):
    """The mean of magnified copies: layer l reads places low[l] and low[l] + 1 with weights w0[l] and w1[l], counts[l] times."""
    size = images.shape[1]
    width = size * 3
    grid = np.zeros((size + 1, width), np.float32)
    top, bottom, total = np.zeros(width + 3), np.zeros(width + 3), np.empty((size, width), np.float32)
    share = np.float32(counts.sum() + 1)
    column, u0, u1 = np.empty(width, np.int64), np.empty(width), np.empty(width)
    for i in range(len(images)):
        source, made = images[i].reshape(size, width), out[i].reshape(size, width)
        for y in range(size):
            for j in range(width): grid[y, j] = np.float32(source[y, j] / 255.)
        total[:] = np.float32(0)
        for layer in range(len(counts)):
            for x in range(size):
                for c in range(3):
                    column[x * 3 + c] = low[layer, x] * 3 + c
                    u0[x * 3 + c], u1[x * 3 + c] = w0[layer, x], w1[layer, x]
            for y in range(size):
                row, v0, v1 = low[layer, y], w0[layer, y], w1[layer, y]
                for j in range(width): top[j], bottom[j] = grid[row, j] * v0, grid[row + 1, j] * v1
                for j in range(width):
                    p = column[j]
                    value = np.float32(top[p] * u0[j] + top[p + 3] * u1[j] + bottom[p] * u0[j] + bottom[p + 3] * u1[j])
                    for _ in range(counts[layer]): total[y, j] += value
        for y in range(size):
            for j in range(width):
                value = (grid[y, j] + total[y, j]) / share
                made[y, j] = np.uint8(min(max(value, np.float32(0)), np.float32(1)) * np.float32(255))


@jit
def frost(images, out, numbers, key, pictures, start, height, width, keep, add):
    """A crop of one of the pictures, laid over the image: keep * image + add * frost."""
    size = images.shape[1]
    for i in range(len(images)):
        state = stream(key, numbers[i])
        p = int(uniform(state, 0) * len(start))
        top, left = int(uniform(state, 1) * (height[p] - size)), int(uniform(state, 2) * (width[p] - size))
        for y in range(size):
            row = start[p] + ((top + y) * width[p] + left) * 3
            for x in range(size):
                for c in range(3):
                    out[i, y, x, c] = np.uint8(min(keep[images[i, y, x, c]] + add[pictures[row + x * 3 + c]], 255.))


@jit
def plasma(state, grid, decay):
    """Diamond-square heights on a torus, moved and stretched to 0 to 1, in place; the side of `grid` is a power of two."""
    n, k, wobble = len(grid), 0, 100.
    step = n
    grid[0, 0] = 0.
    while step >= 2:
        half = step // 2
        for y in range(0, n, step):
            for x in range(0, n, step):
                below, right = (y + step) % n, (x + step) % n
                mean = ((grid[y, x] + grid[below, x]) + (grid[y, right] + grid[below, right])) / 4
                grid[y + half, x + half] = mean + wobble * (uniform(state, k) * (2 * wobble) - wobble)
                k += 1
        for y in range(0, n, step):
            for x in range(0, n, step):
                mean = ((grid[y + half, x + half] + grid[(y - half) % n, x + half]) + (grid[y, x] + grid[y, (x + step) % n])) / 4
                grid[y, x + half] = mean + wobble * (uniform(state, k) * (2 * wobble) - wobble)
                k += 1
        for y in range(0, n, step):
            for x in range(0, n, step):
                mean = ((grid[y + half, x + half] + grid[y + half, (x - half) % n]) + (grid[y, x] + grid[(y + step) % n, x])) / 4
                grid[y + half, x] = mean + wobble * (uniform(state, k) * (2 * wobble) - wobble)
                k += 1
        step, wobble = half, wobble / decay
    lowest, highest = grid.min(), grid.max()
    span = highest - lowest
    for y in range(n):
        for x in range(n): grid[y, x] = (grid[y, x] - lowest) / span


@jit
def fog(images, out, numbers, key, thickness, decay, side):
    size = images.shape[1]
    grid = np.empty((side, side))
    for i in range(len(images)):
        plasma(stream(key, numbers[i]), grid, decay)
        lightest = images[i].max() / 255.
        for y in range(size):
            for x in range(size):
                add = thickness * grid[y, x]
                for c in range(3): out[i, y, x, c] = cut((images[i, y, x, c] / 255. + add) * lightest / (lightest + thickness))


@jit
def pixelate(images, out, numbers, key, first, weights, back, back_weights):
    """Box down, box up, in the 22-bit fixed point of Pillow: place j reads first[j], first[j] + 1 ... with integer weights."""
    size, small, taps, back_taps = images.shape[1], len(first), weights.shape[1], back_weights.shape[1]
    half = 1 << 21
    narrow, tiny = np.empty((size, small * 3), np.uint8), np.empty((small, small * 3), np.uint8)
    wide = np.empty((small, size * 3), np.uint8)
    for i in range(len(images)):
        for y in range(size):
            for x in range(small):
                for c in range(3):
                    total = half
                    for tap in range(taps): total += images[i, y, min(first[x] + tap, size - 1), c] * weights[x, tap]
                    narrow[y, x * 3 + c] = total >> 22
        for y in range(small):
            for j in range(small * 3):
                total = half
                for tap in range(taps): total += narrow[min(first[y] + tap, size - 1), j] * weights[y, tap]
                tiny[y, j] = total >> 22
        for y in range(small):
            for x in range(size):
                for c in range(3):
                    total = half
                    for tap in range(back_taps): total += tiny[y, min(back[x] + tap, small - 1) * 3 + c] * back_weights[x, tap]
                    wide[y, x * 3 + c] = total >> 22
        made = out[i].reshape(size, size * 3)
        for y in range(size):
            for j in range(size * 3):
                total = half
                for tap in range(back_taps): total += wide[min(back[y] + tap, small - 1), j] * back_weights[y, tap]
                made[y, j] = total >> 22
