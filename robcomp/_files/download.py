"""Official files: fetched once, compared with their md5 before anything reads them, opened without running code."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Mapping
from hashlib import md5 as _md5
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from robcomp._files.atomic import replacing, writable_folder
from robcomp._files.progress import progress
from robcomp._text.errors import first_line


def verified(path: str | Path, md5: str) -> bytes:
    """The content of a file, once its md5 is known to be right; what is returned is what was checked."""
    content = Path(path).read_bytes()
    found = _md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(
            f"damaged data file {str(path)!r}: its md5 is {found}, the official one {md5}; "
            "delete it and it will be fetched again"
        )
    return content


def read_arrays(content: bytes) -> dict:
    """A pickle of dicts, lists, texts, numbers and numpy arrays; any other name in it is refused, not imported."""
    try:
        return _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, IndexError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"not a pickle of arrays ({error})") from None


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        import numpy as np

        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np._core.multiarray._reconstruct
        raise ValueError(f"it asks for {module}.{name}, which is no array")


def fetch_members(url: str, md5: str, folder: Path, members: Mapping[str, str]) -> None:
    """Fetch an archive and leave the files `members` (path in the archive -> md5) under `folder`, each checked."""
    archive = writable_folder(folder) / url.rsplit("/", 1)[-1]
    if not archive.exists():
        _fetch(url, archive)
    content = verified(archive, md5)
    with tarfile.open(fileobj=io.BytesIO(content)) as box:
        for name, member_md5 in members.items():
            data = box.extractfile(name).read()
            if _md5(data, usedforsecurity=False).hexdigest() != member_md5:
                raise ValueError(f"{name!r} in {url} is not the official file")
            writable_folder((folder / name).parent)
            with replacing(folder / name) as file:
                file.write(data)
    archive.unlink(missing_ok=True)


def fetch_files(url: str, folder: Path, files: Mapping[str, str]) -> None:
    """Fetch the files (name -> md5) that `folder` lacks from below `url`; every one, old or new, is compared with its
    md5."""
    for name, md5 in files.items():
        if (path := writable_folder(folder) / name).exists():
            verified(path, md5)
            continue
        coming = path.with_name(name + ".unverified")
        _fetch(url + name, coming)
        try:
            verified(coming, md5)
        except ValueError as error:
            coming.unlink()
            raise ValueError(f"what {url}{name} gave is not the official file ({first_line(error)})") from None
        coming.replace(path)


def _fetch(url: str, path: Path) -> None:
    try:
        with urlopen(url, timeout=30) as answer, replacing(path) as file:
            with progress(int(answer.headers.get("Content-Length") or 0), f"download {path.name}", unit="B") as bar:
                while block := answer.read(1 << 20):
                    file.write(block)
                    bar.update(len(block))
    except (OSError, HTTPException) as error:
        raise OSError(
            f"cannot download {url} ({getattr(error, 'reason', error)}): without a network, put the official "
            f"files in {str(path.parent)!r} or name the folder that has them in ROBCOMP_DATA"
        ) from None
