"""Stores brought together. What a store holds goes in units, which are copied whole or not at all:

    trials deals data datasets networks plans requests training    a file each
    artifacts      the packed file of a trial, as long as the trial's record names it
    beginnings     notes and packed file
    baselines      a dense network, and its digest once its training has ended
    keys           notes of workers, joined

Each is held to the check that the store itself holds it to; what is damaged is named in a warning and left out. Where
several stores have a unit, the one that is further counts, else the first store's. Trials, deals and notes on data sets
and networks that contradict each other are refused before anything is copied. Claims belong to processes, `checked` and
`damaged` to one folder: they are not merged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from robcomp._files.atomic import replacing, writable_folder
from robcomp._files.json_files import read_json
from robcomp._packing.container import read as read_container
from robcomp._store.devices import trained_on
from robcomp._store.identity import contradiction, read_note
from robcomp._store.pictures import check_data
from robcomp._store.requests import read_request
from robcomp._store.shards import content_sha256, packed_digest, read_deal, read_trial
from robcomp._store.tables import AGAIN
from robcomp._store.training import check_note, check_training
from robcomp._text.warning import warn_caller
from robcomp.plan import read_plan
from robcomp.schema import DEAL_COLUMNS

# of a trial: may differ between two runs
FREE = ("train_s", "compress_s", "evaluate_s", "latency_s", "versions", "study", "error")


def check_notes(path: Path) -> None:
    if not isinstance(read_json(path), dict):
        raise ValueError(f"{path} is damaged")


# What is merged, in the order of copying: what says that work is done comes after the work
CHECKS = {
    "datasets": {".json": read_note},
    "networks": {".json": read_note},
    "deals": {".parquet": read_deal},
    "data": {".images": check_data},
    "training": {".tune": check_training},
    "baselines": {".pt": check_training, ".sha256": check_note},
    "beginnings": {".json": check_notes, ".robcomp": read_container},
    "plans": {".json": read_plan},
    "requests": {".json": read_request},
    "artifacts": {".robcomp": read_container},
    "trials": {".parquet": read_trial},
}


def units(store: Path, part: str) -> Iterator[list[Path]]:
    """The units of one kind, each in the order in which its files are written; those that lack a file are passed
    over."""
    order = list(CHECKS[part])
    paths = [path for path in (store / part).glob("*.*") if path.suffix in order]
    for _, files in groupby(
        sorted(paths, key=lambda path: (path.stem, order.index(path.suffix))), key=lambda path: path.stem
    ):
        unit = list(files)
        complete = len(unit) == len(order) or part == "baselines" and unit[0].suffix == ".pt"
        if complete and sound(unit):
            yield unit


def sound(unit: Sequence[Path]) -> bool:
    """Is a unit whole? One that is not is named in a warning."""
    try:
        for path in unit:
            CHECKS[path.parent.name][path.suffix](path)
    except FileNotFoundError:
        return False  # it has just been finished or set aside
    except ValueError as error:
        warn_caller(f"{str(error).removesuffix(': ' + AGAIN)} (left out)")
        return False
    return True


def gathered(stores: Iterable[Path], into: Path) -> dict[Path, Path]:
    """What a merged store holds: place -> file, in the order of copying. ValueError in one line where stores
    disagree."""
    stores = [into, *stores]
    agreed = {part: agreed_notes(stores, part) for part in ("datasets", "networks")}
    records, trials = agreed_trials(stores)
    agreed |= dict(deals=agreed_deals(stores), trials=trials)
    chosen, unmatched = {part: {} for part in CHECKS} | agreed, {}
    for part in CHECKS:
        if part in agreed:
            continue
        for unit in (unit for store in stores for unit in units(store, part)):
            name = unit[0].stem
            if part == "artifacts" and not _belongs(unit[0], records.get(name, {}), trials.get(name)):
                unmatched[name] = unit[0]
                continue
            held = chosen[part].get(name)
            # the same cells with other recipes: both are kept
            if part in ("plans", "requests") and held and held[0].read_bytes() != unit[0].read_bytes():
                name, held = f"{name}-{sha256(unit[0].read_bytes()).hexdigest()[:8]}", None
            if held is None or len(unit) > len(held):
                chosen[part][name] = unit
            if part == "baselines" and held:
                compare_networks(held, unit)
    for name, path in unmatched.items():
        if name in trials and name not in chosen["artifacts"]:
            warn_caller(f"{path} is not the packed file of trial {name} ({records[name]['recipe']}): left out")
    return {
        into / part / f"{name}{path.suffix}": path
        for part, found in chosen.items()
        for name, unit in found.items()
        for path in unit
    }


def _belongs(packed: Path, record: Mapping, trial: list[Path] | None) -> bool:
    """Is this the packed file that a trial's record tells of?"""
    if trial is None or packed.stat().st_size != record.get("size_bytes"):
        return False
    return packed_digest(trial[0]) in ("", sha256(packed.read_bytes()).hexdigest())


def agreed_trials(stores: Iterable[Path]) -> tuple[dict[str, Mapping], dict[str, list[Path]]]:
    """Record and file of each trial, of one that ended well where there is one."""
    records, chosen = {}, {}
    for unit in (unit for store in stores for unit in units(store, "trials")):
        (path,) = unit
        record, rows = read_trial(path)
        held = records.get(path.stem)
        if held and "failed" not in (held["status"], record["status"]):
            if field := difference(held, read_trial(chosen[path.stem][0])[1], record, rows):
                devices = {trained_on(one["versions"]) for one in (held, record)} - {""}
                told = f", from {' and '.join(sorted(devices))}" if len(devices) > 1 else ""
                raise ValueError(
                    f"{chosen[path.stem][0]} and {path} disagree: trial {path.stem} ({record['recipe']}{told}) has "
                    "another "
                    f"{field}; nothing was merged: delete one of the two, or leave one of the stores out"
                )
        if held is None or held["status"] == "failed":
            records[path.stem], chosen[path.stem] = record, unit
    return records, chosen


def difference(mine: Mapping, my_rows: Mapping, theirs: Mapping, their_rows: Mapping) -> str:
    """The first field in which two files of a trial differ, or nothing."""
    for name in mine:
        missing = mine[name] != mine[name] and theirs[name] != theirs[name]  # not a number, twice
        if name not in FREE and mine[name] != theirs[name] and not missing:
            return name
    return next((name for name in my_rows if not my_rows[name].equals(their_rows[name])), "")


def agreed_notes(stores: Iterable[Path], part: str) -> dict[str, list[Path]]:
    """The notes on data sets, or on networks."""
    chosen = {}
    for unit in (unit for store in stores for unit in units(store, part)):
        (path,) = unit
        (held,) = chosen.setdefault(path.stem, unit)
        note = read_note(held)
        if other := contradiction(note, read_note(path)):
            raise ValueError(
                f"{held.parents[1]} and {path.parents[1]} hold results on {note['name']!r}, one with "
                f"{other}; nothing was merged"
            )
    return chosen


def agreed_deals(stores: Iterable[Path]) -> dict[str, list[Path]]:
    """The file of each deal."""
    chosen, digests = {}, {}
    for unit in (unit for store in stores for unit in units(store, "deals")):
        (path,) = unit
        digest = content_sha256(read_deal(path), DEAL_COLUMNS)
        if digests.setdefault(path.stem, digest) != digest:
            raise ValueError(
                f"{chosen[path.stem][0]} and {path} disagree: one suite deals out other images; nothing was merged"
            )
        chosen.setdefault(path.stem, unit)
    return chosen


def compare_networks(held: Sequence[Path], other: Sequence[Path]) -> None:
    """Says so where two stores trained one dense network to different weights: the trials of both are kept, one goes
    on."""
    if len(held) == len(other) == 2 and held[1].read_text().strip() != other[1].read_text().strip():
        warn_caller(
            f"{held[0]} and {other[0]} have other weights: the trials of both are kept, and new ones start from the "
            "first"
        )


def joined_notes(notes: Sequence[Mapping]) -> dict:
    """Keys of trials and files of beginnings that several plans of a cell have noted; those for the weights of the last
    one."""
    same = [found for found in notes if found.get("weights") == notes[-1].get("weights")]
    parts = {
        part: [found[part] for found in same if isinstance(found.get(part), dict)] for part in ("keys", "beginnings")
    }
    return dict(weights=notes[-1].get("weights")) | {
        part: {name: key for one in found for name, key in one.items()} for part, found in parts.items()
    }


def copied_notes(stores: Sequence[Path], into: Path) -> int:
    """Bring the notes of all stores on the keys of their cells together; files written. Damaged ones are named in a
    warning and left out: workers write them again."""
    found, written = {}, 0
    for path in (path for store in [*stores, into] for path in sorted((store / "keys").glob("*.json"))):
        try:
            check_notes(path)
        except ValueError as error:
            warn_caller(f"{error} (left out)")
            continue
        found.setdefault(path.name, []).append(read_json(path))
    for name, notes in found.items():
        content, place = json.dumps(joined_notes(notes)), into / "keys" / name
        if place.is_file() and place.read_text(encoding="utf-8") == content:
            continue
        writable_folder(place.parent)
        with replacing(place, "w") as file:
            file.write(content)
        written += 1
    return written


def copied(source: Path, target: Path) -> bool:
    """Copy a file, whole or not at all, unless the same is there."""
    if target.exists() and (target.samefile(source) or target.read_bytes() == source.read_bytes()):
        return False
    writable_folder(target.parent)
    with replacing(target) as file:
        file.write(source.read_bytes())
    return True
