"""Simulated studies of which the truth is known, to see how often intervals hold it.

An image has a difficulty, a condition a strength, a recipe a skill, and every seed of it a shift of that skill. An
image is correct with probability `logistic(skill + shift - strength - difficulty)`. Which images are correct is drawn
from a common normal number an outcome, mixed with one of each trial's own: two trials agree on most images, as
trained networks do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr
from scipy.stats import norm

from robcomp._store import example
from robcomp._store.shards import frame
from robcomp.schema import ROW_COLUMNS, TRIAL_COLUMNS

GRID = example.DIFFICULTY * norm.ppf((np.arange(2000) + 0.5) / 2000)  # difficulties of endless images


class Kind(NamedTuple):
    """A recipe of a simulated study."""

    skill: float  # logits
    shift: float = 0  # standard deviation of the skill over seeds, logits
    seeds: int = 1


def strength_of(accuracy: Sequence[float]) -> np.ndarray:
    """Skill less strength of conditions, logits, from the accuracies that a real network had under them."""
    levels = np.linspace(-8, 12, 2001)
    means = np.array([expit(level - GRID).mean() for level in levels])
    return np.interp(accuracy, means, levels)


def true_accuracy(levels: np.ndarray, shifts: Sequence[float]) -> np.ndarray:
    """Accuracies on endless images, (shifts, conditions)."""
    return np.array([[expit(level + shift - GRID).mean() for level in levels] for shift in shifts])


def study(
    number: int, deal: pd.DataFrame, levels: np.ndarray, kinds: Mapping[str, Kind], *, alike: float = 0.97
) -> tuple[list[dict], list[pd.DataFrame]]:
    """Records and rows of a study; its number is in the name of its architecture. `alike`: correlation of the trials'
    draws."""
    rng = np.random.default_rng([7, number])
    difficulty = example.DIFFICULTY * rng.standard_normal(len(deal.positions.iloc[0]))
    common = [rng.standard_normal(len(numbers)) for numbers in deal.positions]
    records, rows = [], []
    for recipe, kind in kinds.items():
        for seed in range(kind.seeds):
            skill = kind.skill + kind.shift * rng.standard_normal()
            chance = [expit(level + skill - difficulty[numbers]) for level, numbers in zip(levels, deal.positions)]
            own = [rng.standard_normal(len(numbers)) for numbers in deal.positions]
            uniform = [ndtr(alike**0.5 * shared + (1 - alike) ** 0.5 * alone) for shared, alone in zip(common, own)]
            key = f"{number}-{recipe}-{seed}"
            records.append(dict(_record(number, recipe, seed), key=key, suite=deal.suite.iloc[0]))
            rows.append(frame(example.rows_of(key, deal, chance, uniform), ROW_COLUMNS))
    return records, rows


def _record(number: int, recipe: str, seed: int) -> dict:
    record = example._record("vgg19", "dense", seed, "", example.NETS["vgg19"])
    return {name: record[name] for name in TRIAL_COLUMNS} | dict(
        arch=f"world {number}", recipe=recipe, weights=f"{number}"
    )


def studies(
    numbers: Sequence[int], deal: pd.DataFrame, levels: np.ndarray, kinds: Mapping[str, Kind]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Trial, row and deal tables of several simulated studies, each on images of its own."""
    records, rows = zip(*(study(number, deal, levels, kinds) for number in numbers))
    return pd.DataFrame(sum(records, [])), pd.concat(sum(rows, []), ignore_index=True), deal


def over_shifts(levels: np.ndarray, kind: Kind, *, nodes: int = 21) -> np.ndarray:
    """True accuracies of a recipe with equally likely shifts, (shifts, conditions)."""
    shifts = norm.ppf((np.arange(nodes) + 0.5) / nodes)
    return true_accuracy(levels, kind.skill + kind.shift * (shifts / shifts.std() if kind.shift else shifts[:1] * 0))
