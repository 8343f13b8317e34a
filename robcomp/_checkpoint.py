"""Checkpoints of a training: whole or absent, read without running code, tied to the work they belong to."""
from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from robcomp._atomic import replacing, writable_folder


def write_checkpoint(path: str | Path, work: Mapping, state: Mapping) -> None:
    """Replace the checkpoint at `path`: `work` says in JSON scalars what is being done, `state` holds plain data."""
    path = Path(path)
    writable_folder(path.parent)
    with replacing(path) as file: torch.save({"work": json.dumps(work), "state": dict(state)}, file)


def read_checkpoint(path: str | Path, work: Mapping) -> dict | None:
    """The state kept at `path`, None where there is none; one line of error if it is damaged or of other work."""
    path = Path(path)
    if not path.exists(): return None
    try:
        with zipfile.ZipFile(path) as box: damaged = box.testzip()
        if damaged: raise ValueError(damaged)
        saved = torch.load(path, map_location="cpu", weights_only=True)
        theirs, state = json.loads(saved["work"]), saved["state"]
    except Exception:  # what damaged bytes make of zip, pickle and torch is open-ended
        raise ValueError(f"damaged checkpoint {str(path)!r}: delete it and the training starts afresh") from None
    mine = json.loads(json.dumps(work))
    if other := [name for name in mine if theirs.get(name) != mine[name]]:
        name = other[0]
        raise ValueError(f"checkpoint {str(path)!r} is of other work ({name} {theirs.get(name)!r} there, {mine[name]!r} here): "
                         "delete it or name another file")
    return state
