"""Numbers and symbols as bytes: floats sorted by the places of their bytes, codes by whichever coder makes the shorter
stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from robcomp._packing.coder import decode, depth_of, encode, order0_bytes
from robcomp._packing.context import MOST, decisions, decode_in_context, encode_in_context
from robcomp._packing.header import IN_CONTEXT, IN_HALF

MOST_DECISIONS = 3.5  # a weight, on average; with more, a coder in context is not tried


def encode_planes(
    values: np.ndarray,  # any dtype of fixed size
) -> bytes:  # a plane a byte of the item: length as stored (0 for raw), then the bytes
    """Numbers as planes of bytes, each coded or raw, whatever is smaller."""
    planes = np.ascontiguousarray(values).reshape(-1).view(np.uint8).reshape(-1, values.dtype.itemsize).T
    out = []
    for plane in planes:
        stored = encode(plane, 8) if order0_bytes(plane) < 0.98 * plane.size else b""
        coded = 0 < len(stored) < plane.size or plane.size and not plane.any()
        out += [np.uint32(len(stored) + 1 if coded else 0).tobytes(), stored if coded else plane.tobytes()]
    return b"".join(out)


def decode_planes(
    data: bytes,  # as `encode_planes` made it
    count: int,  # numbers
    dtype: np.dtype | str,
) -> np.ndarray:  # (count,)
    """The numbers again."""
    items, position = np.zeros((count, np.dtype(dtype).itemsize), np.uint8), 0
    for plane in items.T:
        coded = int.from_bytes(data[position : position + 4], "little")
        length = coded - 1 if coded else count
        part = data[position + 4 : position + 4 + length]
        if len(part) != length:
            raise ValueError("a plane of numbers ends too early")
        if not coded:
            plane[:] = np.frombuffer(part, np.uint8)
        elif length:  # zeros alone are coded in no byte, and need no decisions
            plane[:] = decode(part, count, 8)
        position += 4 + length
    if position != len(data):
        raise ValueError("bytes follow the last plane of numbers")
    return items.reshape(-1).view(dtype)


def in_half(
    values: np.ndarray,  # float32
) -> np.ndarray:  # <f2
    """The nearest half-precision numbers; infinite where there is none near."""
    with np.errstate(over="ignore"):
        return values.astype("<f2")


def encode_floats(kind: str, values: np.ndarray) -> dict[str, bytes]:  # float32
    """A section of floats by its kind: two bytes a number where this loses nothing, else four."""
    short = in_half(values)
    same = np.array_equal(short.astype("<f4").view(np.uint32), values.astype("<f4").view(np.uint32))
    return {kind + IN_HALF: encode_planes(short)} if same else {kind: encode_planes(values.astype("<f4"))}


def decode_floats(parts: Mapping[str, bytes], kind: str, count: int) -> np.ndarray:  # float32, (count,)
    """The floats again."""
    if kind in parts:
        return decode_planes(parts[kind], count, "<f4")
    return decode_planes(parts[kind + IN_HALF], count, "<f2").astype("<f4")


def encode_weights(
    symbols: np.ndarray,  # in the shape of the layer
    values: np.ndarray,  # what each symbol stands for
) -> tuple[bytes, str]:  # stream, what to add to its kind
    """The symbols of all weights of a layer, by the coder that suits them."""
    plain = encode(symbols, depth_of(len(values)))
    if not 2 <= len(values) <= MOST or not symbols.size or decisions(symbols, values) > MOST_DECISIONS:
        return plain, ""
    stream = encode_in_context(symbols, values)
    return (stream, IN_CONTEXT) if len(stream) <= 0.999 * len(plain) else (plain, "")


def decode_weights(
    parts: Mapping[str, bytes],  # a layer's sections by kind
    kind: str,  # without what was added
    shape: Sequence[int],
    values: np.ndarray,
    *,
    most: int | None = None,  # symbols in context that may stand for another value than the one nearest to zero
) -> np.ndarray:  # uint16, of this shape
    """The symbols again, whichever coder they came by."""
    if kind in parts:
        return decode(parts[kind], prod(shape), depth_of(len(values))).reshape(shape)
    return decode_in_context(parts[kind + IN_CONTEXT], shape, values, most=most)
