"""What is said when a sweep ends: of a dense network that guesses, and of how many trials failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from robcomp._store.checked import statuses
from robcomp._store.shards import read_record, read_trial
from robcomp._text.guessing import guessing_line
from robcomp._text.warning import warn_caller
from robcomp.schema import Trial


def say_how_it_went(trials: Sequence[Trial], folder: Path, *, classes: int) -> None:
    """A warning where the dense network does no better than guessing, a line on standard error where trials failed."""
    ended = statuses(folder, [trial.key for trial in trials])
    failed = [trial for trial in trials if ended.get(trial.key) == "failed"]
    for trial in trials:
        if trial.recipe != "dense" or ended.get(trial.key) != "ok":
            continue
        if line := guessing_said(trial, folder, classes):
            warn_caller(line)
    if failed:
        print(f"robcomp: {failures_said(failed, len(trials), folder)}", file=sys.stderr)


def nothing_came(missing: Sequence[Trial], folder: Path) -> str:
    """What to raise where an executor answers for all pieces and these trials are not in the store."""
    names = "; ".join(trial.recipe for trial in missing)[:200]
    return (
        f"all pieces came back and {len(missing)} trials are not in {folder} ({names}): does the executor do what "
        "it is given, on machines that see this folder?"
    )


def guessing_said(dense: Trial, folder: Path, classes: int) -> str:
    """One line about a dense network that does no better than guessing; empty where it does."""
    return guessing_line(dense.arch, read_trial(folder / "trials" / f"{dense.key}.parquet")[1], classes)


def failures_said(failed: Sequence[Trial], count: int, folder: Path) -> str:
    """How many of the trials failed, and why or where that stands."""
    said = f"{len(failed)} of {count} trials failed"
    if len(failed) < count:
        return f"{said}: see the column error of collect({str(folder)!r})"
    return f"{said}; the first says: {read_record(folder / 'trials' / f'{failed[0].key}.parquet')['error']}"
