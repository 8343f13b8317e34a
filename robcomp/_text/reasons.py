"""The wording of a choice: one paragraph for the reader of a page or a terminal."""
from __future__ import annotations

import re
from html import escape

import pandas as pd


def name_of(row: pd.Series) -> str:
    """Architecture and recipe of a row; its label where it has neither."""
    said = [str(row[name]) for name in ("arch", "recipe") if name in row and row[name]]
    return " ".join(said or [f"row {row.name}"])


def figures(row: pd.Series, *names: str) -> str:
    """The named columns of a row, and the three that people ask for first."""
    shown = [name for name in dict.fromkeys([*names, "clean", "robust", "size_mb"]) if name in row]
    return ", ".join(f"{name} " + (row[name] if isinstance(row[name], str) else f"{row[name]:.4g}") for name in shown)


def parts(excluded: pd.Series) -> str:
    """What each part of a condition excludes."""
    return "; ".join(f"{part} excludes {count}" for part, count in excluded.items())


def reasons(where: str, best: str, candidates: pd.DataFrame, others: pd.DataFrame, excluded: pd.Series) -> str:
    """Why the first candidate is chosen, and what comes next."""
    first, trials = candidates.iloc[0], len(candidates) + len(others)
    under = f", {len(candidates)} of which satisfy {where!r} ({parts(excluded)})" if where.strip() else ""
    then = "".join(f" Next is {name_of(row)}: {figures(row, best)}." for _, row in candidates.iloc[1:2].iterrows())
    return f"{name_of(first)} has the best {best} of {trials} trials{under}: {figures(first, best)}.{then}"


def refusal(where: str, others: pd.DataFrame, excluded: pd.Series) -> str:
    """Why nothing is chosen, and what is nearest."""
    if others.empty: return "No trial has ended well: there is nothing to choose from."
    near, named = others.iloc[0], re.findall(r"[^\W\d]\w*", where)
    return (f"None of {len(others)} trials satisfies {where!r}: {parts(excluded)}. "
            f"Nearest is {name_of(near)}: {figures(near, *named)}.")


def left_out(broken: int) -> str:
    """How many trials were not considered because their networks do not work."""
    return f" {broken} more {'does' if broken == 1 else 'do'} not work (clean accuracy below 90 % of dense) and {'is' if broken == 1 else 'are'} left out." if broken else ""


def card(recipe: str | None, text: str) -> str:
    """A choice in a notebook."""
    title = f"<code>{escape(recipe)}</code>" if recipe is not None else "nothing satisfies"
    return f"<p><strong>{title}</strong></p><p>{escape(text)}</p>"
