"""What a store's results are of. Trials are named by the name of a data set and by the weights of a network; a store
notes what else there is to both, so that another one under the same name is refused, whose results could not be told
apart.

    datasets    digests of the labels, and of the pixels where they are in memory
    networks    of a network that was given: its contract, and its scores on a few images of noise
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

import numpy as np
import torch
from torch import nn

from robcomp._files.atomic import replacing, writable_folder
from robcomp._files.json_files import read_json
from robcomp._files.pictures import Pictures
from robcomp._store.shards import made_room, quarantine, read_deal
from robcomp.data import as_input, folder_digest
from robcomp.images import Data
from robcomp.models import weights_sha256
from robcomp.schema import canonical

FIELDS = dict(
    datasets=dict(name=str, labels=str, pixels=str), networks=dict(name=str, weights=str, contract=dict, scores=list)
)
NOISE = 4  # images
NEAR = 1e-2  # of the largest score: devices round in their own ways


def opened(path: str | Path, study) -> Path:
    """A folder as a store for the results of a study, made where it is absent. ValueError in one line where it has
    results on other images of the same name, or of another network with the same name and weights."""
    store = writable_folder(path).absolute()
    notes = dict(datasets=dataset_note(study.data))
    if isinstance(study._model, nn.Module):
        notes["networks"] = network_note(study._model)
    for part, note in notes.items():
        path = store / part / f"{_stem(note)}.json"
        known = _noted(path)
        if known is None:  # a new name, or its note is lost
            if part == "datasets":
                _check_deals(store, study.data)
            known = _written(path, note)
        if other := contradiction(note, known):
            raise _other(store, note["name"], other)
    for part in ("trials", "artifacts"):
        writable_folder(store / part)
    return store


def dataset_note(data: Data) -> dict:
    """What a store notes of a data set. Pictures on the disk are not read: their name holds a digest of them."""
    parts = [data.train, data.calibration, data.test]
    labels = sha256(repr((data.classes, data.flip)).encode())
    for part in parts:
        labels.update(part.labels.astype("<i8"))
    on_disk = any(isinstance(part.images, Pictures) for part in parts)
    pixels = "" if on_disk else folder_digest(data.classes, *parts)
    return dict(name=data.name, labels=labels.hexdigest(), pixels=pixels)


@torch.no_grad()
def network_note(model: nn.Module) -> dict:
    """What a store notes of a network that was given."""
    size, device = model.contract.size, next(model.parameters(), torch.empty(0)).device
    raw = np.random.PCG64(0).random_raw(-(-NOISE * size * size * 3 // 8)).astype("<u8").view(np.uint8)
    x = as_input(raw[: NOISE * size * size * 3].reshape(NOISE, size, size, 3), model.contract, device=device)
    training = model.training
    scores = model.eval()(x).double().cpu()
    model.train(training)
    return dict(
        name=model.arch,
        weights=weights_sha256(model),
        contract=model.contract.record(),
        scores=scores.nan_to_num().tolist(),
    )


def contradiction(mine: Mapping, theirs: Mapping) -> str:
    """In what two notes of one name contradict each other; or nothing."""
    if "labels" in mine:
        if mine["labels"] != theirs["labels"]:
            return "other labels or classes, or mirrored otherwise"
        return "other images" if mine["pixels"] and theirs["pixels"] and mine["pixels"] != theirs["pixels"] else ""
    if mine["contract"] != theirs["contract"]:
        return "another contract"
    one, other = (np.array(note["scores"], float) for note in (mine, theirs))
    alike = one.shape == other.shape and np.abs(one - other).max(initial=0) <= NEAR * np.abs(one).max(initial=0)
    return "" if alike else "the same weights and another forward pass"


def read_note(path: Path) -> dict:
    """A note of a store. ValueError in one line for one that is damaged, or stands under another name."""
    note, fields = read_json(path), FIELDS[path.parent.name]
    if isinstance(note, dict) and set(note) == {*fields, "check"}:
        check = note.pop("check")
        kinds = all(type(note[name]) is kind for name, kind in fields.items())
        if kinds and check == _check(note) and path.stem == _stem(note):
            return note
    raise ValueError(f"{path} is damaged: the next sweep writes it again")


def _noted(path: Path) -> dict | None:
    """What is noted; a damaged note is set aside."""
    if not path.exists():
        return None
    try:
        return read_note(path)
    except ValueError as error:
        quarantine(path, str(error))


def _written(path: Path, note: Mapping) -> Mapping:
    """Write a note unless another process was first; the note that stands."""
    writable_folder(path.parent)
    draft = path.with_name(f"{path.stem}.{token_hex(4)}.partial")
    with replacing(draft, "w") as file:
        file.write(canonical(dict(note, check=_check(note))))
    try:
        os.link(draft, made_room(path))
    except FileExistsError:
        return _noted(path) or note
    except OSError:
        os.replace(draft, path)  # a disk without links
    finally:
        draft.unlink(missing_ok=True)
    return note


def _check_deals(store: Path, data: Data) -> None:
    """ValueError in one line where a suite of this data set's name has other labels."""
    for path in (store / "deals").glob("*.parquet"):
        try:
            deal = read_deal(path)
        except ValueError:
            continue  # damaged: written again
        for suite, positions, labels in zip(deal.suite, deal.positions, deal.labels):
            if not suite.startswith(f"data={data.name} "):
                continue
            there = max(positions, default=0) < len(data.test)
            if there and (data.test.labels[positions] == labels).all():
                continue
            raise _other(store, data.name, "other labels")


def _other(store: Path, name: str, what: str) -> ValueError:
    return ValueError(
        f"{store} holds results on {name!r} with {what}: give this one a name of its own, or use another folder"
    )


def _check(note: Mapping) -> str:
    return sha256(canonical(dict(note)).encode()).hexdigest()[:16]


def _stem(note: Mapping) -> str:
    return sha256(canonical([note["name"], note.get("weights")]).encode()).hexdigest()[:16]
