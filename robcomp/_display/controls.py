"""The controls of the explorer in JupyterLab: sliders for limits, menus for axes and recipes."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np
import pandas as pd

from robcomp._display.look import AXES
from robcomp._text.numbers import measure
from robcomp.chart_tables import networks


def sliders(
    table: pd.DataFrame,  # by recipe
) -> dict[str, widgets.Widget]:  # size_mb, robust, clean
    """One slider a limit, each starting where it excludes nothing."""
    wide = dict(style=dict(description_width="13em"), layout=widgets.Layout(width="38em", max_width="100%"))
    low, high = np.log10(table["size_mb"].min()) - 0.01, np.log10(table["size_mb"].max()) + 0.01
    size = dict(description="file at most (MB)", min=low, max=high, step=0.01, readout_format=".3r")
    found = dict(size_mb=widgets.FloatLogSlider(10**high, **size, **wide))
    for name in ("robust", "clean"):
        start = float(np.floor(table[name].min() * 100) / 100)
        share = dict(description=f"{measure(name)} at least", min=start, max=1, step=0.005, readout_format=".3f")
        found[name] = widgets.FloatSlider(start, **share, **wide)
    return found


def menus(
    table: pd.DataFrame,  # by recipe
) -> dict[str, widgets.Dropdown]:  # network, x, y, best
    """One menu an axis, one for the figure that decides, one for the network."""
    known = [(axis.short, name) for name, axis in AXES.items() if name in table and table[name].notna().all()]
    names, short = sorted(set(networks(table))), widgets.Layout(width="18em", max_width="100%")
    wide = widgets.Layout(width="24em", max_width="100%")
    asked = dict(
        network=(names, names[0], "network"),
        x=(known, "size_mb", "across"),
        y=(known, "robust", "up"),
        best=(known, "robust", "best"),
    )
    layouts = dict.fromkeys(asked, short) | dict(network=wide)
    return {
        name: widgets.Dropdown(options=options, value=value, description=words, layout=layouts[name])
        for name, (options, value, words) in asked.items()
    }


def pair_menus() -> dict[str, widgets.Dropdown]:  # a and b
    """The menus of two recipes, empty until a network is seen."""
    layout, words = widgets.Layout(width="30em", max_width="100%"), dict(a="recipe", b="against")
    return {name: widgets.Dropdown(description=said, layout=layout) for name, said in words.items()}


def recipe_names(
    table: pd.DataFrame,  # by recipe, of one network
) -> dict[str, str]:  # name -> key
    """How recipes are called in a menu; by their key as well where two have one text."""
    alone = ~table["recipe"].duplicated(keep=False)
    return dict(sorted(zip(table["recipe"].where(alone, table["recipe"] + ", " + table["key"]), table["key"])))
