"""Resampled studies: the unit is the image, draws are paired, and nothing depends on how they are computed."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from robcomp._store import example as _example
from robcomp._store.shards import frame
from robcomp.results import MEASURES, summarise
from robcomp.schema import GROUPS
from robcomp.tables import Tables, example, find, join, outcomes
from robcomp.schema import ROW_COLUMNS
from robcomp.uncertainty import compare, comparisons, counts, intervals, mcnemar, newcombe, resample


@pytest.fixture(scope="module")
def tables():
    return example()


@pytest.fixture(scope="module")
def draws(tables):
    return resample(tables, draws=250)


def only(tables, keys):
    return Tables(*(table[table.key.isin(keys)] for table in tables[:2]), tables.deals)


def study_of(hits, *, per=40, images=1000, key="a" * 16, recipe="dense"):
    """Tables of one trial with the given outcomes, one array a condition."""
    deal = _example.deal(images, per)
    uniform = [1.5 - right.astype(float) for right in hits]
    rows = frame(_example.rows_of(key, deal, [np.ones(len(right)) * 0.99 for right in hits], uniform), ROW_COLUMNS)
    trials = example().trials.head(1).assign(key=key, recipe=recipe, suite=deal.suite[0])
    return Tables(trials, rows, deal)


def test_a_resampled_study_is_the_study_on_drawn_images(tables, draws):
    keys = list(draws.table.key[:3])
    hits = outcomes(tables, keys)
    times = counts(1000, "simulated", 0)[:, 7]
    weight = times[hits.index.get_level_values("number")]
    weighted = hits.mul(weight, axis=0).groupby(["corruption", "severity"], observed=True).sum()
    accuracy = weighted.div(
        pd.Series(weight, hits.index).groupby(["corruption", "severity"], observed=True).sum(), axis=0
    )
    robust = accuracy.drop("clean").groupby("corruption", observed=True).mean()
    np.testing.assert_allclose(draws.column("clean")[7, :3], accuracy.loc["clean"].iloc[0], atol=1e-6)
    np.testing.assert_allclose(draws.column("robust")[7, :3], robust.mean(), atol=1e-6)
    np.testing.assert_allclose(draws.column("worst")[7, :3], robust.min(), atol=1e-6)


def test_draws_are_the_same_for_fewer_trials_and_more_draws(tables, draws):
    some = list(draws.table.key[[0, 5, 14]]) + list(draws.table.reference[[0, 14]])
    few, more = resample(only(tables, some), draws=410), draws.only(some)
    assert list(few.table.key) == list(more.table.key)
    np.testing.assert_allclose(few.values[:250], more.values, atol=1e-6)
    assert not np.allclose(few.values[200:400], few.values[:200], equal_nan=True)
    assert not np.allclose(resample(only(tables, some), draws=250, seed=1).values, more.values, equal_nan=True)


def test_trials_of_several_suites_share_their_images(tables):
    other = tables.trials.assign(suite="b", key=[key[::-1] for key in tables.trials.key])
    rows = tables.rows.assign(key=[key[::-1] for key in tables.rows.key])
    both = resample(join(tables, Tables(other, rows, tables.deals.assign(suite="b"))), draws=50)
    np.testing.assert_allclose(both.values[:, :24], both.values[:, 24:], atol=1e-6)


def test_an_image_moves_with_all_its_conditions():
    """The same images right or wrong everywhere: the mean over 75 conditions is no surer than one of them."""
    right = np.random.default_rng(0).random(1000) < 0.7
    deal = _example.deal(1000, 1000)
    together = resample(study_of([right[numbers] for numbers in deal.positions], per=1000), draws=400)
    spread = together.column("robust").std()
    assert abs(spread / np.sqrt(0.7 * 0.3 / 1000) - 1) < 0.15 and np.allclose(together.column("drop"), 0, atol=1e-5)
    apart = resample(study_of([right[numbers] for numbers in _example.deal(1000, 40).positions]), draws=400)
    assert abs(apart.column("robust").std() / np.sqrt(0.7 * 0.3 / 1000) - 1) < 0.3


def test_standard_errors_of_dealt_cells():
    deal, rng = _example.deal(3000, 40), np.random.default_rng(1)
    drawn = resample(study_of([rng.random(len(numbers)) < 0.8 for numbers in deal.positions], images=3000), draws=600)
    assert abs(drawn.column("robust").std() / np.sqrt(0.8 * 0.2 / 3000) - 1) < 0.12


def test_few_images_a_condition():
    deal, rng = _example.deal(60, 2), np.random.default_rng(2)
    drawn = resample(
        study_of([rng.random(len(numbers)) < 0.8 for numbers in deal.positions], per=2, images=60), draws=200
    )
    assert np.isfinite(drawn.column("robust")).all() and np.isfinite(drawn.column("worst")).all()


def test_intervals(tables, draws):
    wide, narrow = intervals(draws, level=0.99), intervals(draws, level=0.8)
    assert ((wide.high - wide.low) >= (narrow.high - narrow.low)).all()
    pd.testing.assert_frame_equal(intervals(tables, draws=250), intervals(draws))
    summary = summarise(tables).set_index("key")
    sample = intervals(draws).set_index(["key", "measure"]).value
    for key in summary.index[:3]:
        for measure in ("clean", "worst", "mce"):
            assert sample[key, measure] == summary.loc[key, measure]
    for level in (0, 1, 95):
        with pytest.raises(ValueError, match="level is a share between 0 and 1"):
            intervals(draws, level=level)


def test_a_perfect_network_still_has_an_interval():
    deal = _example.deal(300, 40)
    perfect = study_of([np.ones(len(numbers), bool) for numbers in deal.positions], images=300)
    clean = intervals(perfect, draws=50).set_index("measure").loc["clean"]
    assert clean.value == clean.high == 1 and 0.98 < clean.low < 0.99
    assert "mce leaves out" in summarise(perfect).note[0] and np.isnan(summarise(perfect).mce[0])


def test_failed_trials_are_left_out(tables):
    key = tables.trials.key[4]
    trials = tables.trials.assign(status=["failed" if one == key else "ok" for one in tables.trials.key])
    drawn = resample(tables._replace(trials=trials, rows=tables.rows[tables.rows.key != key]), draws=50)
    assert key not in set(drawn.table.key) and drawn.values.shape[1] == 23
    with pytest.raises(ValueError, match="no trial"):
        compare(tables._replace(trials=trials), key, tables.trials.key[0])


def test_no_reference_no_relative_measures(tables):
    key = find(tables.trials, "vgg19 int8")
    limits = intervals(only(tables, [key]), draws=50)
    assert set(limits.measure) == {"clean", "robust", "worst", "drop", "robust_over_clean", *GROUPS}


def test_verdicts(tables, draws):
    forth = compare(tables, "vgg19 int4", "vgg19 dense", draws=draws)
    back = compare(tables, "vgg19 dense", "vgg19 int4", draws=draws)
    assert "p" not in forth and "p" in compare(tables, "vgg19 int4", "vgg19 dense", measure="clean")
    assert (forth.verdict, back.verdict) == ("worse", "better") and np.isclose(forth.low, -back.high)
    assert forth.name == "vgg19 int4 against vgg19 dense" and "Name: vgg19 int4 against vgg19 dense" in repr(forth)
    assert compare(tables, forth.a, forth.b, draws=draws).equals(forth)
    assert compare(tables, "vgg19 int4", "vgg19 dense", measure="mce", draws=draws).verdict == "worse"
    same = compare(tables, "vgg19 dense", "vgg19 dense", draws=draws)
    assert same.verdict == "undecided" and same.difference == same.low == same.high == 0
    alone = compare(tables, "vgg19 int4", "vgg19 dense", draws=250)
    assert np.isclose(alone.low, forth.low, atol=1e-6) and np.isclose(alone.high, forth.high, atol=1e-6)
    clean = comparisons(
        tables, [("vgg19 dense", "vgg19 dense"), ("vgg19 int4", "vgg19 dense")], measure="clean", draws=50
    )
    assert clean.p[0] == 1 and clean.low[0] < 0 < clean.high[0] and clean.p[1] < 0.05
    assert comparisons(tables, [], draws=draws).empty


def test_comparisons_need_the_same_images(tables):
    other = example(seed=1)
    other = Tables(other.trials.assign(suite="b"), other.rows, other.deals.assign(suite="b"))
    with pytest.raises(ValueError, match="only trials of one suite saw the same images"):
        compare(join(tables, other), tables.trials.key[0], other.trials.key[0])


def test_mcnemar_against_scipy():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((2, 60)) < 0.8
        only_a, only_b = (a & ~b).sum(), (b & ~a).sum()
        assert mcnemar(a, b) == binomtest(int(only_a), int(only_a + only_b)).pvalue


def test_newcombe_against_the_published_table():
    """Newcombe 1998, table II, method 10: 36, 12, 2, 0 gives 0.0569 to 0.3404 and 36, 14, 0, 0 gives 0.1528 to
    0.4167."""
    for (both, only_a, only_b, neither), expected in {
        (36, 12, 2, 0): (0.0569, 0.3404),
        (36, 14, 0, 0): (0.1528, 0.4167),
    }.items():
        a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
        b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
        np.testing.assert_allclose(newcombe(a, b), expected, atol=6e-5)


def test_measures_are_in_the_summary(tables):
    assert set(MEASURES) <= set(summarise(tables))


def test_draws_of_other_trials_are_refused(tables, draws):
    with pytest.raises(ValueError, match="no trial 'vgg19 int8'"):
        compare(tables, "vgg19 int8", "vgg19 dense", draws=draws.only(tables.trials.key[:12]))


@pytest.mark.parametrize("draws", [0, -1, 1.5, "10", None, True, 10**12])
def test_draws_that_are_no_number_of_studies(draws):
    with pytest.raises(ValueError, match="draws is a whole number from 1 to 1,000,000, got "):
        resample(example(), draws=draws)
