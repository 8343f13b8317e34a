"""The files of a store: one immutable parquet file a trial, one a suite. No torch, no state, nothing half-written.

    store/trials/<key>.parquet     rows of one trial; its record as JSON under `robcomp` in the schema's metadata
    store/deals/<digest>.parquet   which images each condition of one suite holds

    write_trial(store, record, rows=None) -> Path     a failed trial has no rows, status "failed" and an error
    packed_digest(path) -> sha256                     of the packed file that belongs to a trial
    read_trial(path) -> (record, rows)                one line of error for a damaged or foreign file
    read_record(path) -> record                       the same file checked as thoroughly, without a table of its rows
    read_trials(store) -> (records, rows)             all of a store; a damaged file is named in a warning and left out
    finished(store) -> set of keys                    whole files with status "ok": what need not run again
    write_deal(store, deal) -> Path                   the deal of one suite, as `Suite.deal()` gives it
    read_deals(store) -> DataFrame                    all deals of a store
    existing_store(path) -> Path                      one line of error for a folder that is no store
    quarantine(path, why) -> Path                     moves a damaged file into store/damaged, with a warning

A file holds the digest of its content, is held against its own key and suite, and has no empty places. Files of
earlier versions have no digest: they are held against key and suite alone. The same content makes the same bytes (under
one version of pyarrow). Files of two stores merge with `cp`. Nothing is ever deleted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from robcomp._files.atomic import path_of, writable_folder
from robcomp._files.json_files import parsed
from robcomp._store.folders import holds_tables, is_store, store_in
from robcomp._store.tables import (
    AGAIN,
    DEFAULT,
    PLAIN,
    content_sha256,
    empty,
    frame,
    plain_columns,
    read_columns,
    read_table,
    write_table,
)
from robcomp._text.errors import first_line
from robcomp._text.suggest import unknown
from robcomp._text.warning import warn_caller
from robcomp.schema import (
    CLEAN,
    CORRUPTIONS,
    DEAL_COLUMNS,
    FIRST_NAMES,
    ROW_COLUMNS,
    SCHEMA_VERSION,
    SEVERITIES,
    STANDARD,
    TRIAL_COLUMNS,
    Column,
    canonical,
    check,
    trial_from,
)


def existing_store(path: str | Path) -> Path:
    """The folder of a store; ValueError in one line for any other folder, which nothing is to be written into."""
    path = path_of(path)
    if not path.is_dir():
        raise ValueError(f"no store at {str(path)!r}: name the folder that a sweep or a worker filled")
    if is_store(path):
        return path
    inner, hints = store_in(path), []
    if inner:
        hints.append(f"did you mean {str(inner)!r}?")
    if holds_tables(path):
        hints.append("its tables are read by read_tables")
    hint = " ".join(hints) or "name the folder that a sweep or a worker filled"
    raise ValueError(f"{str(path)!r} is no store, it has no folder trials: {hint}")


def write_trial(store: str | Path, record: Mapping, rows: pd.DataFrame | None = None, *, packed: str = "") -> Path:
    """File one trial. `record` holds columns of the trial table (absent ones take their empty value; protocol and
    versions may be mappings); `rows` the row table, with or without `key`; None for a failed trial; `packed` is the
    sha256 of its packed file."""
    record = _whole(record)
    if rows is None:
        rows = pd.DataFrame(columns=list(ROW_COLUMNS))
    values = plain_columns(rows.assign(key=record["key"]), ROW_COLUMNS)
    if trouble := _broken(record, values):
        raise ValueError(f"trial {record['key']} {record['recipe']}: {trouble}")
    text = canonical({name: None if value != value else value for name, value in record.items()})
    said = dict(
        robcomp=text,
        robcomp_sha256=sha256(text.encode()).hexdigest(),
        robcomp_rows=content_sha256(values, ROW_COLUMNS),
        **dict(robcomp_packed=packed) if packed else {},
    )
    return write_table(Path(store) / "trials" / f"{record['key']}.parquet", values, ROW_COLUMNS, **said)


def read_trial(path: str | Path) -> tuple[dict, pd.DataFrame]:
    """Record and rows of one file; ValueError in one line that names the file if it is damaged or something else."""
    record, values = _read(path)
    return record, frame(values, ROW_COLUMNS)


def read_record(path: str | Path) -> dict:
    """The record of one file, which is read and checked as a whole; ValueError in one line as `read_trial`."""
    return _read(path)[0]


def packed_digest(path: str | Path) -> str:
    """The sha256 of the packed file that belongs to a trial, from the trial's file; empty where none was noted."""
    return (pq.read_schema(path).metadata or {}).get(b"robcomp_packed", b"").decode()


def _read(path: str | Path) -> tuple[dict, dict[str, list]]:
    """Record of one file, and its rows as lists by column."""
    path = Path(path)
    values, metadata = read_columns(path, ROW_COLUMNS)
    text = metadata.get("robcomp")
    if text is None:
        raise ValueError(f"{path} is not the file of a trial: move it out of the store")
    if sha256(text.encode()).hexdigest() != metadata.get("robcomp_sha256"):
        raise ValueError(f"{path} is damaged (record and digest differ): {AGAIN}")
    try:
        record = _whole(parsed(text))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is damaged (its record: {first_line(error)[:120]}): {AGAIN}") from None
    if record["key"] != path.stem:
        raise ValueError(f"{path} holds trial {record['key']}: rename or delete it")
    trouble = _another_key(record) or _altered(values, ROW_COLUMNS, metadata.get("robcomp_rows"))
    trouble = trouble or _broken(record, values)
    if trouble:
        raise ValueError(f"{path} is damaged ({trouble}): {AGAIN}")
    return record, values


def read_trials(store: str | Path) -> tuple[list[dict], pd.DataFrame]:
    """Records and rows of all trials of a store, the rows as one table; a damaged file is named in a warning and left
    out."""
    records, rows = [], {name: [] for name in ROW_COLUMNS}
    for path in trial_files(store):
        found = _read_or_warn(_read, path)
        if found is None:
            continue
        records.append(found[0])
        for name, entries in found[1].items():
            rows[name] += entries
    return records, frame(rows, ROW_COLUMNS)


def finished(store: str | Path) -> set[str]:
    """Keys of the trials that are on disk, whole, and ended well."""
    return {path.stem for path in trial_files(store) if _ended_well(path)}


def quarantine(path: str | Path, why: str, *, stamp: tuple | None = None) -> Path | None:
    """Move a damaged file into `damaged`, beside its folder, and say so; `stamp` as `stamp_of` gave it: what was
    replaced since then stays."""
    path = Path(path)
    folder = path.parent.parent / "damaged"
    if not folder.is_dir():
        writable_folder(folder)
    names = (f"{path.name}.{number}" if number else path.name for number in count())
    place = next(folder / name for name in names if not (folder / name).exists())
    try:
        if stamp and stamp_of(path) != stamp:
            return None
        os.replace(path, place)
    except FileNotFoundError:
        return None  # another process was first
    warn_caller(f"{why.removesuffix(': ' + AGAIN)}: set aside as {place}, to be done again")
    return place


def made_room(path: Path) -> Path:
    """The path of a file that is to be written; a folder or a pipe that has its name is set aside."""
    if path.exists() and not path.is_file():
        quarantine(path, f"{path} is no file")
    return path


def stamp_of(path: Path) -> tuple:
    """What tells a file from one written in its place, or changed there: number, times and size; empty where there is
    none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _read_or_warn(read: Callable, path: Path):
    """What `read` makes of a file; None and a warning where it is damaged."""
    try:
        return read(path)
    except ValueError as error:
        warn_caller(f"{error} (left out)")


def trial_files(store: str | Path) -> list[Path]:
    """Paths of the trials in a store, in the order of their keys; what is still being written, or has a name that
    cannot be printed, is not among them."""
    return sorted(path for path in (Path(store) / "trials").glob("*.parquet") if path.name.isprintable())


def write_deal(store: str | Path, deal: pd.DataFrame) -> Path:
    """File the deal of one suite, under the digest of the suite's text; one that is there and is the same stays, any
    other is set aside."""
    suites = set(check(deal, DEAL_COLUMNS).suite)
    if len(suites) != 1:
        raise ValueError(f"a deal belongs to one suite, got {len(suites)}")
    path = Path(store) / "deals" / f"{_deal_name(suites.pop())}.parquet"
    digest = content_sha256(deal, DEAL_COLUMNS)
    if path.exists():
        before = stamp_of(path)
        try:
            if content_sha256(read_deal(path), DEAL_COLUMNS) == digest:
                return path
            quarantine(path, f"{path} holds other images than its suite", stamp=before)
        except ValueError as error:
            quarantine(path, str(error), stamp=before)
    return write_table(path, deal, DEAL_COLUMNS, robcomp_rows=digest)


def read_deal(path: str | Path) -> pd.DataFrame:
    """The deal of one file; ValueError in one line that names the file if it is damaged or of another suite."""
    path = Path(path)
    deal, metadata = read_table(path, DEAL_COLUMNS)
    trouble = "" if {path.stem} == {_deal_name(suite) for suite in deal.suite} else "its suite is another"
    trouble = trouble or _altered(deal, DEAL_COLUMNS, metadata.get("robcomp_rows"))
    trouble = trouble or _other_conditions(deal.suite.iloc[0], _conditions(deal), deal.positions.map(len))
    trouble = trouble or _unmatched(deal)
    if trouble:
        raise ValueError(f"{path} is damaged ({trouble}): {AGAIN}")
    return deal


def _unmatched(deal: pd.DataFrame) -> str:
    """Where positions and labels of a deal do not belong together, or an image occurs twice; or nothing."""
    for row in deal.itertuples():
        repeated = (np.diff(np.sort(row.positions), prepend=-1) < 1).any()
        if len(row.positions) != len(row.labels) or repeated:
            return f"{row.corruption} {row.severity}: positions and labels do not belong together"
    return ""


def read_deals(store: str | Path) -> pd.DataFrame:
    """The deals of all suites in a store, one row per condition; a damaged file is named in a warning and left out."""
    paths = sorted(path for path in (Path(store) / "deals").glob("*.parquet") if path.name.isprintable())
    deals = [deal for path in paths if (deal := _read_or_warn(read_deal, path)) is not None]
    return pd.concat(deals, ignore_index=True) if deals else empty(DEAL_COLUMNS)


def _deal_name(suite: str) -> str:
    return sha256(suite.encode()).hexdigest()[:16]


def _whole(record: Mapping) -> dict:
    """A record with every column of the trial table and no other."""
    if not isinstance(record, Mapping):
        raise TypeError(f"a record names its columns, got {type(record).__name__}")
    today = {first: name for name, first in FIRST_NAMES.items() if name in TRIAL_COLUMNS}
    record = {today.get(name, name): value for name, value in record.items()}
    for name in record:
        if name not in TRIAL_COLUMNS:
            raise ValueError(unknown("column of a trial", name, TRIAL_COLUMNS))
    if not record.get("key"):
        raise ValueError("a trial is filed by its key: the record has none")
    given = dict(dict(schema=SCHEMA_VERSION, status="ok"), **record)
    return {name: _value(given.get(name), column) for name, column in TRIAL_COLUMNS.items()}


def _value(value: object, column: Column) -> object:
    if value is None:
        return DEFAULT[column.dtype]
    if isinstance(value, Mapping):
        return canonical(value)
    return PLAIN[column.dtype](value)


def _conditions(table: Mapping[str, Sequence] | pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(table["corruption"], table["severity"]))


def _broken(record: Mapping, rows: Mapping[str, Sequence]) -> str:
    """What contradicts itself in a trial, or nothing."""
    if record["status"] not in ("ok", "failed"):
        return f"status is ok or failed, got {record['status']!r}"
    if record["status"] == "failed":
        return "a failed trial has no rows" if rows["key"] else ""
    if not rows["key"]:
        return "it has no rows"
    if set(rows["key"]) != {record["key"]}:
        return "its rows belong to another trial"
    conditions = _conditions(rows)
    if len(set(conditions)) < len(conditions):
        return "a condition occurs twice"
    for (corruption, severity), n, correct, bits in zip(conditions, rows["n"], rows["correct"], rows["bits"]):
        if _counts_disagree(bits, n, correct):
            continue
        return f"{corruption} {severity}: bits do not tell of {correct} correct out of {n}"
    return _missing_fields(rows) or _other_conditions(record["suite"], conditions, rows["n"])


def _counts_disagree(bits: bytes, n: int, correct: int) -> bool:
    """Are there bits for n images, with as many set as are correct and none behind the last image?"""
    if n < 1 or len(bits) != -(-n // 8):
        return False
    value, unused = int.from_bytes(bits, "big"), (1 << -n % 8) - 1
    return value.bit_count() == correct and not value & unused


def _missing_fields(rows: Mapping[str, Sequence]) -> str:
    """What of the predicted classes and confidences is not there, where a trial has any; or nothing."""
    if not any(rows["predicted"]) and not any(rows["confidence"]):
        return ""
    widths = {len(predicted) // n for predicted, n in zip(rows["predicted"], rows["n"])}
    if len(widths) > 1 or not widths <= {1, 2}:
        return "predicted classes are not there for every image"
    width = widths.pop()
    for condition, n, predicted, confidence in zip(_conditions(rows), rows["n"], rows["predicted"], rows["confidence"]):
        if len(predicted) != width * n or len(confidence) != n:
            found = f"{len(predicted) // width} predicted classes and {len(confidence)} confidences"
            return f"{condition[0]} {condition[1]}: {found} for {n} images"
    return ""


def _other_conditions(suite: str, found: Sequence[tuple[str, int]], counts: Iterable[int]) -> str:
    """What of a table's conditions, and of how many images they have, is not as its suite's text says; or nothing."""
    said = dict(part.partition("=")[::2] for part in suite.split(" "))
    known = {*CORRUPTIONS, *said.get("corruptions", "").split(",")}  # corruptions of one's own are named in the suite
    for name, severity in found:
        there = severity == 0 if name == CLEAN else name in known and severity in SEVERITIES
        if not there:
            return f"there is no condition {name} {severity}"
    asked = " ".join(said.get(part, "") for part in ("corruptions", "severities", "images"))
    if not re.fullmatch(r"[a-z0-9_,]+ [0-9,]+ (all|[0-9]+)", asked):
        return ""  # a suite made by other means
    names = dict(standard=STANDARD, all=CORRUPTIONS).get(said["corruptions"], said["corruptions"].split(","))
    wanted = {(CLEAN, 0), *((name, int(severity)) for name in names for severity in said["severities"].split(","))}
    if wanted != set(found) or len(found) != len(wanted):
        return f"it has {len(found)} conditions, its suite {len(wanted)}"
    counts = dict(zip(found, counts))
    each = counts[CLEAN, 0] if said["images"] == "all" else int(said["images"])
    wrong = [condition for condition, n in counts.items() if condition[0] != CLEAN and n != each]
    return f"{wrong[0][0]} {wrong[0][1]} has another number of images than its suite's {each}" if wrong else ""


def _altered(table: Mapping[str, Sequence], columns: Mapping[str, Column], digest: str | None) -> str:
    """Says so where a table is not the one that its digest was taken of; files of earlier versions have none."""
    if digest is None or content_sha256(table, columns) == digest:
        return ""
    return "its content and its digest differ"


def _another_key(record: Mapping) -> str:
    """Says so where what a record tells of its trial does not make its key."""
    if not record["weights"]:
        return ""  # no trial of a sweep
    try:
        key = trial_from(record | dict(protocol=parsed(record["protocol"]))).key
    except (TypeError, ValueError, AttributeError):
        key = ""
    return "" if key == record["key"] else "its record does not make its key"


def _ended_well(path: Path) -> bool:
    try:
        return read_record(path)["status"] == "ok"
    except ValueError:
        return False
