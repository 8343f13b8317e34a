"""A range coder for the codes of a layer that looks at what is already known: the filter, the channel, the group, the
neighbours.

A weight is told in decisions: is it zero, is it above or below, how far. Each decision has several predictions, learned
in contexts that the decoder has seen as well; their log-odds are added with weights that are learned too, and the sum
is what the range coder of `_coder` codes with. Decisions are binary because in a binary coder predictions can be mixed
and learned one by one; in a table coder (rANS) the whole distribution of a symbol would have to be mixed and normalised
before each symbol, and the stream be written backwards while the model learns forwards.

Everything is an integer, tables included, so a stream is the same, and means the same, on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from robcomp._packing.coder import ANOTHER, TOP, WORD, _flush

ROOT = 1157450773355096064  # e to the power of 1/256, in 2**-60
FARTHEST = 2047  # log-odds, in 1/256
SURE = 1536  # log-odds from which on the group alone decides
PRIOR, MEMORY = 10, 1000  # decisions that a context's first probability counts for, and that it reaches back
PACE, SHARE = 3, 18000  # how fast weights learn; a context's weight at first, in 1/65536
MOST = 64  # values of a codebook
PLACES = 9  # of a kernel that are told apart
LEVELS = 32  # of a running mean
STEPS = np.array([131072 // (2 * n + 3) for n in range(MEMORY + 1)], np.int64)


def _odds_tables() -> tuple[np.ndarray, np.ndarray]:
    """Probability in 1/65536 of log-odds -2047 to 2047, and log-odds of probabilities in 1/4096."""
    power, upper = 1 << 60, []
    for _ in range(FARTHEST + 1):
        upper.append((power << 16) // (power + (1 << 60)))
        power = power * ROOT >> 60
    chances = np.array([65536 - chance for chance in upper[:0:-1]] + upper, np.int64)
    return chances, (np.searchsorted(chances[:-1], 16 * np.arange(4096) + 8) - FARTHEST).astype(np.int64)


def _level_table() -> np.ndarray:
    """A running mean in 1/32 as a level: four to an octave, and finer than that nowhere."""
    means = np.arange(4, 1024 + 4)
    octaves = np.array([int(mean).bit_length() - 3 for mean in means])
    return np.minimum(4 * octaves + (means >> octaves) - 4, LEVELS - 1).astype(np.int64)


CHANCES, ODDS = _odds_tables()
LEVEL = _level_table()


@njit(cache=True, nogil=True, inline="always")
def _step(bit, encoding, one, low, width, code, rest, buffer):
    """Code or decode one decision whose 1 has the probability `one` of 65536."""
    bound = (width >> np.uint64(16)) * np.uint64(65536 - one)
    if encoding is None:
        bit = 1 if code >= bound else 0
    if bit:
        low += bound
        code -= bound
        width -= bound
    else:
        width = bound
    while width < TOP:
        width = (width << np.uint64(8)) & WORD
        if encoding is not None:
            low = _out(low, rest, buffer)
        else:
            code = ((code << np.uint64(8)) | np.uint64(buffer[rest[0]] if rest[0] < buffer.size else 0)) & WORD
            rest[0] += 1
    return bit, low, width, code


@njit(cache=True, nogil=True)
def _out(low, rest, buffer):
    """Move the top byte of `low` out; `rest` is the place in the buffer, the byte that waits for a carry, how many
    wait."""
    _, rest[0], low, cache, rest[2] = _flush(buffer, rest[0], low, np.uint64(rest[1]), rest[2])
    rest[1] = cache
    return low


@njit(cache=True, nogil=True, inline="always")
def _odds(odds_of, slot):
    return np.int64(odds_of[slot >> 20])


@njit(cache=True, nogil=True, inline="always")
def _chance(chances_of, odds):
    return np.int64(chances_of[min(max(odds, -FARTHEST), FARTHEST) + FARTHEST])


@njit(cache=True, nogil=True, inline="always")
def _level(level_of, mean):
    return np.int64(level_of[min(mean, level_of.size - 1)])


@njit(cache=True, nogil=True, inline="always")
def _seen(slots, place, parent):
    """A context's probability and count in one integer; where it is new, its parent's probability."""
    slot = np.int64(slots[place])
    return slot if slot else (parent >> 10 << 10) | PRIOR


@njit(cache=True, nogil=True, inline="always")
def _learnt(slot, bit, steps):
    """The slot after a decision: 22 bits of probability, 10 of count."""
    chance, seen = slot >> 10, slot & 1023
    chance += (((bit << 22) - chance) * np.int64(steps[seen])) >> 16
    return np.uint32((chance << 10) | min(seen + 1, MEMORY))


@njit(cache=True, nogil=True, inline="always")
def _mixed(chances_of, weights, row, o0, o1, o2, o3):
    """The probability of a 1 that several log-odds add up to."""
    return _chance(
        chances_of, (weights[row, 0] * o0 + weights[row, 1] * o1 + weights[row, 2] * o2 + weights[row, 3] * o3) >> 16
    )


@njit(cache=True, nogil=True, inline="always")
def _move(weights, row, o0, o1, o2, o3, error):
    """Give more weight to those who were right."""
    weights[row, 0] += (o0 * error + (1 << 17)) >> 18
    weights[row, 1] += (o1 * error + (1 << 17)) >> 18
    weights[row, 2] += (o2 * error + (1 << 17)) >> 18
    weights[row, 3] += (o3 * error + (1 << 17)) >> 18


@njit(cache=True, nogil=True)
def _code(places, home, last, depth, row, most, buffer, encoding, chances_of, odds_of, level_of, steps):
    """Encode the places (filter, channel, place in the kernel) into the buffer, or decode the buffer into them; bytes
    written or read, and what is left of the stream: nothing behind what an encoder wrote. -1 bytes where more than
    `most` weights are away from home."""
    filters, channels, kernel = places.shape
    fresh = np.uint32(1 << 31)
    flags, signs, nodes = (
        np.full(10, fresh, np.uint32),
        np.full(9, fresh, np.uint32),
        np.full(2 << depth, fresh, np.uint32),
    )
    by_filter, by_both = np.zeros(10 * LEVELS, np.uint32), np.zeros(5 * LEVELS * LEVELS, np.uint32)
    by_place = np.zeros(10 * PLACES * LEVELS, np.uint32)
    sign_place, sign_channel = np.zeros(9 * PLACES, np.uint32), np.zeros(9 * 16, np.uint32)
    far_filter, far_channel = np.zeros((2 << depth) * LEVELS, np.uint32), np.zeros((2 << depth) * LEVELS, np.uint32)
    far_group = np.zeros((2 << depth) * LEVELS, np.uint32)
    flag_weights, far_weights, sign_weights = (
        np.full((10, 4), SHARE),
        np.full((2 << depth, 4), SHARE),
        np.full((9, 4), SHARE),
    )
    flag_weights[:, 0] = far_weights[:, 0] = sign_weights[:, 0] = 65536 - 3 * SHARE
    # as narrow as their values allow: a layer may be one channel, or one kernel, of all its weights
    channel_mean, layer_mean = np.full(channels, 2 << 16, np.int32), 2 << 16
    channel_sign = np.full(channels, 1 << 15, np.int32)
    kept, held, sides = np.zeros(kernel, np.int8), np.zeros(kernel, np.int16), np.ones(kernel, np.int8)
    low, width, code, rest = np.uint64(0), WORD, np.uint64(0), np.array([0, 0, 1])
    if encoding is None:
        for _ in range(4):
            code = (code << np.uint64(8)) | np.uint64(buffer[rest[0]] if rest[0] < buffer.size else 0)
            rest[0] += 1
    for f in range(filters):
        filter_mean, told = layer_mean, 4
        for c in range(channels):
            turn = c & 3
            if not turn:
                kept[:] = 0
                held[:] = 0
            channel_level = _level(level_of, np.int64(channel_mean[c]) >> 11)
            for k in range(kernel):
                away = np.int64(places[f, c, k]) - home
                far = abs(away)
                group = turn * (turn + 1) // 2 + np.int64(kept[k])
                filter_level = _level(level_of, filter_mean >> 11)
                # is it zero
                parent = np.int64(flags[group])
                o0 = _odds(odds_of, parent)
                if abs(o0) > SURE:
                    one = _chance(chances_of, o0)
                    bit, low, width, code = _step(np.int64(far > 0), encoding, one, low, width, code, rest, buffer)
                else:
                    i1 = group * LEVELS + filter_level
                    i2 = i1 * (LEVELS // 2) + (channel_level >> 1)
                    i3 = (group * PLACES + min(k, PLACES - 1)) * LEVELS + channel_level
                    s1 = _seen(by_filter, i1, parent)
                    s2 = _seen(by_both, i2, s1)
                    s3 = _seen(by_place, i3, parent)
                    o1, o2, o3 = _odds(odds_of, s1), _odds(odds_of, s2), _odds(odds_of, s3)
                    one = _mixed(chances_of, flag_weights, group, o0, o1, o2, o3)
                    bit, low, width, code = _step(np.int64(far > 0), encoding, one, low, width, code, rest, buffer)
                    _move(flag_weights, group, o0, o1, o2, o3, ((bit << 16) - one) * PACE)
                    by_filter[i1], by_both[i2], by_place[i3] = (
                        _learnt(s1, bit, steps),
                        _learnt(s2, bit, steps),
                        _learnt(s3, bit, steps),
                    )
                flags[group] = _learnt(parent, bit, steps)
                size, side = 0, 1
                if bit:
                    most -= 1
                    if most < 0:
                        return -1, code
                    # above or below
                    sign = np.int64(home < last)
                    if 0 < home < last:
                        before, over = sides[k - 1] if k % row else 1, sides[k - row] if k >= row else 1
                        near = 3 * np.int64(before) + np.int64(over)
                        parent = np.int64(signs[near])
                        i1, i2 = near * PLACES + min(k, PLACES - 1), near * 16 + (np.int64(channel_sign[c]) >> 12)
                        s1, s2 = _seen(sign_place, i1, parent), _seen(sign_channel, i2, parent)
                        o0, o1, o2 = _odds(odds_of, parent), _odds(odds_of, s1), _odds(odds_of, s2)
                        one = _mixed(chances_of, sign_weights, near, o0, o1, o2, 0)
                        sign, low, width, code = _step(
                            np.int64(away > 0), encoding, one, low, width, code, rest, buffer
                        )
                        _move(sign_weights, near, o0, o1, o2, 0, ((sign << 16) - one) * PACE)
                        sign_place[i1], sign_channel[i2], signs[near] = (
                            _learnt(s1, sign, steps),
                            _learnt(s2, sign, steps),
                            _learnt(parent, sign, steps),
                        )
                        channel_sign[c] += ((sign << 16) - np.int64(channel_sign[c])) >> 5
                    # how far
                    group_level = _level(level_of, np.int64(held[k]) << 5)
                    node = (sign << depth) + 1
                    for shift in range(depth - 1, -1, -1):
                        parent = np.int64(nodes[node])
                        i1, i2, i3 = (
                            node * LEVELS + filter_level,
                            node * LEVELS + channel_level,
                            node * LEVELS + group_level,
                        )
                        s1, s2, s3 = (
                            _seen(far_filter, i1, parent),
                            _seen(far_channel, i2, parent),
                            _seen(far_group, i3, parent),
                        )
                        o0, o1, o2, o3 = (
                            _odds(odds_of, parent),
                            _odds(odds_of, s1),
                            _odds(odds_of, s2),
                            _odds(odds_of, s3),
                        )
                        one = _mixed(chances_of, far_weights, node, o0, o1, o2, o3)
                        bit, low, width, code = _step(
                            ((far - 1) >> shift) & 1, encoding, one, low, width, code, rest, buffer
                        )
                        _move(far_weights, node, o0, o1, o2, o3, ((bit << 16) - one) * PACE)
                        far_filter[i1], far_channel[i2], far_group[i3] = (
                            _learnt(s1, bit, steps),
                            _learnt(s2, bit, steps),
                            _learnt(s3, bit, steps),
                        )
                        nodes[node] = _learnt(parent, bit, steps)
                        node = (sign << depth) + (((node - (sign << depth)) << 1) | bit)
                    size = 1 + node - (sign << depth) - (1 << depth)
                    side = 2 * sign
                    kept[k] += 1
                    held[k] += size
                if encoding is None:
                    places[f, c, k] = home + (size if side else -size)
                sides[k] = side
                filter_mean += (((size << 16) - filter_mean) * np.int64(steps[told])) >> 16
                told = min(told + 1, MEMORY)
                channel_mean[c] += (
                    ((size << 16) - np.int64(channel_mean[c])) * np.int64(steps[min(f * kernel + k + 1, MEMORY)])
                ) >> 16
        layer_mean += ((filter_mean - layer_mean) * np.int64(steps[min(f, 30)])) >> 16
    if encoding is not None:
        for _ in range(5):
            low = _out(low, rest, buffer)
    return rest[0], code


def _placed(values: np.ndarray) -> tuple[np.ndarray, int]:
    """The symbols by value, and where among them the one nearest to zero is."""
    values = np.asarray(values, np.float64)
    order = np.argsort(values, kind="stable")
    return order, int(np.argmin(np.abs(values[order])))


def _geometry(shape: tuple[int, ...], values: np.ndarray, home: int) -> tuple:
    kernel = int(np.prod(shape[2:], dtype=np.int64))
    depth = max(max(home, len(values) - 1 - home) - 1, 0).bit_length()
    return (
        (shape[0], int(shape[1]) if len(shape) > 1 else 1, kernel),
        depth,
        max(int(shape[-1]) if len(shape) > 2 else 1, 1),
    )


def away_from_home(symbols: np.ndarray, values: np.ndarray) -> int:
    """How many symbols stand for another value than the one nearest to zero, and so take more than one decision."""
    order, home = _placed(values)
    return int(np.count_nonzero(symbols != order[home]))


def more_decisions(shape: Sequence[int], values: np.ndarray) -> int:
    """Decisions that tell a symbol away from home, after the one that tells that it is."""
    home = _placed(values)[1]
    return int(0 < home < len(values) - 1) + _geometry(shape, values, home)[1]


def decisions(symbols: np.ndarray, values: np.ndarray) -> float:
    """How many decisions a weight takes, on average."""
    return 1 + (1 + _geometry(symbols.shape, values, _placed(values)[1])[1]) * away_from_home(symbols, values) / max(
        symbols.size, 1
    )


def encode_in_context(symbols: np.ndarray, values: np.ndarray) -> bytes:
    """The stream of a layer's symbols, in its shape (filters, channels, kernel); `values` says what each symbol is
    worth."""
    order, home = _placed(values)
    shape, depth, row = _geometry(symbols.shape, values, home)
    places, most = np.argsort(order).astype(np.int16)[symbols].reshape(shape), symbols.size
    buffer = np.empty(symbols.size * (depth + 2) * 3 // 2 + 64, np.uint8)
    size, _ = _code(places, home, len(values) - 1, depth, row, most, buffer, 1, CHANCES, ODDS, LEVEL, STEPS)
    return buffer[1:size].tobytes().rstrip(b"\0")  # the first byte is always zero; past the end the decoder reads zeros


def decode_in_context(
    data: bytes,
    shape: tuple[int, ...],
    values: np.ndarray,  # what each symbol stands for
    *,
    exact: bool = True,
    most: int | None = None,  # symbols away from home that may be decoded; None: all
) -> np.ndarray:  # uint16, of this shape
    """The symbols of a stream, in bounded time and memory. Any bytes give some symbols; ValueError where these are not
    the bytes that `encode_in_context` writes for them, unless they need not be (`exact=False`), and where they are more
    work than is allowed."""
    if not 2 <= len(values) <= MOST:
        raise ValueError(f"a stream in context of {len(values)} values: allowed are 2 to {MOST}")
    order, home = _placed(values)
    kernel_shape, depth, row = _geometry(shape, values, home)
    places, last = np.zeros(kernel_shape, np.int16), len(values) - 1
    most, buffer = places.size if most is None else most, np.frombuffer(bytearray(data), np.uint8)
    used, left = _code(places, home, last, depth, row, most, buffer, None, CHANCES, ODDS, LEVEL, STEPS)
    if used < 0:
        raise ValueError(f"it announces more steps of decoding than its bytes may need: over {most:,} weights not zero")
    within = 0 <= places.min(initial=0) and places.max(initial=0) <= last
    if exact and (left or used < len(data) or data[-1:] == b"\0" or not within):
        raise ValueError(ANOTHER)
    return _named(places.reshape(-1), order.astype(np.int16)).view(np.uint16).reshape(shape)


@njit(cache=True, nogil=True)
def _named(places, order):
    """The symbols that stand at these places, written over them."""
    for i in range(places.size):
        places[i] = order[min(max(places[i], 0), order.size - 1)]
    return places
