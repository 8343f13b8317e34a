"""What a sweep was asked for, so that its status can name what is left.

A store has one file for each network, data set and seed, of the last sweep: what is no longer asked for is not left.
"""
from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from robcomp._files.atomic import replacing
from robcomp._files.json_files import read_json
from robcomp._store.shards import trial_files
from robcomp.schema import Trial, canonical

FIELDS = ("dataset", "arch", "seed", "recipe")


def write_request(store: Path, trials: Sequence[Trial]) -> None:
    """Note the trials of a sweep, which share their network, data set and seed; nothing for none."""
    if not trials: return
    first = trials[0]
    name = sha256(canonical(dict(dataset=first.dataset, arch=first.arch, seed=first.seed)).encode()).hexdigest()[:16]
    asked = {trial.key: {field: getattr(trial, field) for field in FIELDS} for trial in trials}
    (store / "requests").mkdir(exist_ok=True)
    with replacing(store / "requests" / f"{name}.json", "w") as file: file.write(canonical(asked))


def read_request(path: Path) -> dict[str, dict]:
    """Key of each trial of a request: dataset, arch, seed, recipe. ValueError for a file that is damaged."""
    asked = read_json(path)
    if isinstance(asked, dict) and all(isinstance(one, dict) and set(one) == set(FIELDS) for one in asked.values()):
        return asked
    raise ValueError(f"{path} is damaged: the next sweep writes it again")


def requested(store: Path) -> dict[str, dict]:
    """Key and fields of every trial that the last sweeps were asked for; damaged files are passed over."""
    asked = {}
    for path in sorted((store / "requests").glob("*.json")):
        try: asked |= read_request(path)
        except ValueError: continue
    return asked


def unplanned(store: Path, planned: Container[str]) -> Iterator[tuple[Path, dict]]:
    """File and fields of each trial that is there or was asked for, and whose key is in no plan.

    The file is absent while a trial is left to do; the fields are empty where no request names it.
    """
    asked = requested(store)
    for key in dict.fromkeys([*(path.stem for path in trial_files(store)), *asked]):
        if key not in planned: yield store / "trials" / f"{key}.parquet", asked.get(key, {})
