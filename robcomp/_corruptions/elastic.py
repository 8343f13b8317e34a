"""Elastic transform."""

from __future__ import annotations

import numpy as np
from numba import njit

from robcomp._corruptions.draws import uniforms
from robcomp._corruptions.parts import in_parts, made, scale_of
from robcomp._corruptions.smoothing import bell, bounced, smooth

_ELASTIC = dict(
    cifar=((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    imagenet=tuple(
        tuple(244 / 224 * share for share in shares)
        for shares in (  # the script's are 244 wide
            (2, 0.7, 0.1),
            (2, 0.08, 0.2),
            (0.05, 0.01, 0.02),
            (0.07, 0.01, 0.02),
            (0.12, 0.01, 0.02),
        )
    ),
)  # all times the size:
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
                system[row, column] = 0.0
            system[row, 3 * axis], system[row, 3 * axis + 1], system[row, 3 * axis + 2] = x, y, 1.0
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
    scale = 1.0 / (m0 * m4 - m1 * m3)
    inverse[0], inverse[1], inverse[3], inverse[4] = m4 * scale, -m1 * scale, -m3 * scale, m0 * scale
    inverse[2] = -inverse[0] * m2 - inverse[1] * m5
    inverse[5] = -inverse[3] * m2 - inverse[4] * m5


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
                left, near = bounced(left, size), bounced(near, size)
                top, far = bounced(top, size), bounced(far, size)
            w00, w01 = (one - below) * (one - right), (one - below) * right
            w10, w11 = below * (one - right), below * right
            p00, p01 = 3 * (top * size + left), 3 * (top * size + near)
            p10, p11, to = 3 * (far * size + left), 3 * (far * size + near), 3 * (y * size + x)
            for c in range(3):
                warped[to + c] = (
                    image[p00 + c] * w00 + image[p01 + c] * w01 + image[p10 + c] * w10 + image[p11 + c] * w11
                )


@njit(cache=True)
def _reflected(position, n):
    """scipy's 'reflect' for a real position: a b c d | d c b a."""
    if position < 0:
        if position < -2 * n:
            position += 2 * n * int(-position / (2 * n))
        return position + 2 * n if position < -n else (1e-15 if position > -1e-15 else -position) - 1.0
    if position > n - 1:
        position -= 2 * n * int(position / (2 * n))
        if position >= n:
            position = 2 * n - position - 1
    return position


@njit(cache=True, nogil=True)
def _elastic_kernel(images, draws, out, weights, reach, shift):
    size, area, radius = images.shape[1], images.shape[1] ** 2, len(weights) // 2
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
                    row = draws[i, 6 + axis * area + y * size :]
                    for x in range(size):
                        fields[axis, y, x] = -1 + 2 * row[x]
                smooth(fields[axis], between, weights, 1, True, False)
        for y in range(size):
            for x in range(size):
                row = _reflected(y + np.float64(np.float32(fields[1, y, x] * reach)), size)
                column = _reflected(x + np.float64(np.float32(fields[0, y, x] * reach)), size)
                top, left = int(np.floor(row)), int(np.floor(column))
                above, before = 1.0 - (row - top), 1.0 - (column - left)
                below, behind = 1.0 - above, 1.0 - before
                far, near = min(top + 1, size - 1), min(left + 1, size - 1)
                top, left = max(top, 0), max(left, 0)
                p00, p01 = 3 * (top * size + left), 3 * (top * size + near)
                p10, p11, to = 3 * (far * size + left), 3 * (far * size + near), 3 * (y * size + x)
                for c in range(3):
                    value = np.float32(
                        warped[p00 + c] * above * before
                        + warped[p01 + c] * above * behind
                        + warped[p10 + c] * below * before
                        + warped[p11 + c] * below * behind
                    )
                    made[to + c] = np.uint8(min(max(value, np.float32(0)), np.float32(1)) * np.float32(255))


def _elastic_transform(images: np.ndarray, draws: np.ndarray, severity: int, strengths: str = "cifar") -> np.ndarray:
    """A random affine map, then every pixel displaced by a smooth random field (none at severity 1)."""
    size = images.shape[1]
    reach, sigma, shift = (constant * size for constant in _ELASTIC[strengths][severity - 1])
    weights = bell(sigma, 3.0) if sigma else np.ones(1)
    return made(_elastic_kernel, images, draws, weights, reach * scale_of(images, strengths), shift)


def elastic_transform(
    images: np.ndarray, severity: int, seed: int, numbers: np.ndarray, *, strengths: str = "cifar"
) -> np.ndarray:
    """Stretched as if printed on rubber."""
    count = 6 + 2 * images.shape[1] ** 2
    return in_parts(
        images,
        numbers,
        lambda part, who: _elastic_transform(
            part, uniforms(seed, "elastic_transform", severity, who, count), severity, strengths
        ),
    )
