"""The store and the summary: damage, determinism, and every formula against plain loops."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import robcomp

from robcomp._store.shards import finished, read_deals, read_trial, write_deal, write_trial
from robcomp.choice import choose
from robcomp.explorer import explore
from robcomp.pareto import pareto
from robcomp.results import controls, references, summarise
from robcomp.tables import Tables, collect, example, find, join, outcomes, read_tables, write_tables
from robcomp.schema import EXTRA, LATER_COLUMNS, SEVERITIES, STANDARD, SUMMARY_COLUMNS
from robcomp.uncertainty import resample


@pytest.fixture(scope="module")
def tables():
    return example()


@pytest.fixture
def store(tables, tmp_path):
    for record in tables.trials.head(3).to_dict("records"):
        write_trial(tmp_path, record, tables.rows[tables.rows.key == record["key"]])
    write_deal(tmp_path, tables.deals)
    return tmp_path


def only(tables, *keys):
    return Tables(*(table[table.key.isin(keys)] for table in tables[:2]), tables.deals)


def one_line(error):
    assert "\n" not in str(error.value)


def test_a_store_gives_back_what_was_filed(tables, store):
    read = collect(store)
    keys = list(read.trials.key)
    assert keys == sorted(tables.trials.key[:3])
    expected = tables.trials.set_index("key").loc[keys].reset_index()[list(tables.trials)]
    pd.testing.assert_frame_equal(read.trials, expected)
    for key in keys:
        pd.testing.assert_frame_equal(
            read.rows[read.rows.key == key].reset_index(drop=True),
            tables.rows[tables.rows.key == key].reset_index(drop=True),
        )
    assert all(np.array_equal(a, b) for a, b in zip(read.deals.positions, tables.deals.positions))
    pd.testing.assert_frame_equal(summarise(read), summarise(only(join(read, tables), *keys)).reset_index(drop=True))


def test_the_same_content_makes_the_same_bytes(tables, store, tmp_path):
    path = store / "trials" / f"{tables.trials.key[0]}.parquet"
    before = path.read_bytes()
    write_trial(store, *read_trial(path))
    assert path.read_bytes() == before
    first, second = (write_tables(tables, tmp_path / name) for name in "ab")
    write_tables(read_tables(tmp_path / "a"), tmp_path / "a")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_every_cut_of_a_file_is_noticed(store):
    path = sorted((store / "trials").glob("*.parquet"))[0]
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 397), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=path.name) as error:
            read_trial(path)
        one_line(error)
        with pytest.warns(UserWarning, match=path.name):
            left = collect(store)
        assert path.stem not in finished(store) and path.stem not in set(left.trials.key) and len(left.trials) == 2


def test_no_flipped_byte_changes_what_is_read(store):
    path = sorted((store / "trials").glob("*.parquet"))[0]
    whole, (record, rows) = path.read_bytes(), read_trial(path)
    for place in range(0, len(whole), 83):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            read, table = read_trial(path)
        except ValueError:
            continue
        assert str(read) == str(record)
        pd.testing.assert_frame_equal(
            table[["key", "corruption", "severity", "n", "correct", "bits"]],
            rows[["key", "corruption", "severity", "n", "correct", "bits"]],
        )


def test_files_that_are_no_trials(store):
    partial = store / "trials" / "0123456789abcdef.parquet.77.partial"
    partial.write_bytes(b"half")
    assert len(collect(store).trials) == 3
    foreign = store / "trials" / "foreign.parquet"
    pq.write_table(pa.table(dict(a=[1])), foreign)
    with pytest.warns(UserWarning, match="foreign.parquet is not a robcomp table: it lacks key"):
        assert len(collect(store).trials) == 3
    foreign.unlink()
    path = sorted((store / "trials").glob("*.parquet"))[0]
    path.rename(path.with_name("another.parquet"))
    with pytest.warns(UserWarning, match=f"another.parquet holds trial {path.stem}"):
        assert len(collect(store).trials) == 2


def test_failed_trials(tables, store):
    record = dict(tables.trials.iloc[5], status="failed", error="boom")
    write_trial(store, record)
    assert record["key"] not in finished(store) and len(finished(store)) == 3
    row = summarise(collect(store)).set_index("key").loc[record["key"]]
    assert row.note == "failed: boom" and np.isnan(row.robust) and row.n_images == 0 and row.worst_corruption == ""


def test_what_is_not_filed(tables, store):
    record, rows = tables.trials.iloc[0].to_dict(), tables.rows[tables.rows.key == tables.trials.key[0]]
    with pytest.raises(ValueError, match="did you mean 'recipe'"):
        write_trial(store, dict(record, recip="int8"), rows)
    with pytest.raises(ValueError, match="bits do not tell of"):
        write_trial(store, record, rows.assign(correct=rows.correct - 1))
    with pytest.raises(ValueError, match="a condition occurs twice"):
        write_trial(store, record, pd.concat([rows, rows]))
    with pytest.raises(ValueError, match="it has no rows"):
        write_trial(store, record)
    with pytest.raises(ValueError, match="a failed trial has no rows"):
        write_trial(store, dict(record, status="failed"), rows)
    with pytest.raises(ValueError, match="lacks n, correct"):
        write_trial(store, record, rows[["corruption", "severity"]])
    with pytest.raises(ValueError, match="belongs to one suite"):
        write_deal(store, pd.concat([tables.deals, tables.deals.assign(suite="b")]))


def test_records_take_mappings_and_gaps(tmp_path, tables):
    rows = tables.rows[tables.rows.key == tables.trials.key[0]]
    record = dict(key="a" * 16, recipe="dense", protocol=dict(b=1.0, a=2), size_bytes=None, versions=dict(torch="2"))
    read, _ = read_trial(write_trial(tmp_path, record, rows.drop(columns="key")))
    assert read["protocol"] == '{"a":2,"b":1}' and np.isnan(read["size_bytes"]) and read["status"] == "ok"


@pytest.mark.parametrize("read", [choose, summarise, explore, resample, pareto], ids=lambda read: read.__name__)
def test_the_name_of_a_folder_is_no_study(tmp_path, read, tables):
    one_line = r"give tables: {}\('{}'\)$".format
    with pytest.raises(TypeError, match=one_line("collect", "runs/x")):
        read("runs/x")
    (tmp_path / "store" / "trials").mkdir(parents=True)
    with pytest.raises(TypeError, match=one_line("collect", tmp_path / "store")):
        read(tmp_path)
    write_tables(tables, tmp_path)
    with pytest.raises(TypeError, match=one_line("read_tables", tmp_path)):
        read(str(tmp_path))


def test_a_folder_that_is_no_store_says_what_reads_it(tmp_path, tables):
    for part in ("bare", "study/store/trials", "store/plans", "tables"):
        (tmp_path / part).mkdir(parents=True)
    write_tables(tables, tmp_path / "tables")
    for place, said in dict(
        bare="name the folder that a sweep or a worker filled",
        tables="are read by read_tables",
        study=f"did you mean '{tmp_path / 'study' / 'store'}'?",
    ).items():
        with pytest.raises(ValueError, match="is no store, it has no folder trials") as error:
            collect(tmp_path / place)
        assert str(error.value).endswith(said) and "\n" not in str(error.value)
    for place in ("study/store", "store"):
        assert not any(map(len, collect(tmp_path / place)))
    for place in ("study", "study/store"):
        with pytest.raises(ValueError, match="which collect reads: collect") as error:
            read_tables(tmp_path / place)
        assert f"collect('{tmp_path / 'study' / 'store'}')" in str(error.value)
    with pytest.raises(ValueError, match="trials.parquet is absent"):
        read_tables(tmp_path / "bare")
    write_tables(tables, tmp_path / "study")
    assert len(read_tables(tmp_path / "study").trials) == len(tables.trials)
    with pytest.raises(ValueError, match=r"did you mean .*\? its tables are read by read_tables$"):
        collect(tmp_path / "study")


def test_an_empty_store(tmp_path):
    (tmp_path / "trials").mkdir()
    empty = collect(tmp_path)
    assert not any(map(len, empty)) and list(summarise(empty)) == list(SUMMARY_COLUMNS)
    assert read_deals(tmp_path).empty and finished(tmp_path) == set()
    assert not any(map(len, read_tables(write_tables(empty, tmp_path / "t")[0].parent)))


def test_every_measure_by_plain_loops(tables):
    summary = summarise(tables).set_index("key")
    rows = tables.rows.set_index(["key", "corruption", "severity"])
    for key, row in list(summary.iterrows())[::3]:

        def error(of, name, s):
            return 1 - rows.correct[of, name, s] / rows.n[of, name, s]

        accuracy = {c: np.mean([1 - error(key, c, s) for s in SEVERITIES]) for c in STANDARD}
        clean = 1 - error(key, "clean", 0)
        ratios, gaps = [], []
        for c in STANDARD:
            own, dense = (sum(error(of, c, s) for s in SEVERITIES) for of in (key, row.reference))
            own_gap, dense_gap = (
                sum(error(of, c, s) - error(of, "clean", 0) for s in SEVERITIES) for of in (key, row.reference)
            )
            if dense / 5 >= 0.01:
                ratios.append(own / dense)
            if dense_gap / 5 >= 0.01:
                gaps.append(own_gap / dense_gap)
        robust = np.mean(list(accuracy.values()))
        expected = dict(
            clean=clean,
            robust=robust,
            worst=min(accuracy.values()),
            drop=clean - robust,
            mce=np.mean(ratios),
            relative_mce=np.mean(gaps),
            robust_over_clean=robust / clean,
            robust_over_dense=robust / summary.robust[row.reference],
            compression_ratio=row.dense_bytes / row.size_bytes,
            size_mb=row.size_bytes / 1e6,
            sparsity=1 - row.nonzero / row.params,
            n_images=3000,
        )
        assert accuracy[row.worst_corruption] == min(accuracy.values())
        np.testing.assert_allclose([row[name] for name in expected], list(expected.values()), atol=1e-12)


def test_references_are_the_same_network(tables):
    trials = tables.trials.head(3)
    dense = trials.key[0]
    assert set(references(trials)) == {dense}
    assert list(references(trials.assign(seed=[0, 1, 0]))) == [dense, "", dense]
    assert list(references(trials.assign(protocol=["a", "b", "a"]))) == [dense, "", dense]
    assert list(references(trials.assign(protocol=["a", "b", "a"], weights="f0"))) == [dense] * 3
    assert list(references(trials.assign(weights=["f0", "f0", "f1"]))) == [dense, dense, ""]
    assert list(references(trials.assign(status="failed"))) == [""] * 3


def test_notes_say_what_is_missing(tables):
    some = tables.rows.severity.isin([0, 2]) & tables.rows.corruption.isin(["clean", "fog", "frost"])
    few = summarise(tables._replace(rows=tables.rows[some]))
    assert (
        few.note.str.startswith("robust covers 2 of 15 corruptions, 1 of 5 severities").all()
        and few.robust.notna().all()
    )
    alone = summarise(only(tables, tables.trials.key[3]))
    assert "no dense reference" in alone.note.iloc[0] and alone.mce.isna().all() and alone.robust.notna().all()
    clean = summarise(tables._replace(rows=tables.rows[tables.rows.severity == 0]))
    assert clean.clean.notna().all() and clean.robust.isna().all() and (clean.worst_corruption == "").all()
    no_clean = summarise(tables._replace(rows=tables.rows[tables.rows.severity > 0]))
    assert no_clean.clean.isna().all() and no_clean.robust.notna().all() and no_clean.relative_mce.isna().all()


def test_extra_corruptions_are_kept_apart(tables):
    extra = tables.rows[tables.rows.corruption.isin(STANDARD[:4])]
    extra = extra.assign(corruption=extra.corruption.map(dict(zip(STANDARD, EXTRA))))
    both, plain = summarise(tables._replace(rows=pd.concat([tables.rows, extra]))), summarise(tables)
    expected = tables.rows[tables.rows.corruption.isin(STANDARD[:4])].groupby("key").correct.sum() / (4 * 5 * 40)
    np.testing.assert_allclose(both.extra_robust, expected[both.key])
    pd.testing.assert_frame_equal(both.drop(columns="extra_robust"), plain.drop(columns="extra_robust"))


def test_outcomes_find_the_image(tables):
    key = find(tables.trials, "vgg19 int4")
    hits = outcomes(tables, key)[key]
    row = tables.rows.query("key == @key and corruption == 'fog' and severity == 3").iloc[0]
    deal = tables.deals.query("corruption == 'fog' and severity == 3").iloc[0]
    bits = np.unpackbits(np.frombuffer(row.bits, np.uint8))
    for place in (0, 17, 39):
        assert hits["fog", 3, deal.positions[place], deal.labels[place]] == bits[place]
    with pytest.raises(ValueError, match="have 2"):
        outcomes(tables._replace(trials=tables.trials.assign(suite=["a"] + ["b"] * 23)), list(tables.trials.key[:2]))


def test_example_looks_real(tables):
    summary = summarise(tables)
    for name, column in SUMMARY_COLUMNS.items():
        if name in ("onnx_bytes", "extra_robust", "weights", "error", "note", *LATER_COLUMNS):
            continue
        if "control" in name:
            continue  # the simulated study has no tuned dense network
        assert summary[name].notna().all() and (column.dtype != "str" or (summary[name] != "").all()), name
    pd.testing.assert_frame_equal(example().trials, tables.trials)
    assert not summarise(example(seed=1)).clean.equals(summary.clean)


# ---- two things to be held against -----------------------------------------------------------------------------------


def test_a_seed_that_tunes_the_same_weights_has_the_dense_network_of_another(tables):
    start = tables.trials[:5].assign(weights="f0", seed=[0, 1, 2, 3, 4], protocol=list("abcde"))
    assert set(references(start)) == {start.key[0]}
    assert list(references(start.assign(weights=""))) == [start.key[0], "", "", "", ""]
    assert list(controls(start.assign(recipe=["dense", "tune1", "int8+tune1", "int8", "tune1"]))) == [
        start.key[0],
        start.key[1],
        "",
        start.key[0],
        start.key[4],
    ]


def test_differences_against_dense_and_against_equal_training():
    table = summarise(read_tables(Path(__file__).parents[1] / "results/vgg19-cifar10"))
    table = table[table.seed == 0].set_index("recipe", drop=False)
    best = table.loc["cluster16+tune1+int8+tune1"]
    assert best.reference == table.key["dense"] and best.control == table.key["tune1+tune1"]
    for name in ("clean", "robust"):
        assert best[f"{name}_vs_dense"] == best[name] - table[name]["dense"]
        assert best[f"{name}_vs_control"] == best[name] - table[name]["tune1+tune1"]
    assert table.robust_vs_dense["dense"] == table.robust_vs_control["int8"] - table.robust_vs_dense["int8"] == 0


def test_published_sizes_are_held_against_the_published_dense_file():
    table = summarise(read_tables(Path(__file__).parents[1] / "results/paper"))
    dense = table.set_index("key").size_bytes[table.reference].to_numpy()
    np.testing.assert_allclose(table.compression_ratio, dense / table.size_bytes)
    assert table.dense_bytes.isna().all() and (table.compression_ratio[table.recipe == "dense"] == 1).all()


@pytest.mark.parametrize("given", [None, 5, 1.5, [], {}, (1, 2)])
def test_what_holds_no_tables_is_refused_in_one_line(given):
    with pytest.raises(TypeError, match="this takes tables, as collect gives them, or a summary of them, got "):
        summarise(given)


@pytest.mark.parametrize("what", ["trials", "rows"])
@pytest.mark.parametrize("call", [robcomp.summarise, robcomp.choose], ids=["summarise", "choose"])
def test_a_trial_that_is_there_twice_is_one_line(what, call):
    tables = robcomp.example()
    table = getattr(tables, what)
    doubled = tables._replace(**{what: pd.concat([table, table.iloc[:1]], ignore_index=True)})
    match = f"^{table.key[0]}.* is twice in the {what}: join"
    with pytest.raises(ValueError, match=match) as caught:
        call(doubled)
    assert "\n" not in str(caught.value)
    assert len(robcomp.summarise(robcomp.join(doubled))) == len(tables.trials)


@pytest.mark.parametrize("call", [robcomp.pareto, robcomp.knee, robcomp.by_recipe])
def test_tables_where_a_summary_is_meant_are_one_line(call):
    with pytest.raises(TypeError, match="^this takes a summary of tables: give summarise.tables.$"):
        call(robcomp.example())


def test_tables_that_pandas_has_written_again_are_read(tmp_path):
    write_tables(robcomp.example(), tmp_path)
    for file in tmp_path.glob("*.parquet"):
        pd.read_parquet(file).to_parquet(file)
    for one, other in zip(read_tables(tmp_path), robcomp.example()):
        pd.testing.assert_frame_equal(one, other)


def test_a_table_of_millions_of_empty_rows_is_refused_before_it_is_read(tmp_path):
    """Three million empty rows of two columns are a file of a few kilobytes, and hundreds of megabytes as lists."""
    path = tmp_path / f"{16 * '0'}.parquet"
    nothing = pa.nulls(3_000_000, pa.int64())
    pq.write_table(pa.table({"n": nothing, "correct": nothing}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"announces 3,000,000 rows in [\d,]+ bytes\): delete it and run again$"):
        read_trial(path)
