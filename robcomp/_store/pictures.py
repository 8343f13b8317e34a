"""A data set as one file of a store, so that it travels to a worker as a path. No pickle: a header and the bytes of its
arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from robcomp._files.atomic import writable_folder
from robcomp._packing.container import Section, read, write
from robcomp._store.shards import quarantine
from robcomp.data import Data, Images

PARTS = ("train", "calibration", "test")


def write_data(store: str | Path, data: Data) -> Path:
    """File a data set under the digest of its content; one that is there and whole stays."""
    sections = []
    for name in PARTS:
        images = getattr(data, name)
        sections += [
            Section(name, "images", images.images.tobytes()),
            Section(name, "labels", images.labels.astype("<i8").tobytes()),
        ]
    header = dict(name=data.name, classes=data.classes, flip=data.flip, size=data.size)
    path = writable_folder(Path(store).absolute() / "data") / f"{_digest(header, sections)}.images"
    if path.exists():
        try:
            check_data(path)
        except ValueError as error:
            quarantine(path, str(error))
    if not path.exists():
        write(path, header, sections)
    return path


def check_data(path: Path) -> tuple[dict, list[Section]]:
    """Header and sections of a data set's file; ValueError in one line for one that is damaged, or stands under another
    name than the digest of its content."""
    header, sections = read(path)
    try:
        fits = _digest(header, sections) == path.stem
    except KeyError:
        fits = False
    if not fits:
        raise ValueError(f"{path} holds other images than its name says")
    return header, sections


def _digest(header: Mapping, sections: Sequence[Section]) -> str:
    digest = sha256(repr((header["name"], header["classes"], header["flip"])).encode())
    for section in sections:
        digest.update(section.data)
    return digest.hexdigest()[:16]


def read_data(path: Path) -> Data:
    """The data set of a file, or one line about a file that is damaged or none of these."""
    header, sections = check_data(path)
    found = {(section.name, section.kind): section.data for section in sections}

    def images(name: str) -> Images:
        pixels = np.frombuffer(found[name, "images"], np.uint8).reshape(-1, header["size"], header["size"], 3)
        return Images(pixels.copy(), np.frombuffer(found[name, "labels"], "<i8").copy())

    try:
        return Data(header["name"], *map(images, PARTS), header["classes"], flip=header["flip"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} holds no data set: delete it, and it will be written again") from None
