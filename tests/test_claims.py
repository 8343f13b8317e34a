"""Claims and hypotheses: combinations at equal training, and a page whose tests rest on what a table holds."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robcomp.claims import from_figure, verdict
from robcomp.contrasts import by_network, recipe_profile
from robcomp.hypotheses import at_equal_training, combined, own_tests, robust_gap, pairs_of_kinds
from robcomp.results import summarise, training_alone
from robcomp.tables import example, write_tables
from robcomp.uncertainty import compare
from test_analysis import run_page, said, where

PAGE = Path(__file__).parents[1] / "nbs/analysis/claims.ipynb"


@pytest.fixture(scope="module")
def vgg():
    return by_network(example())["vgg19 on simulated"]


@pytest.fixture(scope="module")
def drawn(vgg):
    return partial(robust_gap, recipe_profile(vgg, draws=400), vgg.trials.set_index("key").recipe)


def test_paired_is_the_comparison_of_the_two_trials(vgg, drawn):
    keys = vgg.trials.set_index("recipe").key
    known = compare(vgg, keys["int4"], keys["int8"], draws=400)
    found = drawn((keys["int4"], keys["int8"]))
    assert np.isclose(found[0], known.difference) and np.allclose(found[1:3], [known.low, known.high], atol=0.003)
    assert found[3:] == (1, "left out")
    wide = drawn((keys["int4"], keys["int8"]), level=0.999)
    assert wide[1] < found[1] and wide[2] > found[2]


def test_pairs_have_the_same_training_and_intervals_allow_for_all_pairs(vgg, drawn):
    levels = []

    def asked(pair, level):
        levels.append(level)
        return drawn(pair, level)

    table = summarise(vgg)
    tests = pd.concat(at_equal_training(table, [2, 4, 6], asked, "ours"))
    for text in tests.test:
        a, b = text.split(", ")[0].split(" - ")
        assert training_alone(a) == training_alone(b) and combined(a) and not combined(b)
    pairs = sum(pairs_of_kinds(part.recipe) for _, part in table.groupby(table.recipe.map(training_alone)))
    assert set(levels) == {1 - 0.05 / pairs} and pairs < pairs_of_kinds(table.recipe)


def test_the_pair_is_the_best_of_each_kind_within_the_budget(vgg, drawn):
    table = summarise(vgg)
    table = table[table.recipe.map(training_alone) == "dense"]
    text = pd.concat(at_equal_training(table, [4], drawn, "ours")).test.item().split(", ")[0].split(" - ")
    fits = table[(table.compression_ratio >= 4) & table.works & (table.recipe != "dense")]
    best = [fits[fits.recipe.map(combined) == mixed].sort_values("robust").recipe.iloc[-1] for mixed in (True, False)]
    assert text == best


def test_no_pair_is_one_row_without_a_figure(vgg, drawn):
    tests = at_equal_training(summarise(vgg), [1000], drawn, "ours")
    assert len(tests) == 1 and tests[0].value.isna().all()


def test_own_tests_ask_h3c_at_equal_training_in_every_cell():
    tests = pd.concat(own_tests(example(), draws=100)).query("claim == 'H3c'")
    assert tests.network.nunique() == 2
    for text in tests.test[tests.value.notna()]:
        a, b = text.split(", ")[0].split(" - ")
        assert training_alone(a) == training_alone(b)


def test_calibration_is_asked_where_confidence_was_recorded(monkeypatch, tmp_path, vgg):
    """C7b is tested on a table with confidences, and not testable, with the reason, on one without."""
    write_tables(vgg, tmp_path / "new")
    write_tables(vgg._replace(rows=vgg.rows.assign(predicted=b"", confidence=b"")), tmp_path / "old")
    new, old = (said(run_page(PAGE, monkeypatch, **where(tmp_path / name))) for name in ("new", "old"))
    reason = "the confidence of each image is not recorded in this table"
    row = old.split("| C7b", 1)[1].split("\n", 1)[0]
    assert "prune0.5 - dense, calibration error" in new and "calibration error" not in row
    assert reason in old and "the confidence of each image is not" not in new


def test_sums_in_another_order_name_no_other_test():
    """Of tests that are level but for rounding the first decides, whatever the processor made of the last digit."""
    for error in (-1e-16, 1e-16):
        figures = dict(first=(0.1, 0.0, 0.2), second=(0.1, 0.0 + error, 0.2))
        tests = pd.concat([from_figure("C4a", name, figure, "above") for name, figure in figures.items()])
        assert verdict(tests.reset_index(drop=True), "all").test == "first"
