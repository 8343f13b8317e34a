"""What the kernels are given: the tables, filters, line weights and matrices behind the constants of a severity."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

REFERENCE = dict(cifar=32, imagenet=224)  # pixels a side that the published constants are for


def alias_table(odds: np.ndarray) -> np.ndarray:
    """An alias table (Walker 1977) of each row of a (256, 256) matrix of probabilities, as `_kernels.sample` reads it.

    The poorest column of a row is filled up by the richest, 255 times, in all rows at once.
    """
    left = odds / odds.sum(1, keepdims=True) * 256  # of each column, until it is settled
    share, alias, rows = np.ones_like(left), np.tile(np.arange(256, dtype=np.uint32), (256, 1)), np.arange(256)
    for _ in range(255):
        poor, rich = left.argmin(1), np.where(np.isinf(left), -1, left).argmax(1)
        share[rows, poor], alias[rows, poor] = left[rows, poor], rich
        left[rows, rich] -= 1 - left[rows, poor]
        left[rows, poor] = np.inf
    whole = np.rint(share.clip(0, 1) * (1 << 24)).astype(np.int64)
    alias[whole == 1 << 24] = np.nonzero(whole == 1 << 24)[1]
    return (np.minimum(whole, (1 << 24) - 1).astype(np.uint32) << np.uint32(8)) | alias


def normal_odds(spread: np.ndarray) -> np.ndarray:
    """P(out | in) of x + N(0, spread[in]) on the scale 0 to 1, clipped, truncated to bytes; row `in`, column `out`."""
    from scipy.special import ndtr

    edges = np.arange(1, 256) / 255
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (edges - np.arange(256)[:, None] / 255) / spread[:, None]
    below = np.concatenate([np.zeros((256, 1)), ndtr(z), np.ones((256, 1))], 1)
    above = np.concatenate([np.ones((256, 1)), ndtr(-z), np.zeros((256, 1))], 1)
    right = np.arange(256) > np.arange(256)[:, None]  # differences of the smaller of the two tails keep their digits
    odds = np.where(right, above[:, :-1] - above[:, 1:], below[:, 1:] - below[:, :-1])
    odds[spread == 0] = np.eye(256)[spread == 0]
    return odds


def poisson_odds(photons: float) -> np.ndarray:
    """P(out | in) of Poisson(x photons) / photons, clipped and truncated to bytes."""
    from scipy.special import gammaln, xlogy

    counts = np.arange(int(photons + 12 * photons**0.5) + 30)
    mean = np.arange(256)[:, None] / 255 * photons
    chance = np.exp(xlogy(counts, mean) - mean - gammaln(counts + 1))
    byte = np.uint8(np.clip(counts / photons, 0, 1) * 255)
    odds = np.zeros((256, 256))
    np.add.at(odds.T, byte, chance.T)
    return odds


def impulse_odds(amount: float) -> np.ndarray:
    """P(out | in) where a byte turns 0 or 255, each with half the probability `amount`."""
    odds = np.eye(256) * (1 - amount)
    odds[:, [0, 255]] += amount / 2
    return odds


def gaussian(sigma: float) -> np.ndarray:
    """Half of a normalised Gaussian filter, from its centre outwards, cut at four deviations."""
    reach = int(4 * sigma + 0.5)
    whole = np.exp(-0.5 / (sigma * sigma) * np.arange(-reach, reach + 1) ** 2)
    return (whole / whole.sum())[reach:]


def disk(radius: float, alias: float, whole: bool = True) -> np.ndarray:
    """A uniform disk smoothed by 3 (above 8 pixels of radius 5) Gaussian taps a side, in float32 as published.

    The published script smooths within a square of 17 pixels, or as wide as a larger disk, mirrored beyond its border;
    `whole` gives the disk the room that its smoothing takes instead. Up to a radius of 7 both are the same.
    """
    smooth = 1 if radius <= 8 else 2
    reach = int(radius) + smooth if whole else min(int(radius) + smooth, max(8, int(radius)))
    across = np.arange(-reach, reach + 1)
    flat = (across**2 + across[:, None] ** 2 <= radius**2).astype(np.float32)
    taps = np.exp(-0.5 / (alias * alias) * np.arange(-smooth, smooth + 1.0) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    mode = "constant" if whole or reach > int(radius) else "reflect"
    return _smoothed(_smoothed(flat / flat.sum(), taps, mode).T, taps, mode).T.astype(float)


def _smoothed(plane: np.ndarray, taps: np.ndarray, mode: str) -> np.ndarray:
    """Every row filtered by symmetric taps; beyond its ends nothing (constant) or its mirror image (reflect)."""
    reach, size = len(taps) // 2, plane.shape[1]
    padded = np.pad(plane, [(0, 0), (reach, reach)], mode)
    total = plane * taps[reach]
    for d in range(1, reach + 1):
        total = total + (padded[:, reach - d :][:, :size] + padded[:, reach + d :][:, :size]) * taps[reach + d]
    return total


def enlarged_lines(size: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Which two neighbouring lines make each line of the enlarged centre of an image, and with which weights."""
    from scipy.ndimage import zoom

    kept = int(np.ceil(size / factor))
    weights = zoom(np.eye(kept), (factor, 1), order=1)
    start = (len(weights) - size) // 2
    weights = np.pad(weights[start : start + size], [(0, 0), (0, 1)])
    first = (weights > 0).argmax(1)
    rows = np.arange(size)
    return first + (size - kept) // 2, np.stack([weights[rows, first], weights[rows, first + 1]], 1)


@lru_cache(32)
def enlargements(size: int, stop: float, step: float = 0.01) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct enlargements by 1, 1 + `step`, ... up to `stop`: lines, weights and how often each occurs."""
    first, weights, times = [], [], []
    for factor in np.arange(1, stop, step):
        line, weight = enlarged_lines(size, factor)
        if first and (first[-1] == line).all() and (weights[-1] == weight).all():
            times[-1] += 1
        else:
            first.append(line), weights.append(weight), times.append(1)
    return np.array(first), np.array(weights), np.array(times)


@lru_cache(32)
def boxes(size: int, few: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Averages of `size` lines to `few` in 22-bit fixed point (first line, weights), and the way back by copying."""
    scale = size / few
    centre = (np.arange(few) + 0.5) * scale
    lines = np.arange(size)
    inside = (lines + 0.5 - centre[:, None]) / scale
    weights = ((inside > -0.5) & (inside <= 0.5)).astype(float)
    weights = np.floor(0.5 + weights / weights.sum(1, keepdims=True) * (1 << 22)).astype(np.int32)
    taps = int((weights > 0).sum(1).max())
    first = np.minimum((weights > 0).argmax(1), size - taps)
    taken = np.take_along_axis(weights, first[:, None] + np.arange(taps), 1)
    return first, taken, ((lines + 0.5) / scale).astype(np.int64)


# The library adds and multiplies in an order that saves multiplications, with rounded constants. Worked out into plain
# matrices, a few entries differ by one from the rounded cosines: (row, column, by), mirrored columns alike.
_OFF = {
    "8": [(1, 2, 1), (3, 1, 1), (3, 2, 1), (5, 0, 1), (5, 1, 1), (5, 2, 1), (6, 1, -1), (6, 2, 1)],
    "16 forward": [(1, 7, -1), (5, 2, 1), (6, 3, -1), (6, 4, 1), (7, 3, 1), (7, 4, 1)],
    "16 inverse": [(2, 2, 1), (2, 5, -1), (3, 6, 1), (5, 2, 1), (5, 5, -1), (6, 0, -1), (6, 7, 1), (7, 3, 1)],
}


def _cosines(points: int, off: str) -> np.ndarray:
    k, j = np.arange(8)[:, None], np.arange(points)
    matrix = np.sqrt(2) * np.cos(k * (2 * j + 1) * np.pi / (2 * points))
    matrix[0] = 1
    matrix = np.rint(8192 * matrix).astype(np.int32)
    for row, column, by in _OFF[off]:
        matrix[row, column] += by
        matrix[row, points - 1 - column] += by * (-1) ** row
    return matrix


@lru_cache(1)
def cosines() -> tuple[np.ndarray, ...]:
    """The 13-bit integer cosine transforms of libjpeg 9b: forward 8 and 16 points, inverse 8 and 16 points."""
    forward = [np.ascontiguousarray(_cosines(points, off).T) for points, off in ((8, "8"), (16, "16 forward"))]
    return *forward, _cosines(8, "8"), _cosines(16, "16 inverse")


_LUMA = [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
]  # ITU-T T.81, table K.1
_CHROMA = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]  # table K.2; all else is 99


def steps(quality: int) -> np.ndarray:
    """The quantisation steps of luma and chroma at a quality of 1 to 100."""
    base = np.full((2, 8, 8), 99)
    base[0], base[1, :4, :4] = _LUMA, _CHROMA
    percent = 200 - 2 * quality if quality >= 50 else 5000 // quality
    return np.clip((base * percent + 50) // 100, 1, 255).astype(np.int32)
