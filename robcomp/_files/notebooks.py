"""What a notebook's file says of its names: which its own cells make, and which papermill brought in."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

INJECTED = "# Parameters"  # how papermill begins the cell that it adds behind the parameters
IPYTHON = re.compile(r"_+|_i+|_i?\d+|_[oid]h|_exit_code|In|Out|exit|quit|open|display|get_ipython|__\w+__")


class Cell(NamedTuple):
    """A cell of code."""

    tags: tuple[str, ...]
    source: str


def code_cells(path: str | Path) -> list[Cell]:
    """The cells of code of a notebook; one line of error for a file that is none."""
    try:
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
        return [
            Cell(tuple(cell["metadata"].get("tags", ())), "".join(cell["source"]))
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path} is no notebook that can be read: open it in JupyterLab and save it again") from None


def names_made(source: str) -> set[str]:
    """The names that a cell imports, assigns or defines; all of its words where it is not plain Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return set(re.findall(r"\w+", source))
    imported = {
        (name.asname or name.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    }
    defined = {
        node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    }
    return (
        imported
        | defined
        | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    )


def injected(history: Iterable[object]) -> set[str]:
    """The names that papermill brought in, from the cells that a notebook has run so far."""
    return {
        name
        for source in history
        if isinstance(source, str) and source.startswith(INJECTED)
        for name in names_made(source)
    }


def of_ipython(name: str) -> bool:
    """Is this one of the names that IPython keeps for itself?"""
    return IPYTHON.fullmatch(name) is not None
