"""The files of a store: one immutable parquet file a trial, one a suite. No torch, no state, nothing half-written.

    store/trials/<key>.parquet     rows of one trial; its record as JSON under `robcomp` in the schema's metadata
    store/deals/<digest>.parquet   which images each condition of one suite holds

    write_trial(store, record, rows=None) -> Path     a failed trial has no rows, status "failed" and an error
    read_trial(path) -> (record, rows)                one line of error for a damaged or foreign file
    read_trials(store) -> (records, rows)             all of a store; a damaged file is named in a warning and left out
    finished(store) -> set of keys                    whole files with status "ok": what need not run again
    write_deal(store, deal) -> Path                   the deal of one suite, as `Suite.deal()` gives it
    read_deals(store) -> DataFrame                    all deals of a store
    quarantine(path, why) -> Path                     moves a damaged file into store/damaged, with a warning; nothing is deleted

A file holds the digest of its content, is held against its own key and suite, and has no empty places. Files of earlier versions have
no digest: they are held against key and suite alone. The same content makes the same bytes (under one version of pyarrow). Files of two stores merge with `cp`.
"""
from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from warnings import warn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robcomp._files.atomic import replacing
from robcomp._text.errors import first_line
from robcomp._text.suggest import unknown
from robcomp.schema import (CLEAN, CORRUPTIONS, DEAL_COLUMNS, LATER_COLUMNS, ROW_COLUMNS, SCHEMA_VERSION, SEVERITIES, STANDARD, TRIAL_COLUMNS,
                            Column, canonical, check, trial_from)

_ARROW = dict(str=pa.string(), int=pa.int64(), float=pa.float64(), bytes=pa.binary(),
              numbers=pa.list_(pa.int32()), labels=pa.list_(pa.int16()))
_PANDAS = dict(str="str", int="int64", float="float64", bytes=object, list=object)
_NUMPY = dict(numbers=np.int32, labels=np.int16)
_DEFAULT = dict(str="", int=0, float=float("nan"), bytes=b"")
_AGAIN = "delete it and run again"


def write_trial(store: str | Path, record: Mapping, rows: pd.DataFrame | None = None) -> Path:
    """File one trial. `record` holds columns of the trial table (absent ones take their empty value; protocol and
    versions may be mappings); `rows` the row table, with or without `key`; None for a failed trial."""
    record = _whole(record)
    if rows is None: rows = pd.DataFrame(columns=list(ROW_COLUMNS))
    rows = _with_later(rows.assign(key=record["key"]), ROW_COLUMNS)
    if trouble := _broken(record, rows): raise ValueError(f"trial {record['key']} {record['recipe']}: {trouble}")
    text = canonical({name: None if value != value else value for name, value in record.items()})
    return write_table(Path(store) / "trials" / f"{record['key']}.parquet", rows, ROW_COLUMNS,
                       robcomp=text, robcomp_sha256=sha256(text.encode()).hexdigest(), robcomp_rows=content_sha256(rows, ROW_COLUMNS))


def read_trial(path: str | Path) -> tuple[dict, pd.DataFrame]:
    """Record and rows of one file; ValueError in one line that names the file if it is damaged or something else."""
    path = Path(path)
    rows, metadata = read_table(path, ROW_COLUMNS)
    text = metadata.get("robcomp")
    if text is None: raise ValueError(f"{path} is not the file of a trial: move it out of the store")
    if sha256(text.encode()).hexdigest() != metadata.get("robcomp_sha256"):
        raise ValueError(f"{path} is damaged (record and digest differ): {_AGAIN}")
    try: record = _whole(json.loads(text))
    except (TypeError, ValueError) as error: raise ValueError(f"{path} is damaged (its record: {first_line(error)[:120]}): {_AGAIN}") from None
    if record["key"] != path.stem: raise ValueError(f"{path} holds trial {record['key']}: rename or delete it")
    trouble = _another_key(record) or _altered(rows, ROW_COLUMNS, metadata.get("robcomp_rows")) or _broken(record, rows)
    if trouble: raise ValueError(f"{path} is damaged ({trouble}): {_AGAIN}")
    return record, rows


def read_trials(store: str | Path) -> tuple[list[dict], list[pd.DataFrame]]:
    """Records and rows of all trials of a store; a damaged file is named in a warning and left out."""
    read = [found for path in trial_files(store) if (found := _read_or_warn(read_trial, path))]
    return [record for record, _ in read], [rows for _, rows in read]


def finished(store: str | Path) -> set[str]:
    """Keys of the trials that are on disk, whole, and ended well."""
    return {path.stem for path in trial_files(store) if _ended_well(path)}


def quarantine(path: str | Path, why: str, *, stamp: tuple | None = None) -> Path | None:
    """Move a damaged file into `damaged`, beside its folder, and say so; `stamp` as `stamp_of` gave it: what was replaced since then stays."""
    path = Path(path)
    folder = path.parent.parent / "damaged"
    folder.mkdir(exist_ok=True)
    place = next(place for n in range(10 ** 6) if not (place := folder / (f"{path.name}.{n}" if n else path.name)).exists())
    try:
        if stamp and stamp_of(path) != stamp: return None
        os.replace(path, place)
    except FileNotFoundError: return None  # another process was first
    warn(f"{why.removesuffix(': ' + _AGAIN)}: set aside as {place}, to be done again", stacklevel=3)
    return place


def stamp_of(path: Path) -> tuple:
    """What tells a file from one written in its place: number, time and size; empty where there is none."""
    try: status = path.stat()
    except OSError: return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read_or_warn(read, path: Path):
    """What `read` makes of a file; None and a warning where it is damaged."""
    try: return read(path)
    except ValueError as error: warn(f"{error} (left out)", stacklevel=4)


def trial_files(store: str | Path) -> list[Path]:
    """Paths of the trials in a store, in the order of their keys; what is still being written is not among them."""
    return sorted((Path(store) / "trials").glob("*.parquet"))


def write_deal(store: str | Path, deal: pd.DataFrame) -> Path:
    """File the deal of one suite, under the digest of the suite's text; one that is there and is the same stays, any other is set aside."""
    suites = set(check(deal, DEAL_COLUMNS).suite)
    if len(suites) != 1: raise ValueError(f"a deal belongs to one suite, got {len(suites)}")
    path, digest = Path(store) / "deals" / f"{_deal_name(suites.pop())}.parquet", content_sha256(deal, DEAL_COLUMNS)
    if path.exists():
        before = stamp_of(path)
        try:
            if content_sha256(read_deal(path), DEAL_COLUMNS) == digest: return path
            quarantine(path, f"{path} holds other images than its suite", stamp=before)
        except ValueError as error: quarantine(path, str(error), stamp=before)
    return write_table(path, deal, DEAL_COLUMNS, robcomp_rows=digest)


def read_deal(path: str | Path) -> pd.DataFrame:
    """The deal of one file; ValueError in one line that names the file if it is damaged or of another suite."""
    path = Path(path)
    deal, metadata = read_table(path, DEAL_COLUMNS)
    trouble = "" if {path.stem} == {_deal_name(suite) for suite in deal.suite} else "its suite is another"
    trouble = trouble or _altered(deal, DEAL_COLUMNS, metadata.get("robcomp_rows")) or _other_conditions(deal.suite.iloc[0], deal, deal.numbers.map(len))
    trouble = trouble or next((f"{row.corruption} {row.severity}: numbers and labels do not belong together" for row in deal.itertuples()
                               if len(row.numbers) != len(row.labels) or (np.diff(np.sort(row.numbers), prepend=-1) < 1).any()), "")
    if trouble: raise ValueError(f"{path} is damaged ({trouble}): {_AGAIN}")
    return deal


def read_deals(store: str | Path) -> pd.DataFrame:
    """The deals of all suites in a store, one row a condition; a damaged file is named in a warning and left out."""
    paths = sorted((Path(store) / "deals").glob("*.parquet"))
    deals = [deal for path in paths if (deal := _read_or_warn(read_deal, path)) is not None]
    return pd.concat(deals, ignore_index=True) if deals else empty(DEAL_COLUMNS)


def content_sha256(table: pd.DataFrame, columns: Mapping[str, Column]) -> str:
    """The digest of what a table says: its columns in the schema's order, whatever file it is in. A column of bytes that came later
    and is empty says nothing, so that files from before it keep their digests."""
    digest = sha256()
    for name, column in columns.items():
        if name in LATER_COLUMNS and column.dtype == "bytes" and not any(table[name]): continue
        digest.update(f"{name} {len(table)}\n".encode())
        if column.dtype in ("int", "float"):
            digest.update(np.ascontiguousarray(table[name].to_numpy(), dict(int="<i8", float="<f8")[column.dtype]).tobytes())
            continue
        for entry in table[name]:
            data = entry.encode() if column.dtype == "str" else bytes(entry) if column.dtype == "bytes" else np.asarray(entry, _NUMPY[name]).astype("<i4").tobytes()
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _with_later(table: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """The columns of the schema in its order; those that came later are empty where the table lacks them."""
    later = {name: [_DEFAULT[column.dtype]] * len(table) for name, column in columns.items() if name in LATER_COLUMNS and name not in table}
    return check(table.assign(**later), columns)[list(columns)]


def _deal_name(suite: str) -> str:
    return sha256(suite.encode()).hexdigest()[:16]


def write_table(path: Path, table: pd.DataFrame, columns: Mapping[str, Column], **metadata: str) -> Path:
    """One table as parquet, atomically: the columns of the schema in its order, nothing else."""
    check(table, columns)
    arrays = [pa.array(_plain(table[name], column), _arrow(name, column)) for name, column in columns.items()]
    arrow = pa.table(dict(zip(columns, arrays))).replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        pq.write_table(arrow, file, compression="zstd", write_page_checksum=True, store_schema=True)
    return path


def read_table(path: Path, columns: Mapping[str, Column]) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table and its metadata; ValueError in one line for a file that is damaged or holds something else."""
    try:
        arrow = pq.ParquetFile(path, page_checksum_verification=True).read()
        metadata = {key.decode(): value.decode() for key, value in (arrow.schema.metadata or {}).items()}
    except FileNotFoundError: raise ValueError(f"{path} is absent") from None
    except Exception as error:
        raise ValueError(f"{path} is damaged or not parquet ({first_line(error)[:120]}): {_AGAIN}") from None
    missing = [name for name in columns if name not in (*arrow.column_names, *LATER_COLUMNS)]
    if missing: raise ValueError(f"{path} is not a robcomp table: it lacks {', '.join(missing)}")
    later = {name: [_DEFAULT[columns[name].dtype]] * len(arrow) for name in columns if name not in arrow.column_names}
    for name, column in columns.items():
        if name in later: continue
        own = arrow.column(name)
        if own.type != _arrow(name, column): raise ValueError(f"{path} is damaged (column {name} is of type {own.type}): {_AGAIN}")
        if own.null_count or (column.dtype == "list" and own.combine_chunks().flatten().null_count):
            raise ValueError(f"{path} is damaged (column {name} has empty places): {_AGAIN}")
    return frame(arrow.select([name for name in columns if name not in later]).to_pydict() | later, columns), metadata


def frame(values: Mapping, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Columns of values as a table with the schema's kinds."""
    def series(name, column):
        entries = values.get(name, [])
        if column.dtype == "list": entries = [np.asarray(entry, _NUMPY[name]) for entry in entries]
        return pd.Series(list(entries), dtype=_PANDAS[column.dtype])
    return pd.DataFrame({name: series(name, column) for name, column in columns.items()})


def empty(columns: Mapping[str, Column]) -> pd.DataFrame:
    """A table without rows."""
    return frame({}, columns)


def _arrow(name: str, column: Column) -> pa.DataType:
    return _ARROW[name if column.dtype == "list" else column.dtype]


def _plain(values: pd.Series, column: Column) -> list:
    if column.dtype == "list": return [np.asarray(entry) for entry in values]
    return [{"str": str, "int": int, "float": float, "bytes": bytes}[column.dtype](entry) for entry in values]


def _whole(record: Mapping) -> dict:
    """A record with every column of the trial table and no other."""
    for name in record:
        if name not in TRIAL_COLUMNS: raise ValueError(unknown("column of a trial", name, TRIAL_COLUMNS))
    if not record.get("key"): raise ValueError("a trial is filed by its key: the record has none")
    given = dict(dict(schema=SCHEMA_VERSION, status="ok"), **record)
    return {name: _value(given.get(name), column) for name, column in TRIAL_COLUMNS.items()}


def _value(value: object, column: Column) -> object:
    if value is None: return _DEFAULT[column.dtype]
    if isinstance(value, Mapping): return canonical(value)
    return {"str": str, "int": int, "float": float}[column.dtype](value)


def _broken(record: Mapping, rows: pd.DataFrame) -> str:
    """What contradicts itself in a trial, or nothing."""
    if record["status"] not in ("ok", "failed"): return f"status is ok or failed, got {record['status']!r}"
    if record["status"] == "failed": return "a failed trial has no rows" if len(rows) else ""
    if not len(rows): return "it has no rows"
    if (rows.key != record["key"]).any(): return "its rows belong to another trial"
    if rows.duplicated(["corruption", "severity"]).any(): return "a condition occurs twice"
    for row in rows.itertuples():
        if row.n < 1 or len(row.bits) != -(-row.n // 8) or (value := int.from_bytes(row.bits, "big")).bit_count() != row.correct or value & ((1 << -row.n % 8) - 1):
            return f"{row.corruption} {row.severity}: bits do not tell of {row.correct} correct out of {row.n}"
    return _half_said(rows) or _other_conditions(record["suite"], rows, rows.n)


def _half_said(rows: pd.DataFrame) -> str:
    """What of the predicted classes and confidences is not there, where a trial has any; or nothing."""
    kinds = {0 if not (row.predicted or row.confidence) else len(row.predicted) // row.n for row in rows.itertuples()}
    if kinds == {0}: return ""
    width = kinds.pop()
    if kinds or width not in (1, 2): return "predicted classes are not there for every image"
    return next((f"{row.corruption} {row.severity}: {len(row.predicted) // width} predicted classes and {len(row.confidence)} confidences for {row.n} images"
                 for row in rows.itertuples() if len(row.predicted) != width * row.n or len(row.confidence) != row.n), "")


def _other_conditions(suite: str, table: pd.DataFrame, counts: pd.Series) -> str:
    """What of a table's conditions, and of how many images they have, is not as its suite's text says; or nothing."""
    found, said = list(zip(table.corruption, table.severity)), dict(part.partition("=")[::2] for part in suite.split(" "))
    known = {*CORRUPTIONS, *said.get("corruptions", "").split(",")}  # corruptions of one's own are named in the suite
    for name, severity in found:
        if not (severity == 0 if name == CLEAN else name in known and severity in SEVERITIES): return f"there is no condition {name} {severity}"
    if not re.fullmatch(r"[a-z0-9_,]+ [0-9,]+ (all|[0-9]+)", " ".join(said.get(part, "") for part in ("corruptions", "severities", "images"))):
        return ""  # a suite made by other means
    names = dict(standard=STANDARD, all=CORRUPTIONS).get(said["corruptions"], said["corruptions"].split(","))
    wanted = {(CLEAN, 0), *((name, int(severity)) for name in names for severity in said["severities"].split(","))}
    if wanted != set(found) or len(found) != len(wanted): return f"it has {len(found)} conditions, its suite {len(wanted)}"
    clean = dict(zip(found, counts))[CLEAN, 0]
    each = clean if said["images"] == "all" else int(said["images"])
    wrong = [condition for condition, count in zip(found, counts) if count != (clean if condition[0] == CLEAN else each)]
    return f"{wrong[0][0]} {wrong[0][1]} has another number of images than its suite's {each}" if wrong else ""


def _altered(table: pd.DataFrame, columns: Mapping[str, Column], digest: str | None) -> str:
    """Says so where a table is not the one that its digest was taken of; files of earlier versions have none."""
    return "its content and its digest differ" if digest is not None and content_sha256(table, columns) != digest else ""


def _another_key(record: Mapping) -> str:
    """Says so where what a record tells of its trial does not make its key."""
    if not record["weights"]: return ""  # no trial of a sweep
    try: key = trial_from(record | dict(protocol=json.loads(record["protocol"]))).key
    except (TypeError, ValueError): key = ""
    return "" if key == record["key"] else "its record does not make its key"


def _ended_well(path: Path) -> bool:
    try: return read_trial(path)[0]["status"] == "ok"
    except ValueError: return False
