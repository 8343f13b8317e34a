"""The analysis pages: what they are made of, and that each runs on whole tables, on poor ones and on none."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import altair as alt
import IPython.display
import numpy as np
import pandas as pd
import pytest
from IPython.display import Markdown
from scipy.stats import false_discovery_control

from robcomp.charts import notebook_bundle
from robcomp.claims import CLAIMS, published, from_contrasts, from_figure, outcome_of_tests, verdict, verdicts
from robcomp.contrasts import (
    by_class,
    by_network,
    condition_weights,
    contrasts,
    named_outcomes,
    profile,
    signed,
    with_means,
)
from robcomp.results import summarise
from robcomp.tables import example, join, Tables, write_tables
from robcomp.schema import GROUPS, STANDARD
from robcomp.selection import holm

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "nbs" / "analysis").glob("*.ipynb"))


@pytest.fixture(scope="module")
def tables():
    return example()


@pytest.fixture(scope="module")
def vgg(tables):
    return by_network(tables)["vgg19 on simulated"]


@pytest.fixture(scope="module")
def measured(vgg):
    return profile(named_outcomes(vgg), dataset="simulated", draws=400)


def only(tables, recipes):
    trials = tables.trials[tables.trials.recipe.isin(recipes)]
    return Tables(trials, tables.rows[tables.rows.key.isin(trials.key)], tables.deals)


# ---- contrasts -------------------------------------------------------------------------------------------------------


def test_profile_agrees_with_the_summary(measured, vgg):
    table = summarise(vgg).set_index("recipe").loc[measured.names]
    assert np.allclose(measured.point @ condition_weights("robust", measured.parts), table.robust)
    assert np.allclose(measured.point @ condition_weights("clean - robust", measured.parts), table["drop"])
    assert np.allclose(measured.values.mean(0), measured.point, atol=0.02)


def test_contrasts_are_linear(measured):
    found = contrasts(
        measured,
        [
            ("int4 - int8", "robust"),
            ("int8 - dense", "robust"),
            ("int4 - dense", "robust"),
            ("int4 - int4", "noise"),
            *(("int4 - dense", group) for group in GROUPS),
        ],
    ).value
    assert abs(found[0] + found[1] - found[2]) < 1e-12 and found[3] == 0
    assert (
        abs(sum(found[4 + at] * len(part) for at, part in enumerate(GROUPS.values())) / len(STANDARD) - found[2])
        < 1e-12
    )


def test_identical_networks_have_no_difference(vgg):
    hits = named_outcomes(vgg)[["dense"]].assign(same=lambda table: table["dense"])
    row = contrasts(profile(hits, draws=200), [("same - dense", "robust")]).iloc[0]
    assert (
        row[["value", "low", "high", "low_all", "high_all"]] == 0
    ).all() and row.verdict == row.verdict_all == "undecided"


def test_missing_recipes_keep_their_rows(measured):
    found = contrasts(measured, [("int2 - prune0.1", "robust"), ("int4 - dense", "robust")])
    assert (
        found.missing.tolist() == ["int2, prune0.1", ""]
        and found.verdict_all[0] == "missing"
        and np.isnan(found.low_all[0])
    )
    alone = contrasts(measured, [("int4 - dense", "robust")])
    assert np.allclose(found.loc[1, "low_all"], alone.loc[0, "low_all"]), "a missing question widens the others"
    assert contrasts(measured, []).empty and list(contrasts(measured, []).columns) == list(found.columns)


@pytest.mark.parametrize(
    "text, weights",
    [
        ("a", dict(a=1)),
        ("a - b", dict(a=1, b=-1)),
        ("prune0.5+int8 - int8 + dense", {"prune0.5+int8": 1, "int8": -1, "dense": 1}),
        ("vgg19 int8 - vgg19 dense", {"vgg19 int8": 1, "vgg19 dense": -1}),
        ("a + a - b", dict(a=2, b=-1)),
        ("a - a", dict(a=0)),
    ],
)
def test_signed(text, weights):
    assert signed(text) == weights


def test_seeds_are_averaged(vgg):
    again = Tables(
        vgg.trials.assign(seed=1, key="x" + vgg.trials.key), vgg.rows.assign(key="x" + vgg.rows.key), vgg.deals
    )
    one, two = named_outcomes(vgg), named_outcomes(join(vgg, again))
    assert (one[two.columns].astype(np.float32) == two).all(axis=None)


def test_classes_hold_the_same_outcomes(vgg):
    hits = named_outcomes(vgg).loc[["clean"]]
    means = profile(by_class(hits), draws=50)
    assert means.parts == [f"class_{label}" for label in range(10)]
    direct = hits["int4"].groupby(level="label").mean()
    assert np.allclose(means.point[means.names.index("int4")], direct)


def test_means(measured):
    means = with_means(measured, dict(pair=["int8", "int4"], none=[]))
    assert means.names[-1] == "pair" and np.allclose(
        means.values[:, -1], measured.values[:, [measured.names.index(name) for name in ("int8", "int4")]].mean(1)
    )


def test_holm_is_between_bonferroni_and_benjamini():
    p = np.random.default_rng(0).uniform(0, 0.2, 40)
    adjusted = holm(p)
    assert (adjusted <= np.minimum(p * 40, 1) + 1e-12).all() and (adjusted >= false_discovery_control(p) - 1e-12).all()
    assert (np.argsort(adjusted, kind="stable")[:3] == np.argsort(p)[:3]).all()


# ---- claims ----------------------------------------------------------------------------------------------------------


def figures(*intervals, expected="above"):
    return pd.concat(
        [from_figure("C1a", f"t{at}", (sum(ends) / 2, *ends), expected) for at, ends in enumerate(intervals)],
        ignore_index=True,
    )


UP, DOWN, OPEN, NONE = (0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (np.nan, np.nan)


@pytest.mark.parametrize(
    "intervals, all_, most, some",
    [
        ([UP, UP, UP], "supported", "supported", "supported"),
        ([UP, UP, OPEN], "undecided", "supported", "supported"),
        ([UP, UP, DOWN], "contradicted", "supported", "supported"),
        ([UP, DOWN], "contradicted", "undecided", "supported"),
        ([UP, DOWN, DOWN], "contradicted", "contradicted", "supported"),
        ([DOWN, DOWN], "contradicted", "contradicted", "contradicted"),
        ([OPEN, OPEN, DOWN], "contradicted", "undecided", "undecided"),
        ([OPEN], "undecided", "undecided", "undecided"),
        ([NONE], "not testable", "not testable", "not testable"),
        ([NONE, UP], "supported", "supported", "supported"),
        ([], "not testable", "not testable", "not testable"),
    ],
)
def test_the_rule(intervals, all_, most, some):
    tests = figures(*intervals) if intervals else figures(UP)[:0]
    assert [verdict(tests, need).verdict for need in ("all", "most", "some")] == [all_, most, some]
    turned = figures(*[(-high, -low) for low, high in intervals], expected="below") if intervals else tests
    assert [verdict(turned, need).verdict for need in ("all", "most", "some")] == [all_, most, some]


def test_the_deciding_test_bears_the_verdict_out():
    rng = np.random.default_rng(0)
    for _ in range(30):
        middles = rng.normal(0, 0.2, rng.integers(1, 8))
        tests = figures(*[(middle - width, middle + width) for middle, width in zip(middles, rng.uniform(0, 0.3, 8))])
        for need in ("all", "most", "some"):
            found = verdict(tests, need)
            if found.verdict == "supported":
                assert found.low > 0
            if found.verdict == "contradicted":
                assert found.high < 0
            if found.verdict == "undecided":
                assert need == "most" or found.low < 0 < found.high


def test_a_bound_itself_decides_nothing():
    assert outcome_of_tests(figures((0, 0))).tolist() == ["open"]


def test_every_claim_has_its_row(measured):
    tests = [
        from_contrasts("C5a", measured, [("int4 - dense", "robust")], "below", network="vgg19"),
        from_contrasts("C5b", measured, [("int2 - int4", "robust")], "below", network="vgg19"),
    ]
    table = verdicts(tests, reasons=dict(C6="why not"))
    assert list(table.claim) == list(CLAIMS.claim)
    known = table.set_index("claim")
    assert (
        known.verdict["C5a"] == "supported"
        and known.verdict["C5b"] == "not testable"
        and known.why["C5b"] == "not in the study: int2"
        and known.why["C6"] == "why not"
    )
    assert (verdicts([]).verdict == "not testable").all()


def test_published_figures():
    for dataset in ("cifar10", "cifar100"):
        table = published(dataset)
        assert (
            table.name.is_unique
            and ((table.robust < table.clean) & (table.robust > 0.5)).all()
            and (table.compressed != "").sum() == 3
        )
        assert table.robust.is_monotonic_decreasing
    assert published("digits").empty and list(published("digits")) == list(table)


# ---- pages -----------------------------------------------------------------------------------------------------------


def run_page(path, monkeypatch, *, draw=lambda spec: spec, **given):
    """Everything that a page shows, with some parameters replaced; `draw` turns the specs of its charts into what is
    shown."""
    shown, space = [], {}
    show = lambda *things: shown.extend(
        draw(thing.to_dict()) if isinstance(thing, alt.TopLevelMixin) else thing for thing in things
    )
    monkeypatch.setattr(IPython.display, "display", show)
    monkeypatch.chdir(path.parent)
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        body = ast.parse("".join(cell["source"])).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), path.name, "exec"), space)
        if "parameters" in cell["metadata"].get("tags", ()):
            space.update(given)
        value = eval(compile(ast.Expression(last.value), path.name, "eval"), space) if last else None
        if value is not None:
            show(value)
    return shown


def said(shown):
    return "\n".join(thing.data if isinstance(thing, Markdown) else str(thing) for thing in shown)


def where(*folders):
    """The parameters that let a page read these folders."""
    return dict(results=list(map(str, folders)), otherwise="/nowhere", draws=40)


@pytest.fixture(scope="module")
def poor(tables, tmp_path_factory):
    """Folders with few recipes: dense and one more, and one recipe without its dense network."""
    folder = tmp_path_factory.mktemp("poor")
    one = by_network(tables)["mobilenetv2 on simulated"]
    for name, recipes in dict(few=["dense", "prune0.5"], orphan=["int8"]).items():
        write_tables(only(one, recipes), folder / name)
    foreign = only(one, ["dense", "prune0.5", "int8", "int8+tune1", "tune1"])
    write_tables(
        foreign._replace(trials=foreign.trials.assign(recipe=foreign.trials.recipe.replace("int8", "elsewhere:ort"))),
        folder / "foreign",
    )
    return folder


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_run_on_the_committed_table(path, monkeypatch):
    text = said(run_page(path, monkeypatch, draw=notebook_bundle, **where(ROOT / "results" / "digits")))
    assert "digits" in text and "nan" not in text.replace("dominant", "") and "simulated" not in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_run_on_few_recipes(path, poor, monkeypatch):
    text = said(run_page(path, monkeypatch, **where(poor / "few")))
    assert "`few`" in text and not re.search(r"\bnan\b", text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_run_without_a_dense_network(path, poor, monkeypatch):
    assert "`orphan`" in said(run_page(path, monkeypatch, **where(poor / "orphan")))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_run_beside_a_model_of_another_tool(path, poor, monkeypatch):
    assert "`foreign`" in said(run_page(path, monkeypatch, **where(poor / "foreign")))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_say_when_nothing_was_measured(path, monkeypatch):
    text = said(run_page(path, monkeypatch, **where()))
    assert "**simulated outcomes**" in text and "mobilenetv2" in text and "vgg19" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_committed_pages_show_what_they_computed(path):
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert any(cell["outputs"] for cell in code) and not any(
        output["output_type"] == "error" for cell in code for output in cell["outputs"]
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_committed_pages_write_numbers_in_one_format(path):
    """Differences in points (+0.5), shares as 0.911 or 95 %, no exponent, no sign at a zero, intervals as a to b."""
    cells = json.loads(path.read_text())["cells"]
    found = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    texts = ["".join(data.get("text/markdown", "")) for data in found]
    pages = [re.sub(r'<div class="rc-chart".*', "", "".join(data.get("text/html", "")), flags=re.S) for data in found]
    texts += [re.sub("<[^>]+>", " ", page) for page in pages]
    text = re.sub("`[^`]+`", "", "\n".join(texts))
    wrong = re.findall(r"\S*(?:[+-]0\.\d{3}\b|[+-]0\.0\b|\d[eE][-+]\d\d|[+-]\d+\.\d, [+-]\d+\.\d\)).{0,20}", text)
    assert not wrong, f"{path.name}: {wrong[:5]}"


@pytest.mark.parametrize("name", ["tradeoffs", "combinations", "claims", "choosing", "corruptions"])
def test_pages_take_recipes_with_one_seed_and_with_several(name, tmp_path, monkeypatch):
    three = join(*(example(seed=seed) for seed in range(3)))
    kept = three.trials[(three.trials.seed == 0) | three.trials.recipe.isin(["dense", "int4", "prune0.5+tune1"])]
    write_tables(Tables(kept, three.rows[three.rows.key.isin(kept.key)], three.deals), tmp_path / "seeds")
    shown = run_page(ROOT / f"nbs/analysis/{name}.ipynb", monkeypatch, **where(tmp_path / "seeds"))
    assert said(shown).count("| 12 | 12 | 3 (3 seeds) |") == 2, "a line for each of the two networks"


def lead(name, folder, monkeypatch):
    """The sentences at the top of a page on one folder, and its table."""
    found = run_page(ROOT / f"nbs/analysis/{name}.ipynb", monkeypatch, **where(folder))[-1]
    return "\n".join(found.sentences), found.table.iloc[0]


def renamed(tables, names, folder):
    """One simulated network, of which some recipes take the place of others."""
    one = by_network(tables)["vgg19 on simulated"]
    own = only(one, ["dense", *names])
    write_tables(own._replace(trials=own.trials.assign(recipe=own.trials.recipe.replace(names))), folder)
    return folder


def test_clustering_before_a_quantization_is_counted_apart(tables, tmp_path, monkeypatch):
    names = {one: one for one in ("cluster16", "int8", "cluster16+int8", "prune0.5")}
    names |= {"int8+prune0.5": "prune0.5+int8", "prune0.9+tune1": "int8+cluster16"}
    sentences, _ = lead("combinations", renamed(tables, names, tmp_path / "ahead"), monkeypatch)
    quantize = int(re.search(r"quantization in \d+ of (\d+) comparisons", sentences)[1])
    assert quantize == 2  # int8 added to dense and to prune0.5, and not to cluster16
    assert "Counted separately: 2 comparisons of one stage more (" in sentences and "and 2 combinations." in sentences
    assert "of 1 comparison the loss" in sentences and "`cluster16` with `int8`" not in sentences


def test_training_is_no_cost_of_a_technique(tables, tmp_path, monkeypatch):
    """A recipe that does what its control does loses nothing, however far both are from dense."""
    own = only(by_network(tables)["vgg19 on simulated"], ["dense", "int8"])
    changed = own.trials[own.trials.recipe == "int8"]
    twin = changed.assign(recipe="int8+tune1", key="twin")
    rows = own.rows[own.rows.key.isin(changed.key)].assign(key="twin")
    trials = own.trials.assign(recipe=own.trials.recipe.replace("int8", "tune1"))
    folder = tmp_path / "control"
    write_tables(Tables(pd.concat([trials, twin]), pd.concat([own.rows, rows]), own.deals), folder)
    sentences, row = lead("corruptions", folder, monkeypatch)
    assert "the loss there is significant on 0 of 1." in sentences and row["points (interval)"].startswith("0.0")
    assert not row["most against dense"].endswith(" 0.0")
    text = said(run_page(ROOT / "nbs/analysis/forgotten.ipynb", monkeypatch, **where(folder)))
    assert "corrupted images, against equal training: significantly more than the mean class lose: no class;" in text
