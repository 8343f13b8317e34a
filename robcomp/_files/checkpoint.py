"""Checkpoints of a training: whole or absent, read without running code, tied to the work they belong to.

A file is the sha256 of what follows, then what `torch.save` makes of plain data. The checksums inside that format do
not cover every byte that is read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from warnings import catch_warnings, simplefilter

import torch

from robcomp._files.atomic import content_of, replacing, writable_folder


def write_checkpoint(path: str | Path, work: Mapping, state: Mapping) -> None:
    """Replace the checkpoint at `path`: `work` says in JSON scalars what is being done, `state` holds plain data."""
    path = Path(path)
    writable_folder(path.parent)
    content = io.BytesIO()
    torch.save({"work": json.dumps(work), "state": dict(state), "file": path.name}, content)
    with replacing(path) as file:
        file.write(sha256(content.getbuffer()).digest())
        file.write(content.getbuffer())


def whole(path: str | Path) -> bool:
    """Is a checkpoint as it was written? One that is gone is not damaged, a folder or a pipe of its name is."""
    try:
        content = memoryview(content_of(path))
    except ValueError:
        return not Path(path).exists()
    return sha256(content[32:]).digest() == content[:32]


def kept_at(path: str | Path) -> tuple[str, dict]:
    """The name that a whole checkpoint was written under, and the state that it holds; an empty name for one of an
    earlier version. ValueError in one line for what is no checkpoint."""
    try:
        with catch_warnings():
            simplefilter("ignore")
            saved = torch.load(io.BytesIO(content_of(path)[32:]), map_location="cpu", weights_only=True)
        return str(saved.get("file", "")), dict(saved["state"])
    except Exception:  # torch.load raises many kinds
        raise ValueError(f"{path} is damaged") from None


def read_checkpoint(path: str | Path, work: Mapping) -> dict | None:
    """The state kept at `path`, None where there is none; one line of error if it is damaged or of other work."""
    path = Path(path)
    if not path.exists():
        return None
    content = memoryview(path.read_bytes())
    try:
        if sha256(content[32:]).digest() != content[:32]:
            raise ValueError
        saved = torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
        theirs, state = json.loads(saved["work"]), saved["state"]
    except Exception:  # torch.load raises many kinds
        raise ValueError(f"damaged checkpoint {str(path)!r}: delete it and the training starts afresh") from None
    mine = json.loads(json.dumps(work))
    if other := [name for name in mine | theirs if theirs.get(name) != mine.get(name)]:
        name = other[0]
        differ = [str(side.get(name)) for side in (theirs, mine)]
        said = f"{differ[0]} there, {differ[1]} here" if max(map(len, differ)) < 60 else "differs"
        raise ValueError(
            f"checkpoint {str(path)!r} is of another network or other settings ({name} {said}): "
            "delete it or name another file"
        )
    return state
