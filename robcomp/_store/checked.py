"""What of a store was read whole and found sound, by file number, times and size: a second look costs one `stat` a
file.

The list is the file `checked` of a store. It is a saving, no evidence: without it every file is read again, and a file
that was replaced, copied or written to since is read again in any case, also where its time was set back: the time of a
file's last change of any kind, which nobody can set, counts too. What is no such list is thrown away. `collect` reads
everything and does not ask it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

from robcomp._files.atomic import replacing
from robcomp._files.json_files import read_json
from robcomp._packing.container import read as read_container
from robcomp._store.shards import packed_digest, quarantine, read_record, stamp_of
from robcomp._text.warning import warn_caller


class Checked:
    """The list of one store."""

    def __init__(self, store: str | Path):
        self.store, self.new = Path(store), {}
        try:
            found = read_json(self.store / "checked")
        except ValueError:
            found = {}
        self.known = (
            {name: entry for name, entry in found.items() if _is_entry(entry)} if isinstance(found, dict) else {}
        )

    def save(self) -> None:
        """Keep what was looked at; of two processes that save at once the last wins, what it does not know is read
        again."""
        path, known, self.new = self.store / "checked", self.known | self.new, {}
        if known == self.known:
            return
        try:
            with replacing(path, "w") as file:
                json.dump(known, file)
        except OSError as error:  # nothing is lost but time
            warn_caller(
                f"cannot write {path} ({error.strerror}): every file is read again by the next sweep, until it is "
                "moved away"
            )

    def seen(self, path: Path, read: Callable[[Path], list], form: Callable[[list], bool]) -> list:
        """What `read` says of a file, from the list where the file has not changed since and the list holds what has
        this form."""
        name, now = str(path.relative_to(self.store)), list(stamp_of(path))
        kept = self.new.get(name) or self.known.get(name)
        if kept and kept[0] == now and form(kept[1]):
            return kept[1]
        found = read(path)
        if now == list(stamp_of(path)):
            self.new[name] = [now, found]
        return found

    def trial(self, path: Path) -> tuple[str, float, str]:
        """Status of a trial, size and digest of its packed file, from its file; ValueError in one line where it is
        damaged."""

        def read(path: Path) -> list:
            record = read_record(path)
            return [record["status"], record["size_bytes"] if record["status"] == "ok" else 0.0, packed_digest(path)]

        def form(said: list) -> bool:
            if len(said) != 3 or type(said[2]) is not str:
                return False
            return said[0] in ("ok", "failed") and type(said[1]) in (int, float)

        return tuple(self.seen(path, read, form))

    def packed(self, path: Path, size: float, digest: str) -> str:
        """Whether a trial's packed file is whole, missing or damaged, another trial's included; `size` and `digest` as
        the trial's own file tells, the digest empty where an earlier version noted none."""

        def read(path: Path) -> list:
            try:
                read_container(path)
            except ValueError:
                return [""]
            return [sha256(path.read_bytes()).hexdigest()]

        if not path.exists():
            return "missing"
        (found,) = self.seen(path, read, lambda said: len(said) == 1 and type(said[0]) is str)
        return "whole" if found and path.stat().st_size == size and digest in ("", found) else "damaged"


def _is_entry(entry: object) -> bool:
    """A stamp of numbers, and plain values."""
    if not isinstance(entry, list) or len(entry) != 2 or not all(isinstance(part, list) for part in entry):
        return False
    return all(type(number) is int for number in entry[0]) and all(
        type(said) in (bool, str, int, float) for said in entry[1]
    )


def statuses(store: str | Path, keys: Iterable[str]) -> dict[str, str]:
    """Of these keys, those whose trials are on disk and whole, with their status; damaged files are set aside."""
    checked, found = Checked(store), {}
    for path in (Path(store) / "trials" / f"{key}.parquet" for key in keys):
        if not path.exists():
            continue
        before = stamp_of(path)
        try:
            found[path.stem] = checked.trial(path)[0]
        except ValueError as error:
            quarantine(path, str(error), stamp=before)
    checked.save()
    return found
