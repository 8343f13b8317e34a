"""The wording of a choice: one paragraph for the reader of a page or a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from textwrap import shorten

import numpy as np
import pandas as pd

from robcomp.schema import GROUPS

from .columns import FILLED
from .numbers import cell, figure, lost, measure, written

NAME = r"[^\W\d]\w*"
SHARE = "clean accuracy below 90 % of dense"


def name_of(row: pd.Series) -> str:
    """Architecture and recipe of a row; its label where it has neither."""
    said = [str(row[name]) for name in ("arch", "recipe") if name in row and row[name]]
    return " ".join(said or [f"row {row.name}"])


def figures(row: pd.Series, *names: str) -> str:
    """The named columns of a row, and the three that people ask for first."""
    shown = [name for name in dict.fromkeys([*names, "clean", "robust", "size_mb"]) if name in row]
    said = ", ".join(figure(name, row[name]) for name in shown)
    return said + (f", mean of {row.seeds} seeds" if row.get("seeds", 1) > 1 else "")


def parts(excluded: pd.Series) -> str:
    """What each part of a condition excludes, and of how many recipes it is not known; empty where nothing."""
    unknown = excluded.attrs.get("unknown", {})
    said = (_part_said(part, count - unknown.get(part, 0), unknown.get(part, 0)) for part, count in excluded.items())
    return "; ".join(filter(None, said))


def _part_said(part: str, excluded: int, unknown: int) -> str:
    """How many recipes fail one part of a condition, and how many have no value for it."""
    said = [f"excludes {excluded}"] if excluded else []
    if unknown:
        said.append(f"is not known for {unknown} recipe{'s' * (unknown > 1)}")
    return f"{part} {' and '.join(said)}" if said else ""


def first_failure(table: pd.DataFrame) -> str:
    """What the first failed trial of a summary says, in one line; empty where none failed."""
    failed = table[table.status == "failed"] if {"status", "note"} <= set(table) else table[:0]
    if failed.empty:
        return ""
    note = shorten(failed.note.iloc[0].removeprefix("failed: "), 160, placeholder=" ...")
    return f"The first error, of {name_of(failed.iloc[0])}: {note}"


def numbers_in(where: str, row: pd.Series) -> list[str]:
    """The columns of numbers that a condition names."""
    named = [*re.findall(NAME, where), *(name for name in row.index if name.startswith("P("))]
    return [name for name in named if name in row and not isinstance(row[name], str)]


def reasons(
    asked: tuple[str, str],  # the condition, and the column that decides
    candidates: pd.DataFrame,
    others: pd.DataFrame,
    excluded: pd.Series,
    *,
    up: bool,  # is more of that column better?
) -> str:
    """Why the first candidate is chosen, and what comes next."""
    (where, best), first, count = asked, candidates.iloc[0], len(candidates) + len(others)
    said = figures(first, best, *numbers_in(where, first))
    then = "".join(f" Next is {name_of(row)}: {figures(row, best)}." for _, row in candidates.iloc[1:2].iterrows())
    among = _among_said(where, len(candidates), count, excluded)
    return f"{among}{name_of(first)} has the {superlative(best, up=up)}: {said}.{then}"


def _among_said(where: str, satisfy: int, count: int, excluded: pd.Series) -> str:
    """Among which recipes one is the best: those that satisfy the condition, if there is one."""
    recipes = f"{count} recipe{'s' * (count != 1)}"
    if not where.strip():
        return f"Of {recipes}, "
    if satisfy == count:
        return f"Of {recipes}, {'all of which satisfy' if count > 1 else 'which satisfies'} {where!r}, "
    if satisfy == 1:
        return f"Only one of {recipes} satisfies {where!r} ({parts(excluded)}): "
    return f"Of the {satisfy} recipes (of {count}) that satisfy {where!r} ({parts(excluded)}), "


def superlative(best: str, *, up: bool) -> str:
    """What the best recipe has, as `highest robust accuracy` or `smallest file size`."""
    word = "highest" if up else "smallest" if "size" in best or "bytes" in best else "lowest"
    return f"{word} {measure(best)}"


def refusal(where: str, others: pd.DataFrame, excluded: pd.Series, failure: str = "") -> str:
    """Why nothing is chosen, and what is nearest; `failure` is what the first failed trial says."""
    if others.empty:
        return f"No trial has ended well: there is nothing to choose from. {failure}".strip()
    near = others.iloc[0]
    said = f"None of {len(others)} recipes satisfies {where!r}: {parts(excluded)}."
    # the first lacks a value only where no recipe has all that the condition asks for: none of them is near
    if near[numbers_in(where, near)].isna().any():
        return " ".join([said, *how_filled(where, others)])
    return f"{said} Nearest is {name_of(near)}: {figures(near, *re.findall(NAME, where))}."


def how_filled(where: str, table: pd.DataFrame) -> list[str]:
    """For each column of a condition that no recipe has a value for, who fills it, where that is known."""
    empty = [name for name in numbers_in(where, table.iloc[0]) if table[name].isna().all()]
    return [FILLED[name] for name in empty if name in FILLED]


def broken_said(broken: int) -> str:
    """How many recipes were not considered because their networks do not work."""
    if not broken:
        return ""
    return f" {broken} more {'is' if broken == 1 else 'are'} left out: {SHARE}."


def left_out_said(broken: int, failed: int, seeds: int) -> str:
    """What a front leaves out: networks that do not work, recipes without a trial that ended well, and lost seeds."""
    out = []
    if broken:
        out.append(f"{broken} recipe{'s do' if broken > 1 else ' does'} not work ({SHARE})")
    if failed:
        out.append(f"{failed} failed")
    said = [f"{' and '.join(out)}: left out"] if out else []
    if seeds:
        said.append(f"{seeds} failed seed{'s' * (seeds > 1)} of other recipes: not in their means")
    return "; ".join(said)


def selection_said(best: str, candidates: pd.DataFrame, selection: object | str) -> str:
    """How sure a choice is: what other images and seeds would have chosen, and what selection does to the figure."""
    if isinstance(selection, str):
        return f" {selection}" if selection else ""
    winner, count = candidates.iloc[0].key, len(candidates)
    table = selection.table
    own = table.loc[winner]
    variation = table.get("seed_variation", pd.Series("", table.index))
    other = "images and with other seeds" if variation.str.contains("seeds").any() else "images"
    chosen = f"it is chosen in {100 * own.chosen:.0f} % of them"
    said = (
        f" On other {other} ({selection.studies} resampled studies) {chosen}{_rival_said(selection, winner)}; "
        f"the expected loss against the best of each study is {lost(best, own.regret)}."
    )
    # one candidate that is always chosen was not selected from anything
    if count == 1 and own.chosen > 0.995:
        said = ""
    if own.high > own.low:
        said += _interval_said(best, count, own, selection.optimism)
    return said + variation_said(variation[winner])


ACCURACIES = ("clean", "robust", "worst", "extra_robust", *GROUPS)  # from 0 to 1


def _interval_said(best: str, count: int, own: pd.Series, optimism: float) -> str:
    """Where the figure of the chosen one lies, and, where there were several, by how much it looks too good."""
    ends = (min(max(end, 0.0), 1.0) if best in ACCURACIES else end for end in (own.low, own.high))
    low, high = (cell(best, end) for end in ends)
    if count == 1:
        return f" The interval of its {measure(best)} (95 %) is {low} to {high}."
    return (
        f" The figure of the best of {count} is biased by selection, by {lost(best, max(optimism, 0))} on average; "
        f"the interval that holds for all {count} at once (95 %) is {low} to {high}."
    )


def _rival_said(selection: object, winner: str) -> str:
    """The recipe that is chosen most often instead; empty where none is in half a per cent of the studies."""
    rivals = selection.table.chosen.drop(winner)
    if rivals.empty or rivals.max() < 0.005:
        return ""
    key = rivals.idxmax()
    said = f", {selection.names.get(key, key)} in {100 * rivals[key]:.0f} %"
    if rivals[key] > selection.table.chosen[winner]:
        said += (
            "; these images do not tell the two apart, and the less certain the figure of a recipe is, the more often "
            "it is the highest by chance"
        )
    return said


def interval_source(variation: Iterable[str | bool]) -> str:
    """What intervals are taken over, in words; of each its `seed_variation`, a word or whether its seeds are in it."""
    with_seeds = {bool(known) and known != "left out" for known in variation if known != "none"}
    if with_seeds == {True}:
        return "images and seeds"
    return "images, and over seeds where there are several" if True in with_seeds else "images"


def variation_word(trained: bool, seeds: int, free: int) -> str:
    """What an interval knows of variation between seeds: whether something was trained, the least number of seeds, and
    the degrees of freedom of the spread that other recipes have."""
    if not trained:
        return "none"
    if seeds > 1:
        return "its seeds"
    return "borrowed" if free else "left out"


def variation_said(seed_variation: str) -> str:
    """What an interval of a recipe with one seed knows of variation between seeds."""
    if seed_variation == "left out":
        return " It has one seed: variation between seeds is left out."
    if not seed_variation.startswith("borrowed"):
        return ""
    source = seed_variation.removeprefix("borrowed ")
    return f" It has one seed: its variation between seeds is estimated {source} of its network."


def seeds_sentence(count: np.ndarray, matters: np.ndarray, recipes: int) -> str:
    """How many recipes, of those that depend on their seed, have several seeds, and what intervals know of the others.

    `count` has the number of seeds of each recipe, `matters` says which of them depend on their seed, and the spread
    over seeds was measured on `recipes` recipes.
    """
    trained, several = count[matters], count[matters & (count > 1)]
    if not len(trained):
        return "No recipe depends on a seed: nothing was trained, and the starting weights were given."
    if not len(several):
        return "Every recipe has one seed: intervals are for other images, and variation between seeds is left out."
    said = (
        f"{len(several)} of {len(trained)} recipes that depend on their seed have {_span(several)} seeds: "
        "figures are means over them"
    )
    alone = len(trained) - len(several)
    if not alone:
        return f"{said}, intervals are for other images and other seeds."
    have, these = ("have", "these") if alone > 1 else ("has", "it")
    source = f"the {recipes} recipes that have several" if recipes > 1 else "the recipe that has several"
    return f"{said}. {alone} {have} one: for {these} the spread between seeds is taken from {source}."


def seeds_paragraph(networks: Mapping[str, tuple[np.ndarray, np.ndarray, int]]) -> str:
    """What intervals know of seeds, for some networks, each with the arguments of `seeds_sentence`: a sentence for one
    network, a table and what it means for several. Markdown."""
    if len(networks) < 2:
        return "\n\n".join(
            f"**{name}**: {len(own[0])} recipes. {seeds_sentence(*own)}" for name, own in networks.items()
        )
    lines = ["| network | recipes | depend on a seed | have several seeds |", "|---|--:|--:|--:|"]
    for name, (count, matters, _) in networks.items():
        several = count[matters & (count > 1)]
        said = f"{len(several)} ({_span(several)} seeds)" if len(several) else "none"
        lines.append(f"| {name} | {len(count)} | {int(matters.sum())} | {said} |")
    return "\n".join(lines) + (
        "\n\nA figure of a recipe with several seeds is their mean. Intervals of single recipes are for other images"
        " and, where the recipe has several seeds, for other seeds. Intervals of differences also take the spread"
        " between seeds from other recipes of the network, where a recipe has one seed and others have several."
    )


def _span(count: np.ndarray) -> str:
    """The least and the largest number, once where they are the same."""
    least, most = count.min(), count.max()
    return f"{least}" if least == most else f"{least} to {most}"


def card(recipe: str | None, text: str, table: pd.DataFrame) -> str:
    """A choice in a notebook: the answer, the reasons, the first candidates."""
    title = f"<code>{escape(recipe)}</code>" if recipe is not None else "nothing satisfies"
    rows = written(table).to_html(index=False, border=0) if len(table) else ""
    return f"<p><strong>{title}</strong></p><p>{escape(text)}</p>{rows}"
