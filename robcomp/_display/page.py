"""Pieces of HTML that the explorer and the report share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd

from robcomp._display.look import dressed
from robcomp._display.svg import figure
from robcomp._text.numbers import cell, head, percent, points, written

__all__ = ["Answers", "STYLE", "TABLE", "html_table", "percent", "points", "seeds_table", "studies_read"]

SHOWN = ("recipe", "clean", "robust", "worst", "worst_corruption", "size_mb", "compression_ratio", "seeds", "failed")
SEED = ("recipe", "seed", "clean", "robust", "worst", "worst_corruption", "size_mb")

STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --soft: #595959; --line: #dddddd; --accent: #0072B2; }
body { font: 16px/1.5 system-ui, Helvetica, Arial, sans-serif; color: var(--ink); background: #fff; margin: 0 auto;
       max-width: 62rem; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p { max-width: 44rem; } a { color: var(--accent); } code { font-size: .92em; overflow-wrap: anywhere; }
.rc-choice { border-left: 4px solid var(--accent); padding: .25rem 1rem; background: #f4f8fb; }
code.rc-recipe { font-size: 1.15em; font-weight: 600; }
.rc-scroll, .rc-chart { overflow-x: auto; }
.rc-chart img, .rc-chart svg { max-width: 100%; height: auto; }
footer { color: var(--soft); font-size: .85rem; margin-top: 3rem; border-top: 1px solid var(--line); }
"""
TABLE = """
table.rc { border-collapse: collapse; font: 14px/1.4 system-ui, Helvetica, Arial, sans-serif;
           font-variant-numeric: tabular-nums; }
table.rc caption { text-align: left; color: #595959; padding: .25rem 0; }
table.rc th { text-align: right; font-weight: 600; border-bottom: 1px solid #888; vertical-align: bottom; }
table.rc td { text-align: right; border-bottom: 1px solid #ddd; }
table.rc th, table.rc td { padding: .25rem .6rem; white-space: nowrap; }
table.rc .word { text-align: left; } table.rc tr.rc-picked td { background: #f4f8fb; font-weight: 600; }
details.rc-seeds { margin: .5rem 0; } details.rc-seeds summary { cursor: pointer; }
"""


def studies_read(folders: Sequence[str | Path]) -> str:
    """The studies that a page reads, named for a sentence; without one, that outcomes are simulated."""
    *others, last = [f"`{Path(folder).name}`" for folder in folders] or [""]
    if not last:
        return "**simulated outcomes**, which show the page and say nothing about real networks"
    return f"{', '.join(others)} and {last}" if others else last


def html_table(table: pd.DataFrame, *, caption: str = "", picked: str = "", columns: Sequence[str] = SHOWN) -> str:
    """An accessible HTML table of those `columns` that it has; the row whose key is `picked` stands out."""
    names = [name for name in columns if name in table] or [name for name in table if name != "key"]
    if "failed" in names and not table["failed"].any():
        names.remove("failed")
    word = {name: "" if pd.api.types.is_numeric_dtype(table[name]) else ' class="word"' for name in names}
    heads = "".join(f'<th scope="col"{word[name]}>{escape(head(name).replace("_", " "))}</th>' for name in names)
    rows = []
    for row in table.to_dict("records"):
        mark = " class=rc-picked" if picked and row.get("key") == picked else ""
        cells = "".join(f"<td{word[name]}>{_cell(name, row[name])}</td>" for name in names)
        rows.append(f"<tr{mark}>{cells}</tr>")
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="rc-scroll"><table class="rc">{above}<thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def seeds_table(trials: pd.DataFrame) -> str:
    """The seeds of some recipes behind a click, one row each; failed ones say why."""
    if trials.empty:
        return ""
    shown, names = trials, list(SEED)
    if "status" in trials and trials["status"].eq("failed").any():
        shown, names = trials.assign(error=trials["error"].where(trials["status"] == "failed", "")), [*SEED, "error"]
    recipes, count = trials["recipe"].nunique(), len(trials)
    said = f"The {count} seeds of {trials['recipe'].iloc[0]}"
    if recipes > 1:
        said = f"The seeds of these {recipes} recipes, {count} trials"
    table = html_table(shown, columns=names)
    return f'<details class="rc-seeds"><summary>{escape(said)}</summary>{table}</details>'


def _cell(name: str, value: object) -> str:
    text = escape(cell(name, value))
    if name == "recipe":
        return f"<code>{text}</code>"
    return text if name in ("arch", "network") else text.replace("_", " ")


class Answers:
    """What a page has found, in a few sentences, one small table and one chart.

    The finishing step of the site shows the first one under the title. What is said of each network stands in the
    table, a row per network. With `cards` the sentences stand beside each other. Where only text can be shown, as in
    the README, it is a list, and `picture`, an image in Markdown, stands for the chart.
    """

    def __init__(
        self,
        sentences: Sequence[str],
        chart=None,
        *,
        table: pd.DataFrame | None = None,
        cards: bool = False,
        picture: str = "",
    ):
        self.sentences, self.chart, self.cards, self.picture = list(sentences), chart, cards, picture
        self.table = table if table is not None and len(table) else None

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{marked(text)}</li>" for text in self.sentences)
        listed = f"<ul>{said}</ul>" if said else ""
        rows = "" if self.table is None else html_table(self.table, columns=list(self.table))
        drawn = "" if self.chart is None else figure(dressed(self.chart.to_dict()))
        kind = "rc-answers rc-cards" if self.cards else "rc-answers"
        return f'<section class="{kind}">{listed}{drawn}{rows}</section>'

    def __str__(self) -> str:
        lines = [f"- {text}" for text in self.sentences]
        if self.table is not None:
            lines += ["", written(self.table).to_string(index=False)]
        if self.picture:
            lines += [""] * bool(lines) + [self.picture]
        return "\n".join(lines)

    __repr__ = __str__


def marked(text: str) -> str:
    """A sentence with its code, its bold and its slanted words and its links, as HTML."""
    text = re.sub("`(.+?)`", r"<code>\1</code>", escape(text))
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"(?<![\w*])\*([^*\s][^*]*?)\*(?![\w*])", r"<em>\1</em>", text)
    return re.sub(r"\[(.+?)\]\((.+?)\)", r'<a href="\2">\1</a>', text)
