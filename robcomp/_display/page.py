"""Pieces of HTML that the explorer and the report share."""
from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import pandas as pd

from robcomp._display.look import dressed
from robcomp._display.svg import figure

NAMES = dict(size_mb="MB", compression_ratio="times smaller", worst_corruption="worst corruption")
DIGITS = dict(size_mb=".3g", compression_ratio=".1f", macs=".3g", latency_s=".2g")
SHOWN = ("recipe", "clean", "robust", "worst", "worst_corruption", "size_mb", "compression_ratio")

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
table.rc { border-collapse: collapse; font: 14px/1.4 system-ui, Helvetica, Arial, sans-serif; font-variant-numeric: tabular-nums; }
table.rc caption { text-align: left; color: #595959; padding: .25rem 0; }
table.rc th { text-align: right; font-weight: 600; border-bottom: 1px solid #888; vertical-align: bottom; }
table.rc td { text-align: right; border-bottom: 1px solid #ddd; }
table.rc th, table.rc td { padding: .25rem .6rem; white-space: nowrap; }
table.rc .word { text-align: left; } table.rc tr.rc-picked td { background: #f4f8fb; font-weight: 600; }
"""


def said(value: object, digits: str = ".3f") -> str:
    """A cell's text, a dash where nothing is known."""
    if isinstance(value, str): return value
    return "–" if pd.isna(value) else format(value, digits)


def html_table(table: pd.DataFrame, *, caption: str = "", picked: str = "") -> str:
    """An accessible HTML table; the row whose key is `picked` stands out."""
    names = [name for name in SHOWN if name in table] or [name for name in table if name != "key"]
    word = {name: ' class="word"' if not pd.api.types.is_numeric_dtype(table[name]) else "" for name in names}
    head = "".join(f'<th scope="col"{word[name]}>{escape(NAMES.get(name, name.replace("_", " ")))}</th>' for name in names)
    rows = []
    for row in table.to_dict("records"):
        cells = "".join(f"<td{word[name]}>{_cell(name, row[name])}</td>" for name in names)
        rows.append(f'<tr{" class=rc-picked" if picked and row.get("key") == picked else ""}>{cells}</tr>')
    said_above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="rc-scroll"><table class="rc">{said_above}<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _cell(name: str, value: object) -> str:
    text = escape(said(value, DIGITS.get(name, ".3f")))
    return f"<code>{text}</code>" if name == "recipe" else text.replace("_", " ")


def percent(share: float, digits: int = 0) -> str:
    """A share as it is written in a sentence."""
    return f"{100 * share:.{digits}f} %"


def points(difference: pd.Series, low: str = "low", high: str = "high") -> str:
    """A difference of accuracies with its interval, in points; `low` and `high` name the ends."""
    value = difference["difference" if "difference" in difference else "value"]
    return f"{100 * value:+.1f} points ({100 * difference[low]:+.1f} to {100 * difference[high]:+.1f})"


class Answers:
    """What a page has found, in a few sentences and one chart. The finishing step of the site shows the first one under the title.

    With `cards` the sentences stand beside each other. Where only text can be shown, as in the README, it is a list, and
    `picture`, an image in Markdown, stands for the chart.
    """

    def __init__(self, sentences: Sequence[str], chart=None, *, cards: bool = False, picture: str = ""):
        self.sentences, self.chart, self.cards, self.picture = list(sentences), chart, cards, picture

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{_marked(text)}</li>" for text in self.sentences)
        drawn = "" if self.chart is None else figure(dressed(self.chart.to_dict()))
        return f'<section class="rc-answers{" rc-cards" * self.cards}">{f"<ul>{said}</ul>" if said else ""}{drawn}</section>'

    def __str__(self) -> str: return "\n".join([*(f"- {text}" for text in self.sentences), *([self.picture] if self.picture else [])])

    __repr__ = __str__


def _marked(text: str) -> str:
    """A sentence with its code, its bold words and its links, as HTML."""
    text = re.sub("`(.+?)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\[(.+?)\]\((.+?)\)", r'<a href="\2">\1</a>', re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text))
