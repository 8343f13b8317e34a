"""Errors of other libraries, cut down to one line."""
from __future__ import annotations


def first_line(error: BaseException) -> str:
    """What an error says first; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
