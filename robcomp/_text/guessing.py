"""Networks that only guess: when it is one, and how that is said."""

from __future__ import annotations

import pandas as pd

from robcomp.schema import CLEAN


def is_guessing(correct: float, images: int, classes: int) -> bool:
    """Are no more answers correct than by guessing? `correct` is the share of correct answers, 0 to 1."""
    chance = 1 / classes
    return correct <= chance + 2 * (chance * (1 - chance) / images) ** 0.5


def guessing_line(arch: str, rows: pd.DataFrame, classes: int) -> str:
    """One line about the rows of a dense network that only guesses on clean images; empty for any other."""
    clean = rows[rows["corruption"] == CLEAN]
    correct, images = clean["correct"].sum() / clean["n"].sum(), int(clean["n"].sum())
    if not is_guessing(correct, images, classes):
        return ""
    return (
        f"dense {arch} classifies {correct:.3f} of clean images correctly, no more than guessing: train it longer, "
        "or do its weights, its contract and the order of its classes fit?"
    )
