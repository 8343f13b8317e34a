"""One wording for a name that is not known."""
from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(kind: str, name: object, allowed: Iterable[str]) -> str:
    """The line to raise: what was asked for, the nearest right name, all that is allowed."""
    allowed = list(allowed)
    near = get_close_matches(str(name).lower(), [word.lower() for word in allowed], n=1, cutoff=0.5)
    guess = next((word for word in allowed if near and word.lower() == near[0]), None)
    hint = f"did you mean {guess!r}? " if guess else ""
    return f"unknown {kind} {name!r}: {hint}allowed: {', '.join(allowed)}"


def whole_level(level: object) -> str:
    """The line to raise for a level that is no share."""
    return f"level is a share between 0 and 1, as 0.95, got {level}"
