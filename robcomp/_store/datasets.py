"""Which images a store's results are of. A store notes the content of each data set by its name, so that other images
or labels under the same name are refused: their results could not be told apart."""
from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from robcomp._files.atomic import replacing, writable_folder
from robcomp._files.json_files import read_json
from robcomp._files.pictures import Pictures
from robcomp._store.shards import made_room, quarantine
from robcomp.images import Data
from robcomp.schema import canonical

PARTS = ("train", "calibration", "test")


def images_sha256(data: Data) -> str:
    """The digest of pixels, labels and classes; empty for pictures that stay on the disk, whose names hold a digest."""
    digest = sha256(repr((data.classes, data.flip)).encode())
    for part in (getattr(data, name) for name in PARTS):
        if isinstance(part.images, Pictures): return ""
        digest.update(part.images)
        digest.update(part.labels.astype("<i8"))
    return digest.hexdigest()


def read_dataset(path: Path) -> tuple[str, str]:
    """Name and digest in a note. ValueError in one line for one that is damaged, or of another data set."""
    note = read_json(path)
    found = [note.get(part) if isinstance(note, dict) else None for part in ("name", "sha256")]
    if all(type(text) is str for text in found) and note == _note(*found) and path.stem == _stem(found[0]):
        return found[0], found[1]
    raise ValueError(f"{path} is damaged: the next sweep writes it again")


def opened(path: str | Path, data: Data) -> Path:
    """A folder as a store for results on a data set, made where it is absent. ValueError in one line where it has
    results on other images of that name."""
    store = writable_folder(path).absolute()
    check_images(store, data)
    for part in ("trials", "artifacts"): writable_folder(store / part)
    return store


def check_images(store: Path, data: Data) -> None:
    """Note what a data set holds; ValueError in one line where the store has results on other images of its name."""
    digest, path = images_sha256(data), store / "datasets" / f"{_stem(data.name)}.json"
    if not digest: return
    if path.exists():
        try: known = read_dataset(path)[1]
        except ValueError as error: quarantine(path, str(error))
        else:
            if known == digest: return
            raise ValueError(f"{store} holds results on other images or labels under the name {data.name!r}: give "
                             "these a name of their own, Data('another name', ...), or use another folder")
    writable_folder(path.parent)
    with replacing(made_room(path), "w") as file: file.write(canonical(_note(data.name, digest)))


def _note(name: str, digest: str) -> dict[str, str]:
    """What is noted of a data set; `check` tells a note from one that was damaged."""
    return dict(name=name, sha256=digest, check=sha256(f"{name} {digest}".encode()).hexdigest()[:16])


def _stem(name: str) -> str: return sha256(name.encode()).hexdigest()[:16]
