"""The explorer: its decisions as functions, and the widget in JupyterLab, driven in Chromium without network."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robcomp._text.numbers import points
from robcomp.explorer import FREE, Explorer, chart_explorer, explore, explorer_answer, sliders
from robcomp.limits import brushed_rows, budget
from robcomp.results import summarise
from robcomp.tables import Tables, example, find, join, read_tables, write_tables
from robcomp.seeds import recipe_comparisons, recipe_intervals
from robcomp.uncertainty import comparisons

ROOT = Path(__file__).resolve().parents[1]

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    table = summarise(example())
    return table[table["arch"] == "mobilenetv2"]


def test_a_slider_at_rest_excludes_nothing(table):
    assert budget(table, {name: slider.value for name, slider in sliders(table).items()}) == ""


def test_budget_and_brush_narrow_what_is_chosen(table):
    free = explorer_answer(table)
    assert free.choice.row["robust"] == table["robust"].max()
    limit = float(np.sort(table["size_mb"].unique())[2])
    tight = explorer_answer(table, dict(FREE, size_mb=limit))
    assert tight.choice.row["size_mb"] <= float(f"{limit:.4g}") and tight.choice.where.startswith("size_mb <= ")
    corner = explorer_answer(table, FREE, dict(size_mb=(0, limit)))
    assert set(corner.covered["key"]) == set(table.loc[table["size_mb"] <= limit, "key"])
    assert not explorer_answer(table, dict(FREE, clean=1.1)).choice


def test_a_brush_upside_down_is_the_same_brush(table):
    assert brushed_rows(table, dict(robust=(1, 0))).equals(brushed_rows(table, dict(robust=(0, 1))))


def test_each_chart_listens_to_its_brush(table):
    view = Explorer(table)
    before = view.chart.selections
    view.menus["y"].value = "clean"
    assert view.chart.selections is not before and view.chart.selections.has_trait("brush")
    assert "brush" in view.chart.selections._trait_notifiers, "the new selections are not observed"


def test_every_axis_that_is_offered_draws(table):
    for name, options in ((menu, Explorer(table).menus[menu].options) for menu in ("x", "y")):
        for _, column in options:
            assert chart_explorer(table, **{name: column}).to_dict()


SPREAD = dict(
    recipe=["dense", "int8", "cluster32", "prune0.7+tune1", "prune0.7+int8", "int2"],
    size_mb=[8, 4, 2, 1, 0.5, 0.25],
    clean=[0.93, 0.92, 0.91, 0.88, 0.8, 0.7],
    robust=[0.7, 0.69, 0.66, 0.6, 0.5, 0.4],
    worst=[0.6, 0.6, 0.5, 0.5, 0.4, 0.3],
    key=list("abcdef"),
    arch="small",
    dataset="spread",
)


FEW = "dense recal tune1 int8 int8+tune2 int4 cluster16 cluster8+recal cluster16+int8 prune0.5 prune0.9".split()


def few_recipes():
    """One seed of some recipes of a committed study, of which `prune0.9` does not work."""
    trials, rows, deals = read_tables(ROOT / "results" / "mobilenetv2-cifar10")
    trials = trials[trials.recipe.isin(FEW) & (trials.seed == 0)]
    return Tables(trials.reset_index(drop=True), rows[rows.key.isin(trials.key)].reset_index(drop=True), deals)


@pytest.fixture(scope="module")
def study():
    return few_recipes()


@pytest.fixture(scope="module")
def opened(study):
    return Explorer(study)


def test_it_opens_on_networks_that_work_and_counts_the_others(opened, study):
    whole = summarise(study)
    works = whole["works"].astype(bool)
    assert 0 < (~works).sum() and set(opened.seen["key"]) == set(whole.loc[works, "key"])
    assert f"the {(~works).sum()} that do not work" in opened.every.description and opened.every in opened.children
    opened.every.value = True
    assert len(opened.seen) == len(whole) and opened.found.choice
    opened.every.value = False


def test_points_have_the_intervals_of_the_package(opened):
    spec = opened.chart.chart.to_dict()
    data = spec["datasets"][spec["data"]["name"]]
    bounds = opened.evidence.bounds.query("measure == 'robust'").set_index("key")
    assert data
    for row in data:
        assert row["low"] == pytest.approx(bounds["low"][row["key"]], abs=1e-5)
        assert row["low"] <= row["robust"] <= row["high"]


def test_two_recipes_are_compared_on_the_same_images(opened, study):
    names = opened.pair["b"].options
    opened.pair["a"].value, opened.pair["b"].value = names["int8"], names["cluster16"]
    pair = find(study.trials, "int8"), find(study.trials, "cluster16")
    row = comparisons(study, [pair], draws=opened.evidence.drawn).iloc[0]
    said = f"int8 against cluster16: robust accuracy {points(row)}, {row['verdict']}"
    assert opened.compared.value.startswith(said) and "for int8, cluster16" in opened.profile.chart.description
    opened.pair["a"].value, opened.pair["b"].value = "", names["dense"]
    assert opened.compared.value.startswith(opened.recipe.value)


def test_a_chosen_dense_network_is_not_compared_with_itself(opened):
    """As an explorer opens where no file is better than dense: the next one is held against it."""
    opened.pair["a"].value, opened.pair["b"].value = "", opened.found.choice.row["key"]
    chosen, following = opened.found.choice.candidates["recipe"][:2]
    assert opened.compared.value.startswith(f"{following} against {chosen}: robust accuracy ")
    opened.pair["b"].value = opened.pair["b"].options["dense"]


# ---- several seeds ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def three():
    """Three seeds of every recipe; of int8 on MobileNetV2 the second failed."""
    tables = join(*(example(seed=seed) for seed in range(3)))
    trials = tables.trials
    lost = (trials["recipe"] == "int8") & (trials["seed"] == 1) & (trials["arch"] == "mobilenetv2")
    trials = trials.assign(status=trials["status"].mask(lost, "failed"), error=trials["error"].mask(lost, "no memory"))
    return tables._replace(trials=trials, rows=tables.rows[~tables.rows["key"].isin(trials["key"][lost])])


@pytest.fixture(scope="module")
def several(three):
    return Explorer(three)


def test_points_are_recipes_with_the_intervals_over_images_and_seeds(several, three):
    spec = several.chart.chart.to_dict()
    data = {row["recipe"]: row for row in spec["datasets"][spec["data"]["name"]]}
    bounds = recipe_intervals(several.evidence.drawn).query("measure == 'robust'").set_index("key")
    assert len(data) == 12 and data["int8"]["seeds"] == 2 and data["int8"]["failed"] == 1
    for row in data.values():
        assert [row["low"], row["high"]] == pytest.approx(list(bounds.loc[row["key"], ["low", "high"]]), abs=1e-5)
    own = summarise(three).query("arch == 'mobilenetv2' and recipe == 'int4'")
    assert data["int4"]["robust"] == pytest.approx(own["robust"].mean(), abs=1e-5)
    assert data["int4"]["each"].count("(seed ") == 3


def test_the_chosen_recipe_opens_into_its_seeds(several):
    chosen = several.recipe.value
    assert f"The 3 seeds of {chosen}</summary>" in several.seeds.value and several.seeds.value.count("<tr>") == 4
    assert "mean of 3 seeds" in several.words.value and " 3 seeds, robust accuracy 0." in several.words.value
    several.ranges = dict(size_mb=(2, 2.1))  # int8 alone
    several.update()
    assert several.recipe.value == "int8" and "; 1 failed." in several.words.value
    assert "no memory" in several.seeds.value and ">seeds</th>" in several.rows.value
    several.ranges = {}
    several.update()


def test_recipes_are_compared_over_images_and_seeds(several):
    names = several.pair["b"].options
    several.pair["a"].value, several.pair["b"].value = names["int8"], names["cluster16"]
    row = recipe_comparisons(
        several.evidence.tables, [(names["int8"], names["cluster16"])], draws=several.evidence.drawn
    ).iloc[0]
    assert several.compared.value.startswith(f"int8 against cluster16: robust accuracy {points(row)}, {row['verdict']}")
    assert several.compared.value.endswith("Intervals over images and, for what was trained, seeds (2 and 3 seeds).")
    several.pair["a"].value, several.pair["b"].value = "", names["dense"]


def test_with_one_seed_nothing_is_opened(opened):
    assert opened.seeds.value == "" and "seeds" not in opened.seen
    assert opened.compared.value.endswith("Variation between seeds is not in these intervals (one seed each).")


CELL = f"""import pandas as pd
from robcomp.explorer import explore
table = pd.DataFrame({SPREAD!r})
explore(table)"""
STUDY = """from robcomp.explorer import explore
from robcomp.tables import read_tables
explore(read_tables("tables"))"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own: own settings, own workspaces, a free port, no news."""
    home = tmp_path_factory.mktemp("lab")
    kernel = dict(kernelspec=dict(display_name="Python 3 (ipykernel)", language="python", name="python3"))
    write_tables(few_recipes(), home / "work" / "tables")
    for name, source in dict(explore=CELL, study=STUDY).items():
        cells = [dict(cell_type="code", metadata={}, source=source, execution_count=None, outputs=[], id=name)]
        notebook = dict(cells=cells, metadata=kernel, nbformat=4, nbformat_minor=5)
        (home / "work" / f"{name}.ipynb").write_text(json.dumps(notebook))
    quiet = home / "config" / "labconfig" / "default_setting_overrides.json"
    quiet.parent.mkdir(parents=True)
    news = dict(fetchNews="false", checkForUpdates=False)
    quiet.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": news}))
    places = dict(
        JUPYTER_CONFIG_DIR="config",
        JUPYTER_DATA_DIR="data",
        JUPYTERLAB_SETTINGS_DIR="settings",
        JUPYTERLAB_WORKSPACES_DIR="workspaces",
        IPYTHONDIR="ipython",
        JUPYTER_RUNTIME_DIR="runtime",
    )
    env = os.environ | {name: str(home / place) for name, place in places.items()}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = open(home / "log.txt", "w")
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        "--no-browser",
        f"--port={port}",
        "--ip=127.0.0.1",
        "--IdentityProvider.token=",
        "--allow-root",
        f"--ServerApp.root_dir={home / 'work'}",
    ]
    server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=2).close()
            except OSError:
                time.sleep(0.5)
            else:
                break
        else:
            pytest.fail("JupyterLab did not start:\n" + (home / "log.txt").read_text()[-2000:])
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def drag(page, box, start, end):
    """Draw a rectangle in the chart; both corners in fractions of it."""
    (x0, y0), (x1, y1) = ((box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2, steps=4)
    page.mouse.move(x1, y1, steps=4)
    page.mouse.up()


def run_all(page, address):
    """Open a notebook and run its cells."""
    page.goto(f"{address}?reset")  # without the notebooks that were open before
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM} (apt-get install chromium)")
def test_in_jupyterlab(lab, tmp_path):
    """A summary: sliders, brush and menus; then a study: networks that work, intervals, profile and comparison."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    requests, errors = [], []
    shots = Path(os.environ.get("ROBCOMP_SHOTS", tmp_path))
    with sync_api.sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=str(CHROMIUM),
            headless=True,
            args=FLAGS,
            viewport=dict(width=1280, height=1150),
        )
        page = context.pages[0]
        page.set_default_timeout(60_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        run_all(page, f"{lab}/lab/tree/explore.ipynb")
        chart, menus = page.locator(".jp-OutputArea-output svg.marks").first, page.locator(".widget-dropdown select")
        recipe, rows = page.locator(".widget-text input[type=text]").first, page.locator("table.rc tbody tr")
        chart.wait_for()
        sync_api.expect(recipe).to_have_value("dense")
        page.screenshot(path=shots / "explorer-start.png")

        page.locator(".widget-slider .widget-readout").first.click()
        page.keyboard.press("Control+a")
        page.keyboard.type("2.1")
        page.keyboard.press("Enter")
        sync_api.expect(recipe).to_have_value("cluster32")
        page.get_by_text("size_mb <= 2.").wait_for()
        page.screenshot(path=shots / "explorer-slider.png")

        drag(page, chart.bounding_box(), (0.12, 0.3), (0.95, 0.89))
        sync_api.expect(recipe).to_have_value("prune0.7+tune1")
        sync_api.expect(rows).to_have_count(3)
        page.screenshot(path=shots / "explorer-brush.png")

        menus.nth(1).select_option("clean accuracy")
        page.get_by_text("Draw a rectangle in the chart").wait_for()
        sync_api.expect(recipe).to_have_value("cluster32")
        page.wait_for_timeout(500)
        drag(page, chart.bounding_box(), (0.12, 0.4), (0.95, 0.89))
        sync_api.expect(rows).to_have_count(2)
        sync_api.expect(recipe).to_have_value("prune0.7+int8")
        page.screenshot(path=shots / "explorer-axis.png")

        page.set_viewport_size(dict(width=1280, height=2200))
        run_all(page, f"{lab}/lab/tree/study.ipynb")
        charts = page.locator(".jp-OutputArea-output svg.marks")
        page.get_by_text(re.compile("against dense: robust accuracy")).wait_for()
        sync_api.expect(charts).to_have_count(2)
        count = charts.first.locator(".mark-symbol path").count()
        assert charts.first.locator(".mark-rule line").count() >= 5, "intervals are drawn"
        page.screenshot(path=shots / "explorer-study.png")
        page.get_by_text("that do not work, too").click()
        shown = "document.querySelectorAll('.jp-OutputArea-output svg.marks')[0].querySelectorAll('.mark-symbol path')"
        page.wait_for_function(f"{shown}.length > {count}")
        page.wait_for_timeout(1000)  # the menus are made anew with the chart
        page.locator(".widget-dropdown select").last.select_option("cluster16+int8")
        page.get_by_text(re.compile(r"against cluster16\+int8: robust accuracy")).wait_for()
        page.screenshot(path=shots / "explorer-compare.png")
        context.close()
    inside = (lab, lab.replace("http", "ws"), "data:", "blob:")
    outside = [url for url in requests if not url.startswith(inside)]
    assert not outside, f"requests to the network: {outside[:5]}"
    assert not errors, f"errors in the console: {errors[:5]}"


def test_a_study_without_a_good_trial_is_one_line():
    given = example()
    failed = given.trials.assign(status="failed", error="ValueError: no such layer")
    tables = given._replace(trials=failed, rows=given.rows.iloc[:0])
    for study in (tables, summarise(tables)):
        with pytest.raises(ValueError, match="^no trial ended well, so there is nothing to explore.*no such layer$"):
            explore(study)
