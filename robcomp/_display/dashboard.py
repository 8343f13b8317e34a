"""The explorer of the site: what it is given. The script that answers in the browser is in `dashboard_script.py`."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pandas as pd

from robcomp._display.look import AXES, FAMILIES, LOOK
from robcomp.chart_tables import has_seeds, networks
from robcomp.charts import family
from robcomp.claims import published
from robcomp.limits import opened_seeds
from robcomp.replicates import by_recipe
from robcomp.results import summarise
from robcomp.schema import CLEAN, CORRUPTIONS
from robcomp.seeds import recipe_comparisons, recipe_intervals
from robcomp.tables import Tables
from robcomp.uncertainty import Draws, resample

FIGURES = ("clean", "robust", "worst", "size_mb", "compression_ratio", "latency_s", "macs", "sparsity", "ece_robust")
PAIRED = ("robust", "clean")
SEED = ("seed", "clean", "robust", "worst")


def explorer_html(tables: Tables, *, draws: int = 500) -> str:
    """The explorer of all networks of some tables, as HTML that the page's script fills."""
    axes = {
        name: dict(short=AXES[name].short, title=AXES[name].title, log=AXES[name].log)
        for name in AXES
        if name in FIGURES
    }
    data = dict(networks=explorer_networks(tables, draws=draws), look=LOOK, families=FAMILIES, axes=axes)
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return (
        '<div class="rc-explorer"><p>The explorer is a part of the rendered site.</p>'
        f'<script type="application/json">{text}</script></div>'
    )


def explorer_networks(tables: Tables, *, draws: int) -> list[dict]:
    """One dict a network, the first one the largest study.

    Each holds its recipes (means over seeds), their profiles by condition, all paired differences, published figures.
    """
    trials = summarise(tables)
    recipes = by_recipe(trials)
    recipes = recipes[recipes["seeds"] > 0].reset_index(drop=True)
    twice = recipes.groupby([networks(recipes), "recipe"])["key"].transform("size") > 1
    label = recipes["recipe"].where(~twice, recipes["recipe"] + ", " + recipes["key"])
    recipes = recipes.assign(label=label, family=recipes["recipe"].map(family))
    drawn = resample(tables, draws=draws)
    ends = recipe_intervals(drawn).set_index(["measure", "key"])
    groups = sorted(recipes.groupby(networks(recipes)), key=lambda group: -len(group[1]))
    return [
        dict(
            name=name,
            arch=own["arch"].iloc[0],
            dataset=own["dataset"].iloc[0],
            trials=_recipes(own, ends, opened_seeds(trials, own)),
            profile=_profile(tables, own),
            pairs=_pairs(tables, own, drawn),
            published=_published(own),
        )
        for name, own in groups
    ]


def _published(own: pd.DataFrame) -> list[dict]:
    return published(own["dataset"].iloc[0])[["name", "clean", "robust"]].to_dict("records")


def _recipes(own: pd.DataFrame, ends: pd.DataFrame, seeds: pd.DataFrame) -> list[dict]:
    """A dict a recipe; where some recipe has several seeds, how many it has, how many failed, and what each reached."""
    shown = own[["key", "label", "family", "worst_corruption", *FIGURES]].assign(works=own["works"].astype(bool))
    for measure in PAIRED:
        limits = ends.loc[measure].reindex(own["key"])[["low", "high"]]
        shown[[f"{measure}_low", f"{measure}_high"]] = limits.to_numpy()
    records = _plain(shown)
    if not has_seeds(own):
        return records
    for record, row in zip(records, own.to_dict("records")):
        ended = seeds[seeds["key"].isin(row["keys"].split())]
        record |= dict(seeds=int(row["seeds"]), failed=int(row["failed"]), each=_plain(ended[list(SEED)].copy()))
    return records


def _plain(table: pd.DataFrame) -> list[dict]:
    """Rows as JSON takes them: five significant digits, nothing where nothing is known."""
    numbers = table.select_dtypes("number").columns
    table[numbers] = table[numbers].map(lambda value: float(f"{value:.5g}"))
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _profile(tables: Tables, own: pd.DataFrame) -> dict:
    """Accuracy in ten-thousandths by recipe and condition: means over seeds, in the order of the corruptions."""
    recipe = {key: row["key"] for row in own.to_dict("records") for key in row["keys"].split()}
    rows = tables.rows[tables.rows["key"].isin(recipe)]
    rows = rows.assign(key=rows["key"].map(recipe), accuracy=rows["correct"] / rows["n"] * 1e4)
    wide = rows.groupby(["key", "corruption", "severity"])["accuracy"].mean().round().unstack([1, 2])
    names = list(dict.fromkeys([CLEAN, *CORRUPTIONS, *sorted(rows["corruption"].unique())]))
    order = sorted(wide.columns, key=lambda part: (names.index(part[0]), part[1]))
    values = wide.reindex(index=own["key"], columns=pd.MultiIndex.from_tuples(order)).astype(object)
    return dict(
        conditions=[[name, int(severity)] for name, severity in order],
        accuracy=values.where(values.notna(), None).to_numpy().tolist(),
    )


def _pairs(tables: Tables, own: pd.DataFrame, drawn: Draws) -> dict:
    """Difference, low and high in ten-thousandths for each pair of recipes, first by the first of the two."""
    pairs = list(combinations(own["key"], 2))
    if not pairs or own["suite"].nunique() > 1:
        return {measure: [] for measure in PAIRED}
    found = {}
    for measure in PAIRED:
        table = recipe_comparisons(tables, pairs, measure=measure, draws=drawn)[["difference", "low", "high"]]
        found[measure] = np.rint(table.to_numpy() * 1e4).astype(int).ravel().tolist()
    return found
