"""What a sweep was asked for, so that its status can name what is left.

A store has one file for each network, data set and seed, of the last sweep: what is no longer asked for is not left.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from hashlib import sha256
from pathlib import Path

from robcomp._files.atomic import replacing, writable_folder
from robcomp._files.json_files import read_json
from robcomp._store.shards import made_room, trial_files
from robcomp.schema import Trial, canonical

FIELDS = dict(dataset=str, arch=str, seed=int, recipe=str)
KEY = re.compile("[0-9a-f]{16}")


def write_request(store: Path, trials: list[Trial]) -> None:
    """Note the trials of a sweep, which share their network, data set and seed; nothing for none."""
    if not trials:
        return
    first = trials[0]
    name = sha256(canonical(dict(dataset=first.dataset, arch=first.arch, seed=first.seed)).encode()).hexdigest()[:16]
    asked = {trial.key: {field: getattr(trial, field) for field in FIELDS} for trial in trials}
    path, content = writable_folder(store / "requests") / f"{name}.json", canonical(asked).encode()
    if path.is_file() and path.read_bytes() == content:
        return
    with replacing(made_room(path)) as file:
        file.write(content)


def read_request(path: Path) -> dict[str, dict]:
    """Key of each trial of a request: dataset, arch, seed, recipe. ValueError for a file that is damaged."""
    asked = read_json(path)
    if isinstance(asked, dict) and all(map(_is_asked, asked, asked.values())):
        return asked
    raise ValueError(f"{path} is damaged: the next sweep writes it again")


def _is_asked(key: str, fields: object) -> bool:
    """Is this the key of a trial and its fields? Another key would name a file outside of the trials."""
    return (
        KEY.fullmatch(key) is not None
        and isinstance(fields, dict)
        and set(fields) == set(FIELDS)
        and all(type(fields[name]) is kind for name, kind in FIELDS.items())
    )


def requested(store: Path) -> dict[str, dict]:
    """Key and fields of every trial that the last sweeps were asked for; damaged files are passed over."""
    asked = {}
    for path in sorted((store / "requests").glob("*.json")):
        try:
            asked |= read_request(path)
        except ValueError:
            continue
    return asked


def unplanned(store: Path, planned: Container[str]) -> Iterator[tuple[Path, dict]]:
    """File and fields of each trial that is there or was asked for, and whose key is in no plan.

    The file is absent while a trial is left to do; the fields are empty where no request names it.
    """
    asked = requested(store)
    for key in dict.fromkeys([*(path.stem for path in trial_files(store)), *asked]):
        if key not in planned:
            yield store / "trials" / f"{key}.parquet", asked.get(key, {})
