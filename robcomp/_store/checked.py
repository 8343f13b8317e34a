"""What of a store was read whole and found sound, by file number, time and size: a second look costs one `stat` a file.

The list is the file `checked` of a store. It is a saving, no evidence: without it every file is read again, and a file
that was replaced, copied or written to since is read again in any case. `collect` reads everything and does not ask it.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from robcomp._files.atomic import replacing
from robcomp._packing.container import read as read_container
from robcomp._store.shards import quarantine, read_record, stamp_of


class Checked:
    """The list of one store."""

    def __init__(self, store: str | Path):
        self.store, self.new = Path(store), {}
        try: found = json.loads((self.store / "checked").read_text(encoding="utf-8"))
        except (OSError, ValueError): found = {}
        self.known = found if isinstance(found, dict) else {}

    def save(self) -> None:
        """Keep what was looked at; of two processes that save at once the last wins, what it does not know is read again."""
        if self.new:
            with replacing(self.store / "checked", "w") as file: json.dump(self.known | self.new, file)
        self.new = {}

    def seen(self, path: Path, read: Callable[[Path], list]) -> list:
        """What `read` says of a file, from the list where the file has not changed since."""
        name, now = str(path.relative_to(self.store)), list(stamp_of(path))
        kept = self.new.get(name) or self.known.get(name)
        if isinstance(kept, list) and len(kept) == 2 and kept[0] == now: return kept[1]
        found = read(path)
        if now == list(stamp_of(path)): self.new[name] = [now, found]
        return found

    def trial(self, path: Path) -> tuple[str, float]:
        """Status and packed size of a trial, from its file; ValueError in one line where it is damaged."""
        def read(path: Path) -> list:
            record = read_record(path)
            return [record["status"], record["size_bytes"] if record["status"] == "ok" else 0.]
        return tuple(self.seen(path, read))

    def packed(self, path: Path, size: float) -> str:
        """Whether a trial's packed file is whole, missing or damaged; `size`: its bytes as the trial's record tells."""
        def read(path: Path) -> list:
            try: read_container(path)
            except ValueError: return [False]
            return [True]
        if not path.exists(): return "missing"
        return "whole" if self.seen(path, read)[0] and path.stat().st_size == size else "damaged"


def statuses(store: str | Path, keys: Iterable[str]) -> dict[str, str]:
    """Of these keys, those whose trials are on disk and whole, with their status; damaged files are set aside."""
    checked, found = Checked(store), {}
    for path in (Path(store) / "trials" / f"{key}.parquet" for key in keys):
        if not path.exists(): continue
        before = stamp_of(path)
        try: found[path.stem] = checked.trial(path)[0]
        except ValueError as error: quarantine(path, str(error), stamp=before)
    checked.save()
    return found
