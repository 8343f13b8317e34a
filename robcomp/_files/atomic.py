"""Files that are whole or absent: a temporary name, fsync, rename."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary neighbour of `path` to write; it takes the name `path` only when the block ended well.

    The temporary name ends in `.partial` and holds the process number and a random part, so that two writers, be they
    processes or threads, never share one. The last to finish wins. After an error nothing is left.
    """
    path = Path(path)
    temporary = _temporary(path)
    encoding = None if "b" in mode else "utf-8"
    try:
        with open(temporary, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)
        raise
    _sync_folder(path.parent)


def file_to_write(path: str | Path) -> Path:
    """The path of a file that is to be written; one line of error where no file can have this name."""
    try:
        path = Path(path)
    except TypeError:
        raise TypeError(f"a file is named by a text or a Path, got {type(path).__name__}") from None
    # a folder, a pipe or a device, which a rename would replace
    other = "\0" not in str(path) and path.exists() and not path.is_file()
    if not path.name or "\0" in str(path) or other:
        raise ValueError(f"{str(path)!r} names no file: write a folder and a name")
    if not path.parent.is_dir():
        raise ValueError(f"no folder {str(path.parent)!r} to write {path.name!r} in: make it, or name another")
    return path


def path_of(name: object) -> Path:
    """The path that a text or a Path names; one line of error where it names none, or one that no file can have."""
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(f"a file or folder is named by a text or a Path, got {type(name).__name__}")
    path = Path(name)
    if {"\n", "\r", "\0"} & set(str(path)):
        raise ValueError(f"{str(path)!r:.200} names no file: it holds a line break or a zero")
    try:
        path.exists()
    except OSError as error:
        raise ValueError(f"{str(path)!r:.80} names no file: {error.strerror}") from None
    return path


def content_of(path: str | Path) -> bytes:
    """The bytes of a file; ValueError in one line where there is none, or a folder, pipe or device of its name."""
    path = path_of(path)
    try:
        if path.is_fifo() or path.is_char_device() or path.is_block_device():
            raise ValueError(f"cannot read {path}: it is a pipe or a device")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut (where the system lets a folder be opened)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def writable_folder(path: str | Path) -> Path:
    """The folder `path`, made if absent; one line of error where nothing can be written in it."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = _temporary(path / ".probe")
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"cannot write in {str(path)!r} ({error.strerror}): name another folder or free this one"
        ) from None
    return path
