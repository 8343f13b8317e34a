"""The layers of the charts: each function draws a table that is ready, and decides nothing about its content."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from robcomp._display.look import AXES, KINDS, VERDICTS, Look, families_in, label_front, pixels, scale_of, ticks
from robcomp._display.svg import Box, text_width
from robcomp._text.given import whole
from robcomp._text.numbers import percent, tooltip_format
from robcomp.results import DIRECTIONS
from robcomp.schema import CLEAN, CORRUPTIONS

HOVER = (
    "recipe",
    "clean",
    "robust",
    "low",
    "high",
    "seeds",
    "failed",
    "each",
    "worst",
    "worst_corruption",
    "size_mb",
    "compression_ratio",
    "sparsity",
)
SAID = dict(
    size_mb="MB",
    low="from",
    high="to",
    worst="worst case",
    compression_ratio="times smaller",
    worst_corruption="worst corruption",
    failed="failed seeds",
    each="each seed",
)
INK, GREY = "#333333", "#888888"
LINE, NEAR = 13, 1 / 3  # pixels of a line of small words; the share of the axis that a reference may add to it
POINTS = "abs(datum.value) < 1e-9 ? '0' : format(datum.value, '{}')"  # tick labels of differences
SHARED_POINTS = POINTS.replace("datum.value", "(100 * datum.value)").format("+.0f")  # the same of shares
ARROWS = {-1: "\u25bc ", 0: "", 1: "\u25b2 "}


def channel(name: str, scale: dict) -> dict:
    """The arguments of alt.X or alt.Y for a column of the summary; a logarithmic axis is ticked at 1, 2 and 5."""
    step = (scale["domain"][1] - scale["domain"][0]) / 6
    digits = max(2, -math.floor(math.log10(step)))  # so many that no two ticks read the same
    law = dict(format=f".{digits}f", tickCount=6)
    if AXES[name].log:
        law = dict(format="~s" if name == "macs" else "~g", values=ticks(scale))
    axis = alt.Axis(title=AXES[name].title, labelOverlap="greedy", labelSeparation=6, **law)
    return dict(field=name, type="quantitative", scale=alt.Scale(**scale), axis=axis)


def axes(data: pd.DataFrame, x: str, y: str, up: dict | None = None) -> alt.Chart:
    """A chart with its two axes and nothing on it; `up` is the scale of `y` where several charts share it."""
    across, up = scale_of(data[x], AXES[x].log), up or scale_of(data[y], AXES[y].log)
    return alt.Chart().encode(alt.X(**channel(x, across)), alt.Y(**channel(y, up | dict(clamp=True))))


def by(kind: type, field: str, looks: dict[str, Look], *, columns: int = 5):
    """The channel `kind` (alt.Color, alt.Fill, alt.Stroke, alt.Shape) that tells the values of a field apart."""
    values = [look.shape if kind is alt.Shape else look.colour for look in looks.values()]
    scale = alt.Scale(domain=list(looks), range=values)
    return kind(f"{field}:N", scale=scale, legend=alt.Legend(columns=columns))


def tips_of(data: pd.DataFrame, names: Sequence[str]) -> list[alt.Tooltip]:
    """What a point says of some columns when it is pointed at, with the digits that tables have."""
    tips = []
    for name in names:
        title = SAID.get(name, name)
        if name in ("seeds", "failed"):
            tips.append(alt.Tooltip(f"{name}:Q", title=title, format="d"))
        elif pd.api.types.is_numeric_dtype(data[name]):
            tips.append(alt.Tooltip(f"{name}:Q", title=title, format=tooltip_format(name)))
        else:
            tips.append(alt.Tooltip(f"{name}:N", title=title))
    return tips


def hover(data: pd.DataFrame) -> list[alt.Tooltip]:
    """What a point of a front chart says."""
    return tips_of(data, [name for name in HOVER if name in data])


PICKED = alt.selection_point(name="picked", fields=["family"], bind="legend")


def dots(base: alt.Chart, tips: list[alt.Tooltip], looks: dict[str, Look]) -> alt.Chart:
    """Recipes as points: shape and colour by family, filled on the front.

    A click on the legend leaves one family alone. The chart around them adds the parameter `PICKED`, once, for all its
    panels.
    """
    filled = alt.when("datum.front").then(by(alt.Fill, "family", looks)).otherwise(alt.value("white"))
    faded = alt.when(PICKED).then(alt.value(1)).otherwise(alt.value(0.1))
    return base.mark_point(size=80, strokeWidth=1.6).encode(
        by(alt.Stroke, "family", looks), by(alt.Shape, "family", looks), fill=filled, opacity=faded, tooltip=tips
    )


def stair(base: alt.Chart, x: str) -> alt.Chart:
    """The best to be had at no more than `x` (or at no less, where more is better); its corners are the front."""
    bend = "step-after" if DIRECTIONS[x] == "min" else "step-before"
    return base.transform_filter("datum.front").mark_line(interpolate=bend, color="#999999", strokeWidth=1.5)


def names(base: alt.Chart) -> alt.Chart:
    """The recipes that found a place; the parameter `wide` lets the page's script hide them in a narrow chart."""
    place = {name: alt.ExprRef(f"datum.{name}") for name in ("dx", "dy", "align")}
    text = base.transform_filter("datum.label != ''").add_params(alt.param(name="wide", value=1))
    return text.mark_text(fontSize=11, color=INK, baseline="middle", opacity=alt.ExprRef("wide"), **place).encode(
        text="label:N"
    )


def room_for(values: Sequence[float], references: pd.Series, height: int, log: bool) -> dict:
    """The scale of points and of those references that are near; with room at an end behind which the others lie.

    A logarithmic scale holds them all, because far values squeeze it little.
    """
    if log:
        return scale_of([*values, *references], log)
    low, high = np.nanmin(values), np.nanmax(values)
    reach = NEAR * (high - low)
    scale = scale_of([*values, *references[references.between(low - reach, high + reach)]])
    per_pixel = (scale["domain"][1] - scale["domain"][0]) / height
    under = LINE * per_pixel * (references < low - reach).sum()
    over = LINE * per_pixel * (references > high + reach).sum()
    return scale | dict(domain=[scale["domain"][0] - under, scale["domain"][1] + over])


def published(references: pd.DataFrame, y: str, up: dict, height: int) -> pd.DataFrame:
    """Figures from elsewhere with words, and pixels above the axis: `line`, and `place` of the words, none on another.

    A figure beyond the axis gets no line: its words, with an arrow and its value, stand at the end that it lies behind.
    """
    found = references[["name", y]].sort_values(y, ignore_index=True)
    ends = np.clip(found[y], *up["domain"])
    beyond = np.sign(found[y] - ends).astype(int)
    words = [
        f"{ARROWS[end]}{name}{f' {value:.3f}' if end else ''}"
        for name, value, end in zip(found["name"], found[y], beyond)
    ]
    line = pixels(ends, up, height)
    above = LINE * (beyond > 0)[::-1].cumsum()[::-1]
    place = np.where(beyond > 0, height + 6 - above, line + 6)
    for i in range(1, len(place)):
        place[i] = max(place[i], place[i - 1] + LINE)
    return found.assign(**{y: ends}, words=words, beyond=beyond, line=line, place=place)


def reference_marks(found: pd.DataFrame, y: str) -> alt.LayerChart:
    """The table of `published` as dashed lines, and words at their right ends."""
    shown = found.assign(dy=found["line"] - found["place"])[[y, "words", "beyond", "dy"]]
    base = alt.Chart(shown.round(4)).encode(alt.Y(f"{y}:Q"))
    words = base.mark_text(
        align="right", dx=-2, dy=alt.ExprRef("datum.dy"), fontSize=11, fontStyle="italic", color="#666666"
    ).encode(x=alt.value("width"), text="words:N")
    return base.transform_filter("!datum.beyond").mark_rule(strokeDash=[4, 3], color=GREY) + words


def word_boxes(found: pd.DataFrame, size: tuple[int, int]) -> list[Box]:
    """Where the words and lines of `reference_marks` stand, in pixels, y downwards."""
    words = [
        Box(size[0] - 2 - text_width(words, 11), size[1] - place - 6, size[0], size[1] - place + 6)
        for words, place in zip(found["words"], found["place"])
    ]
    lines = [Box(0, size[1] - line - 1, size[0], size[1] - line + 1) for line in found["line"][found["beyond"] == 0]]
    return words + lines


class Frame(NamedTuple):
    """What the panels of a front chart share, and the scale across of one of them."""

    x: str
    y: str
    size: tuple[int, int]  # pixels
    up: dict  # scale of y
    across: dict  # scale of x


REACH = 0.4  # of the range of the points: as far beyond them an axis follows an interval


def spanned(data: pd.DataFrame, y: str) -> np.ndarray:
    """All values that a vertical axis has to hold: points and the ends of their intervals.

    An interval far wider than the points are apart, as one of two seeds can be, does not squeeze all others: the axis
    follows it for a part of their range, and the line ends at the frame.
    """
    ends = [data[name] for name in ("low", "high") if name in data]
    lowest, highest = data[y].min(), data[y].max()
    reach = REACH * (highest - lowest) or np.inf
    return np.concatenate([data[y], *(end.clip(lowest - reach, highest + reach) for end in ends)])


def is_clipped(data: pd.DataFrame, y: str) -> bool:
    """Does an interval go on beyond the axis of its network?"""
    if "low" not in data:
        return False
    held = {name: spanned(part, y) for name, part in data.groupby("network")}
    low, high = (data["network"].map({name: end(values) for name, values in held.items()}) for end in (np.min, np.max))
    return bool(((data["low"] < low) | (data["high"] > high)).any())


def front(
    data: pd.DataFrame, axes: tuple[str, str], references: pd.DataFrame | None
) -> alt.LayerChart | alt.ConcatChart:
    """The table of `front_table` as points, stair, intervals and names; a panel per network, each of its own width.

    Networks differ tenfold in size, so that panels with one axis across would be empty for the most part. They stand
    below each other: beside each other in a column of text they would be too narrow for the names of recipes. The axis
    up is one for all networks on a data set, and so are the references, where they name their data set.
    """
    (x, y), groups, panels = axes, list(data.groupby("network")), []
    size, looks = (600, 380) if len(groups) == 1 else (600, 300), families_in(data)
    for _, part in groups:
        dataset = part["dataset"].iloc[0]
        tall, theirs = spanned(data[data["dataset"] == dataset], y), references
        if theirs is not None and "dataset" in theirs:
            theirs = theirs[theirs["dataset"] == dataset]
        up, found = scale_of(tall, AXES[y].log), None
        if theirs is not None and len(theirs):
            up = room_for(tall, theirs[y], size[1], AXES[y].log)
            found = published(theirs, y, up, size[1])
        panels.append(front_panel(part, Frame(x, y, size, up, scale_of(part[x], AXES[x].log)), found, looks))
    panels[0] = panels[0].add_params(PICKED)
    if len(panels) == 1:
        return panels[0]
    titles = [alt.TitleParams(name, fontSize=12, anchor="start", frame="group", offset=6) for name, _ in groups]
    return alt.concat(*(panel.properties(title=title) for panel, title in zip(panels, titles)), columns=1)


def front_panel(data: pd.DataFrame, frame: Frame, found: pd.DataFrame | None, looks: dict[str, Look]) -> alt.LayerChart:
    """One network of `front`."""
    taken = [] if found is None else word_boxes(found, frame.size)
    data = named_points(data, frame, taken=taken)
    below = [] if found is None else [reference_marks(found, frame.y)]
    layers = below + layers_of(axes(data, frame.x, frame.y, frame.up), data, frame.x, looks)
    return alt.layer(*layers, data=data.round(5)).properties(width=frame.size[0], height=frame.size[1])


def named_points(data: pd.DataFrame, frame: Frame, *, taken: Sequence[Box] = ()) -> pd.DataFrame:
    """What the points of one network need to be drawn: their columns, and the places of the names."""
    width, height = frame.size
    above = lambda values: height - pixels(values, frame.up, height)
    at = np.column_stack([pixels(data[frame.x], frame.across, width), above(data[frame.y])])
    if "low" in data:
        data = data.assign(top=above(data["high"]), bottom=above(data["low"]))
    data = label_front(data.reset_index(drop=True), at, frame.size, after=DIRECTIONS[frame.x] == "min", obstacles=taken)
    shown = dict.fromkeys([frame.x, frame.y, *HOVER, "family", "front", "network", "label", "dx", "dy", "align"])
    if "worst_corruption" in data:
        data = data.assign(worst_corruption=plain(data["worst_corruption"]))
    return data[[name for name in shown if name in data]]


def bars(base: alt.Chart, looks: dict[str, Look]) -> alt.Chart:
    """Intervals from `low` to `high`, in the colour of the family."""
    return base.mark_rule(strokeWidth=1).encode(alt.Y("low:Q"), alt.Y2("high:Q"), by(alt.Stroke, "family", looks))


def layers_of(base: alt.Chart, data: pd.DataFrame, x: str, looks: dict[str, Look]) -> list[alt.Chart]:
    """Stair, intervals, points and names over one pair of axes."""
    ends = [bars(base, looks)] if "low" in data else []
    return [stair(base, x), *ends, dots(base, hover(data), looks), names(base)]


def front_menu(data: pd.DataFrame, x: str, y: str, height: int) -> alt.LayerChart:
    """The table of `front_table`, one network at a time: a menu chooses it, and both axes follow."""
    size, groups = (600, height), dict(list(data.groupby("network")))
    frames = {
        name: Frame(x, y, size, scale_of(spanned(part, y), AXES[y].log), scale_of(part[x], AXES[x].log))
        for name, part in groups.items()
    }
    placed = [named_points(part, frames[name]) for name, part in groups.items()]
    placed = pd.concat(placed, ignore_index=True)
    first = max(groups, key=lambda name: len(groups[name]))
    menu = alt.param(name="network", value=first, bind=alt.binding_select(options=list(groups), name="network: "))
    across = following(x, {name: frame.across for name, frame in frames.items()})
    up = following(y, {name: frame.up for name, frame in frames.items()})
    base = alt.Chart().encode(alt.X(**across), alt.Y(**up))
    chart = alt.layer(*layers_of(base, placed, x, families_in(data)), data=placed.round(5))
    chart = chart.transform_filter("datum.network === network").add_params(PICKED, menu)
    return chart.properties(width=size[0], height=size[1])


def following(name: str, scales: dict[str, dict]) -> dict:
    """The arguments of alt.X or alt.Y whose scale is that of the network in the menu."""
    now = lambda values: alt.ExprRef(f"({json.dumps(values)})[network]")
    low, high = (now({network: scale["domain"][end] for network, scale in scales.items()}) for end in (0, 1))
    given = channel(name, min(scales.values(), key=lambda scale: scale["domain"][1] - scale["domain"][0]))
    law = dict(type="linear", zero=False)
    if AXES[name].log:
        law = dict(type="log")
        given["axis"].values = now({network: ticks(scale) for network, scale in scales.items()})
    return given | dict(scale=alt.Scale(**law, domainMin=low, domainMax=high, nice=False, clamp=True))


def explorer(base: alt.Chart, data: pd.DataFrame, x: str, inside: str) -> list[alt.Chart]:
    """The layers of the explorer's chart: what is not `inside` the limits fades, the chosen recipe is ringed."""
    looks, faded = families_in(data), alt.when(inside).then(alt.value(1)).otherwise(alt.value(0.12))
    points = dots(base, hover(data), looks).encode(opacity=faded).add_params(alt.selection_interval(name="brush"))
    ring = base.transform_filter("datum.key == chosen").mark_point(size=320, stroke="#1a1a1a", strokeWidth=2)
    ends = [bars(base, looks).encode(opacity=faded)] if "low" in data else []
    return [stair(base, x), *ends, points, ring]


def plain(names: Sequence[str]) -> list[str]:
    """Corruptions as they are written on charts."""
    return [name.replace("_", " ") for name in names]


def plain_names(table: pd.DataFrame) -> pd.DataFrame:
    """A table with its corruptions as they are written on charts."""
    return table.assign(corruption=plain(table["corruption"]))


def heat(cells: pd.DataFrame, value: str, *, names: tuple[str, str] = ("recipe", "corruption")) -> alt.LayerChart:
    """Recipes by corruptions, a colour and a figure per cell: an accuracy in per cent, a change in points.

    `names` is what rows and columns are called.
    """
    seen, recipes = list(cells["corruption"].unique()), list(cells["recipe"].unique())
    order = [name for name in dict.fromkeys((CLEAN, *CORRUPTIONS, *seen)) if name in seen]
    bare = dict(domain=False, ticks=False)
    columns = alt.Axis(labelAngle=-50, labelOverlap=False, **bare)
    kept = [name for name in ("recipe", "corruption", value, "seeds") if name in cells]
    base = alt.Chart(plain_names(cells[kept].round(4))).encode(
        alt.X("corruption:N", sort=plain(order), title=None, scale=alt.Scale(paddingInner=0.04), axis=columns),
        alt.Y(
            "recipe:N",
            sort=recipes,
            title=None,
            scale=alt.Scale(paddingInner=0.05),
            axis=alt.Axis(labelLimit=260, **bare),
        ),
    )
    scale, legend, dark = heat_scale(cells[value], value)
    tips = [alt.Tooltip("recipe:N", title=names[0]), alt.Tooltip("corruption:N", title=names[1]), heat_tip(value)]
    if "seeds" in cells:
        tips.append(alt.Tooltip("seeds:Q", format="d"))
    boxes = base.transform_calculate(points="100 * datum.change") if value == "change" else base
    boxes = boxes.mark_rect().encode(alt.Color(f"{value}:Q", legend=legend, scale=scale), tooltip=tips)
    return (boxes + heat_words(base, value, dark)).properties(width=26 * len(order), height=20 * len(recipes))


def heat_scale(values: pd.Series, value: str) -> tuple[alt.Scale, alt.Legend, str]:
    """The colours of a heat map, their legend, and an expression that holds where white words are needed."""
    low, high = float(values.min()), float(values.max())
    legend = dict(
        orient="top", gradientLength=180, titleFontSize=12, titleFontWeight="normal", tickCount=5, titleLimit=300
    )
    if value == "accuracy":
        legend |= dict(title="accuracy (%)", labelExpr="format(100 * datum.value, '.0f')")
        scale = alt.Scale(scheme="blues", reverse=True, domain=[low, high])
        return scale, alt.Legend(**legend), f"datum.accuracy < {low + 0.45 * (high - low)}"
    end = max(-low, high, 0.01)
    legend |= dict(title="difference to dense (points)", labelExpr=SHARED_POINTS)
    scale = alt.Scale(scheme="blueorange", reverse=True, domain=[-end, end])
    return scale, alt.Legend(**legend), f"abs(datum.change) > {0.6 * end}"


def heat_words(base: alt.Chart, value: str, dark: str) -> alt.Chart:
    """The figure in each cell of a heat map."""
    form = ".0f" if value == "accuracy" else "+.0f"
    shown = f"abs(datum.{value}) < .005 ? '0' : format(100 * datum.{value}, '{form}')"
    colour = alt.when(dark).then(alt.value("white")).otherwise(alt.value("#222222"))
    text = base.transform_calculate(shown=shown).mark_text(fontSize=11, opacity=alt.ExprRef("wide"))
    return text.add_params(alt.param(name="wide", value=1)).encode(text="shown:N", color=colour)


def heat_tip(value: str) -> alt.Tooltip:
    """The figure of a cell with one more digit."""
    if value == "accuracy":
        return alt.Tooltip("accuracy:Q", format=".3f")
    return alt.Tooltip("points:Q", format="+.1f")


def severities(data: pd.DataFrame, looks: dict[str, Look], columns: int, value: str) -> alt.FacetChart:
    """Accuracy, or its difference to dense in points, by severity.

    A panel per corruption, a line per recipe, a point at every other severity.
    """
    columns = whole("columns", columns, 1, 100)
    named, tip = dict(accuracy=("accuracy", ".3f"), change=("points", "+.1f"))[value]
    words = dict(format=".1f") if value == "accuracy" else dict(labelExpr=POINTS.format("+.0f"))
    if value == "change":
        data = data.assign(change=100 * data["change"])
    colour, shape = (by(kind, "recipe", looks, columns=2) for kind in (alt.Color, alt.Shape))
    table = alt.Chart(plain_names(data.round(4)))
    across = alt.Axis(values=list(range(6)), format="d", grid=False)
    base = table.encode(
        alt.X("severity:Q", title="severity", scale=alt.Scale(domain=[0, 5]), axis=across),
        alt.Y(f"{value}:Q", title=named, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=4, **words)),
    )
    tips = [
        alt.Tooltip("recipe:N"),
        alt.Tooltip("corruption:N"),
        alt.Tooltip("severity:Q"),
        alt.Tooltip(f"{value}:Q", title=named, format=tip),
    ]
    if "seeds" in data:
        tips.append(alt.Tooltip("seeds:Q", format="d"))
    lines = base.mark_line(strokeWidth=1.6).encode(colour)
    points = base.transform_filter("datum.severity % 2").mark_point(filled=True, size=32, opacity=1)
    layers = [lines, points.encode(colour, shape, tooltip=tips)]
    if value == "change":
        rest = table.transform_aggregate(groupby=["corruption"]).transform_calculate(zero="0")
        layers.insert(0, rest.mark_rule(color=GREY).encode(alt.Y("zero:Q", title=named)))
    order = [name for name in CORRUPTIONS if name in set(data["corruption"])]
    panel = alt.layer(*layers).properties(width=104, height=96)
    return panel.facet(alt.Facet("corruption:N", sort=plain(order)), columns=columns)


def differences(data: pd.DataFrame) -> alt.LayerChart:
    """Differences, given as fractions and drawn in points, with their intervals.

    One row each, the verdict by colour and shape.
    """
    ends = ["difference", "low", "high"]
    data = data.assign(**100 * data[ends])
    tips = [
        alt.Tooltip(f"{name}:Q", title=SAID.get(name, name), format="+.1f")
        if name in ends
        else alt.Tooltip(f"{name}:N")
        for name in data
    ]
    rows = alt.Axis(labelLimit=320, domain=False, ticks=False, grid=True)
    base = alt.Chart(data.round(3)).encode(
        alt.Y("label:N", sort=None, title=None, axis=rows), by(alt.Color, "verdict", VERDICTS), tooltip=tips
    )
    span = max(data["high"].max(), 0) - min(data["low"].min(), 0)
    form, step = ("+.0f", 1) if span > 6 else ("+.1f", 0.1)
    axis = alt.Axis(labelExpr=POINTS.format(form), tickCount=6, tickMinStep=step, grid=False)
    across = alt.X("low:Q", title="difference (points)", axis=axis)
    lines = base.mark_rule(strokeWidth=2).encode(across, alt.X2("high:Q"))
    points = base.mark_point(filled=True, size=80, opacity=1)
    points = points.encode(alt.X("difference:Q"), by(alt.Shape, "verdict", VERDICTS))
    zero = alt.Chart(pd.DataFrame(dict(zero=[0]))).mark_rule(color=GREY).encode(alt.X("zero:Q"))
    return (zero + lines + points).properties(width=360, height=max(60, 22 * len(data)))


def shares(data: pd.DataFrame, share: str) -> alt.LayerChart:
    """Shares by recipe as bars from 0 to 1, with their figures."""
    data = data.assign(percent=[percent(value) for value in data[share]]).round(4)
    rows = alt.Axis(labelLimit=290, domain=False, ticks=False)
    across = alt.Axis(labelExpr="format(100 * datum.value, '.0f') + ' %'", values=[0, 0.25, 0.5, 0.75, 1])
    base = alt.Chart(data).encode(
        alt.Y("recipe:N", sort=list(data["recipe"]), title=None, axis=rows),
        alt.X(f"{share}:Q", title=None, scale=alt.Scale(domain=[0, 1.12]), axis=across),
    )
    tips = ["recipe", alt.Tooltip(f"{share}:Q", format=".1%")]
    lengths = base.mark_bar(height={"band": 0.7}).encode(by(alt.Color, "family", families_in(data)), tooltip=tips)
    words = base.mark_text(align="left", dx=4, fontSize=11, color=INK).encode(text="percent:N")
    return (lengths + words).properties(width=360, height=max(40, 22 * len(data)))


def curves(data: pd.DataFrame, x: str, measures: Sequence[str]) -> alt.FacetChart:
    """A panel per figure, each with its own scale."""
    axis = alt.Axis(format="d", tickMinStep=1, grid=False)
    base = alt.Chart(data.assign(measure=plain(data["measure"])).round(5)).encode(
        alt.X(f"{x}:Q", axis=axis),
        alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
        tooltip=[x, "measure", alt.Tooltip("value:Q", format=".4~g")],
    )
    layers = base.mark_line(color=KINDS[0]) + base.mark_point(filled=True, size=30, opacity=1, color=KINDS[0])
    panels = layers.properties(width=230, height=150).facet(alt.Facet("measure:N", sort=plain(measures)), columns=2)
    return panels.resolve_scale(y="independent")


def stacked(data: pd.DataFrame) -> alt.Chart:
    """Kilobytes by layer, stacked by kind."""
    kinds = list(data["kind"].unique())
    scale = alt.Scale(domain=kinds, range=list(KINDS[: len(kinds)]))
    axis = alt.Axis(labelLimit=220, labelOverlap=False, ticks=False)
    return (
        alt.Chart(data[["layer", "kind", "kb"]].round(4))
        .mark_bar()
        .encode(
            alt.Y("layer:N", sort=None, title=None, axis=axis),
            alt.X("sum(kb):Q", title="kB"),
            alt.Color("kind:N", scale=scale, legend=alt.Legend(columns=4)),
            tooltip=["layer", "kind", alt.Tooltip("kb:Q", format=".3~f")],
        )
        .properties(width=420, height=15 * data["layer"].nunique())
    )
