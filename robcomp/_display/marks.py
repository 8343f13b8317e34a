"""The layers of the charts: each function draws a table that is ready, and decides nothing about its content."""
from __future__ import annotations

import json
from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from robcomp._display.look import AXES, KINDS, VERDICTS, Look, families_in, label_front, pixels, scale_of, ticks
from robcomp._display.svg import Box, text_width
from robcomp.results import DIRECTIONS
from robcomp.schema import CLEAN, CORRUPTIONS

HOVER = ("recipe", "clean", "robust", "low", "high", "worst", "worst_corruption", "size_mb", "compression_ratio", "sparsity")
SAID = dict(size_mb="MB", low="from", high="to", worst="worst case", compression_ratio="times smaller", worst_corruption="worst corruption")
INK, GREY = "#333333", "#888888"
LINE, NEAR = 13, 1 / 3  # pixels of a line of small words; the share of the axis that a reference may add to it
POINTS = "abs(datum.value) < 1e-9 ? '0' : format(datum.value, '{}')"  # tick labels of differences
ARROWS = {-1: "\u25bc ", 0: "", 1: "\u25b2 "}


def channel(name: str, scale: dict) -> dict:
    """The arguments of alt.X or alt.Y for a column of the summary; a logarithmic axis is ticked at 1, 2 and 5."""
    law = dict(format=".2f", tickCount=6)
    if AXES[name].log: law = dict(format="~s" if name == "macs" else "~g", values=ticks(scale))
    axis = alt.Axis(title=AXES[name].title, labelOverlap="greedy", **law)
    return dict(field=name, type="quantitative", scale=alt.Scale(**scale), axis=axis)


def axes(data: pd.DataFrame, x: str, y: str, up: dict | None = None) -> alt.Chart:
    """A chart with its two axes and nothing on it; `up` is the scale of `y` where several charts share it."""
    across, up = scale_of(data[x], AXES[x].log), up or scale_of(data[y], AXES[y].log)
    return alt.Chart().encode(alt.X(**channel(x, across)), alt.Y(**channel(y, up)))


def by(kind: type, field: str, looks: dict[str, Look], *, columns: int = 5):
    """The channel `kind` (alt.Color, alt.Fill, alt.Stroke, alt.Shape) that tells the values of a field apart."""
    values = [look.shape if kind is alt.Shape else look.colour for look in looks.values()]
    return kind(f"{field}:N", scale=alt.Scale(domain=list(looks), range=values), legend=alt.Legend(columns=columns))


def hover(data: pd.DataFrame) -> list[alt.Tooltip]:
    """What a point says when it is pointed at."""
    numbers = {name: pd.api.types.is_numeric_dtype(data[name]) for name in HOVER if name in data}
    return [alt.Tooltip(f"{name}:{'Q' if number else 'N'}", title=SAID.get(name, name), **(dict(format=".3~f") if number else {}))
            for name, number in numbers.items()]


PICKED = alt.selection_point(name="picked", fields=["family"], bind="legend")


def dots(base: alt.Chart, tips: list[alt.Tooltip], looks: dict[str, Look]) -> alt.Chart:
    """Trials as points: shape and colour by family, filled on the front; a click on the legend leaves one family alone.

    The chart around them adds the parameter `PICKED`, once, for all its panels.
    """
    filled = alt.when("datum.front").then(by(alt.Fill, "family", looks)).otherwise(alt.value("white"))
    faded = alt.when(PICKED).then(alt.value(1)).otherwise(alt.value(.1))
    return base.mark_point(size=80, strokeWidth=1.6).encode(
        by(alt.Stroke, "family", looks), by(alt.Shape, "family", looks), fill=filled, opacity=faded, tooltip=tips)


def stair(base: alt.Chart, x: str) -> alt.Chart:
    """The best to be had at no more than `x` (or at no less, where more is better); its corners are the front."""
    bend = "step-after" if DIRECTIONS[x] == "min" else "step-before"
    return base.transform_filter("datum.front").mark_line(interpolate=bend, color="#999999", strokeWidth=1.5)


def names(base: alt.Chart) -> alt.Chart:
    """The recipes that found a place; the parameter `wide` lets the page's script hide them where the chart is narrow."""
    place = {name: alt.ExprRef(f"datum.{name}") for name in ("dx", "dy", "align")}
    text = base.transform_filter("datum.label != ''").add_params(alt.param(name="wide", value=1))
    return text.mark_text(fontSize=11, color=INK, baseline="middle", opacity=alt.ExprRef("wide"), **place).encode(text="label:N")


def room_for(values: Sequence[float], references: pd.Series, height: int, log: bool) -> dict:
    """The scale of trials and of those references that are near; with room at an end behind which the others lie.

    A logarithmic scale holds them all, because far values squeeze it little.
    """
    if log: return scale_of([*values, *references], log)
    low, high = np.nanmin(values), np.nanmax(values)
    reach = NEAR * (high - low)
    scale = scale_of([*values, *references[references.between(low - reach, high + reach)]])
    per_pixel = (scale["domain"][1] - scale["domain"][0]) / height
    under, over = (LINE * per_pixel * count for count in ((references < low - reach).sum(), (references > high + reach).sum()))
    return scale | dict(domain=[scale["domain"][0] - under, scale["domain"][1] + over])


def published(references: pd.DataFrame, y: str, up: dict, height: int) -> pd.DataFrame:
    """Figures from elsewhere with words and pixels above the axis: `line`, and `place` of the words, each above the one below.

    A figure beyond the axis gets no line: its words, with an arrow and its value, stand at the end that it lies behind.
    """
    found = references[["name", y]].sort_values(y, ignore_index=True)
    ends = np.clip(found[y], *up["domain"])
    beyond = np.sign(found[y] - ends).astype(int)
    words = [f"{ARROWS[end]}{name}{f' {value:.3f}' if end else ''}" for name, value, end in zip(found["name"], found[y], beyond)]
    line = pixels(ends, up, height)
    place = np.where(beyond > 0, height + 6 - LINE * (beyond > 0)[::-1].cumsum()[::-1], line + 6)
    for i in range(1, len(place)): place[i] = max(place[i], place[i - 1] + LINE)
    return found.assign(**{y: ends}, words=words, beyond=beyond, line=line, place=place)


def reference_marks(found: pd.DataFrame, y: str) -> alt.LayerChart:
    """The table of `published` as dashed lines, and words at their right ends."""
    base = alt.Chart(found.assign(dy=found["line"] - found["place"])[[y, "words", "beyond", "dy"]].round(4)).encode(alt.Y(f"{y}:Q"))
    words = base.mark_text(align="right", dx=-2, dy=alt.ExprRef("datum.dy"), fontSize=11, fontStyle="italic", color="#666666")
    return base.transform_filter("!datum.beyond").mark_rule(strokeDash=[4, 3], color=GREY) + words.encode(x=alt.value("width"), text="words:N")


def word_boxes(found: pd.DataFrame, size: tuple[int, int]) -> list[Box]:
    """Where the words and lines of `reference_marks` stand, in pixels, y downwards."""
    words = [Box(size[0] - 2 - text_width(words, 11), size[1] - place - 6, size[0], size[1] - place + 6)
             for words, place in zip(found["words"], found["place"])]
    return words + [Box(0, size[1] - line - 1, size[0], size[1] - line + 1) for line in found["line"][found["beyond"] == 0]]


def front(data: pd.DataFrame, x: str, y: str, references: pd.DataFrame | None) -> alt.LayerChart | alt.ConcatChart:
    """The table of `front_table` as points, stair, intervals and names; a panel a network, of one height and each of its own width.

    Networks differ tenfold in size, so that panels with one axis across would be empty for the most part. They stand below
    each other: beside each other in a column of text they would be too narrow for the names of recipes.
    """
    groups = list(data.groupby("network"))
    size = (600, 380) if len(groups) == 1 else (600, 300)
    found = None
    tall = np.concatenate([data[name] for name in (y, "low", "high") if name in data])
    up = scale_of(tall, AXES[y].log)
    if references is not None:
        up = room_for(tall, references[y], size[1], AXES[y].log)
        found = published(references, y, up, size[1])
    panels = [front_panel(part, x, y, up, size, found, families_in(data)) for _, part in groups]
    panels[0] = panels[0].add_params(PICKED)
    if len(panels) == 1: return panels[0]
    named = [panel.properties(title=alt.TitleParams(name, fontSize=12, anchor="start", frame="group", offset=6))
             for panel, (name, _) in zip(panels, groups)]
    return alt.concat(*named, columns=1)


def front_panel(data: pd.DataFrame, x: str, y: str, up: dict, size: tuple[int, int], found: pd.DataFrame | None,
                looks: dict[str, Look]) -> alt.LayerChart:
    """One network of `front`."""
    across = scale_of(data[x], AXES[x].log)
    data = named_points(data, x, y, (across, up), size, taken=[] if found is None else word_boxes(found, size))
    layers = ([] if found is None else [reference_marks(found, y)]) + layers_of(axes(data, x, y, up), data, x, looks)
    return alt.layer(*layers, data=data.round(5)).properties(width=size[0], height=size[1])


def named_points(data: pd.DataFrame, x: str, y: str, scales: tuple[dict, dict], size: tuple[int, int], *, taken: Sequence[Box] = ()) -> pd.DataFrame:
    """What the points of one network need to be drawn: their columns, and the places of the names."""
    (across, up), (width, height) = scales, size
    at = np.column_stack([pixels(data[x], across, width), height - pixels(data[y], up, height)])
    if "low" in data: data = data.assign(**{end: height - pixels(data[of], up, height) for end, of in (("top", "high"), ("bottom", "low"))})
    data = label_front(data.reset_index(drop=True), at, size, after=DIRECTIONS[x] == "min", obstacles=taken)
    shown = dict.fromkeys([x, y, *HOVER, "family", "front", "network", "label", "dx", "dy", "align"])
    if "worst_corruption" in data: data = data.assign(worst_corruption=plain(data["worst_corruption"]))
    return data[[name for name in shown if name in data]]


def bars(base: alt.Chart, looks: dict[str, Look]) -> alt.Chart:
    """Intervals from `low` to `high`, in the colour of the family."""
    return base.mark_rule(strokeWidth=1).encode(alt.Y("low:Q"), alt.Y2("high:Q"), by(alt.Stroke, "family", looks))


def layers_of(base: alt.Chart, data: pd.DataFrame, x: str, looks: dict[str, Look]) -> list[alt.Chart]:
    """Stair, intervals, points and names over one pair of axes."""
    return [stair(base, x), *([bars(base, looks)] if "low" in data else []), dots(base, hover(data), looks), names(base)]


def front_menu(data: pd.DataFrame, x: str, y: str) -> alt.LayerChart:
    """The table of `front_table`, one network at a time: a menu chooses it, and both axes follow."""
    size, groups = (600, 380), dict(list(data.groupby("network")))
    tall = {name: np.concatenate([part[end] for end in (y, "low", "high") if end in part]) for name, part in groups.items()}
    scales = {name: (scale_of(part[x], AXES[x].log), scale_of(tall[name], AXES[y].log)) for name, part in groups.items()}
    placed = pd.concat([named_points(part, x, y, scales[name], size) for name, part in groups.items()], ignore_index=True)
    menu = alt.param(name="network", value=max(groups, key=lambda name: len(groups[name])), bind=alt.binding_select(options=list(groups), name="network: "))
    base = alt.Chart().encode(*(kind(**following(name, {network: both[at] for network, both in scales.items()}))
                                for at, (kind, name) in enumerate(((alt.X, x), (alt.Y, y)))))
    layers = layers_of(base, placed, x, families_in(data))
    return alt.layer(*layers, data=placed.round(5)).transform_filter("datum.network === network").add_params(PICKED, menu).properties(width=size[0], height=size[1])


def following(name: str, scales: dict[str, dict]) -> dict:
    """The arguments of alt.X or alt.Y whose scale is that of the network in the menu."""
    now = lambda values: alt.ExprRef(f"({json.dumps(values)})[network]")
    low, high = (now({network: scale["domain"][end] for network, scale in scales.items()}) for end in (0, 1))
    given = channel(name, next(iter(scales.values())))
    if AXES[name].log: given["axis"].values = now({network: ticks(scale) for network, scale in scales.items()})
    law = dict(type="log") if AXES[name].log else dict(type="linear", zero=False)
    return given | dict(scale=alt.Scale(**law, domainMin=low, domainMax=high, nice=False))


def plain(names: Sequence[str]) -> list[str]:
    """Corruptions as they are written on charts."""
    return [name.replace("_", " ") for name in names]


def plain_names(table: pd.DataFrame) -> pd.DataFrame:
    """A table with its corruptions as they are written on charts."""
    return table.assign(corruption=plain(table["corruption"]))


def heat(cells: pd.DataFrame, value: str, *, names: tuple[str, str] = ("recipe", "corruption")) -> alt.LayerChart:
    """Recipes by corruptions, a colour and a figure a cell: an accuracy in per cent, a change in points; `names` is what rows and columns are called."""
    low, high = float(cells[value].min()), float(cells[value].max())
    end = max(-low, high, .01)
    scale, dark = dict(
        accuracy=(alt.Scale(scheme="blues", reverse=True, domain=[low, high]), f"datum.accuracy < {low + .45 * (high - low)}"),
        change=(alt.Scale(scheme="blueorange", reverse=True, domain=[-end, end]), f"abs(datum.change) > {.6 * end}"))[value]
    seen, recipes = list(cells["corruption"].unique()), list(cells["recipe"].unique())
    order = [name for name in dict.fromkeys((CLEAN, *CORRUPTIONS, *seen)) if name in seen]
    bare = dict(domain=False, ticks=False)
    base = alt.Chart(plain_names(cells[["recipe", "corruption", value]].round(4))).encode(
        alt.X("corruption:N", sort=plain(order), title=None, scale=alt.Scale(paddingInner=.04), axis=alt.Axis(labelAngle=-50, labelOverlap=False, **bare)),
        alt.Y("recipe:N", sort=recipes, title=None, scale=alt.Scale(paddingInner=.05), axis=alt.Axis(labelLimit=260, **bare)))
    form = ".0f" if value == "accuracy" else "+.0f"
    text = base.transform_calculate(shown=f"abs(datum.{value}) < .005 ? '0' : format(100 * datum.{value}, '{form}')")
    text = text.mark_text(fontSize=11, opacity=alt.ExprRef("wide")).add_params(alt.param(name="wide", value=1)).encode(
        text="shown:N", color=alt.when(dark).then(alt.value("white")).otherwise(alt.value("#222222")))
    tips = [alt.Tooltip("recipe:N", title=names[0]), alt.Tooltip("corruption:N", title=names[1]), alt.Tooltip(f"{value}:Q", format=".3f")]
    words = dict(accuracy=dict(title="accuracy (%)", labelExpr="format(100 * datum.value, '.0f')"),
                 change=dict(title="difference to dense (points)", labelExpr=POINTS.replace("datum.value", "(100 * datum.value)").format("+.0f")))[value]
    legend = alt.Legend(orient="top", gradientLength=180, titleFontSize=12, titleFontWeight="normal", tickCount=5, titleLimit=300, **words)
    boxes = base.mark_rect().encode(alt.Color(f"{value}:Q", legend=legend, scale=scale), tooltip=tips)
    return (boxes + text).properties(width=26 * len(order), height=20 * len(recipes))


def severities(data: pd.DataFrame, looks: dict[str, Look], columns: int, value: str) -> alt.FacetChart:
    """Accuracy, or its difference to dense in points, by severity: a panel a corruption, a line a recipe, a point at every other severity."""
    named, tip = dict(accuracy=("accuracy", ".3f"), change=("points", "+.1f"))[value]
    words = dict(format=".1f") if value == "accuracy" else dict(labelExpr=POINTS.format("+.0f"))
    if value == "change": data = data.assign(change=100 * data["change"])
    colour, shape = (by(kind, "recipe", looks, columns=2) for kind in (alt.Color, alt.Shape))
    table = alt.Chart(plain_names(data.round(4)))
    base = table.encode(
        alt.X("severity:Q", title="severity", scale=alt.Scale(domain=[0, 5]), axis=alt.Axis(values=list(range(6)), format="d", grid=False)),
        alt.Y(f"{value}:Q", title=named, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=4, **words)))
    tips = [alt.Tooltip("recipe:N"), alt.Tooltip("corruption:N"), alt.Tooltip("severity:Q"), alt.Tooltip(f"{value}:Q", title=named, format=tip)]
    lines = base.mark_line(strokeWidth=1.6).encode(colour)
    points = base.transform_filter("datum.severity % 2").mark_point(filled=True, size=32, opacity=1).encode(colour, shape, tooltip=tips)
    order = [name for name in CORRUPTIONS if name in set(data["corruption"])]
    zero = table.transform_aggregate(groupby=["corruption"]).transform_calculate(zero="0").mark_rule(color=GREY).encode(alt.Y("zero:Q", title=named))
    return alt.layer(*[zero] * (value == "change"), lines, points).properties(width=104, height=96).facet(alt.Facet("corruption:N", sort=plain(order)), columns=columns)


def differences(data: pd.DataFrame) -> alt.LayerChart:
    """Differences, given as fractions and drawn in points, with their intervals: one row each, the verdict by colour and shape."""
    ends = ["difference", "low", "high"]
    data = data.assign(**100 * data[ends])
    axis = alt.Axis(labelLimit=320, domain=False, ticks=False, grid=True)
    tips = [alt.Tooltip(f"{name}:Q", title=SAID.get(name, name), format="+.1f") if name in ends else alt.Tooltip(f"{name}:N") for name in data]
    base = alt.Chart(data.round(3)).encode(alt.Y("label:N", sort=None, title=None, axis=axis), by(alt.Color, "verdict", VERDICTS), tooltip=tips)
    span = max(data["high"].max(), 0) - min(data["low"].min(), 0)
    across = alt.X("low:Q", title="difference (points)", axis=alt.Axis(labelExpr=POINTS.format("+.0f" if span > 6 else "+.1f"), tickCount=6, grid=False))
    bars = base.mark_rule(strokeWidth=2).encode(across, alt.X2("high:Q"))
    points = base.mark_point(filled=True, size=80, opacity=1).encode(alt.X("difference:Q"), by(alt.Shape, "verdict", VERDICTS))
    zero = alt.Chart(pd.DataFrame(dict(zero=[0]))).mark_rule(color=GREY).encode(alt.X("zero:Q"))
    return (zero + bars + points).properties(width=360, height=max(60, 22 * len(data)))


def shares(data: pd.DataFrame, share: str) -> alt.LayerChart:
    """Shares by recipe as bars from 0 to 1, with their figures."""
    data = data.assign(percent=[f"{100 * value:.0f} %" for value in data[share]]).round(4)
    base = alt.Chart(data).encode(
        alt.Y("recipe:N", sort=list(data["recipe"]), title=None, axis=alt.Axis(labelLimit=290, domain=False, ticks=False)),
        alt.X(f"{share}:Q", title=None, scale=alt.Scale(domain=[0, 1.12]), axis=alt.Axis(labelExpr="format(100 * datum.value, '.0f') + ' %'", values=[0, .25, .5, .75, 1])))
    tips = ["recipe", alt.Tooltip(f"{share}:Q", format=".1%")]
    bars = base.mark_bar(height={"band": .7}).encode(by(alt.Color, "family", families_in(data)), tooltip=tips)
    words = base.mark_text(align="left", dx=4, fontSize=11, color=INK).encode(text="percent:N")
    return (bars + words).properties(width=360, height=max(40, 22 * len(data)))


def curves(data: pd.DataFrame, x: str, measures: Sequence[str]) -> alt.FacetChart:
    """A panel a figure, each with its own scale."""
    axis = alt.Axis(format="d", tickMinStep=1, grid=False)
    base = alt.Chart(data.assign(measure=plain(data["measure"])).round(5)).encode(
        alt.X(f"{x}:Q", axis=axis), alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
        tooltip=[x, "measure", alt.Tooltip("value:Q", format=".4~g")])
    layers = base.mark_line(color=KINDS[0]) + base.mark_point(filled=True, size=30, opacity=1, color=KINDS[0])
    panels = layers.properties(width=230, height=150).facet(alt.Facet("measure:N", sort=plain(measures)), columns=2)
    return panels.resolve_scale(y="independent")


def stacked(data: pd.DataFrame) -> alt.Chart:
    """Kilobytes by layer, stacked by kind."""
    kinds = list(data["kind"].unique())
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=list(KINDS[:len(kinds)])), legend=alt.Legend(columns=4))
    axis = alt.Axis(labelLimit=220, labelOverlap=False, ticks=False)
    return alt.Chart(data[["layer", "kind", "kb"]].round(4)).mark_bar().encode(
        alt.Y("layer:N", sort=None, title=None, axis=axis), alt.X("sum(kb):Q", title="kB"), colour,
        tooltip=["layer", "kind", alt.Tooltip("kb:Q", format=".3~f")],
    ).properties(width=420, height=15 * data["layer"].nunique())
