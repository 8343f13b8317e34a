"""The public API as a page: every name of it, one line, and a link to the page where it is taught."""

from __future__ import annotations

import inspect
from pathlib import Path

import robcomp


def one_line(thing: object) -> str:
    """What a name stands for: the first line of its docstring; of a constant, its value."""
    if callable(thing):
        return inspect.getdoc(thing).splitlines()[0]
    text = ", ".join(map(str, thing)) if isinstance(thing, tuple) else repr(thing)
    return text if len(text) <= 100 else text[:97].rstrip(", ") + " ..."


def entry(
    word: str,  # module.name
    folder: Path,  # of the numbered notebooks
) -> str:
    """A row of the table. Functions and classes have a place of their own on the page of their module."""
    module, name = word.split(".")
    page = next(folder.glob(f"[0-9][0-9]_{module}.ipynb")).name
    thing = getattr(robcomp, name)
    shown = getattr(thing, name) if inspect.ismodule(thing) else thing
    place = f"#{name.lower()}" if callable(shown) else ""
    return f"| [{name}](../{page}{place}) | {one_line(shown)} |"


def face_markdown(
    folder: str | Path,  # of the numbered notebooks
) -> str:
    """The public API, a table for each part of the road."""
    parts = []
    for group, words in robcomp.FACE.items():
        rows = [entry(word, Path(folder)) for word in words.split()]
        parts.append("\n".join([f"## {group}", "", "| name | in one line |", "|:--|:--|", *rows]))
    return "\n\n".join(parts)
