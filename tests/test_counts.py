"""Published counts: the printed figures of arXiv 2512.24971 come out, and what counts cannot answer is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robcomp.count_intervals import count_differences, count_intervals, image_correlation, spread_of_mean
from robcomp.counts import from_counts, rounded_rates, without_epochs
from robcomp.explorer import menus
from robcomp.choice import choose
from robcomp.goals import Goals
from robcomp.pareto import pareto
from robcomp.results import controls, references, summarise
from robcomp.tables import example, find, join, outcomes, put_back, read_tables
from robcomp.schema import STANDARD
from robcomp.uncertainty import comparisons, intervals

PAPER = Path(__file__).parents[1] / "results" / "paper"
NETS = [
    ("resnet50", "cifar10"),
    ("vgg19", "cifar10"),
    ("mobilenetv2", "cifar10"),
    ("resnet50", "cifar100"),
    ("vgg19", "cifar100"),
    ("mobilenetv2", "cifar100"),
]
# Clean accuracy in percent, mean corruption error, compression rate: as the authors print them.
PRINTED = """
Original | 88.4/100/1 | 72.2/100/1 | 89.8/100/1 | 76.1/100/1 | 55.9/100/1 | 71.9/100/1
Quantization Int8|88.4/99.6/4.14|71.8/101.5/4.75|87.1/112.5/3.71|75.7/100.4/4.25|55.3/100.2/4.53|65.7/110.7/3.72
Pruning | 93.3/76.7/1.64 | 76.5/92.1/1.65 | 88.9/105.1/1.62 | 77.2/97.9/1.64 | 58.6/96.1/1.65 | 71.3/99.9/1.62
Clustering | 92.0/81.3/4.53 | 74.8/94.8/6.20 | 90.7/96.2/3.68 | 75.9/96.7/4.64 | 57.6/95.8/5.58 | 71.9/97.5/3.66
Pruning with Clustering Int8|92.4/81.6/7.90|75.1/95.0/8.99|88.9/103.3/6.90|75.9/97.1/8.08|54.1/99.7/8.57|68.6/103.6/7.09
QAT Int8 | 62.9/201.7/4.20 | 61.3/118.9/4.78 | 79.5/144.1/3.74 | 66.3/121.7/4.26 | 54.4/99.7/4.53 | 58.7/117.3/3.77
PQAT Int8 | 93.5/76.7/5.73 | 75.7/93.1/6.22 | 89.6/106.9/5.19 | 77.3/95.4/5.75 | 60.7/92.5/5.98 | 70.9/101.3/5.21
PCQAT Int8 | 92.7/76.7/8.13 | 74.2/98.4/9.43 | 88.2/108.1/7.83 | 76.7/98.2/8.60 | 61.5/91.5/9.24 | 66.7/108.1/8.56
"""


@pytest.fixture(scope="module")
def paper():
    return read_tables(PAPER)


@pytest.fixture(scope="module")
def given():
    return pd.read_csv(PAPER / "configurations.csv").drop(columns=["epochs_run", "epochs_kept"]), pd.read_csv(
        PAPER / "counts.csv"
    )


@pytest.fixture(scope="module")
def table(paper):
    return (
        summarise(paper)
        .set_index("key")
        .join(rounded_rates(paper).rename(columns=lambda name: name if name == "rate" else f"{name}_percent"))
    )


def printed(number, text):
    """Is a printed figure the rounding of a number? Half a unit of its last place, and the float below it."""
    places = len(text.partition(".")[2])
    return abs(number - float(text)) <= 0.5 * 10**-places + 1e-6


def test_printed_figures_come_out(table):
    checked = 0
    for line in PRINTED.strip().splitlines():
        configuration, *cells = (part.strip() for part in line.split("|"))
        for (arch, dataset), cell in zip(NETS, cells):
            row = table[
                (table.configuration == configuration) & (table.arch == arch) & (table.dataset == dataset)
            ].iloc[0]
            for number, text in zip((100 * row.clean, row.mce_percent, row.rate), cell.split("/")):
                assert printed(number, text), (configuration, arch, dataset, number, text)
                checked += 1
    assert checked == 144


def test_rounded_rates_against_plain_loops(given, table):
    counts = (
        given[1]
        .assign(error=1 - given[1].correct / given[1].n)
        .set_index(["dataset", "arch", "configuration"])
        .sort_index()
    )
    for (dataset, arch, configuration), row in (
        table.reset_index().set_index(["dataset", "arch", "configuration"]).iterrows()
    ):
        own, dense = (
            {(at.corruption, at.severity): at.error for at in counts.loc[(dataset, arch, name)].itertuples()}
            for name in (configuration, "Original")
        )
        ratios, gaps = [], []
        for corruption in STANDARD:
            total, against = (sum(errors[corruption, severity] for severity in range(1, 6)) for errors in (own, dense))
            ratios.append(round(100 * total / against))
            gaps.append(round(100 * (total - 5 * own["clean", 0]) / (against - 5 * dense["clean", 0])))
        assert np.isclose(row.mce_percent, np.mean(ratios)) and np.isclose(row.relative_mce_percent, np.mean(gaps))


def test_counts_below_one_hundred(table):
    compressed = table[table.recipe != "dense"]
    assert len(table) == 96 and len(compressed) == 90
    below = compressed[compressed.mce_percent <= 100]
    assert len(below) == 62
    dense = table.loc[below.reference, "clean"].to_numpy()
    assert (below.clean > dense).sum() == 51


def test_the_committed_tables_are_the_counts(given, paper):
    source = paper.trials.source.iloc[0]
    again = from_counts(*given, source=source, study="paper")
    pd.testing.assert_frame_equal(again.trials, paper.trials)
    pd.testing.assert_frame_equal(again.rows, paper.rows)
    assert paper.trials.key.is_unique and "tflite" in source and len(paper.deals) == 0
    assert (paper.trials.weights == "").all() and paper.trials[["params", "macs", "dense_bytes"]].isna().all().all()


def test_key_does_not_depend_on_the_order_of_rows(given, paper):
    turned = from_counts(given[0][::-1], given[1][::-1], source=paper.trials.source.iloc[0], study="paper")
    assert set(turned.trials.key) == set(paper.trials.key)


def test_twins_have_one_recipe_and_two_keys(paper):
    twins = paper.trials[paper.trials.configuration.isin(["PQAT", "PQAT Int8"])]
    assert (twins.groupby(["dataset", "arch"]).recipe.nunique() == 1).all() and twins.key.is_unique
    assert (
        paper.trials[~paper.trials.configuration.isin(["QAT", "CQAT", "PQAT", "PCQAT"])]
        .recipe.map(without_epochs)
        .nunique()
        == 12
    )


def test_each_is_held_against_its_own_dense_network(paper):
    reference = references(paper.trials)
    named = paper.trials.set_index("key")
    assert (named.loc[reference, "configuration"] == "Original").all()
    for name in ("dataset", "arch"):
        assert (named.loc[reference, name].to_numpy() == paper.trials[name].to_numpy()).all()
    alone = controls(paper.trials)
    assert (alone[named.recipe.str.contains("tune")] == "").all() and (
        alone[~named.recipe.str.contains("tune")] != ""
    ).all()


def test_front_and_budget_with_latency_and_energy(table):
    cell = table[(table.arch == "resnet50") & (table.dataset == "cifar10")].reset_index()
    assert pareto(cell, Goals("robust", "energy_j", "latency_s")).sum() > 0
    choice = choose(cell, where="energy_j < 140 and latency_s < 0.2", best="robust")
    assert choice.row.energy_j < 140 and choice.row.latency_s < 0.2
    ours = summarise(example())
    assert not choose(ours, where="energy_j < 1000", best="robust"), "what was not measured satisfies no budget"


def test_the_explorer_offers_energy_where_it_was_measured(table):
    offered = {
        name: {value for _, value in menus(rows)["x"].options}
        for name, rows in dict(paper=table, ours=summarise(example())).items()
    }
    assert {"energy_j", "latency_s"} <= offered["paper"] and "energy_j" not in offered["ours"]


@pytest.mark.parametrize(
    "ask, says",
    [
        (
            lambda paper, mixed: comparisons(paper, [(paper.trials.key[1], paper.trials.key[0])]),
            "not paired: only counts are known of",
        ),
        (
            lambda paper, mixed: comparisons(mixed, [(mixed.trials.key[1], mixed.trials.key.iloc[-1])]),
            "not paired: only counts are known of",
        ),
        (lambda paper, mixed: intervals(paper), "not paired: only counts are known of"),
        (lambda paper, mixed: outcomes(paper, paper.trials.key[0]), "not paired: only counts are known of"),
        (lambda paper, mixed: count_differences(paper, [], measure="worst"), "worst"),
        (lambda paper, mixed: count_intervals(paper, correlation=1.5), "correlation is from 0 to 1, got 1.5"),
    ],
)
def test_what_counts_cannot_answer(paper, ask, says):
    with pytest.raises(ValueError, match=says) as error:
        ask(paper, join(paper, example()))
    assert "\n" not in str(error.value)


def test_a_store_takes_no_counts(paper, tmp_path):
    with pytest.raises(ValueError, match="bits do not tell"):
        put_back(paper, tmp_path)


def broken(name, given):
    trials, rows = given
    first = (rows.arch == "vgg19") & (rows.configuration == "QAT") & (rows.dataset == "cifar10")
    return {
        "above n": (trials, rows.assign(correct=rows.correct.where(rows.index != 7, 10_001))),
        "below zero": (trials, rows.assign(correct=rows.correct.where(rows.index != 7, -1))),
        "no severity": (trials, rows[~(first & (rows.severity == 3))]),
        "no corruption": (trials, rows[~(first & (rows.corruption == "fog"))]),
        "no clean": (trials, rows[~(first & (rows.severity == 0))]),
        "unknown": (trials, rows.assign(configuration=rows.configuration.mask(first, "QTA"))),
        "no counts": (trials, rows[~first]),
        "no dense": (
            trials[~((trials.arch == "vgg19") & (trials.recipe == "dense"))],
            rows[~((rows.arch == "vgg19") & (rows.configuration == "Original"))],
        ),
        "twice": (pd.concat([trials, trials[3:4]]), rows),
        "recipe": (trials.replace("int8", "int9"), rows),
        "no number": (trials, rows.assign(correct=rows.correct.astype(float).where(rows.index != 7))),
        "half an image": (trials, rows.assign(correct=rows.correct + 0.5 * (rows.index == 7))),
        "clean 3": (trials, rows.assign(severity=rows.severity.where(rows.index != 0, 3))),
        "misspelt": (trials.rename(columns=dict(energy_j="energy_J")), rows),
        "column": (trials.drop(columns="recipe"), rows),
    }[name]


@pytest.mark.parametrize(
    "name, says",
    [
        ("above n", "10001 correct of 10000 images"),
        ("below zero", "-1 correct of 10000 images"),
        ("clean 3", "clean 3, .* there is no such condition"),
        ("no number", "correct is a whole number, got nan"),
        ("half an image", r"correct is a whole number, got \d+\.5"),
        ("misspelt", "unknown column of a published trial 'energy_J'"),
        ("no severity", "'QAT' of vgg19 on cifar10 lacks 15 of 76 conditions"),
        ("no corruption", r"lacks 5 of 76 conditions \(fog 1, fog 2, fog 3\)"),
        ("no clean", r"lacks 1 of 76 conditions \(clean 0\)"),
        ("unknown", "unknown configuration 'QTA'"),
        ("no counts", "'QAT' of vgg19 on cifar10 has no counts"),
        ("no dense", "vgg19 on cifar10 has no trials with the recipe dense"),
        ("twice", "is listed twice"),
        ("recipe", "int9"),
        ("column", "lacks recipe"),
    ],
)
def test_tables_that_are_not_whole(given, name, says):
    with pytest.raises(ValueError, match=says) as error:
        from_counts(*broken(name, given), source="test")
    assert "\n" not in str(error.value)


def test_another_table_of_the_same_names_has_other_keys(given):
    trials, rows = given
    first, second = (
        from_counts(trials, table, source="test")
        for table in (rows, rows.assign(correct=rows.correct - (rows.correct > 0)))
    )
    assert not set(first.trials.key) & set(second.trials.key) and len(join(first, second).trials) == 2 * len(trials)
    seeds = from_counts(
        pd.concat([trials.assign(seed=seed) for seed in (0, 1)]),
        pd.concat([rows.assign(seed=seed) for seed in (0, 1)]),
        source="test",
    )
    assert seeds.trials.key.nunique() == 2 * len(trials) and (references(seeds.trials) != "").all()
    with pytest.raises(ValueError, match="source is empty"):
        from_counts(trials, rows, source="")
    for odd in (None, "rows.csv", [1, 2]):
        with pytest.raises(TypeError, match="a table \\(pandas.DataFrame\\) is needed, got"):
            from_counts(trials, odd, source="test")
        with pytest.raises(TypeError, match="a table \\(pandas.DataFrame\\) is needed, got"):
            from_counts(odd, rows, source="test")


def test_an_extra_corruption_of_one_trial_leaves_the_others_alone(given):
    trials, rows = given
    extra = rows[(rows.configuration == "QAT") & (rows.corruption == "fog")].assign(corruption="spatter")
    more = from_counts(trials, pd.concat([rows, extra]), source="test")
    plain, wide = (
        summarise(tables).set_index(["dataset", "arch", "configuration"]).sort_index()
        for tables in (from_counts(trials, rows, source="test"), more)
    )
    for name in ("clean", "robust", "worst", "mce", "relative_mce"):
        assert np.allclose(plain[name], wide[name]), name
    assert (wide.extra_robust.notna() == (wide.index.get_level_values("configuration") == "QAT")).all()
    assert rounded_rates(more).notna().all().all()


def test_intervals_at_the_edges_and_bad_levels(given, paper):
    trials, rows = given
    sure = count_intervals(from_counts(trials, rows.assign(correct=rows.n), source="test"))
    assert (sure.high <= 1).all() and (sure.low < 1).all()
    for level in (0, 1, 95, -1):
        with pytest.raises(ValueError, match="level is a share between 0 and 1"):
            count_differences(paper, [(paper.trials.key[1], paper.trials.key[0])], level=level)
    with pytest.raises(ValueError, match="one trial is on cifar100, the other on cifar10"):
        count_differences(paper, [(paper.trials.key.iloc[-1], paper.trials.key[0])])


def test_trials_answer_to_their_published_names(paper):
    key = find(paper.trials, "resnet50 Original on cifar10")
    assert paper.trials.set_index("key").loc[key, "configuration"] == "Original"
    with pytest.raises(ValueError, match="resnet50 Original on cifar100"):
        find(paper.trials, "resnet50 Original")


def test_the_spread_lies_between_its_bounds():
    rng = np.random.default_rng(0)
    share, n = rng.uniform(0.2, 0.9, (5, 75)), np.full(75, 10_000)
    narrow, middle, wide = (spread_of_mean(share, n, correlation=value) for value in (0, 0.4, 1))
    assert (narrow < middle).all() and (middle < wide).all()
    deviation = np.sqrt(share * (1 - share) / n)
    assert np.allclose(narrow, np.sqrt((deviation**2).sum(1)) / 75) and np.allclose(wide, deviation.mean(1))


def test_image_correlation_of_known_outcomes():
    rng = np.random.default_rng(0)
    easy = rng.random(20_000) < 0.5
    right = np.stack([np.where(rng.random(20_000) < 0.7, easy, rng.random(20_000) < 0.5) for _ in range(2)])
    index = pd.MultiIndex.from_product(
        [["fog", "snow"], [1], range(20_000)], names=["corruption", "severity", "number"]
    )
    found = image_correlation(pd.DataFrame(dict(net=right.ravel()), index=index))
    assert abs(found["net"] - 0.49) < 0.03
    with pytest.raises(ValueError, match="no image is seen under two conditions"):
        image_correlation(pd.DataFrame(dict(net=right[0]), index=index[:20_000]))
