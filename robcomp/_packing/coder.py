"""An adaptive range coder for small integers: order-0 entropy without a table of frequencies.

A symbol is written as the decisions on the way down a binary tree, highest bit first. Each decision has its own
probability of a 1, learned as the stream goes: the mean of two running frequencies, over about 250 and about 4,000
decisions, so nothing but the symbols is stored and slow changes along a layer are followed. The arithmetic is that of a
32-bit range coder with carry (Martin, Video & Data Recording Conference 1979), the form that LZMA made common.
Everything is an integer, so a stream is the same, and means the same, on every machine.

There are no contexts: a symbol is coded as if it told nothing of its neighbours, so streams end at their order-0
entropy. The coder that uses patterns, such as two zeros in every four, is `_context`; it takes more time."""

from __future__ import annotations

import numpy as np
from numba import njit

ONE = 1 << 28  # probability 1
LIMITS = (250, 4000)  # decisions that a running frequency reaches back
FLOOR = 16  # of a probability, in 1/65536
# 65536 / (n + 1.5): how far the n-th decision moves a frequency
STEPS = np.array([131072 // (2 * n + 3) for n in range(LIMITS[1] + 1)], np.int64)
ANOTHER = "a stream of symbols is another than is written for them"
TOP, WORD = np.uint64(1 << 24), np.uint64(0xFFFFFFFF)


@njit(cache=True, nogil=True, inline="always")
def _chance(quick, slow):
    """Probability of a 0 in 1/65536, kept off certainty."""
    return min(max(65536 - ((quick + slow) >> 13), FLOOR), 65536 - FLOOR)


@njit(cache=True, nogil=True, inline="always")
def _moved(frequency, bit, step):
    """A running frequency after a decision."""
    return frequency + (((bit * ONE - frequency) * step) >> 16)


@njit(cache=True, nogil=True)
def _flush(out, size, low, cache, pending):
    """Move the top byte of `low` out; a run of 255s waits until it is known whether a carry comes."""
    if low < np.uint64(0xFF000000) or low > WORD:
        carry = low >> np.uint64(32)
        if size + pending > out.size:
            longer = np.empty(2 * out.size + pending, np.uint8)
            longer[:size] = out[:size]
            out = longer
        for waiting in range(pending):
            byte = cache if waiting == 0 else np.uint64(255)
            out[size] = np.uint8((byte + carry) & np.uint64(255))
            size += 1
        pending = 0
        cache = (low >> np.uint64(24)) & np.uint64(255)
    return out, size, (low << np.uint64(8)) & WORD, cache, pending + 1


@njit(cache=True, nogil=True)
def _encode(symbols, depth, steps):
    quick, slow = np.full(1 << depth, ONE >> 1, np.int64), np.full(1 << depth, ONE >> 1, np.int64)
    seen = np.zeros(1 << depth, np.int64)
    out, size = np.empty(symbols.size * depth // 8 + 64, np.uint8), 0
    low, width, cache, pending = np.uint64(0), WORD, np.uint64(0), 1
    for i in range(symbols.size):
        node = 1
        for level in range(depth - 1, -1, -1):
            bit = np.int64((symbols[i] >> level) & 1)
            first, second, n = quick[node], slow[node], seen[node]
            bound = (width >> np.uint64(16)) * np.uint64(_chance(first, second))
            if bit:
                low += bound
                width -= bound
            else:
                width = bound
            quick[node], slow[node] = _moved(first, bit, steps[min(n, LIMITS[0])]), _moved(second, bit, steps[n])
            seen[node] = min(n + 1, LIMITS[1])
            node = 2 * node + bit
            while width < TOP:
                width = (width << np.uint64(8)) & WORD
                out, size, low, cache, pending = _flush(out, size, low, cache, pending)
    for _ in range(5):
        out, size, low, cache, pending = _flush(out, size, low, cache, pending)
    # The first byte is always zero. Zeros at the end need no place: past the end the decoder reads zeros.
    while size > 1 and out[size - 1] == 0:
        size -= 1
    return out[1:size].copy()


@njit(cache=True, nogil=True)
def _decode(data, count, depth, steps):
    """The symbols of a stream, and whether it is the one that an encoder writes for them: what is left of it then is
    nothing, and it ends in no zero. A decision is as good as a coin to the processor, so nothing here branches on
    it."""
    quick, slow, seen = (
        np.full(1 << depth, ONE >> 1, np.int64),
        np.full(1 << depth, ONE >> 1, np.int64),
        np.zeros(1 << depth, np.int64),
    )
    symbols, stream = np.zeros(count, np.uint16), np.zeros(data.size + 4, np.uint8)
    stream[: data.size] = data
    width, code, position = np.int64(WORD), np.int64(0), min(4, data.size)
    for byte in stream[:4]:
        code = (code << 8) | np.int64(byte)
    for i in range(count):
        node = 1
        for _ in range(depth):
            first, second, n = quick[node], slow[node], seen[node]
            bound = (width >> 16) * _chance(first, second)
            bit = np.int64(code >= bound)
            code -= bound & -bit
            width = bound + ((width - 2 * bound) & -bit)
            quick[node], slow[node] = _moved(first, bit, steps[min(n, LIMITS[0])]), _moved(second, bit, steps[n])
            seen[node] = min(n + 1, LIMITS[1])
            node = 2 * node + bit
            while width < np.int64(TOP):
                width, code = width << 8, (code << 8) | np.int64(stream[position])
                position = min(position + 1, data.size)
        symbols[i] = node - (1 << depth)
    return symbols, code == 0 and position == data.size and (data.size == 0 or data[-1] != 0)


def depth_of(symbols: int) -> int:
    """Decisions that tell so many symbols apart."""
    return max(symbols - 1, 0).bit_length()


def encode(symbols: np.ndarray, depth: int) -> bytes:
    """The stream of `symbols`, integers from 0 to 2**depth - 1, in C order; depth is at most 16."""
    return _encode(np.ascontiguousarray(symbols, np.uint16).reshape(-1), depth, STEPS).tobytes()


def decode(data: bytes, count: int, depth: int, *, exact: bool = True) -> np.ndarray:
    """The `count` symbols (uint16) of a stream, in bounded time and memory. Any bytes give some symbols; ValueError
    where these are not the bytes that `encode` writes for them, unless they need not be (`exact=False`)."""
    if not 0 <= depth <= 16:
        raise ValueError(f"symbols of {depth} bits: allowed are 0 to 16")
    symbols, written = _decode(np.frombuffer(data, np.uint8), count, depth, STEPS)
    if exact and not written:
        raise ValueError(ANOTHER)
    return symbols


def order0_bytes(symbols: np.ndarray) -> float:
    """Shannon's bound for symbols that tell nothing of each other."""
    symbols = np.asarray(symbols).reshape(-1)
    counts = np.zeros(int(symbols.max(initial=0)) + 1, np.int64)
    for start in range(0, symbols.size, 1 << 20):  # bincount widens what it counts to eight bytes
        counts += np.bincount(symbols[start : start + (1 << 20)].astype(np.int64), minlength=len(counts))
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum() / 8) if counts.size else 0.0
