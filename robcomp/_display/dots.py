"""The chart of the benchmark pages: one figure for several contenders, a row a case."""

from __future__ import annotations

import altair as alt
import pandas as pd

from robcomp._display.look import KINDS


SHAPES = ("circle", "triangle-up", "square", "diamond", "cross")


def chart_dots(table: pd.DataFrame, *, axis: str, title: str, log: bool = False) -> alt.Chart:
    """A point per figure: rows are the cases in their order, columns the contenders; missing figures are left out."""
    cases = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in table.index]
    names = list(map(str, table.columns))
    data = table.set_axis(pd.Index(cases, name="case")).rename_axis(columns="contender").stack()
    data = data.rename("figure").reset_index().dropna()
    rows = alt.Y("case:N", sort=cases, title=None, axis=alt.Axis(labelLimit=280, grid=True, ticks=False, domain=False))
    scale = alt.Scale(type="log") if log else alt.Scale(zero=False)
    across = alt.X("figure:Q", title=axis, scale=scale, axis=alt.Axis(tickCount=6, format="~g"))
    ranges = [alt.Scale(domain=names, range=list(values[: len(names)])) for values in (KINDS, SHAPES)]
    colour = alt.Color("contender:N", scale=ranges[0], legend=alt.Legend(columns=5))
    shape = alt.Shape("contender:N", scale=ranges[1], legend=alt.Legend(columns=5))
    tips = [alt.Tooltip("case:N"), alt.Tooltip("contender:N"), alt.Tooltip("figure:Q", format=".3~f")]
    said = []
    for name, part in data.groupby("case", sort=False):
        said.append(f"{name}: " + ", ".join(f"{row.contender} {row.figure:.3g}" for row in part.itertuples()))
    points = alt.Chart(data.round(5)).mark_point(filled=True, size=70, opacity=1)
    return points.encode(rows, across, colour, shape, tooltip=tips).properties(
        width=420, height=22 * len(cases), title=title, description=f"{title}. {'; '.join(said)}."
    )
