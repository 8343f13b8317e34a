"""Tables as parquet files: the columns of a schema, in its order, of its kinds. No state, nothing half-written.

    write_table(path, table, columns, **metadata) -> Path     atomically
    read_table(path, columns) -> (DataFrame, metadata)        one line of error for a damaged or foreign file
    read_columns(path, columns) -> (lists by name, metadata)  without a DataFrame, which costs more than the file
    frame(values, columns) -> DataFrame                       lists as a table with the schema's kinds
    content_sha256(table, columns) -> str                     the digest of what a table says, whatever file it is in

A table is given as a DataFrame or as a mapping of names to sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robcomp._files.atomic import replacing, writable_folder
from robcomp._text.errors import first_line
from robcomp.schema import FIRST_NAMES, LATER_COLUMNS, Column, check

AGAIN = "delete it and run again"
MOST_ROWS = 10_000  # of a table, and as many more as its file has bytes: empty ones take next to none
DEFAULT = dict(str="", int=0, float=float("nan"), bytes=b"")
PLAIN = dict(str=str, int=int, float=float, bytes=bytes)
_ARROW = dict(
    str=pa.string(),
    int=pa.int64(),
    float=pa.float64(),
    bytes=pa.binary(),
    positions=pa.list_(pa.int32()),
    labels=pa.list_(pa.int16()),
)
_LARGE = {
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.large_list(pa.int32()): pa.list_(pa.int32()),
    pa.large_list(pa.int16()): pa.list_(pa.int16()),
}
_PANDAS = dict(str="str", int="int64", float="float64", bytes=object, list=object)
_NUMPY = dict(positions=np.int32, labels=np.int16)
_LITTLE = dict(int="<i8", float="<f8")


def write_table(
    path: Path, table: Mapping[str, Sequence] | pd.DataFrame, columns: Mapping[str, Column], **metadata: str
) -> Path:
    """One table as parquet, atomically: the columns of the schema in its order, nothing else."""
    if isinstance(table, pd.DataFrame):
        check(table, columns)
    arrays = [pa.array(_plain(table[name], column), _arrow(name, column)) for name, column in columns.items()]
    arrow = pa.table(dict(zip(columns, arrays))).replace_schema_metadata(metadata)
    if not path.parent.is_dir():
        writable_folder(path.parent)
    with replacing(path) as file:
        pq.write_table(arrow, file, compression="zstd", write_page_checksum=True, store_schema=True)
    return path


def read_table(path: Path, columns: Mapping[str, Column]) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table and its metadata; ValueError in one line for a file that is damaged or holds something else."""
    values, metadata = read_columns(path, columns)
    return frame(values, columns), metadata


def read_columns(path: Path, columns: Mapping[str, Column]) -> tuple[dict[str, list], dict[str, str]]:
    """The columns of a table as lists, and its metadata; ValueError in one line as `read_table`."""
    if path.is_fifo():
        raise ValueError(f"{path} is a pipe: {AGAIN}")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
        rows, size = file.metadata.num_rows, path.stat().st_size
        if rows > MOST_ROWS + size:
            raise ValueError(f"it announces {rows:,} rows in {size:,} bytes")
        arrow = file.read(use_threads=False)
        metadata = {key.decode(): value.decode() for key, value in (arrow.schema.metadata or {}).items()}
    except FileNotFoundError:
        raise ValueError(f"{path} is absent") from None
    except Exception as error:
        raise ValueError(f"{path} is damaged or not parquet ({first_line(error)[:120]}): {AGAIN}") from None
    today = {first: name for name, first in FIRST_NAMES.items() if name in columns and name not in arrow.column_names}
    arrow = arrow.rename_columns([today.get(name, name) for name in arrow.column_names])
    twice = [name for name in columns if arrow.column_names.count(name) > 1]
    if twice:
        raise ValueError(f"{path} is damaged (column {twice[0]} is there twice): {AGAIN}")
    missing = [name for name in columns if name not in (*arrow.column_names, *LATER_COLUMNS)]
    if missing:
        raise ValueError(f"{path} is not a robcomp table: it lacks {', '.join(missing)}")
    values = {}
    for name, column in columns.items():
        if name not in arrow.column_names:
            values[name] = [DEFAULT[column.dtype]] * len(arrow)
            continue
        own = arrow.column(name)
        if own.type == pa.float64() and "pandas" in metadata:
            own = own.fill_null(DEFAULT["float"])  # its missing value
        if trouble := _another_kind(name, own, column):
            raise ValueError(f"{path} is damaged ({trouble}): {AGAIN}")
        values[name] = own.to_pylist()
    return values, metadata


def _another_kind(name: str, own: pa.ChunkedArray, column: Column) -> str:
    """What is wrong with the kind of a column or with empty places in it; or nothing."""
    if _LARGE.get(own.type, own.type) != _arrow(name, column):
        return f"column {name} is of type {own.type}"
    if own.null_count:
        return f"column {name} has empty places"
    if column.dtype == "list" and own.combine_chunks().flatten().null_count:
        return f"column {name} has empty places"
    return ""


def frame(values: Mapping[str, Sequence], columns: Mapping[str, Column]) -> pd.DataFrame:
    """Columns of values as a table with the schema's kinds."""

    def series(name: str, column: Column) -> pd.Series:
        entries = values.get(name, [])
        if column.dtype == "list":
            entries = [np.asarray(entry, _NUMPY[name]) for entry in entries]
        return pd.Series(list(entries), dtype=_PANDAS[column.dtype])

    return pd.DataFrame({name: series(name, column) for name, column in columns.items()})


def empty(columns: Mapping[str, Column]) -> pd.DataFrame:
    """A table without rows."""
    return frame({}, columns)


def plain_columns(table: pd.DataFrame, columns: Mapping[str, Column]) -> dict[str, list]:
    """The columns of the schema as lists of plain values; later ones are empty where the table lacks them."""
    later = {
        name: [DEFAULT[columns[name].dtype]] * len(table)
        for name in columns
        if name in LATER_COLUMNS and name not in table
    }
    check(table, [name for name in columns if name not in later])
    return {name: later[name] if name in later else _plain(table[name], column) for name, column in columns.items()}


def content_sha256(table: Mapping[str, Sequence] | pd.DataFrame, columns: Mapping[str, Column]) -> str:
    """The digest of what a table says: its columns in the schema's order, whatever file it is in. A column counts under
    its first name, and one of bytes that came later and is empty says nothing, so that older files keep their
    digests."""
    digest = sha256()
    for name, column in columns.items():
        entries = table[name]
        if name in LATER_COLUMNS and column.dtype == "bytes" and not any(entries):
            continue
        digest.update(f"{FIRST_NAMES.get(name, name)} {len(entries)}\n".encode())
        if column.dtype in _LITTLE:
            digest.update(np.ascontiguousarray(entries, _LITTLE[column.dtype]).tobytes())
        else:
            digest.update(b"".join(_counted(_bytes_of(entry, name, column)) for entry in entries))
    return digest.hexdigest()


def _bytes_of(entry: object, name: str, column: Column) -> bytes:
    if column.dtype == "str":
        return entry.encode()
    if column.dtype == "bytes":
        return bytes(entry)
    return np.asarray(entry, _NUMPY[name]).astype("<i4").tobytes()


def _counted(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def _arrow(name: str, column: Column) -> pa.DataType:
    return _ARROW[name if column.dtype == "list" else column.dtype]


def _plain(values: Sequence, column: Column) -> list:
    if column.dtype == "list":
        return [np.asarray(entry) for entry in values]
    return [PLAIN[column.dtype](entry) for entry in values]
