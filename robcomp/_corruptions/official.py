"""The published arrays: fetched, verified once, read one block at a time; and arrays of our own in the same layout."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import md5 as new_md5, sha256
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np

from robcomp._files.atomic import replacing, writable_folder
from robcomp._files.progress import progress
from robcomp._text.errors import first_line

FOLDERS = dict(cifar10="CIFAR-10-C", cifar100="CIFAR-100-C")
ARCHIVES = dict(  # Zenodo records 2535967 and 3555552
    cifar10=("https://zenodo.org/records/2535967/files/CIFAR-10-C.tar", "56bf5dcef84df0e2308c6dcbcbbd8499"),
    cifar100=("https://zenodo.org/records/3555552/files/CIFAR-100-C.tar", "11f0ed0f1191edbf9fa23466ae6021d3"),
)
MD5 = dict(
    cifar10=dict(
        brightness="0a81ef75e0b523c3383219c330a85d48",
        contrast="3c8262171c51307f916c30a3308235a8",
        defocus_blur="7d1322666342a0702b1957e92f6254bc",
        elastic_transform="9421657c6cd452429cf6ce96cc412b5f",
        fog="7b397314b5670f825465fbcd1f6e9ccd",
        frost="31f6ab3bce1d9934abfb0cc13656f141",
        gaussian_blur="c33370155bc9b055fb4a89113d3c559d",
        gaussian_noise="ecaf8b9a2399ffeda7680934c33405fd",
        glass_blur="7361fb4019269e02dbf6925f083e8629",
        impulse_noise="2090e01c83519ec51427e65116af6b1a",
        jpeg_compression="2b9cc4c864e0193bb64db8d7728f8187",
        labels="c439b113295ed5254878798ffe28fd54",
        motion_blur="fffa5f852ff7ad299cfe8a7643f090f4",
        pixelate="0f14f7e2db14288304e1de10df16832f",
        saturate="1cfae0964219c5102abbb883e538cc56",
        shot_noise="3a7239bb118894f013d9bf1984be7f11",
        snow="bb238de8555123da9c282dea23bd6e55",
        spatter="8a5a3903a7f8f65b59501a6093b4311e",
        speckle_noise="ef00b87611792b00df09c0b0237a1e30",
        zoom_blur="6ea8e63f1c5cdee1517533840641641b",
    ),
    cifar100=dict(
        brightness="f22d7195aecd6abb541e27fca230c171",
        contrast="322bb385f1d05154ee197ca16535f71e",
        defocus_blur="d923e3d9c585a27f0956e2f2ad832564",
        elastic_transform="a0792bd6581f6810878be71acedfc65a",
        fog="4efc7ebd5e82b028bdbe13048e3ea564",
        frost="3a39c6823bdfaa0bf8b12fe7004b8117",
        gaussian_blur="5204ba0d557839772ef5a4196a052c3e",
        gaussian_noise="ecc4d366eac432bdf25c024086f5e97d",
        glass_blur="0bf384f38e5ccbf8dd479d9059b913e1",
        impulse_noise="3b3c210ddfa0b5cb918ff4537a429fef",
        jpeg_compression="c851b7f1324e1d2ffddeb76920576d11",
        labels="bb4026e9ce52996b95f439544568cdb2",
        motion_blur="732a7e2e54152ff97c742d4c388c5516",
        pixelate="96c00c60f144539e14cffb02ddbd0640",
        saturate="c0697e9fdd646916a61e9c312c77bf6b",
        shot_noise="b0a1fa6e1e465a747c1b204b1914048a",
        snow="0237be164583af146b7b144e73b43465",
        spatter="12ccf41d62564d36e1f6a6ada5022728",
        speckle_noise="e3f215b1a0f9fd9fd6f0d1cf94a7ce99",
        zoom_blur="0204613400c034a81c4830d5df81cb82",
    ),
)


# ------------------------------------------------------------------------------------------------------------ reading


def official(root: Path, dataset: str, name: str) -> np.ndarray:
    """A published array, memory-mapped: (50,000, 32, 32, 3) images or (50,000,) labels, its md5 known to be right."""
    path = Path(root) / FOLDERS[dataset] / f"{name}.npy"
    if not path.exists():
        raise FileNotFoundError(f"no official array {str(path)!r}: robcomp.arrays.download({dataset!r}) fetches it")
    verify(path, MD5[dataset][name])
    return np.load(path, mmap_mode="r", allow_pickle=False)


def verify(path: Path, md5: str) -> None:
    """Compare a file with its md5."""
    if (found := md5_of(path)) != md5:
        raise ValueError(
            f"damaged official file {str(path)!r} of {path.stat().st_size:,} bytes: its md5 is {found}, "
            f"the official one {md5}; delete it and download it again"
        )


def md5_of(path: Path) -> str:
    """The md5 of a file, remembered beside it until the file changes."""
    state = os.stat(path)
    seal, stamp = path.with_name(path.name + ".md5"), f" {state.st_size} {state.st_mtime_ns}\n"
    if seal.exists() and (kept := seal.read_text()).endswith(stamp):
        return kept.removesuffix(stamp)
    found = digest(path, shown=state.st_size > 1 << 20)
    try:
        with replacing(seal, "w") as file:
            file.write(found + stamp)
    except OSError:
        pass  # a read-only folder is read again next time
    return found


def digest(path: Path, *, shown: bool = True) -> str:
    """The md5 of a file."""
    total = new_md5(usedforsecurity=False)
    with open(path, "rb") as file, progress(path.stat().st_size, f"verify {path.name}", unit="B", shown=shown) as bar:
        while block := file.read(1 << 22):
            total.update(block)
            bar.update(len(block))
    return total.hexdigest()


def array(folder: Path, shape: tuple, name: str) -> np.ndarray:
    """An array of a folder in the published layout, memory-mapped: five blocks of as many images as `shape` says."""
    try:
        found = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(folder / name)}.npy is no array of images ({error})") from None
    wanted = (5 * shape[0], *shape[1:])
    if found.dtype != np.uint8 or found.shape != wanted:
        raise ValueError(
            f"{str(folder / name)}.npy holds {found.dtype} of shape {found.shape}: "
            f"five severities of the test images are uint8 of shape {wanted}"
        )
    return found


def names_in(folder: Path, labels: np.ndarray) -> list[str]:
    """The corruptions of a folder of arrays, once its labels are known to be those of the test images."""
    names = sorted(path.stem for path in folder.glob("*.npy") if path.stem != "labels")
    if not (folder / "labels.npy").is_file() or not names:
        raise ValueError(
            f"{str(folder)!r} holds no labels.npy or no other array: "
            "name a folder with name.npy for each corruption and labels.npy"
        )
    found = np.load(folder / "labels.npy", allow_pickle=False)
    if found.shape != (5 * len(labels),) or (found.reshape(5, -1) != labels).any():
        raise ValueError(
            f"the arrays in {str(folder)!r} have other labels than the test images: "
            "load the data set that they were made of"
        )
    return names


def fingerprint(folder: Path, names: Iterable[str]) -> str:
    """Eight characters that tell these arrays from others of the same names."""
    listed = " ".join(f"{name} {md5_of(folder / f'{name}.npy')}" for name in sorted(names))
    return sha256(listed.encode()).hexdigest()[:8]


# ----------------------------------------------------------------------------------------------------------- fetching


def fetch(dataset: str, root: Path) -> Path:
    """The folder of the published arrays of `cifar10` or `cifar100`, downloaded and unpacked where they are absent."""
    folder, files = Path(root) / FOLDERS[dataset], MD5[dataset]
    if not all((folder / f"{name}.npy").exists() for name in files):
        url, md5 = ARCHIVES[dataset]
        archive = writable_folder(root) / url.rpartition("/")[2]
        if not archive.exists():
            resume(url, archive)
        if (found := digest(archive)) != md5:
            raise ValueError(
                f"damaged archive {str(archive)!r}: its md5 is {found}, the official one {md5}; "
                "delete it and it will be fetched again"
            )
        unpack(archive, Path(root))
        archive.unlink()
    for name, md5 in files.items():
        verify(folder / f"{name}.npy", md5)
    return folder


def fetch_arrays(url: str, root: Path, md5: str | None, test: tuple[tuple, np.ndarray]) -> Path:
    """The folder of arrays in an archive without published digests; `test` is the shape and labels of the test images.

    It is unpacked beside its final place, and moved there once the labels and every array's shape and type are right.
    """
    name = PurePosixPath(urlsplit(url).path).name
    if ".tar" not in name:
        raise ValueError(f"the address {url!r} names no tar archive: name one that ends in .tar, .tar.gz or alike")
    place, archive = Path(root) / name.partition(".tar")[0], writable_folder(root) / name
    if place.is_dir():
        return _compared(place, test)
    if not archive.exists():
        resume(url, archive)
    if md5 and (found := digest(archive)) != md5:
        raise ValueError(
            f"damaged archive {str(archive)!r}: its md5 is {found}, not {md5}; delete it and it will be fetched again"
        )
    coming = place.with_name(place.name + ".unpacked")
    try:
        unpack(archive, coming)
        _compared(coming, test)
        coming.replace(place)
    except tarfile.TarError as error:
        raise ValueError(
            f"{str(archive)!r} from {url} is no tar archive ({first_line(error)}): delete it, and look at the address"
        ) from None
    finally:
        shutil.rmtree(coming, ignore_errors=True)
    archive.unlink()
    return _compared(place, test)


def _compared(place: Path, test: tuple[tuple, np.ndarray]) -> Path:
    """The folder below `place` that holds labels.npy, once all arrays in it are known to fit the test images."""
    shape, labels = test
    folder = next((path.parent for path in sorted(place.rglob("labels.npy"))), place)
    for name in names_in(folder, labels):
        array(folder, shape, name)
    return folder


def resume(url: str, path: Path) -> None:
    """Download into `path`, going on where an earlier attempt broke off; the name is taken when all is there."""
    part = path.with_name(path.name + ".part")
    done = part.stat().st_size if part.exists() else 0
    try:
        with _answer(url, done) as answer:
            if answer is None:
                return part.replace(path)
            if answer.status != 206:
                done = 0
            total = done + int(answer.headers.get("Content-Length") or 0)
            with open(part, "ab" if done else "wb") as file, progress(total, f"download {path.name}", unit="B") as bar:
                bar.update(done)
                while block := answer.read(1 << 20):
                    file.write(block)
                    bar.update(len(block))
    except (HTTPException, OSError) as error:
        raise OSError(
            f"cannot download {url} ({getattr(error, 'reason', None) or error}): what has come is kept in "
            f"{str(part)!r}, call again to go on"
        ) from None
    if total > part.stat().st_size:
        raise OSError(f"{url} broke off at {part.stat().st_size:,} of {total:,} bytes: call again to go on")
    part.replace(path)


class _answer:
    """The rest of a file from byte `done` on; None where nothing is left."""

    def __init__(self, url: str, done: int):
        self.request = Request(url, headers={"Range": f"bytes={done}-"} if done else {})

    def __exit__(self, *_):
        if self.reply:
            self.reply.close()

    def __enter__(self):
        try:
            self.reply = urlopen(self.request, timeout=30)
        except HTTPError as error:
            if error.code != 416:
                raise
            self.reply = None
        return self.reply


def unpack(archive: Path, folder: Path) -> None:
    """Every file of a tar below `folder`, each under its name only when it is whole; nothing outside, no links."""
    with tarfile.open(archive) as box:
        members = box.getmembers()
        for member in members:
            path = PurePosixPath(member.name)
            leaves = path.is_absolute() or ".." in path.parts or "\\" in member.name
            if leaves or not (member.isfile() or member.isdir()):
                raise ValueError(
                    f"refused archive {str(archive)!r}: its member {member.name!r} is not a plain file below its folder"
                )
        with progress(sum(member.size for member in members), f"unpack {archive.name}", unit="B") as bar:
            for member in members:
                if not member.isfile():
                    continue
                writable_folder((folder / member.name).parent)
                with box.extractfile(member) as source:
                    _stored(folder / member.name, iter(lambda: source.read(1 << 22), b""), bar)


# ------------------------------------------------------------------------------------------------------------ writing


def write(
    folder: Path, record: Mapping, arrays: Mapping[str, Callable[[], Iterator[np.ndarray]]], rows: int
) -> list[Path]:
    """`name.npy` for each name, streamed from its blocks; files that are there from the same record are left alone."""
    folder = writable_folder(folder)
    note, text = folder / "robcomp.json", json.dumps(record, indent=1, sort_keys=True) + "\n"
    if note.exists() and note.read_text() != text:
        raise ValueError(
            f"{str(folder)!r} holds arrays made with other settings (robcomp.json says which): name another folder"
        )
    if not note.exists() and (strange := [name for name in arrays if (folder / f"{name}.npy").exists()]):
        raise ValueError(f"{str(folder)!r} holds a {strange[0]}.npy that was not written here: name another folder")
    _stored(note, [text.encode()])
    with progress(rows * len(arrays), f"write {folder.name}", unit="image") as bar:
        for name, blocks in arrays.items():
            bar.set_description(name)
            if (folder / f"{name}.npy").exists():
                bar.update(rows)
            else:
                _stored(folder / f"{name}.npy", _serial(blocks(), rows, bar))
    return [folder / f"{name}.npy" for name in arrays]


def _serial(blocks: Iterator[np.ndarray], rows: int, bar) -> Iterator[bytes]:
    """The bytes of an npy file of so many rows."""
    for k, block in enumerate(blocks):
        if k == 0:
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                header,
                dict(
                    descr=np.lib.format.dtype_to_descr(block.dtype), fortran_order=False, shape=(rows, *block.shape[1:])
                ),
            )
            yield header.getvalue()
        yield block.tobytes()
        bar.update(len(block))


def _stored(path: Path, pieces: Iterable[bytes], bar=None) -> None:
    """A file of these pieces, under its name only when all of them are written."""
    try:
        with replacing(path) as file:
            for piece in pieces:
                file.write(piece)
                if bar:
                    bar.update(len(piece))
    except OSError as error:
        raise OSError(
            f"cannot write {str(path)!r} ({error.strerror or error}): free some space or name another "
            "folder; what is finished is kept"
        ) from None
