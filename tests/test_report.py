"""Reports: one file without network, and tables as papers want them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from robcomp._display.page import html_table, studies_read
from robcomp._text import numbers
from robcomp.charts import chart_heat
from robcomp.chart_tables import by_condition
from robcomp.choice import choose
from robcomp.report import to_latex, to_markdown, write_report
from robcomp.results import summarise
from robcomp.tables import Tables, example, join
from robcomp.replicates import by_recipe

SMALL = pd.DataFrame(
    dict(
        recipe=["dense", "prune0.5:2of4+int8"],
        clean=[0.9541, 0.9],
        robust=[0.8293, float("nan")],
        worst=[0.655, 0.5],
        size_mb=[8.457, 0.891],
        compression_ratio=[1.074, 10.19],
    )
)


def test_markdown():
    assert to_markdown(SMALL) == (
        "| recipe | clean | robust | worst | MB | times smaller |\n"
        "| :-- | --: | --: | --: | --: | --: |\n"
        "| `dense` | 0.954 | 0.829 | 0.655 | 8.46 | 1.1 |\n"
        "| `prune0.5:2of4+int8` | 0.900 | – | 0.500 | 0.891 | 10.2 |\n"
    )


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("clean", 0.9, "0.900"),
        ("sparsity", 0.5, "0.500"),
        ("size_mb", 8.4, "8.40"),
        ("size_mb", 0.01234, "0.0123"),
        ("size_mb", 80.12, "80.1"),
        ("size_mb", 1234.0, "1234"),
        ("size_mb", 9.996, "10.0"),
        ("compression_ratio", 13.06, "13.1"),
        ("robust_vs_dense", 0.0051, "+0.5"),
        ("robust_vs_control", -0.0004, "0.0"),
        ("change", -0.123, "-12.3"),
        ("latency_s", 0.00414, "4.14"),
        ("macs", 1234567, "1,234,567"),
        ("seeds", 3, "3"),
        ("robust", float("nan"), "–"),
        ("worst_corruption", "snow", "snow"),
    ],
)
def test_one_format_for_a_number_in_every_table(name, value, text):
    assert numbers.cell(name, value) == text
    table = pd.DataFrame({"key": ["a"], name: [value]})
    assert f">{text}<" in html_table(table, columns=[name]) and f"| {text} |" in to_markdown(table, [name])


def test_numbers_in_sentences():
    row = pd.Series(dict(difference=0.0051, low=-0.001, high=0.0123))
    assert numbers.points(row) == "+0.5 points (-0.1 to +1.2)" and numbers.percent(0.95) == "95 %"
    assert numbers.percent(0.9114, 1) == "91.1 %" and numbers.times(13.06) == "13.1"
    assert numbers.interval_in_points(-0.0004, -0.016, 0.0002) == "0.0 (-1.6 to 0.0)", "a zero with a sign"
    assert numbers.points(pd.Series(dict(value=0.0003, low=-0.001, high=-0.0002))) == "0.0 points (-0.1 to 0.0)"
    assert numbers.percent_interval(0.0219, 0.014, 0.0341) == "2.2 % (1.4 to 3.4 %)"
    assert numbers.percent_interval(0.0, -1e-17, 0.044) == "0.0 % (0.0 to 4.4 %)"
    assert [numbers.p_value(p) for p in (9.3e-7, 0.031, 1.0)] == ["p < 0.001", "p = 0.031", "p = 1.000"]


def test_latex():
    table = SMALL.assign(worst_corruption="snow_50%")
    assert to_latex(table, ["recipe", "clean", "robust", "worst_corruption"]) == "\n".join(
        [
            r"\begin{tabular}{lrrl}",
            r"\toprule",
            r"recipe & clean & robust & worst corruption \\",
            r"\midrule",
            r"\texttt{dense} & 0.954 & 0.829 & snow\_50\% \\",
            r"\texttt{prune0.5:2of4+int8} & 0.900 & -- & snow\_50\% \\",
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


class Outline(HTMLParser):
    """Tags that are opened and closed, and what they refer to."""

    def __init__(self):
        super().__init__()
        self.open, self.bad, self.refers, self.seen = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.refers += [value for name, value in attributes if name in ("src", "href", "srcset")]
        if tag == "img" and not dict(attributes).get("alt"):
            self.bad.append("img without alt")
        if tag not in ("meta", "img", "br", "link", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.bad.append(tag)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    tables = example()
    choice = choose(summarise(tables), where="size_mb <= 2 and robust >= 0.8", best="clean")
    return write_report(tables, tmp_path_factory.mktemp("report") / "new", choice=choice, draws=50)


def test_the_name_of_a_file_is_no_folder(tmp_path):
    with pytest.raises(ValueError, match="would be a folder: pass the folder, and name='mine.html'"):
        write_report(example(), tmp_path / "mine.html")
    assert not list(tmp_path.iterdir())


def test_a_report_is_whole_and_refers_to_nothing_outside(page):
    text, outline = page.read_text(), Outline()
    outline.feed(text)
    assert not outline.open and not outline.bad
    assert all(value.startswith("data:") for value in outline.refers)
    assert outline.seen.count("h1") == 1 and "main" in outline.seen and outline.seen.count("img") == 8
    assert "<code>size_mb &lt;= 2 and robust &gt;= 0.8</code>" in text
    assert not list(page.parent.glob("*.partial"))


def test_nothing_chosen_and_failures_are_said(tmp_path):
    tables = example()
    trials = tables.trials.copy()
    last = trials.index[-1]
    trials.loc[last, ["status", "error"]] = ["failed", "a <b> is no layer"]
    tables = tables._replace(trials=trials, rows=tables.rows[tables.rows["key"] != trials["key"][last]])
    choice = choose(summarise(tables), where="robust >= 1", best="clean")
    text = write_report(tables, tmp_path, choice=choice, draws=50).read_text()
    assert "Nothing satisfies" in text and "a &lt;b&gt; is no layer" in text


@pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="needs /usr/bin/chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 390])
def test_charts_come_alive_without_network(page, width):
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    requests, errors = [], []
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path="/usr/bin/chromium", headless=True, args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport=dict(width=width, height=900))
        tab.on("request", lambda request: requests.append(request.url))
        noisy = ("error", "warning")
        tab.on("console", lambda message: errors.append(message.text) if message.type in noisy else None)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(page.as_uri())
        sync_api.expect(tab.locator(".rc-chart svg.marks")).to_have_count(8, timeout=30_000)
        assert tab.locator(".rc-chart > img").count() == 0
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the screen"
        dot = tab.locator(".rc-chart").first.locator("path[aria-roledescription=point]").first
        dot.hover()
        sync_api.expect(tab.locator("#vg-tooltip-element")).to_contain_text("recipe")
        browser.close()
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()] and not errors
    assert re.search("<title>.+</title>", page.read_text())


def test_a_study_without_its_dense_network_has_a_report(tmp_path):
    tables = example()
    keys = tables.trials[tables.trials.recipe != "dense"].key
    part = Tables(tables.trials[tables.trials.key.isin(keys)], tables.rows[tables.rows.key.isin(keys)], tables.deals)
    page = write_report(part, tmp_path).read_text(encoding="utf-8")
    assert "By corruption" in page and "By severity" in page
    conditions = by_condition(part).query("arch == 'vgg19'")
    with pytest.raises(ValueError, match="no change is known"):
        chart_heat(conditions, value="change")


# ---- several seeds ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def three():
    """Three seeds of every recipe; of int8 on VGG-19 the second failed."""
    tables = join(*(example(seed=seed) for seed in range(3)))
    trials = tables.trials
    lost = (trials["recipe"] == "int8") & (trials["seed"] == 1) & (trials["arch"] == "vgg19")
    trials = trials.assign(status=trials["status"].mask(lost, "failed"), error=trials["error"].mask(lost, "no memory"))
    return tables._replace(trials=trials, rows=tables.rows[~tables.rows["key"].isin(trials["key"][lost])])


def test_a_report_has_a_row_a_recipe_and_opens_it_into_its_seeds(three, tmp_path):
    text = write_report(three, tmp_path, draws=100).read_text()
    recipes = by_recipe(summarise(three)).query("arch == 'vgg19'").set_index("recipe")
    assert "72 trials of mobilenetv2 on simulated, vgg19 on simulated. 24 recipes. A point is the mean" in text
    fronts = re.findall(r"<section><h2>Front: (.*?)</section>", text, re.S)
    assert len(fronts) == 2 and all(front.count("<details") == 1 for front in fronts)
    table, _, opened = fronts[1].partition("<details")
    names = re.findall(r"<tr><td class=\"word\"><code>(.*?)</code>", table)
    assert len(names) == len(set(names)) and f"<td>{recipes.loc[names[0], 'robust']:.3f}</td>" in table
    assert opened.count("<code>") == sum(recipes.loc[name, "seeds"] + recipes.loc[name, "failed"] for name in names)
    assert "1 failed seed is not in the means" in text
    assert "<code>int8</code> (vgg19, seed 1): no memory" in text


def test_with_one_seed_a_report_has_no_seeds_to_open(page):
    text = page.read_text().partition("<script>")[0]
    assert 'class="rc-seeds"' not in text and ">seeds</th>" not in text and "24 trials of mobilenetv2" in text


@pytest.mark.parametrize(
    "folders, said",
    [
        ([], "**simulated outcomes**"),
        (["a/one"], "`one`"),
        (["one", Path("b/two"), "c/three"], "`one`, `two` and `three`"),
    ],
)
def test_studies_that_a_page_reads_are_named_as_in_a_sentence(folders, said):
    assert studies_read(folders).split(", which")[0] == said


def test_a_choice_among_networks_that_guess_is_doubted_in_the_report(tmp_path):
    tables = example()
    rows = tables.rows.assign(correct=tables.rows["correct"].where(tables.rows["corruption"] != "clean", 0))
    said = "dense vgg19 classifies 0.000 of clean images correctly, no more than guessing"
    page = write_report(tables._replace(rows=rows), tmp_path, choice=choose(tables), draws=20).read_text()
    assert said in page and page.index(said) < page.index("Ship ")
    assert "no more than guessing" not in write_report(tables, tmp_path, draws=20).read_text()
