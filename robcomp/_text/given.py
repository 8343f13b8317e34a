"""Numbers that a user gives: the number itself, or one line about what is none or out of its range."""

from __future__ import annotations

from numbers import Real
from operator import index


def shown(value: object, most: int = 40) -> str:
    """A value as it stands in a message: in one line, and cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes out no more than 4,300 digits
        return f"a number of {value.bit_length():,} bits" if isinstance(value, int) else "a number too long to write"
    return text if len(text) <= most else text[: most - 3] + "..."


def whole(name: str, value: object, low: int = 0, high: int = 2**63 - 1, *, of: str = "") -> int:
    """A whole number from `low` to `high`, of Python or NumPy; true and false are none. `of`: its unit."""
    try:
        found = None if isinstance(value, bool) or getattr(value, "shape", ()) else index(value)
    except TypeError:
        found = None
    if found is not None and low <= found <= high:
        return found
    limits = f"from {low:,} to {high:,}" if high < 2**62 else f"of {low:,} or more"
    raise ValueError(f"{name} is a whole number {of}{limits}, got {shown(value)}")


def whole_draws(draws: object) -> int:
    """A number of resampled studies; one line of error where it is none."""
    return whole("draws", draws, 1, 10**6)


def number(name: str, value: object, low: float, high: float) -> float:
    """A number from `low` to `high`, of Python or NumPy; zero has no sign."""
    if isinstance(value, Real) and not isinstance(value, bool) and low <= value <= high:
        return float(value) + 0.0
    raise ValueError(f"{name} is a number from {low:,} to {high:,}, got {shown(value)}")


def share(name: str, value: object, example: float) -> float:
    """A share above 0 and below 1."""
    if isinstance(value, Real) and not isinstance(value, bool) and 0 < value < 1:
        return float(value)
    raise ValueError(f"{name} is a share between 0 and 1, as {example}, got {shown(value)}")


def level_share(level: object) -> float:
    """The level of an interval, a share between 0 and 1; one line of error where it is none."""
    return share("level", level, 0.95)


def real(name: str, value: object) -> float:
    """A number that a float can hold."""
    try:
        if isinstance(value, Real) and not isinstance(value, bool):
            return float(value)
    except OverflowError:
        pass
    raise ValueError(f"{name} takes a number, got {shown(value)}")
