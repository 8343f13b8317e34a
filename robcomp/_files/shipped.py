"""Where the experiment notebooks and the committed tables are: inside an installed package, or in the clone around it."""
from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
SHIPPED = {"experiments": "nbs/experiments", "results": "results"}  # what setup.py copies into a wheel, from the clone


def shipped(name: str,  # experiments or results
) -> Path:
    """The folder of that name. A wheel carries a copy in robcomp/_shipped; a clone has none and uses its own folders."""
    copied = PACKAGE / "_shipped" / name
    return copied if copied.is_dir() else PACKAGE.parent / SHIPPED[name]
