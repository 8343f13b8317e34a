"""What a folder holds: a store, tables, or neither, and which call reads it.

is_store(path) -> bool        has it the folders of a store, with trials in them or not yet?
store_in(path) -> Path        the store itself, or the one in a subfolder; None where there is none
holds_tables(path) -> bool    as `write_tables` fills a folder
reading(path) -> str          the call that reads it, as collect('runs/mine/store')
check_tables(given)           one line where a folder's name, or nothing, stands in place of tables, or a trial is
                              in them twice
check_summary(given)          the same where a summary of tables is meant
"""

from __future__ import annotations

import os
from pathlib import Path


def is_store(path: Path) -> bool:
    """Has a folder the parts of a store? A sweep and a worker make them before the first trial is done."""
    return any((path / part).is_dir() for part in ("trials", "plans"))


def store_in(path: Path) -> Path | None:
    """The folder itself where it is a store, or the first below it that is one."""
    if is_store(path):
        return path
    return next((folder for folder in (path / "store", *sorted(path.glob("*/store"))) if is_store(folder)), None)


def holds_tables(path: Path) -> bool:
    """Are there tables as `write_tables` writes them?"""
    return (path / "trials.parquet").exists()


def reading(path: Path) -> str:
    """The call that reads what a folder holds; empty where it holds nothing of robcomp."""
    if holds_tables(path):
        return f"read_tables({str(path)!r})"
    store = store_in(path)
    return f"collect({str(store)!r})" if store else ""


def check_tables(given: object) -> None:
    """Raises TypeError in one line for the name of a folder, where the tables are meant that are in it, and for what
    holds no tables; ValueError for a trial or a condition of one that is there twice."""
    if given is None or type(given) is tuple or isinstance(given, (int, float, list, dict, set)):
        raise TypeError(f"this takes tables, as collect gives them, or a summary of them, got {type(given).__name__}")
    if not isinstance(given, (str, os.PathLike)):
        return _check_once(given)
    call = reading(Path(given)) or f"collect({str(given)!r})"
    raise TypeError(f"this takes tables, not the name of a folder: give tables: {call}")


def _check_once(given: object) -> None:
    for name, columns in dict(trials=["key"], rows=["key", "corruption", "severity"]).items():
        table = getattr(given, name, None)
        if getattr(table, "ndim", 0) != 2 or not set(columns) <= set(table):
            continue
        twice = table[table.duplicated(columns)]
        if len(twice):
            found = " ".join(str(twice.iloc[0][column]) for column in columns)
            raise ValueError(f"{found} is twice in the {name}: join(tables) keeps one of each")


def check_summary(given: object) -> None:
    """The same, and TypeError in one line for tables where a summary of them is meant."""
    check_tables(given)
    if hasattr(given, "trials"):
        raise TypeError("this takes a summary of tables: give summarise(tables)")
