"""JSON that anybody may have written: what it says, or that it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

from robcomp._files.atomic import content_of


def parsed(text: str | bytes, what: object = "it") -> object:
    """What a text says; ValueError in one line for one that is no JSON, or nested deeper than anybody nests."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} is no JSON that can be read") from None


def read_json(path: str | Path) -> object:
    """What a file says; ValueError in one line as `parsed`, and for a file that is absent or none."""
    return parsed(content_of(path), path)
