"""A data set as one file of a store, so that it travels to a worker as a path. No pickle: a header and the bytes of its
arrays."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np

from robcomp._files.atomic import writable_folder
from robcomp._packing.container import Section, read, write
from robcomp.data import Data, Images

PARTS = ("train", "calibration", "test")


def write_data(store: str | Path, data: Data) -> Path:
    """File a data set under the digest of its content; one that is there stays."""
    sections, digest = [], sha256(repr((data.name, data.classes, data.flip)).encode())
    for name in PARTS:
        images = getattr(data, name)
        sections += [Section(name, "images", images.images.tobytes()),
                     Section(name, "labels", images.labels.astype("<i8").tobytes())]
    for section in sections: digest.update(section.data)
    path = writable_folder(Path(store).absolute() / "data") / f"{digest.hexdigest()[:16]}.images"
    if not path.exists():
        write(path, dict(name=data.name, classes=data.classes, flip=data.flip, size=data.size), sections)
    return path


def read_data(path: Path) -> Data:
    """The data set of a file, or one line about a file that is damaged or none of these."""
    header, sections = read(path)
    found = {(section.name, section.kind): section.data for section in sections}
    def images(name: str) -> Images:
        pixels = np.frombuffer(found[name, "images"], np.uint8).reshape(-1, header["size"], header["size"], 3)
        return Images(pixels.copy(), np.frombuffer(found[name, "labels"], "<i8").copy())
    try:
        return Data(header["name"], *map(images, PARTS), header["classes"], flip=header["flip"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} holds no data set: delete it, and it will be written again") from None
