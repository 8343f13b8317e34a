"""Counter-based draws: every random number is a pure function of (seed, corruption, severity, image number, position).

No state is carried from one draw to the next, so an image's corruption does not depend on the batch it came in, on the
order of the batch or on the number of threads. A position's word is splitmix64's output function applied to
`key + position * GOLDEN`, and the key of an image is the four other arguments absorbed one after the other by the same
function. Inside a kernel take the key once an image and index it:

    key = stream(seed, corruption, severity, number)
    normal_at(key, 0), normal_at(key, 1), ...
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Written out: a draw must never change its meaning.
CORRUPTION = {
    "gaussian_noise": 1,
    "shot_noise": 2,
    "impulse_noise": 3,
    "defocus_blur": 4,
    "glass_blur": 5,
    "motion_blur": 6,
    "zoom_blur": 7,
    "snow": 8,
    "frost": 9,
    "fog": 10,
    "brightness": 11,
    "contrast": 12,
    "elastic_transform": 13,
    "pixelate": 14,
    "jpeg_compression": 15,
    "speckle_noise": 16,
    "gaussian_blur": 17,
    "spatter": 18,
    "saturate": 19,
}

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd: positions visit all 2**64 words
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_S11, _S12 = np.uint64(11), np.uint64(12)


@njit(inline="always")
def _mix(word):
    """splitmix64's output function: a bijection of 64 bits in which every input bit moves half of the output's."""
    word = (word ^ (word >> _S30)) * _M1
    word = (word ^ (word >> _S27)) * _M2
    return word ^ (word >> _S31)


@njit(cache=True)
def stream(seed, corruption, severity, number):
    """The key of one image's draws."""
    key = _mix(np.uint64(seed) + GOLDEN)
    key = _mix((key ^ np.uint64(corruption)) + GOLDEN)
    key = _mix((key ^ np.uint64(severity)) + GOLDEN)
    return _mix((key ^ np.uint64(number)) + GOLDEN)


@njit(inline="always")
def word_at(key, position):
    """64 random bits at a position of a stream."""
    return _mix(key + np.uint64(position) * GOLDEN)


@njit(inline="always")
def uniform_at(key, position):
    """A float64 in [0, 1), 53 bits, at a position of a stream."""
    return (word_at(key, position) >> _S11) * (1.0 / 9007199254740992.0)


# Wichura (1988), algorithm AS 241: numerators and denominators of three rational functions, highest power first.
# fmt: off
_MIDDLE = ((2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
            1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080),
           (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
            5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0))
_NEAR = ((7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
          3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734),
         (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
          6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1.0))
_FAR = ((2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
         2.96560571828504891230e-1, 1.78482653991729133580, 5.46378491116411436990, 6.65790464350110377720),
        (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
         1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0))
# fmt: on


@njit(inline="always")
def _ratio(polynomials, r):
    above, below = 0.0, 0.0
    for k in range(8):
        above, below = above * r + polynomials[0][k], below * r + polynomials[1][k]
    return above / below


@njit(cache=True, error_model="numpy")
def _tail(q, p):
    """The outer 15 % of `quantile`."""
    r = np.sqrt(-np.log(p if q < 0 else 1.0 - p))
    value = _ratio(_NEAR, r - 1.6) if r <= 5.0 else _ratio(_FAR, r - 5.0)
    return -value if q < 0 else value


@njit(inline="always")
def _middle(q):
    """The inner 85 % of `quantile`."""
    return q * _ratio(_MIDDLE, 0.180625 - q * q)


@njit(cache=True, error_model="numpy")
def quantile(p):
    """Inverse of the standard normal distribution function for 0 < p < 1, about 1e-15 relative (Wichura's AS 241)."""
    q = p - 0.5
    return _middle(q) if abs(q) <= 0.425 else _tail(q, p)


@njit(inline="always")
def _inner_at(key, position):
    """A float64 in (0, 1), 52 bits, at a position of a stream."""
    return ((word_at(key, position) >> _S12) + 0.5) * (1.0 / 4503599627370496.0)


@njit(cache=True)
def normal_at(key, position):
    """A standard normal (one word, by inverse distribution function) at a position of a stream."""
    return quantile(_inner_at(key, position))


@njit(cache=True)
def word(seed, corruption, severity, number, position):
    """`word_at` for one draw alone."""
    return word_at(stream(seed, corruption, severity, number), position)


@njit(cache=True)
def uniform(seed, corruption, severity, number, position):
    """`uniform_at` for one draw alone."""
    return uniform_at(stream(seed, corruption, severity, number), position)


@njit(cache=True)
def normal(seed, corruption, severity, number, position):
    """`normal_at` for one draw alone."""
    return normal_at(stream(seed, corruption, severity, number), position)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(numbers, draws, seed, corruption, severity, start, normal):
    inner = np.empty(draws.shape[1])
    for i in range(len(numbers)):
        key, row = stream(seed, corruption, severity, numbers[i]), draws[i]
        if normal:  # `normal_at` in three sweeps, the first two without a branch
            for j in range(len(row)):
                inner[j] = _inner_at(key, start + j)
            for j in range(len(row)):
                row[j] = _middle(inner[j] - 0.5)
            for j in range(len(row)):
                if abs(inner[j] - 0.5) > 0.425:
                    row[j] = _tail(inner[j] - 0.5, inner[j])
        else:
            for j in range(len(row)):
                row[j] = uniform_at(key, start + j)


def uniforms(seed: int, name: str, severity: int, numbers: np.ndarray, count: int, start: int = 0) -> np.ndarray:
    """(n, count) uniforms in [0, 1), one row per image, from position `start` of its stream."""
    found = np.empty((len(numbers), count))
    _draw(numbers, found, np.uint64(seed % 2**64), CORRUPTION[name], severity, start, False)
    return found


def normals(seed: int, name: str, severity: int, numbers: np.ndarray, count: int, start: int = 0) -> np.ndarray:
    """(n, count) standard normals, one row per image, from position `start` of its stream."""
    found = np.empty((len(numbers), count))
    _draw(numbers, found, np.uint64(seed % 2**64), CORRUPTION[name], severity, start, True)
    return found
