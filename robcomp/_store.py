"""The files of a store: one immutable parquet file a trial, one a suite. No torch, no state, nothing half-written.

    store/trials/<key>.parquet     rows of one trial; its record as JSON under `robcomp` in the schema's metadata
    store/deals/<digest>.parquet   which images each condition of one suite holds

    write_trial(store, record, rows=None) -> Path     a failed trial has no rows, status "failed" and an error
    read_trial(path) -> (record, rows)                one line of error for a damaged or foreign file
    finished(store) -> set of keys                    whole files with status "ok": what need not run again
    write_deal(store, deal) -> Path                   the deal of one suite, as `Suite.deal()` gives it
    read_deals(store) -> DataFrame                    all deals of a store

The same content makes the same bytes (under one version of pyarrow). Files of two stores merge with `cp`.
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robcomp._atomic import replacing
from robcomp._errors import first_line
from robcomp._suggest import unknown
from robcomp.schema import DEAL_COLUMNS, LATER_COLUMNS, ROW_COLUMNS, SCHEMA_VERSION, TRIAL_COLUMNS, Column, canonical, check

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
    rows = check(rows.assign(key=record["key"]), ROW_COLUMNS)[list(ROW_COLUMNS)]
    if trouble := _broken(record, rows): raise ValueError(f"trial {record['key']} {record['recipe']}: {trouble}")
    text = canonical({name: None if value != value else value for name, value in record.items()})
    return write_table(Path(store) / "trials" / f"{record['key']}.parquet", rows, ROW_COLUMNS,
                       robcomp=text, robcomp_sha256=sha256(text.encode()).hexdigest())


def read_trial(path: str | Path) -> tuple[dict, pd.DataFrame]:
    """Record and rows of one file; ValueError in one line that names the file if it is damaged or something else."""
    path = Path(path)
    rows, metadata = read_table(path, ROW_COLUMNS)
    text = metadata.get("robcomp")
    if text is None: raise ValueError(f"{path} is not the file of a trial: move it out of the store")
    if sha256(text.encode()).hexdigest() != metadata.get("robcomp_sha256"):
        raise ValueError(f"{path} is damaged (record and digest differ): {_AGAIN}")
    record = _whole(json.loads(text))
    if record["key"] != path.stem: raise ValueError(f"{path} holds trial {record['key']}: rename or delete it")
    if trouble := _broken(record, rows): raise ValueError(f"{path} is damaged ({trouble}): {_AGAIN}")
    return record, rows


def finished(store: str | Path) -> set[str]:
    """Keys of the trials that are on disk, whole, and ended well."""
    return {path.stem for path in trial_files(store) if _ended_well(path)}


def trial_files(store: str | Path) -> list[Path]:
    """Paths of the trials in a store, in the order of their keys; what is still being written is not among them."""
    return sorted((Path(store) / "trials").glob("*.parquet"))


def write_deal(store: str | Path, deal: pd.DataFrame) -> Path:
    """File the deal of one suite, under the digest of the suite's text."""
    suites = set(check(deal, DEAL_COLUMNS).suite)
    if len(suites) != 1: raise ValueError(f"a deal belongs to one suite, got {len(suites)}")
    name = sha256(suites.pop().encode()).hexdigest()[:16]
    return write_table(Path(store) / "deals" / f"{name}.parquet", deal, DEAL_COLUMNS)


def read_deals(store: str | Path) -> pd.DataFrame:
    """The deals of all suites in a store, one row a condition."""
    paths = sorted((Path(store) / "deals").glob("*.parquet"))
    deals = [read_table(path, DEAL_COLUMNS)[0] for path in paths]
    return pd.concat(deals, ignore_index=True) if deals else empty(DEAL_COLUMNS)


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
    if rows.duplicated(["corruption", "severity"]).any(): return "a condition occurs twice"
    for row in rows.itertuples():
        if len(row.bits) != -(-row.n // 8) or int.from_bytes(row.bits, "big").bit_count() != row.correct:
            return f"{row.corruption} {row.severity}: bits do not tell of {row.correct} correct out of {row.n}"
    return ""


def _ended_well(path: Path) -> bool:
    try: return read_trial(path)[0]["status"] == "ok"
    except ValueError: return False
