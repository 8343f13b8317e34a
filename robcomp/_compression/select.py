"""The k-th smallest of many magnitudes in two passes, where a sort or a partition takes dozens.

The bits of a float32 that is not negative, read as an integer, are in the order of the numbers. So a count of their
upper halves says in which half the k-th smallest is, and a count of the lower halves found there says which number it
is."""

from __future__ import annotations

import numpy as np
from numba import njit

HALF = 1 << 16


@njit(cache=True, nogil=True)
def _kth(bits, rank):
    counts = np.zeros(HALF, np.int64)
    for i in range(bits.size):
        counts[bits[i] >> 16] += 1
    upper = 0
    while rank >= counts[upper]:
        rank -= counts[upper]
        upper += 1
    counts[:] = 0
    for i in range(bits.size):
        if bits[i] >> 16 == upper:
            counts[bits[i] & 0xFFFF] += 1
    lower = 0
    while rank >= counts[lower]:
        rank -= counts[lower]
        lower += 1
    return np.uint32(upper << 16 | lower)


def kth_smallest(magnitudes: np.ndarray, k: int) -> np.float32:
    """The `k`-th smallest, 1 <= `k` <= n, of float32 `magnitudes` (n,), none of them negative or NaN."""
    bits = np.ascontiguousarray(magnitudes, np.float32).view(np.uint32)
    return np.array(_kth(bits, k - 1), np.uint32).view(np.float32)[()]
