"""A file of checked sections: a header that says what is there, then the bytes.

offset size what 0 8 magic, 8 bytes: 89 72 63 6f 6d 70 0d 0a 8 2 version of the format, little endian (as all numbers)
10 4 length of the header as stored 14 4 length of the header as JSON 18 4 CRC-32 of the header as stored 22 header:
deflated (zlib) JSON, UTF-8 then the sections one after another, without gaps, to the end of the file

The JSON object's entry `sections` lists [name, kind, length, CRC-32] of each section in the order of the file; the
other entries belong to whoever wrote it."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from robcomp._files.atomic import content_of, replacing

MAGIC = b"\x89rcomp\r\n"
VERSION, READ = 4, (1, 2, 4)  # powers of two: a flipped bit makes no other version of one
PREFIX = struct.Struct("<8sHIII")
HEADER_LIMIT = 1 << 22  # bytes of JSON
UNFOLDED = 1 << 16, 64  # bytes of JSON: some at first, and as many for each byte of the header as stored
A_LIST, AN_OBJECT = 6, 40  # bytes of JSON for each of them, at least: empty ones take thirty times their text


class Section(NamedTuple):
    name: str
    kind: str
    data: bytes


def beginning(header: Mapping, sections: Sequence[Section]) -> bytes:
    """What a file of these sections has before the first of them."""
    listed = [[section.name, section.kind, len(section.data), zlib.crc32(section.data)] for section in sections]
    text = json.dumps(
        dict(header, sections=listed), separators=(",", ":"), sort_keys=True, ensure_ascii=False, allow_nan=False
    ).encode()
    stored = zlib.compress(text, 9)
    if len(text) > min(HEADER_LIMIT, UNFOLDED[0] + UNFOLDED[1] * len(stored)) or _is_nested(text):
        raise ValueError(
            f"the names of its layers and tensors make a header of {len(text):,} bytes that no reader takes: give its"
            " modules shorter names"
        )
    return PREFIX.pack(MAGIC, VERSION, len(stored), len(text), zlib.crc32(stored)) + stored


def write(path: str | Path, header: Mapping, sections: Sequence[Section]) -> int:
    """Write a file, atomically; its size in bytes."""
    with replacing(path) as file:
        file.write(beginning(header, sections))
        for section in sections:
            file.write(section.data)
        return file.tell()


def read(path: str | Path) -> tuple[dict, list[Section]]:
    """Header and sections of a file, all lengths and checksums verified; one line of error for anything else.

    The header has an entry of its own for the version of the format, which stands before it in the file.
    """
    data = content_of(path)
    header, start = _header(data, path)
    sections = []
    for entry in header["sections"]:
        name, kind, length, checksum = entry
        if length > len(data) - start:
            raise ValueError(f"{path} is truncated: section {kind} of {name or 'the file'} ends after the file does")
        part = data[start : start + length]
        if zlib.crc32(part) != checksum:
            raise ValueError(f"{path} is damaged in section {kind} of {name or 'the file'}: its checksum is another")
        sections.append(Section(name, kind, part))
        start += length
    if start != len(data):
        raise ValueError(f"{path} is damaged: {len(data) - start} bytes follow its last section")
    return header, sections


def header_bytes(path: str | Path) -> int:
    """Bytes of a file before its first section."""
    with open(path, "rb") as file:
        prefix = file.read(PREFIX.size)
    return PREFIX.size + PREFIX.unpack(prefix)[2]


def _header(data: bytes, path) -> tuple[dict, int]:
    if data[:8] != MAGIC:
        raise ValueError(f"{path} is not a packed robcomp model")
    if len(data) < PREFIX.size:
        raise ValueError(f"{path} is truncated: it ends within its first {PREFIX.size} bytes")
    _, version, stored, length, checksum = PREFIX.unpack_from(data)
    if version not in READ and version < VERSION:
        raise ValueError(f"{path} is damaged at its start: there is no format {version}")
    if version > VERSION:
        raise ValueError(f"{path} has format {version}, this robcomp reads up to {VERSION}: install a newer one")
    if length > HEADER_LIMIT:
        raise ValueError(f"{path} is damaged: a header of {length:,} bytes is more than the {HEADER_LIMIT:,} allowed")
    end = PREFIX.size + stored
    if length > UNFOLDED[0] + UNFOLDED[1] * stored:
        raise ValueError(f"{path} is damaged: {stored:,} bytes of header do not unfold to {length:,}")
    if end > len(data):
        raise ValueError(f"{path} is truncated: its header ends after the file does")
    if zlib.crc32(data[PREFIX.size : end]) != checksum:
        raise ValueError(f"{path} is damaged in its header: its checksum is another")
    try:
        folded = zlib.decompressobj()
        text = folded.decompress(data[PREFIX.size : end], length + 1)
        if len(text) != length or not folded.eof or folded.unused_data:
            raise ValueError
        if _is_nested(text):
            raise ValueError
        header = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        listed = header["sections"]
        whole = all(
            isinstance(name, str)
            and isinstance(kind, str)
            and f"{name}{kind}".isprintable()
            and type(size) is int
            and size >= 0
            and type(check) is int
            for name, kind, size, check in listed
        )
    except Exception:
        whole = False
    if not whole or "version" in header:
        raise ValueError(f"{path} is damaged: its header is no list of sections")
    return header | {"version": version}, end


def _is_nested(text: bytes) -> bool:
    """Has a header so many lists and objects that reading it takes far more memory than its text?"""
    return A_LIST * text.count(b"[") + AN_OBJECT * text.count(b"{") > len(text) + 1000


def _once(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object none of whose names stands twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def parts_of(sections: Sequence[Section]) -> dict[str, dict[str, bytes]]:
    """Bytes by name and kind."""
    parts: dict[str, dict[str, bytes]] = {}
    for section in sections:
        parts.setdefault(section.name, {})[section.kind] = section.data
    return parts
