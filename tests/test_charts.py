"""Charts: every one compiles, stays small, says what it shows, and hides no label under another."""

from __future__ import annotations

import json
import re
from html import unescape
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import vl_convert

from robcomp._display.look import FAMILIES, dressed, pixels, scale_of, ticks
from robcomp._display.svg import Box, compact, described, figure, place_labels, svg_size, text_width, to_svg
from robcomp.chart_tables import by_condition
from robcomp.charts import (
    AXES,
    chart_bytes,
    chart_curve,
    chart_differences,
    chart_front,
    chart_heat,
    front_words,
    chart_severity,
    chart_spec,
    enable_charts,
    family,
    recipe_looks,
    save_chart,
)
from robcomp.explorer import chart_explorer
from robcomp.goals import Goals
from robcomp.pareto import pareto
from robcomp.results import summarise
from robcomp.tables import example, join
from robcomp.seeds import recipe_intervals
from robcomp.study_charts import chart_changes, chart_networks, network_looks
from robcomp.uncertainty import intervals, resample


@pytest.fixture(scope="module")
def tables():
    return example()


@pytest.fixture(scope="module")
def table(tables):
    return summarise(tables)


@pytest.fixture(scope="module")
def drawn(tables, table):
    rows, one = by_condition(tables), table[table["arch"] == "vgg19"]
    mobile = rows[rows["arch"] == "mobilenetv2"]
    seen = pd.DataFrame(
        dict(
            label=["a - b", "c - b"],
            difference=[0.01, -0.2],
            low=[-0.01, -0.3],
            high=[0.03, -0.1],
            verdict=["undecided", "worse"],
        )
    )
    history = pd.DataFrame(dict(epoch=[1, 2, 3], loss=[2, 1, 0.5], rate=[0.1, 0.2, 0]))
    ledger = pd.DataFrame(dict(layer=["a", "a", "b"], kind=["codes", "scale", "weight"], bytes=[10, 2, 30]))
    return dict(
        front=chart_front(one, intervals(tables, draws=50)),
        clean=chart_front(one, y="clean"),
        both=chart_front(table),
        heat=chart_heat(mobile),
        change=chart_heat(mobile, value="change"),
        severity=chart_severity(mobile),
        forest=chart_differences(seen),
        curve=chart_curve(history),
        bytes=chart_bytes(ledger),
    )


NAMES = ["front", "clean", "both", "heat", "change", "severity", "forest", "curve", "bytes"]


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_is_a_labelled_picture_without_scripts(drawn, name):
    spec = chart_spec(drawn[name])
    html = figure(spec)
    assert len(html) < 100_000 and "http" not in re.sub(r"https?://(?:www\.w3\.org|vega\.github\.io)\S*", "", html)
    address, alt = re.search(r'<img src="([^"]+)".* alt="([^"]+)">', html).groups()
    root = ElementTree.fromstring(unquote(unescape(address)).removeprefix("data:image/svg+xml,"))
    assert root.get("role") == "img" and root.get("aria-label") == unescape(alt) == described(spec) and len(alt) > 20
    data = json.loads(re.search(r'json">(.*)</script>', html, re.S)[1])
    assert all(len({len(column) for column in columns.values()}) == 1 for columns in data["datasets"].values())


@pytest.mark.parametrize("name", NAMES)
def test_charts_are_the_same_each_time(drawn, name):
    assert figure(chart_spec(drawn[name])) == figure(chart_spec(drawn[name]))


def test_a_picture_keeps_its_words(drawn):
    spec = chart_spec(drawn["forest"])
    words = lambda svg: re.findall(r"<text[^>]*>([^<]+)", svg)
    assert words(to_svg(spec)) == words(vl_convert.vegalite_to_svg(spec, vl_version="6.4"))
    short = compact('<svg a="b"><text x="1.234">0.12345</text></svg>', "x")
    assert short.endswith('<text x="1.2">0.12345</text></svg>')


def test_groups_and_zeros_that_say_nothing_take_no_room():
    inner = '<g transform="translate(1,2)"><text>a</text></g>'
    short = compact(f'<svg a="b"><g><g>{inner}</g><line x2="0" y2="7"/></g></svg>', "x").partition("</title>")[2]
    assert short == f'{inner}<line y2="7"/></svg>'


def test_an_address_keeps_its_quotation_marks_as_they_are(drawn):
    html = figure(chart_spec(drawn["forest"]))
    address = html.partition('src="')[2].partition('"')[0]
    assert "'" in address and "&#x27;" not in address and not set('"<>') & set(address)


def test_families_differ_in_shape_and_in_grey(table):
    assert len({look.shape for look in FAMILIES.values()}) == len({look.colour for look in FAMILIES.values()}) == 5
    assert {family(recipe) for recipe in table["recipe"]} == set(FAMILIES)
    eight = ["int8", "int4", "int2", "dense", "cluster16", "cluster8", "prune0.5", "prune0.7"]
    assert len(set(recipe_looks(eight).values())) == 8


def test_a_model_from_elsewhere_has_its_own_mark_and_only_then_a_place_in_the_legend(table):
    def legend(spec):
        scales = re.findall(r'"domain": (\[[^\]]*"dense"[^\]]*\])', json.dumps(spec))
        return {name for scale in scales for name in json.loads(scale)}

    theirs = table.assign(recipe=table["recipe"].replace("int8", "elsewhere:ort"))
    for chart in (chart_front, lambda table: chart_explorer(table[table["arch"] == table["arch"].iloc[0]])):
        assert legend(chart(theirs).to_dict()) == {*FAMILIES, "elsewhere"}
        assert legend(chart(table).to_dict()) == set(FAMILIES)


@pytest.mark.parametrize("seed", range(20))
def test_labels_hit_no_point_and_no_label(seed):
    rng = np.random.default_rng(seed)
    points = [tuple(point) for point in rng.random((25, 2)) * (600, 380)]
    texts = ["x" * rng.integers(4, 30) for _ in points]
    boxes = []
    for (x, y), text, place in zip(points, texts, place_labels(points, texts, (600, 380))):
        if place is None:
            continue
        left = x + place["dx"] - (text_width(text) if place["align"] == "right" else 0)
        boxes.append(Box(left, y + place["dy"] - 5.5, left + text_width(text), y + place["dy"] + 5.5))
    assert len(boxes) > 5
    assert not any(a.hits(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert not any(box.hits(Box(x - 4, y - 4, x + 4, y + 4)) for box in boxes for x, y in points)


def test_the_front_on_the_chart_is_the_best_at_no_more_than_the_size(table):
    one = table[table["arch"] == "vgg19"]
    data = next(iter(chart_spec(chart_front(one))["datasets"].values()))
    front = {row["recipe"] for row in data if row["front"]}

    def is_beaten(row):
        no_worse = (one["size_mb"] <= row["size_mb"]) & (one["robust"] >= row["robust"])
        return (no_worse & ((one["size_mb"] < row["size_mb"]) | (one["robust"] > row["robust"]))).any()

    assert front == {row["recipe"] for row in one.to_dict("records") if not is_beaten(row)}


def test_trials_without_a_figure_are_counted_not_drawn(table):
    one = table[table["arch"] == "vgg19"].copy()
    one.loc[one.index[2], "robust"] = np.nan
    chart = chart_front(one)
    assert "1 trial without a figure" in " ".join(chart.title.subtitle)
    assert len(next(iter(chart_spec(chart)["datasets"].values()))) == len(one) - 1


def scale_up(spec):
    """The scale of the vertical axis."""
    scales = [layer.get("encoding", {}).get("y", {}).get("scale", {}) for layer in spec["layer"]]
    return next(scale for scale in scales if "domain" in scale)


def test_a_far_reference_stands_at_the_end_of_the_axis_and_squeezes_nothing(table):
    one = table[table["arch"] == "vgg19"]
    low, high = one["robust"].min(), one["robust"].max()
    span = high - low
    others = pd.DataFrame(
        dict(
            name=["far below", "near", "far above", "farther above"],
            robust=[low - 2 * span, high + 0.2 * span, high + span, high + 2 * span],
        )
    )
    spec = chart_spec(chart_front(one, references=others))
    axis = scale_up(spec)["domain"]
    assert axis[1] - axis[0] < 1.6 * span
    marks = {row["words"]: row for rows in spec["datasets"].values() for row in rows if "words" in row}
    arrows = {words.split()[0] for words, row in marks.items() if row["beyond"]}
    assert arrows == {"\u25bc", "\u25b2"} and not marks["near"]["beyond"]
    assert [row["beyond"] for row in marks.values()] == [-1, 0, 1, 1] and f"\u25b2 far above {high + span:.3f}" in marks
    place = [pixels([row["robust"]], dict(type="linear", domain=axis), 380)[0] - row["dy"] for row in marks.values()]
    assert (np.diff(place) > 11.9).all() and 0 < min(place) and max(place) < 380


def test_references_and_the_axis_up_belong_to_a_data_set(table):
    other = table.assign(dataset="harder", key="h" + table["key"], robust=table["robust"] / 2)
    figures = pd.DataFrame(
        dict(
            dataset=["simulated", "harder"],
            name=["theirs", "theirs on harder images"],
            robust=[table["robust"].max(), other["robust"].max()],
        )
    )
    spec = chart_spec(chart_front(pd.concat([table, other], ignore_index=True), references=figures))
    shown = {}
    for panel in spec["concat"]:
        rows = [
            row
            for layer in panel["layer"]
            for part in [layer, *layer.get("layer", [])]
            for row in spec["datasets"].get(part.get("data", {}).get("name"), [])
        ]
        shown[panel["title"]["text"]] = {row["words"] for row in rows if "words" in row}, scale_up(panel)["domain"]
    assert {frozenset(words) for name, (words, _) in shown.items() if "harder" in name} == {
        frozenset({"theirs on harder images"})
    }
    assert {frozenset(words) for name, (words, _) in shown.items() if "simulated" in name} == {frozenset({"theirs"})}
    tops = {name: axis[1] for name, (_, axis) in shown.items()}
    assert tops["vgg19 on harder"] < tops["vgg19 on simulated"] == tops["mobilenetv2 on simulated"]


def test_a_logarithmic_axis_holds_far_references(table):
    one = table[table["arch"] == "vgg19"]
    others = pd.DataFrame(dict(name=["far"], size_mb=[100 * one["size_mb"].max()]))
    spec = chart_spec(chart_front(one, x="robust", y="size_mb", references=others))
    scale = scale_up(spec)
    assert scale["type"] == "log" and scale["domain"][1] > others["size_mb"][0] and to_svg(spec)


@pytest.mark.parametrize("x", [name for name in AXES])
def test_every_axis_can_be_drawn(table, x):
    measured = table[table["arch"] == "vgg19"].assign(energy_j=lambda part: 1e3 * part["latency_s"])
    assert svg_size(to_svg(chart_spec(chart_front(measured, x=x))))[0] > 400


# ---- several seeds ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def three():
    return join(*(example(seed=seed) for seed in range(3)))


@pytest.fixture(scope="module")
def trials(three):
    return summarise(three)


def points_of(chart):
    return {(row["network"], row["recipe"]): row for row in next(iter(chart_spec(chart)["datasets"].values()))}


def words_of(chart):
    return " ".join(chart.title.subtitle)


def test_a_recipe_is_one_point_the_mean_of_its_seeds_with_their_interval(three, trials):
    bounds = recipe_intervals(resample(three, draws=100))
    chart = chart_front(trials[trials["arch"] == "vgg19"], bounds)
    points, robust = points_of(chart), bounds[bounds["measure"] == "robust"].set_index("key")
    assert len(points) == 12 and "mean over the seeds of a recipe, 3." in words_of(chart)
    assert "images and seeds." in words_of(chart) and "of 12 recipes." in chart.description
    own = trials.query("arch == 'vgg19' and recipe == 'int8'")
    point, row = points["vgg19 on simulated", "int8"], robust.loc[own["key"].iloc[0]]
    for name in ("robust", "clean", "worst", "size_mb"):
        assert point[name] == pytest.approx(own[name].mean(), abs=1e-5)
    assert [point["low"], point["high"]] == pytest.approx([row["low"], row["high"]], abs=1e-5) and point["seeds"] == 3
    assert point["each"] == ", ".join(f"{value:.3f} (seed {seed})" for seed, value in zip(own["seed"], own["robust"]))
    tips = json.dumps(chart.to_dict())
    assert '"failed seeds"' in tips and '"each seed"' in tips


@pytest.mark.parametrize(
    "variation, said",
    [
        ([True, True], "images and seeds"),
        (["its seeds", "borrowed", "none"], "images and seeds"),
        (["its seeds", "left out"], "images, and over seeds where there are several"),
        (["left out", "none"], "images"),
        ([False, False], "images"),
        ([], "images"),
    ],
)
def test_a_chart_says_what_its_intervals_are_taken_over(variation, said):
    table = pd.DataFrame(dict(label="a", difference=0.1, low=0.0, high=0.2, verdict="better"), index=variation or [0])
    table = table.assign(seed_variation=variation) if variation else table
    assert words_of(chart_differences(table)) == f"Points: estimates; lines: paired intervals over {said}."


def test_one_wide_interval_does_not_squeeze_all_points(three, trials):
    own = trials[trials["arch"] == "vgg19"]
    bounds = recipe_intervals(resample(three, draws=100))
    usual = chart_front(own, bounds).to_dict()
    wide = bounds.assign(high=bounds["high"].where(bounds["key"] != own["key"].iloc[0], 5.0))
    chart = chart_front(own, wide)
    high, reach = scale_up(chart.to_dict())["domain"][1], own["robust"].max() - own["robust"].min()
    assert high < own["robust"].max() + 0.6 * reach and "end at the frame are longer than drawn" in words_of(chart)
    assert "longer than drawn" not in str(usual)


def test_a_network_looks_the_same_in_every_chart():
    alone, among = network_looks(["vgg19"]), network_looks(["alexnet", "vgg19", "mobilenetv2", "zfnet"])
    assert alone["vgg19"] == among["vgg19"] and len({*among.values()}) == 4


def test_the_front_of_means_is_not_the_front_of_the_luckiest_seeds(trials):
    """A recipe whose one lucky seed beats all others, and whose mean does not."""
    own = trials[trials["arch"] == "vgg19"].copy()
    lucky = (own["recipe"] == "int4") & (own["seed"] == 1)
    own.loc[lucky, "robust"] = own["robust"].max() + 0.01
    assert not own.loc[own["recipe"] == "int4", "robust"].mean() > own["robust"].quantile(0.8), "the mean is low"
    front = {row["recipe"] for row in points_of(chart_front(own)).values() if row["front"]}
    assert front == set(own.loc[pareto(own, Goals("robust", "size_mb")), "recipe"])


def test_intervals_of_single_trials_are_refused_beside_means(three, trials):
    with pytest.raises(ValueError, match="is the mean of 3 seeds and the intervals are those of single trials: give"):
        chart_front(trials, intervals(three, draws=20))


def test_failed_seeds_are_counted_and_recipes_that_failed_whole_are_left_out(trials):
    own = trials[trials["arch"] == "vgg19"]
    failed = ((own["recipe"] == "int4") & (own["seed"] > 0)) | (own["recipe"] == "int8")
    figures = ["clean", "robust", "worst", "size_mb"]
    own = own.assign(status=own["status"].mask(failed, "failed"), **{name: own[name].mask(failed) for name in figures})
    chart = chart_front(own)
    points = points_of(chart)
    assert len(points) == 11 and points["vgg19 on simulated", "int4"]["failed"] == 2
    assert "2 failed seeds are not in the means." in words_of(chart) and "1 recipe without a figure" in words_of(chart)


def test_a_recipe_works_if_all_its_seeds_do(three, trials):
    broken = trials.assign(works=(trials["recipe"] != "int4") | (trials["seed"] != 2))
    assert "Left out, of all 2 networks: 2 recipes with less than" in words_of(chart_front(broken))
    assert "Left out: 1 recipe with" in words_of(chart_front(broken[broken["arch"] == "vgg19"]))
    rows = by_condition(three)
    rows = rows.assign(works=(rows["recipe"] != "int4"))[rows["arch"] == "vgg19"]
    assert "Left out: 1 recipe with" in words_of(chart_heat(rows))


def test_conditions_are_means_over_seeds(three):
    rows = by_condition(three).query("arch == 'vgg19'")
    heat, lines = chart_heat(rows), chart_severity(rows, ["int8", "int4"], value="accuracy")
    assert "mean over severities and seeds" in words_of(heat) and "Means over seeds." in words_of(lines)
    cells = next(iter(chart_spec(heat)["datasets"].values()))
    fog = next(row for row in cells if (row["recipe"], row["corruption"]) == ("int8", "fog"))
    own = rows.query("recipe == 'int8' and corruption == 'fog'")
    assert fog["accuracy"] == pytest.approx(own["accuracy"].mean(), abs=1e-4) and fog["seeds"] == 3


def test_with_one_seed_charts_say_that_seed_variation_is_left_out_and_nothing_else(tables, table):
    chart = chart_front(table, intervals(tables, draws=20))
    assert "Bars: intervals over images; one seed per recipe, so seed variation is left out." in words_of(chart)
    again = chart_front(table, recipe_intervals(resample(tables, draws=20)))
    assert chart.to_dict() == again.to_dict() and "failed seeds" not in json.dumps(chart.to_dict())
    heat = chart_heat(by_condition(tables).query("arch == 'vgg19'"))
    assert "seed" not in words_of(chart_front(table)) + words_of(heat)


def test_networks_and_changes_have_a_point_a_recipe(trials, table):
    changes, together = chart_changes(trials), chart_networks(trials)
    assert "Changes of 22 compressed networks" in changes.description and "Means over seeds." in words_of(changes)
    assert " of 24 recipes" in together.description and "Means over seeds." in words_of(together)
    assert "seeds" not in words_of(chart_changes(table)) + words_of(chart_networks(table))


def test_a_single_trial_is_a_chart(table):
    assert to_svg(chart_spec(chart_front(table.head(1))))


def test_scales_hold_their_values():
    for log in (False, True):
        values = [0.3, 2, 40]
        at = pixels(values, scale_of(values, log), 100)
        assert (at > 0).all() and (at < 100).all() and (np.diff(at) > 0).all()
    assert ticks(scale_of([0.4, 12], True)) == [0.5, 1, 2, 5, 10]


def test_ticks_of_a_narrow_axis_are_told_apart(table):
    close = table[table.arch == "vgg19"].assign(robust=0.7 + 0.01 * table.robust)
    labels = re.findall(r"<text[^>]*>(0\.7\d+)</text>", to_svg(chart_spec(chart_front(close))))
    assert len(labels) == len(set(labels)) > 2


def test_the_renderer_needs_no_network_and_leaves_side_by_side_alone(drawn):
    import altair as alt

    before = alt.renderers.active
    try:
        enable_charts()
        shown = (drawn["clean"] | drawn["forest"])._repr_mimebundle_()
        shown = shown[0] if isinstance(shown, tuple) else shown
        assert set(shown) == {"text/html", "text/plain"} and "rc-chart" in shown["text/html"]
    finally:
        alt.renderers.enable(before)


def test_charts_by_condition_take_tables_too(tables):
    one = tables._replace(trials=tables.trials[tables.trials.arch == "vgg19"])
    one = one._replace(rows=tables.rows[tables.rows.key.isin(set(one.trials.key))])
    for chart in (chart_heat, chart_severity):
        assert chart(one).to_dict() == chart(by_condition(one)).to_dict()
        for wrong, said in ((None, "a table .pandas.DataFrame. is needed"), (summarise(one), "the table lacks")):
            with pytest.raises((TypeError, ValueError), match=said):
                chart(wrong)


def test_dressing_keeps_what_a_chart_configures():
    spec = dressed(dict(config=dict(axis=dict(grid=False), view=dict(continuousWidth=300))))
    assert spec["config"]["axis"] == dict(grid=False) and spec["config"]["view"] == dict(stroke=None)


def test_pictures_are_whole_or_absent(drawn, tmp_path):
    for end, magic in ((".svg", b"<svg"), (".png", b"\x89PNG"), (".pdf", b"%PDF")):
        assert save_chart(drawn["clean"], tmp_path / f"a{end}").read_bytes().startswith(magic)
    with pytest.raises(ValueError, match="allowed: .svg, .png, .pdf"):
        save_chart(drawn["clean"], tmp_path / "a.jpg")
    assert not list(tmp_path.glob("*.partial"))


def test_the_description_of_a_long_front_names_all_its_members():
    sizes = np.arange(1.0, 12)
    table = pd.DataFrame(dict(size_mb=sizes, robust=sizes / 20)).assign(recipe="int8", network="a", front=True)
    said = front_words(table.assign(seeds=1, failed=0), "size_mb", "robust")[2]
    assert said.count("int8 at ") == len(sizes)
