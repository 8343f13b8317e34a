"""Trainings in a store: dense networks, the digests noted beside them, and tunings under way. Each belongs to the name
that it was written under."""

from __future__ import annotations

import re
from pathlib import Path

from robcomp._files.checkpoint import kept_at, whole
from robcomp._files.digest import tensors_sha256
from robcomp._store.shards import quarantine


def check_training(path: Path) -> None:
    """One line about a training that is damaged, or was written under another name."""
    if not path.exists():
        return
    if not whole(path):
        raise ValueError(f"{path} is damaged")
    name, state = kept_at(path)
    if name not in ("", path.name):
        raise ValueError(f"{path} was written as {name}")


def note_of(digest: str, path: Path) -> str:
    """What is noted beside a dense network: the digest of its weights, and the file that it belongs to."""
    return f"{digest}  {path.name}"


def noted(path: Path) -> str:
    """The digest in a note beside the network at `path`; empty where it is no digest or that of another file. Notes of
    earlier versions name no file."""
    try:
        found = path.with_suffix(".sha256").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return ""
    fits = found and re.fullmatch("[0-9a-f]{64}", found[0]) and found[1:] in ([], [path.name])
    return found[0] if fits else ""


def check_note(path: Path) -> None:
    """One line about a note that holds no digest, or that of another network."""
    if not path.exists():
        return
    network = path.with_suffix(".pt")
    digest = noted(network)
    if digest and network.exists():
        weights = kept_at(network)[1].get("model")
        if weights is not None and tensors_sha256(weights) != digest:
            digest = ""
    if not digest:
        raise ValueError(f"{path} holds no digest of {network.name}")


def set_aside(store: Path) -> None:
    """Set aside, each with a warning, what is damaged or belongs to another name."""
    checks = {"training/*.tune": check_training, "baselines/*.pt": check_training, "baselines/*.sha256": check_note}
    for pattern, check in checks.items():
        for path in store.glob(pattern):
            try:
                check(path)
            except ValueError as error:
                quarantine(path, str(error))
