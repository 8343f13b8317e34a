"""Fronts against their definition, conditions against pandas, choices against plain filters."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from robcomp._text import reasons
from robcomp._text.condition import clauses, parse_condition, unknown_in
from robcomp.goals import candidates, ordered
from robcomp.choice import choice_probability, choose, cost_of_clean_selection
from robcomp.goals import Goals
from robcomp.pareto import front_probability, hypervolume, knee, goal_losses, pareto, rank, stability, topsis
from robcomp.results import accuracies, summarise, works
from robcomp.schema import GROUPS
from robcomp.tables import example, read_tables
from robcomp.selection import posterior_predictive, idiosyncratic_noise, posterior_draws
from robcomp.uncertainty import compare, resample

quick = settings(deadline=None, max_examples=150)
WAYS = dict(a="max", b="min", c="max", d="min")
cells = st.lists(st.tuples(*[st.integers(0, 4)] * 4), max_size=25).map(
    lambda rows: pd.DataFrame(rows, columns=list(WAYS))
)
goals = st.sets(st.sampled_from(list(WAYS)), min_size=1).map(
    lambda names: Goals(**{name: WAYS[name] for name in sorted(names)})
)


@pytest.fixture(scope="module")
def table():
    return summarise(example())


@pytest.fixture(scope="module")
def draws():
    return resample(example(), draws=120)


def dominated(values):
    return np.array([any((other >= one).all() and (other > one).any() for other in values) for one in values], bool)


def gains(table, goals):
    return table[goals.names].to_numpy() * np.where(goals.maximise, 1, -1)


@quick
@given(cells, goals)
def test_front_is_its_definition(table, goals):
    assert (pareto(table, goals).to_numpy() == ~dominated(gains(table, goals))).all()


@quick
@given(cells, goals)
def test_ranks_are_fronts_of_the_rest(table, goals):
    ranks, left, level = rank(table, goals), table, 0
    while len(left):
        front = pareto(left, goals)
        assert (ranks[left.index][front] == level).all()
        left, level = left[~front], level + 1


@quick
@given(cells, goals)
def test_hypervolume_by_counting_cells(table, goals):
    """On a grid of integers the volume is a number of unit cells."""
    bounds = {name: (4, -1) if WAYS[name] == "max" else (-1, 4) for name in goals.names}
    below = np.stack(np.meshgrid(*[np.arange(5)] * len(goals.names), indexing="ij"), axis=-1).reshape(
        -1, len(goals.names)
    )
    height = gains(table, goals) + np.where(goals.maximise, 1, 4)
    beaten = [(height > cell).all(1).any() for cell in below]
    assert np.isclose(hypervolume(table, goals, bounds=bounds), np.mean(beaten))


@quick
@given(cells, goals)
def test_losses_and_knee(table, goals):
    if table.empty:
        return
    front, loss = pareto(table, goals), goal_losses(table, goals)
    assert (loss >= 0).all(axis=None) and (loss[front] <= 1).all(axis=None)
    bend = knee(table, goals)
    assert front[bend.name] and np.isclose(loss.loc[bend.name].sum(), loss[front].sum(axis=1).min())
    scaled = table * [3.0, 10.0, 0.5, 7.0] + [1, 2, 3, 4]
    assert np.isclose(goal_losses(scaled, goals).loc[knee(scaled, goals).name].sum(), loss.loc[bend.name].sum())


def test_knee_of_a_curve_with_an_elbow():
    x = np.linspace(0.05, 1, 20)
    curve = pd.DataFrame(dict(robust=1 - 0.05 / x, size_mb=x))
    assert np.isclose(knee(curve, Goals("robust", "size_mb")).size_mb, np.sqrt(0.05), atol=0.06)


@quick
@given(cells, goals)
def test_topsis_respects_dominance(table, goals):
    score = topsis(table, goals).to_numpy() if len(table) else np.array([])
    better = gains(table, goals)
    for i in range(len(table)):
        for j in range(len(table)):
            if (better[i] >= better[j]).all():
                assert score[i] >= score[j] - 1e-12
    if len(table):
        assert np.isclose(stability(table, goals, draws=20).sum(), 1)


def test_failed_trials_and_gaps(table):
    failed = table.assign(status=["failed"] + ["ok"] * 23, robust=table.robust.where(table.index > 0))
    assert (
        not pareto(failed)[0]
        and pd.isna(rank(failed)[0])
        and np.isnan(topsis(failed)[0])
        and stability(failed, draws=10)[0] == 0
    )
    assert pareto(failed)[1:].equals(pareto(table[1:])) and "23 recipes" in str(choose(failed))
    gap = table.assign(robust=table.robust.where(table.index != 5))
    for call in (pareto, rank, knee, topsis, hypervolume, stability):
        with pytest.raises(ValueError, match=f"{table.arch[5]} .* has robust = nan: leave the trial out") as error:
            call(gap)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="has robust = nan"):
        choose(gap, best="robust")
    assert choose(gap, where="robust > 0", best="robust")
    with pytest.raises(ValueError, match="has robust = inf"):
        pareto(table.assign(robust=np.inf))
    with pytest.raises(ValueError, match="no trial has ended well"):
        knee(table.assign(status="failed"))
    assert "nothing to choose from" in str(choose(table.assign(status="failed")))
    assert hypervolume(table[:0]) == 0 and pareto(table[:0]).empty


def test_goals():
    assert Goals("worst", price="min").ways == dict(worst="max", price="min")
    with pytest.raises(ValueError, match="did you mean 'robust'"):
        Goals("robst")
    with pytest.raises(ValueError, match="unknown column 'price'"):
        pareto(pd.DataFrame(dict(clean=[1.0])), Goals(price="min"))


def test_front_probability_by_hand(table, draws):
    goals = Goals("clean", "robust", "size_mb")
    mean = np.zeros(24)
    for study in range(120):
        one = pd.DataFrame({name: draws.column(name)[study] for name in goals.names})
        mean += ~dominated(gains(one, goals)) / 120
    np.testing.assert_allclose(front_probability(draws, goals), mean)
    with pytest.raises(ValueError, match="extra_robust = nan"):
        front_probability(draws, Goals("extra_robust"))


# conditions

COLUMNS = dict(size_mb=True, robust=True, arch=False)
FRAME = pd.DataFrame(
    dict(
        size_mb=[0.5, 1, 2, 3, np.nan],
        robust=[0.6, 0.7, 0.5, np.nan, 0.6],
        arch=["vgg19", "vgg19", "resnet50", "it's", "x"],
    )
)
VALUES = {name: FRAME[name].to_numpy(object if name == "arch" else float) for name in FRAME}
number = st.sampled_from(["0.6", "1", "-2", ".5", "1e0", "+3.", "2.0E-1"])
comparison = st.tuples(
    st.sampled_from(["size_mb", "robust"]), st.sampled_from(["<=", "<", ">=", ">", "==", "!="]), number
) | st.tuples(st.just("arch"), st.sampled_from(["==", "!="]), st.sampled_from(["'vgg19'", '"it\'s"', "''"]))
comparison = comparison.flatmap(lambda three: st.sampled_from([" ".join(three), "".join(three)]))
condition = st.recursive(
    comparison,
    lambda inner: (
        st.builds("{} and {}".format, inner, inner)
        | st.builds("{} or {}".format, inner, inner)
        | st.builds("({})".format, inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=8,
)


def known(row, text):
    """Python's own reading; a missing value makes it unknown."""
    return eval(text, {}, dict(row))


@settings(deadline=None, max_examples=400)
@given(condition)
def test_conditions_read_as_python_reads_them(text):
    tree = parse_condition(text, COLUMNS)
    held = tree.holds(VALUES)
    for position, row in FRAME.dropna().iterrows():
        assert held[position] == known(row, text), (text, str(tree))
    short = tree.shortfall(VALUES)
    assert (short[held] == 0).all() and (short >= 0).all()
    assert (parse_condition(str(tree), COLUMNS).holds(VALUES) == held).all()
    assert (np.logical_and.reduce([part.holds(VALUES) for part in clauses(tree)]) == held).all()


@settings(deadline=None, max_examples=400)
@given(
    st.text("sizembrout arch<>=!&|%()'\".0123456789e+-_\n,[]{}", max_size=30)
    | st.text(max_size=12)
    | condition.flatmap(lambda text: st.integers(0, len(text)).map(lambda cut: text[:cut] + text[cut + 1 :]))
)
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        parse_condition(text, COLUMNS)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1 and ("character" in str(error) or "column" in str(error))


@pytest.mark.parametrize(
    "text, said",
    {
        "size_bm <= 1": "unknown column 'size_bm': did you mean 'size_mb'?",
        "size_mb <= ": "bad condition at character 12: expected a column, a number or 'text': size_mb <= ^",
        "size_mb 1": "character 9: expected one of <= < >= > == != after size_mb: size_mb ^1",
        "size_mb <= 1 robust > 1": "character 14: expected and, or, or the end: size_mb <= 1 ^robust > 1",
        "size_mb = 1": "equality is written ==: size_mb ^= 1",
        "robust >= 60%": "fractions are written 0 to 1, as 0.6: robust >= 60^%",
        "size_mb <= 1MB": "units are not written, a number stands alone: size_mb <= 1^MB",
        "0.5 < robust < 0.8": "one comparison at a time: join two with and: 0.5 < robust ^< 0.8",
        "size_mb <= robust": "a comparison has one column and one number or 'text': size_mb <= ^robust",
        "arch == vgg19": "unknown column 'vgg19'",
        "arch == 1": "arch holds text, written in quotes: arch == ^1",
        "robust >= '1'": "robust holds numbers: robust >= ^'1'",
        "arch < 'b'": "text is compared by == or !=: arch ^< 'b'",
        "arch == 'b": "a quotation that does not end: arch == ^'b",
        "(size_mb < 1": "expected ): (size_mb < 1^",
        "size_mb < 1 & robust > 1": "write and: size_mb < 1 ^& robust > 1",
        "not": "expected a column, a number or 'text': not^",
        "(" * 400: "nested more than 50 deep",
        "not " * 400 + "size_mb < 1": "nested more than 50 deep",
        "__import__('os').system('true')": "'.' has no meaning here: __import__('os')^.system('true')",
        "exit() == 1": "unknown column 'exit'",
        "size_mb < 1e999": "an infinite number, which nothing reaches: write a smaller one, or leave the comparison "
        "out: size_mb < ^1e999",
        "-1e999 < robust": "an infinite number",
        "size_mb < 1 and P(robust > 1e400) > .5": "an infinite number",
    }.items(),
)
def test_what_is_said_of_bad_conditions(table, text, said):
    with pytest.raises(ValueError) as error:
        parse_condition(text, COLUMNS)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, meant",
    dict(
        accuracy="'clean' or 'robust'",
        size="'size_mb' or 'size_bytes'",
        latency="'latency_s'",
        energy="'energy_j'",
        size_bm="'size_mb'",
        robst="'robust'",
        Clean="'clean'",
    ).items(),
)
def test_a_column_that_is_not_there_is_answered_with_the_one_that_is_meant(table, draws, name, meant):
    for ask in (
        lambda: choose(table, where=f"{name} > 1"),
        lambda: choose(table, best=name),
        lambda: Goals(name),
        lambda: choice_probability(draws, best=name),
        lambda: pareto(table, Goals(**{name: "max"})),
    ):
        with pytest.raises(ValueError, match=rf"^unknown (column|column to optimise|goal) '{name}': ") as error:
            ask()
        assert f": did you mean {meant}? allowed: clean, robust, worst" in str(error.value)
        assert " more" in str(error.value) and len(str(error.value)) < 240


def test_of_a_table_without_the_usual_columns_all_are_named():
    own = pd.DataFrame(dict(recipe=["a"], clean=[0.5], price=[1.0]))
    with pytest.raises(ValueError, match="allowed: recipe, clean, price, seeds, failed$"):
        choose(own, where="latency > 1")


@pytest.mark.parametrize("number", ["1e308", "-1e308", "1e-320", "5e-324", "0"])
def test_a_number_as_large_or_small_as_they_get_is_compared_without_a_word(number, recwarn):
    for op in ("<", ">", "=="):
        tree = parse_condition(f"size_mb {op} {number}", COLUMNS)
        tree.holds(VALUES), tree.shortfall(VALUES)
    assert not recwarn.list


def test_a_missing_value_satisfies_nothing():
    for text in ("robust > 0.1", "robust <= 0.1", "robust != 7", "not robust > 0.1", "not robust == 0.5"):
        assert not parse_condition(text, COLUMNS).holds(VALUES)[3]
    with pytest.raises(TypeError, match="a condition is text"):
        parse_condition(None, COLUMNS)


# choices


def test_choices_are_plain_filters(table):
    for where in (
        "size_mb <= 10 and robust >= 0.75",
        "arch == 'vgg19' and (drop < .15 or mce <= 1)",
        "not size_mb > 1",
        "",
    ):
        kept = table.query(where) if where and "not" not in where else table[table.size_mb <= 1] if where else table
        for best, way in dict(clean="max", mce="min", size_mb="min", compression_ratio="max").items():
            choice = choose(table, where=where, best=best)
            assert choice.row[best] == getattr(kept[best], way)() and len(choice.candidates) == len(kept)
            assert set(choice.candidates.key) == set(kept.key) and len(choice.others) == 24 - len(kept)


def test_ties_go_to_the_smaller_file_then_to_the_text():
    tied = pd.DataFrame(
        dict(recipe=["b", "a", "c", "d"], clean=[0.9, 0.9, 0.9, 0.8], size_mb=[1.0, 1, 2, 0.1], arch="n")
    )
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        assert choose(tied.iloc[order], best="clean").recipe == "a"
    assert list(choose(tied).candidates.recipe) == ["a", "b", "c", "d"]


def test_the_nearest_lacks_least(table):
    choice = choose(table, where="size_mb <= 0.1 and robust >= 0.9")
    assert not choice and choice.row is None and choice.recipe is None
    lacks = (table.size_mb / 0.1 - 1).clip(lower=0) + (1 - table.robust / 0.9).clip(lower=0)
    assert choice.nearest.key == table.key[lacks.idxmin()]
    assert list(choice.excluded) == [24, 24] and "Nearest is mobilenetv2" in str(choice)
    assert "nothing satisfies" in choice._repr_html_()


def test_recipes_without_a_value_are_not_called_too_large(table):
    lacking = table.assign(onnx_bytes=table.size_bytes.mask(table.arch == "vgg19"))
    choice = choose(lacking, where="onnx_bytes < 100")
    assert list(choice.excluded) == [24] and choice.excluded.attrs["unknown"] == {"onnx_bytes < 100": 12}
    assert "onnx_bytes < 100 excludes 12 and is not known for 12 recipes. Nearest is mobilenetv2" in str(choice)
    found = choose(lacking, where="onnx_bytes < 1e12")
    assert (
        "Of the 12 recipes (of 24) that satisfy 'onnx_bytes < 1e12' (onnx_bytes < 1e+12 is not known for 12 recipes), "
        in str(found)
    )
    one = lacking.assign(onnx_bytes=lacking.size_bytes.mask(lacking.index == 3))
    assert "is not known for 1 recipe)" in str(choose(one, where="onnx_bytes < 1e12"))
    nobody = str(choose(lacking.assign(onnx_bytes=np.nan), where="onnx_bytes < 22000 and clean > .1"))
    assert nobody == (
        "None of 24 recipes satisfies 'onnx_bytes < 22000 and clean > .1': "
        "onnx_bytes < 22000 is not known for 24 recipes. "
        "A sweep leaves onnx_bytes empty: judge fills it for ONNX files."
    )


def test_what_is_not_known_of_a_condition_neither_holds_nor_fails():
    for text, unknown in {
        "robust > .1": True,
        "not robust > .1": True,
        "robust > .1 or size_mb < 1e9": False,
        "robust > .1 and size_mb > 1e9": False,
        "robust > .1 and size_mb < 1e9": True,
    }.items():
        found = unknown_in(parse_condition(text, COLUMNS), VALUES)
        assert found[3] == unknown and not found[:3].any(), text


@pytest.mark.parametrize("resampled", [False, True])
def test_where_every_trial_failed_the_choice_says_what_the_first_one_says(resampled):
    tables = example()
    long = "no weights are left in conv1\nTraceback " + 100 * "and more "
    trials = tables.trials.assign(status="failed", error=["the disk is full\nat line 3"] + 23 * [long])
    failed = tables._replace(trials=trials, rows=tables.rows[:0])
    said = str(choose(failed if resampled else summarise(failed), where="size_mb < 1"))
    assert said == (
        "No trial has ended well: there is nothing to choose from. "
        f"The first error, of {trials.arch[0]} {trials.recipe[0]}: the disk is full at line 3"
    )
    failed.trials.loc[0, "error"] = long
    said = str(choose(failed if resampled else summarise(failed)))
    assert "no weights are left in conv1 Traceback" in said and len(said) < 320 and "\n" not in said


def test_parts_that_exclude_nothing_are_not_said(table):
    said = str(choose(table, where="size_mb <= 0.1 and robust >= 0"))
    assert "size_mb <= 0.1 excludes 24. Nearest" in said and "excludes 0" not in said
    assert "Of 24 recipes, all of which satisfy 'size_mb < 1e9', " in str(choose(table, where="size_mb < 1e9"))
    least = table.size_mb.nsmallest(2).mean()
    assert "Only one of 24 recipes satisfies " in str(choose(table, where=f"size_mb < {least}"))


def test_the_best_of_one_is_not_said_to_be_lucky(draws):
    least = draws.table.size_mb.nsmallest(2).mean()
    said = str(choose(draws, where=f"size_mb < {least}"))
    assert "biased by selection" not in said and "at once" not in said and "in 100 % of them" not in said


def test_a_card_is_escaped(table):
    sly = table.assign(recipe="<script>alert(1)</script>")
    assert "<script>" not in choose(sly, where="size_mb < 2")._repr_html_()


def test_choice_probability_by_hand(table, draws):
    """The column that decides is that of other studies, and the condition is asked of each resampled one."""
    where, kept = "size_mb <= 10 and robust >= 0.81", ordered(candidates(draws.table))
    place = pd.Index(draws.table.key).get_indexer(kept.key)
    values, point = draws.column("clean")[:, place], kept.clean.to_numpy()
    clean = posterior_predictive(values, point, posterior_draws(point, idiosyncratic_noise(values), draws=120))
    expected = {}
    for study in range(120):
        row = choose(kept.assign(clean=clean[study], robust=draws.column("robust")[study, place]), where=where).row
        key = "" if row is None else row.key
        expected[key] = expected.get(key, 0) + 1 / 120
    found = choice_probability(draws, where=where)
    np.testing.assert_allclose(found[found > 0].sort_index(), pd.Series(expected).sort_index())
    assert choice_probability(draws, where="size_mb < 0.0001")[""] == 1
    assert np.isclose(choice_probability(draws, best="size_mb").max(), 1)


def test_price_of_clean():
    two = pd.DataFrame(
        dict(
            key=["k", "l"],
            arch="n",
            recipe=["a", "b"],
            clean=[0.9, 0.88],
            robust=[0.6, 0.7],
            worst=[0.4, 0.3],
            size_mb=[1.0, 1.0],
        )
    )
    price = cost_of_clean_selection(two)
    assert (
        price.by_clean == "n a"
        and price.by_robust == "n b"
        and np.isclose(price.robust_lost, 0.1)
        and np.isclose(price.clean_given_up, 0.02)
    )
    assert cost_of_clean_selection(two, robust="worst").robust_lost == 0 and np.isnan(
        cost_of_clean_selection(two, "size_mb > 5").robust_lost
    )


# ---- networks that do not work ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", ["mobilenetv2-cifar10", "vgg19-cifar10", "digits"])
def test_the_front_does_not_depend_on_the_bound_of_what_works(study):
    table = summarise(read_tables(Path(__file__).parents[1] / "results" / study))
    fronts = [pareto(table.assign(works=works(table, share=share))) for share in (0.8, 0.85, 0.9)]
    assert fronts[0].sum() > 3 and all(front.equals(fronts[0]) for front in fronts)
    assert not table[fronts[-1]].clean.lt(0.8 * table.clean.max()).any()


def test_a_network_at_chance_is_no_candidate():
    tables = example()
    table = summarise(tables)
    tiny = table[:1].assign(key="tiny", recipe="int2", clean=0.1, robust=0.1, worst=0.1, size_bytes=9e3, size_mb=0.009)
    table = pd.concat([table, tiny], ignore_index=True)
    table = table.assign(works=works(table))
    assert not table.works.iloc[-1] and table.works[:-1].all()
    for goals in (Goals(), Goals("robust", "size_mb")):
        assert not pareto(table, goals).iloc[-1] and pareto(table, goals)[:-1].equals(pareto(table[:-1], goals))
        assert knee(table, goals).key == knee(table[:-1], goals).key
        assert np.isnan(topsis(table, goals).iloc[-1]) and stability(table, goals, draws=200).iloc[-1] == 0
    choice = choose(table, best="size_mb")
    assert choice.row.key != "tiny" and choice.broken == 1 and "1 more is left out: clean accuracy below" in str(choice)
    assert choose(table.assign(works=True), best="size_mb").row.key == "tiny"


def test_many_probabilities_in_one_condition_are_read_without_a_word(draws, recwarn):
    asked = " and ".join(f"P(robust > {level / 1000}) >= 0.1" for level in range(300, 450))
    choice = choose(draws, where=asked, best="robust")
    assert choice and len(choice.excluded) == 150 and not recwarn.list
    assert choice_probability(draws, where=asked, best="robust").sum() == pytest.approx(1) and not recwarn.list


def test_resampled_studies_leave_out_what_does_not_work():
    drawn = resample(example(), draws=60)
    broken = drawn.table.recipe == "int4"
    drawn = drawn._replace(table=drawn.table.assign(works=~broken))
    assert set(front_probability(drawn).index) == set(drawn.table.key[~broken])
    shares = choice_probability(drawn, best="size_mb")
    assert np.isclose(shares.sum(), 1) and not set(drawn.table.key[broken]) & set(shares.index)


@pytest.mark.parametrize("best, ends", [("clean", "0.980 to 1.000"), ("size_mb", "0.980 to 1.01")])
def test_the_interval_of_an_accuracy_ends_at_one(best, ends):
    assert ends in reasons._interval_said(best, 6, pd.Series(dict(low=0.98, high=1.008)), 0.001)


def test_a_group_of_corruptions_is_a_measure_to_choose_by_and_to_compare():
    tables = example()
    accuracy = accuracies(tables)
    for group, members in GROUPS.items():
        own = pd.concat([accuracy[name].mean(axis=1) for name in members], axis=1).mean(axis=1)
        found = summarise(tables).set_index("key")[group]
        np.testing.assert_allclose(found, own[found.index])
    chosen = choose(tables, best="weather", where="noise > 0.5 and size_mb < 3", draws=100)
    assert "has the highest accuracy in weather" in str(chosen) and (chosen.candidates.noise > 0.5).all()
    assert chosen.row.weather == chosen.candidates.weather.max()
    dense = summarise(tables).query("recipe == 'dense' and arch == @chosen.row.arch").key.iloc[0]
    gap = compare(tables, chosen.row.key, dense, measure="weather", draws=100)
    assert gap.low <= gap.difference <= gap.high
    with pytest.raises(TypeError, match="this takes resampled studies, got Tables: pass resample"):
        choice_probability(tables)
    with pytest.raises(ValueError, match="fog is a corruption and no column to optimise: 'weather' is the mean"):
        choose(tables, best="fog")


def test_the_file_of_a_choice_is_named_or_one_line_says_why_there_is_none(tmp_path, table):
    choice = choose(table, where="size_mb < 1e9")
    with pytest.raises(ValueError, match="is not there: sweep"):
        choice.file(tmp_path)
    (tmp_path / "artifacts").mkdir()
    path = tmp_path / "artifacts" / f"{choice.row.key}.robcomp"
    path.write_bytes(b"packed")
    assert choice.file(tmp_path) == path
    foreign = choose(table.assign(recipe="elsewhere:theirs"))
    with pytest.raises(ValueError, match="elsewhere:theirs was made by another tool and is not packed"):
        foreign.file(tmp_path)
    with pytest.raises(ValueError, match="nothing was chosen"):
        choose(table, where="size_mb < 0").file(tmp_path)
