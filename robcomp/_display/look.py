"""How all charts look, what their axes are called, and where things stand on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from robcomp._display.svg import Box, place_labels
from robcomp._text.numbers import MEASURES


class Look(NamedTuple):
    """How one kind of thing is drawn: apart by colour on a screen, by shape in print."""

    colour: str
    shape: str


class Axis(NamedTuple):
    """How a column of the summary stands on an axis: a name for titles, one for the axis, the scale."""

    short: str
    title: str
    log: bool = False


# Okabe and Ito's colours, told apart by colour-blind readers; the purple is darker than theirs, for print.
FAMILIES = dict(
    dense=Look("#000000", "cross"),
    pruned=Look("#D55E00", "triangle-up"),
    clustered=Look("#009E73", "square"),
    quantized=Look("#0072B2", "circle"),
    combined=Look("#AA4499", "diamond"),
)
FOREIGN = dict(elsewhere=Look("#777777", "triangle-right"))  # of other tools: in a legend only where there are some
SPARE = (Look("#56B4E9", "triangle-down"), Look("#E69F00", "stroke"), *FOREIGN.values())
VERDICTS = dict(
    better=Look("#0072B2", "triangle-right"),
    undecided=Look("#777777", "circle"),
    worse=Look("#D55E00", "triangle-left"),
)
KINDS = ("#0072B2", "#E69F00", "#009E73", "#AA4499", "#56B4E9", "#D55E00", "#777777", "#000000")
AXES = dict(
    clean=Axis(MEASURES["clean"], "accuracy on clean images"),
    robust=Axis(MEASURES["robust"], "robust accuracy (mean over the corruptions)"),
    worst=Axis(MEASURES["worst"], "accuracy under the worst corruption"),
    drop=Axis(MEASURES["drop"], "clean minus robust accuracy"),
    mce=Axis(MEASURES["mce"], "corruption error, dense = 1 (mCE)"),
    ece_robust=Axis(MEASURES["ece_robust"], "calibration error over the corruptions"),
    size_mb=Axis(MEASURES["size_mb"], "packed file (MB, log scale)", True),
    compression_ratio=Axis(MEASURES["compression_ratio"], "times smaller than dense float32 (log scale)", True),
    sparsity=Axis(MEASURES["sparsity"], "fraction of weights that are zero"),
    macs=Axis(MEASURES["macs"], "multiply-accumulates an image (log scale)", True),
    latency_s=Axis(MEASURES["latency_s"], "seconds an image (log scale)", True),
    energy_j=Axis(MEASURES["energy_j"], "energy (J, log scale)", True),
)
LOOK = dict(
    font="Helvetica, Arial, sans-serif",
    background="white",
    view=dict(stroke=None),
    facet=dict(spacing=16),
    concat=dict(spacing=24),
    title=dict(
        anchor="start",
        frame="group",
        fontSize=15,
        fontWeight=600,
        subtitleFontSize=12,
        subtitleColor="#555555",
        subtitlePadding=4,
        subtitleLineHeight=16,
        offset=12,
    ),
    axis=dict(
        labelFontSize=11,
        titleFontSize=12,
        titleFontWeight="normal",
        titleColor="#333333",
        labelColor="#333333",
        gridColor="#e8e8e8",
        domainColor="#888888",
        tickColor="#888888",
        titlePadding=8,
        labelFlush=False,
    ),
    legend=dict(
        orient="top",
        direction="horizontal",
        title=None,
        labelFontSize=12,
        labelLimit=300,
        symbolSize=90,
        columnPadding=14,
        offset=8,
    ),
    header=dict(labelFontSize=12, labelFontWeight=600, title=None),
)


def families_in(data: pd.DataFrame) -> dict[str, Look]:
    """The looks for a table's column `family`: all of our techniques, and models from elsewhere if there are any."""
    return FAMILIES | {name: look for name, look in FOREIGN.items() if (data["family"] == name).any()}


def dressed(spec: dict) -> dict:
    """A spec with the look of the project; what the chart itself configures stays, but for altair's default view."""
    own = {name: value for name, value in spec.get("config", {}).items() if name != "view"}
    return spec | dict(config=LOOK | own)


def scale_of(values: Sequence[float], log: bool = False) -> dict:
    """A scale that holds all `values` with a little air at both ends.

    The ends are settled here and not left to the renderer, because the words in a chart are placed by them.
    """
    values = np.asarray(values, float)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if log:
        return dict(type="log", domain=[low / 1.15, high * 1.15], nice=False)
    air = 0.05 * (high - low) or 0.05
    return dict(type="linear", domain=[low - air, high + air], nice=False, zero=False)


def pixels(values: Sequence[float], scale: dict, length: float) -> np.ndarray:
    """Where `values` stand on an axis of `length` pixels, from its start."""
    law = np.log if scale["type"] == "log" else np.asarray
    low, high = (law(end) for end in scale["domain"])
    return (law(np.asarray(values, float)) - low) / (high - low) * length


def ticks(scale: dict) -> list[float]:
    """1, 2 and 5 in every power of ten that a logarithmic scale shows."""
    steps = [float(f"{digit}e{power}") for power in range(-9, 13) for digit in (1, 2, 5)]
    return [step for step in steps if scale["domain"][0] <= step <= scale["domain"][1]]


def label_front(
    data: pd.DataFrame, at: np.ndarray, size: tuple[int, int], *, after: bool = True, obstacles: Sequence[Box] = ()
) -> pd.DataFrame:
    """`data` with label, dx, dy and align: a name for each point of the front that finds a free place beside it.

    `at` holds the points in pixels, y downwards. The front is served from the best accuracy down; a name that would hit
    a point, its interval (from `top` to `bottom`), the stair, an obstacle or another name is left empty. `after`: the
    stair leaves a point level and then rises.
    """
    front = data["front"].to_numpy(bool)
    order = np.lexsort((at[:, 1], ~front))
    names = [data["recipe"].iloc[i] if front[i] else "" for i in order]
    taken, reach = [*obstacles, *stair_boxes(at[front], after)], None
    if "top" in data:
        top, bottom = data["top"].to_numpy(), data["bottom"].to_numpy()
        reach = [(at[i, 1] - top[i], bottom[i] - at[i, 1]) for i in order]
        taken += [Box(x - 1, up, x + 1, down) for x, up, down in zip(at[:, 0], top, bottom)]
    points = [tuple(at[i]) for i in order]
    rows = []
    for name, place in zip(names, place_labels(points, names, size, obstacles=taken, reach=reach)):
        rows.append(dict(dx=0, dy=0, align="left", label="") if place is None else dict(place, label=name))
    return data.join(pd.DataFrame(rows, index=data.index[order]))


def stair_boxes(corners: np.ndarray, after: bool) -> list[Box]:
    """The steps of a stair through some points, each a level and a rise."""
    corners, boxes = corners[np.argsort(corners[:, 0])], []
    for left, right in zip(corners, corners[1:]):
        level, rise = (left[1], right[0]) if after else (right[1], left[0])
        boxes.append(Box(left[0], level - 1, right[0], level + 1))
        boxes.append(Box(rise - 1, min(left[1], right[1]), rise + 1, max(left[1], right[1])))
    return boxes
