"""What compression changes beyond the mean: against plain loops, and against simulated networks whose truth is
known."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from robcomp._text.classes import class_name
from robcomp.behaviour import (
    behaviour,
    confidences,
    flips,
    in_columns,
    predictions,
    recorded,
    squared_calibration,
    with_controls,
)
from robcomp.contrasts import by_severity, contrasts, profile, recipe_profile
from robcomp.data import load
from robcomp.results import accuracies, references, summarise
from robcomp.tables import Tables, example, find, join, outcomes
from robcomp.schema import BEHAVIOUR_COLUMNS, EXTRA, GROUPS, SEVERITIES, STANDARD

DATA = Path(os.environ.get("ROBCOMP_DATA", "/nowhere"))


@pytest.fixture(scope="module")
def tables():
    return example()


@pytest.fixture(scope="module")
def found(tables):
    return behaviour(tables, draws=200)


def only(tables, recipes, arch="vgg19"):
    trials = tables.trials[tables.trials.recipe.isin(recipes) & (tables.trials.arch == arch)]
    return Tables(trials, tables.rows[tables.rows.key.isin(trials.key)], tables.deals)


def bits_of(tables, key):
    return {
        (row.corruption, row.severity): np.unpackbits(np.frombuffer(row.bits, np.uint8), count=row.n)
        for row in tables.rows[tables.rows.key == key].itertuples()
    }


def classes_of(tables, key):
    return {
        (row.corruption, row.severity): np.frombuffer(row.predicted, np.uint8)
        for row in tables.rows[tables.rows.key == key].itertuples()
    }


def mean_over(values):
    return np.mean([[values[corruption, severity] for severity in SEVERITIES] for corruption in STANDARD])


def test_values_against_plain_loops(tables, found):
    wide, reference = in_columns(found), references(tables.trials)
    for key in list(wide.index)[::5]:
        own, dense = bits_of(tables, key), bits_of(tables, reference[key])
        named, before = classes_of(tables, key), classes_of(tables, reference[key])
        lost, gained, churn, change = (
            {place: figure(place) for place in own}
            for figure in (
                lambda place: ((dense[place] == 1) & (own[place] == 0)).mean(),
                lambda place: ((dense[place] == 0) & (own[place] == 1)).mean(),
                lambda place: (named[place] != before[place]).mean(),
                lambda place: own[place].mean() - dense[place].mean(),
            )
        )
        row, clean = wide.loc[key], ("clean", 0)
        assert np.allclose(
            [row.lost_clean, row.gained_clean, row.churn_clean], [lost[clean], gained[clean], churn[clean]]
        )
        assert np.allclose(
            [row.lost_robust, row.gained_robust, row.churn_robust],
            [mean_over(lost), mean_over(gained), mean_over(churn)],
        )
        for group, members in GROUPS.items():
            assert np.isclose(
                row[f"{group}_change"], np.mean([change[name, severity] for name in members for severity in SEVERITIES])
            )
        by_level = [np.mean([change[name, severity] for name in STANDARD]) for severity in SEVERITIES]
        assert np.isclose(row.slope, linregress(SEVERITIES, by_level).slope)


def test_flips_and_churn_agree_with_the_summary(tables, found):
    wide, table = in_columns(found), summarise(tables).set_index("key")
    for kind in ("clean", "robust"):
        change = table[kind] - table[kind].reindex(table.reference).to_numpy()
        assert np.allclose(wide[f"gained_{kind}"] - wide[f"lost_{kind}"], change[wide.index])
        assert (wide[f"churn_{kind}"] >= wide[f"gained_{kind}"] + wide[f"lost_{kind}"] - 1e-12).all()
    groups = sum(wide[f"{group}_change"] * len(members) for group, members in GROUPS.items()) / len(STANDARD)
    assert np.allclose(groups, wide.gained_robust - wide.lost_robust)


def test_every_measure_has_a_row_and_an_interval_that_holds_its_value(found):
    names = found.measure.where(~found.measure.str.startswith("class_"), "class_N")
    assert set(names) == set(BEHAVIOUR_COLUMNS) and not found.duplicated(["key", "measure"]).any()
    known = found[found.missing == ""]
    assert (known.value.notna() == True).all() and found[found.missing != ""].value.isna().all()
    plain = known[~known.measure.str.startswith("calibration")]
    assert (
        (plain.low <= plain.value + 0.02).all()
        and (plain.value - 0.02 <= plain.high).all()
        and (known.low_all <= known.high_all).all()
    )


def test_a_network_against_its_like_changes_nothing(tables):
    one = only(tables, ["dense"])
    twin = Tables(one.trials.assign(recipe="int8", key="twin"), one.rows.assign(key="twin"), one.deals)
    found = in_columns(behaviour(join(one, twin), draws=50))
    assert (found.drop(columns=["calibration_clean", "calibration_robust"]).dropna(axis=1) == 0).all(axis=None) and len(
        found
    ) == 1


def test_classes_are_changes_less_their_mean(tables, found):
    key = find(tables.trials, "vgg19 int4")
    hits = outcomes(tables, [key, references(tables.trials)[key]])
    hurt = hits[hits.index.get_level_values("corruption") != "clean"].groupby(level="label").mean()
    change = hurt[key] - hurt.drop(columns=key).iloc[:, 0]
    own = found[(found.key == key) & found.measure.str.startswith("class_")].value.astype(float).to_numpy()
    assert np.allclose(own, change - change.mean())


def test_tables_from_before_say_not_recorded_in_one_line(tables):
    old = only(tables, ["dense", "int8"])
    old = old._replace(rows=old.rows.assign(predicted=b"", confidence=b""))
    found = behaviour(old, draws=50).set_index("measure")
    for measure in ("churn_clean", "churn_robust", "calibration_clean", "calibration_robust", "calibration_change"):
        assert (
            np.isnan(found.value[measure])
            and found.missing[measure].startswith("not recorded: ")
            and "\n" not in found.missing[measure]
        )
    assert found.value["lost_robust"] > 0 and not recorded(old).any()
    for read in (predictions, confidences):
        with pytest.raises(ValueError, match="not recorded: .* evaluate this trial again") as error:
            read(old, list(old.trials.key))
        assert "\n" not in str(error.value)


def test_what_is_recorded_answers_beside_what_is_not(tables):
    few = only(tables, ["dense", "int8", "int4"])
    old = few.trials.key[few.trials.recipe == "int4"].item()
    mixed = few._replace(
        rows=few.rows.assign(
            **{name: few.rows[name].where(few.rows.key != old, b"") for name in ("predicted", "confidence")}
        )
    )
    found = behaviour(mixed, draws=50)
    churn = found[found.measure == "churn_robust"].set_index("recipe")
    assert churn.missing["int4"].startswith("not recorded") and churn.value["int8"] > 0 and churn.missing["int8"] == ""


def test_the_control_is_asked_for_by_name(tables):
    again = only(tables, ["dense", "prune0.5+tune1"])
    assert behaviour(again, "control", draws=20).empty, "there is no tuned dense network"
    tuned = Tables(
        *(
            table.replace({again.trials.key[again.trials.recipe == "dense"].item(): "tuned"})
            for table in only(tables, ["dense"])[:2]
        ),
        tables.deals,
    )
    with_control = join(again, tuned._replace(trials=tuned.trials.assign(recipe="tune1")))
    found = behaviour(with_control, "control", draws=20)
    assert set(found.recipe) == {"prune0.5+tune1"} and set(found.against) == {"tuned"}
    with pytest.raises(ValueError, match="to is reference or control, got 'dense'"):
        behaviour(again, "dense")


def test_extra_corruptions_are_a_check_of_their_own(tables):
    """Four standard corruptions under the names of the extra ones: the change under them is known."""
    few = only(tables, ["dense", "int4"])
    renamed = dict(zip(STANDARD[:4], EXTRA))
    more = [table[table.corruption.isin(renamed)].replace(dict(corruption=renamed)) for table in (few.rows, few.deals)]
    both = Tables(
        few.trials,
        pd.concat([few.rows, more[0]], ignore_index=True),
        pd.concat([few.deals, more[1]], ignore_index=True),
    )
    wide, change = in_columns(behaviour(both, draws=50)).iloc[0], accuracies(few)
    key = find(few.trials, "int4")
    change = (change.loc[key] - change.drop(index=key).iloc[0]).groupby("corruption").mean()
    assert np.isclose(wide.extra, change[list(STANDARD[:4])].mean()) and np.isclose(
        wide.extra_excess, wide.extra - change[list(STANDARD)].mean()
    )


def test_a_slope_is_found_again():
    """Outcomes whose accuracy falls by five points a step."""
    numbers = np.arange(400)
    shares = [0.9 - 0.05 * severity for severity in SEVERITIES]
    index = pd.MultiIndex.from_tuples(
        [(name, severity, number, 0) for name in ("fog", "snow") for severity in SEVERITIES for number in numbers],
        names=["corruption", "severity", "number", "label"],
    )
    falling = np.concatenate([numbers < 400 * share for _ in range(2) for share in shares])
    measured = profile(
        by_severity(pd.DataFrame(dict(falls=falling, stays=numbers[np.zeros(10, int)].repeat(400) < 1), index=index)),
        draws=100,
    )
    row = contrasts(measured, [("falls - stays", "slope")]).iloc[0]
    assert np.isclose(row.value, -0.05) and row.low <= row.value <= row.high


def pairs_by_loop(sure, right, bins=15):
    """The mean product of the gaps of two different images in one bin, bins by their share."""
    gap, place, total = sure - right, np.minimum((sure * bins).astype(int), bins - 1), 0
    for at in range(bins):
        own = gap[place == at]
        if len(own) > 1:
            total += (
                len(own) / len(gap) * np.mean([a * b for i, a in enumerate(own) for j, b in enumerate(own) if i != j])
            )
    return total


def test_calibration_against_a_loop_over_pairs():
    rng = np.random.default_rng(0)
    sure = rng.random(60)
    right = rng.random(60) < sure
    assert np.isclose(squared_calibration(sure, right, np.ones((60, 1)))[0], pairs_by_loop(sure, right))
    weight = rng.multinomial(60, np.full(60, 1 / 60), size=3).T
    doubled = squared_calibration(sure, right, weight)
    for study, drawn in enumerate(weight.T):
        gap, place, total = sure - right, np.minimum((sure * 15).astype(int), 14), 0
        for at in range(15):
            own = [i for i in range(60) if place[i] == at]
            pairs = [(drawn[i] * drawn[j], gap[i] * gap[j]) for i in own for j in own if i != j]
            if sum(count for count, _ in pairs):
                total += (
                    sum(drawn[i] for i in own)
                    / 60
                    * sum(count * product for count, product in pairs)
                    / sum(count for count, _ in pairs)
                )
        assert np.isclose(doubled[study], total)


@pytest.mark.parametrize("excess", [0, 0.05, 0.15])
def test_the_squared_calibration_error_has_no_bias(excess):
    rng, found = np.random.default_rng(1), []
    for _ in range(1500):
        sure = rng.uniform(0.6, 1, 200)
        found.append(squared_calibration(sure, rng.random(200) < sure - excess, np.ones((200, 1)))[0])
    assert abs(np.mean(found) - excess**2) < 4 * np.std(found) / 1500**0.5


def test_flips_name_both_directions():
    hits = pd.DataFrame(dict(dense=[1, 1, 0, 0], int8=[1, 0, 1, 0])).astype(bool)
    assert flips(hits, [("int8", "dense")]).sum().to_dict() == {"int8 lost": 1, "int8 gained": 1}


def test_a_technique_stands_beside_its_controls(tables):
    """Training alone is no cost of a technique: a recipe that does what its control does costs nothing."""
    names = {"prune0.5": "tune1", "prune0.5+tune1": "int8+tune1", "int4": "prune0.5+tune1+tune1"}
    own = only(tables, ["dense", "int8", *names])
    own = own._replace(trials=own.trials.assign(recipe=own.trials.recipe.replace(names)))
    measured = recipe_profile(own, draws=20)
    beside = with_controls(measured, dict(q=["int8", "int8+tune1", "prune0.5+tune1+tune1"], alone=["tune1"], no=[]))
    assert beside.names[len(measured.names) :] == ["q compressed", "q control", "alone compressed", "alone control"]
    asked = ["q compressed - q control", "int8 - dense", "int8+tune1 - tune1", "alone compressed - alone control"]
    for kind in ("clean", "robust", "fog"):
        value = contrasts(beside, [(text, kind) for text in asked]).value
        assert np.isclose(value[0], value[1:3].mean()) and value[3] == 0


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_classes_have_the_names_of_the_data_set(dataset):
    if not DATA.is_dir():
        pytest.skip("no CIFAR in ROBCOMP_DATA")
    names = [name.replace("_", " ") for name in load(dataset).classes]
    assert [class_name(dataset, label) for label in range(len(names))] == names
    assert class_name("mine", 3) == "class 3"
