"""A sweep that is killed, resumed, damaged, and run by several processes: the same table as if nothing had happened."""

import asyncio
import errno
import json
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from hashlib import sha256
from itertools import product
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import robcomp
from robcomp._files.atomic import replacing, writable_folder
from robcomp._files.checkpoint import write_checkpoint
from robcomp._files.digest import tensors_sha256
from robcomp._store.small import small_study
from robcomp._store.training import set_aside
from robcomp._store.shards import content_sha256, frame, read_deal, read_trial
from robcomp.tables import collect, put_back, write_tables
from robcomp.schema import FIRST_NAMES, ROW_COLUMNS, canonical
from robcomp.sweep import Study, plan, store_status, sweep
from robcomp.data import Data, Images, InputContract, contract_of, load
from robcomp.many import status_command
from robcomp.models import model_from, weights_sha256
from robcomp.results import summarise
from robcomp.training import Training, fit
from robcomp.workers import merge
from tests.attacks import study as attacked_study

RECIPES = [
    "dense",
    "prune0.5",
    "prune0.5+tune1",
    "prune0.5+tune1+int8",
    "prune0.5+tune1+cluster4",
    "cluster4+int8",
    "int8",
    "int4+recal",
]
STUDY = """
import numpy as np, sys, torch
from torch import nn
from robcomp.data import Data, Images, InputContract
from robcomp.models import model_from
from robcomp.sweep import Study, sweep
from robcomp.training import Training

def study():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                        nn.Conv2d(8, 16, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
    def noise(n, seed):
        labels = np.arange(n) % 2
        pixels = np.random.default_rng(seed).normal(100 + 40 * labels[:, None, None, None], 60, (n, 32, 32, 3))
        return Images(pixels.clip(0, 255).astype(np.uint8), labels)
    data = Data("noise", noise(400, 0), noise(50, 1), noise(100, 2), ["dark", "bright"])
    return Study(data, model_from(net, name="small", classes=2, contract=InputContract(32, (128,) * 3, (64,) * 3)),
                 tune=Training(1, batch=20, peak=.05),
                 conditions=dict(corruptions=("contrast", "gaussian_noise"), severities=(1, 5), per_condition=25),
                 together=2)

if __name__ == "__main__": sweep(study(), sys.argv[2].split(), sys.argv[1], progress=False)
"""
TIMES = ["train_s", "compress_s", "evaluate_s", "latency_s"]


def study():
    scope = {"__name__": "study"}
    exec(STUDY, scope)
    return scope["study"]()


def comparable(folder):
    """Everything a study found, but for how long it took."""
    tables = collect(folder)
    trials = tables.trials.drop(columns=TIMES).sort_values("key").reset_index(drop=True)
    rows = tables.rows.sort_values(["key", "corruption", "severity"]).reset_index(drop=True)
    return trials, rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    script = folder / "study.py"
    script.write_text(STUDY)
    subprocess.run([sys.executable, script, folder / "store", " ".join(RECIPES)], check=True)
    return script, folder / "store"


def test_killed_and_run_again(whole, tmp_path):
    script, expected = whole
    store = tmp_path / "store"
    command = [sys.executable, script, store, " ".join(RECIPES)]
    for enough in (1, 4):
        process = subprocess.Popen(command)
        while process.poll() is None and len(list((store / "trials").glob("*.parquet"))) < enough:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in (store / "trials").glob("*.parquet")}
    assert len(before) >= 4
    subprocess.run(command, check=True)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items()), "a finished trial was run again"
    for mine, theirs in zip(comparable(store), comparable(expected)):
        pd.testing.assert_frame_equal(mine, theirs)


def test_a_second_run_does_nothing(whole):
    script, store = whole
    before = {
        path: path.stat().st_mtime_ns
        for path in store.rglob("*")
        if path.is_file() and path.parent.name in ("trials", "artifacts", "beginnings")
    }
    subprocess.run([sys.executable, script, store, " ".join(RECIPES)], check=True)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())


@pytest.mark.parametrize("threads", [1, 5])
def test_an_executor_gives_the_same_table(whole, tmp_path, threads):
    with ThreadPoolExecutor(threads) as executor:
        sweep(study(), RECIPES, tmp_path, executor=executor, progress=False)
    for mine, theirs in zip(comparable(tmp_path), comparable(whole[1])):
        pd.testing.assert_frame_equal(mine, theirs)


def test_half_written_files_are_not_taken_for_whole(whole, tmp_path):
    _, store = whole
    trial = next((store / "trials").glob("*.parquet"))
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / f"{trial.name}.123.partial").write_bytes(trial.read_bytes()[:100])
    assert collect(tmp_path).trials.empty
    (tmp_path / "trials" / trial.name).write_bytes(trial.read_bytes()[:-10])
    with pytest.warns(UserWarning, match="is damaged"):
        assert collect(tmp_path).trials.empty


def test_keys_cover_what_changes_results():
    base = study()
    digest = weights_sha256(base._model)
    key = lambda **change: plan(vary(study(), **change), ["int8"], digest)[0].key
    keys = [
        key(),
        key(seed=1),
        key(conditions=dict(base.conditions, per_condition=20)),
        key(tune=type(base.tune)(1, batch=20, peak=0.04)),
    ]
    assert len(set(keys)) == len(keys) and key() == key()


def vary(study, **change):
    for name, value in change.items():
        setattr(study, name, value)
    return study


def test_a_failed_trial_is_tried_again(tmp_path):
    sweep(study(), ["prune0.9999", "dense"], tmp_path, progress=False)
    failed = collect(tmp_path).trials.set_index("recipe").status
    assert failed.to_dict() == {"prune0.9999": "failed", "dense": "ok"}
    path = next(
        path
        for path in (tmp_path / "trials").glob("*.parquet")
        if path.stem == collect(tmp_path).trials.set_index("recipe").key["prune0.9999"]
    )
    stamp = path.stat().st_mtime_ns
    sweep(study(), ["prune0.9999", "dense"], tmp_path, progress=False)
    assert path.stat().st_mtime_ns > stamp


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_store_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot write in"):
        sweep(study(), ["dense"], tmp_path / "store", progress=False)


def resumed(store, **options):
    """Sweep again; what was said, line by line, but for the network, which is not trained and guesses."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sweep(study(), RECIPES, store, progress=False, **options)
    lines = [str(warning.message) for warning in said if warning.category is UserWarning]
    assert not any("\n" in line for line in lines)
    return [line for line in lines if "no more than guessing" not in line]


@pytest.fixture
def store(whole, tmp_path):
    shutil.copytree(whole[1], tmp_path / "store")
    return tmp_path / "store"


def table_bytes(store):
    """The three tables of a store as files, byte for byte; only the four columns of times are left out, as zeros."""
    tables = collect(store)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_tables(tables._replace(trials=tables.trials.assign(**dict.fromkeys(TIMES, 0.0))), folder)
        return {path.name: path.read_bytes() for path in paths}


def same(store, whole):
    mine, theirs = table_bytes(store), table_bytes(whole[1])
    assert len(mine) == 3 and all(mine[name] == theirs[name] for name in theirs)


# -- shards --


def rewritten(path, change, *, digest=True):
    """The file of a trial with its table changed by `change` and every checksum right; `digest=False`: as an earlier
    version wrote it."""
    table = change(pq.read_table(path))
    metadata = dict(table.schema.metadata)
    metadata.pop(b"robcomp_rows")
    if digest:
        try:
            metadata[b"robcomp_rows"] = content_sha256(frame(table.to_pydict(), ROW_COLUMNS), ROW_COLUMNS).encode()
        except (TypeError, ValueError):
            pass
    pq.write_table(table.replace_schema_metadata(metadata), path)


def column(name, values, kind=None):
    def change(table):
        old = table.column(name).to_pylist()
        array = pa.array(values(old), kind or table.schema.field(name).type)
        return table.set_column(table.schema.get_field_index(name), name, array)

    return change


LIES = {
    "no count": column("n", lambda old: [None, *old[1:]]),
    "no bits": column("bits", lambda old: [None, *old[1:]]),
    "another key": column("key", lambda old: ["f" * 16] * len(old)),
    "a condition less": lambda table: table.slice(1),
    "severity 9": column("severity", lambda old: [9 if level == 5 else level for level in old]),
    "an unknown corruption": column("corruption", lambda old: ["rain" if name == "contrast" else name for name in old]),
    "a corruption of another suite": column(
        "corruption", lambda old: ["fog" if name == "contrast" else name for name in old]
    ),
    "counts as floats": column("n", lambda old: old, pa.float64()),
    "counts as text": column("correct", lambda old: list(map(str, old)), pa.string()),
    "another count": column("correct", lambda old: [count + 1 for count in old]),
    "bits beyond the images": column("bits", lambda old: [old[0][:-1] + bytes([old[0][-1] ^ 0xFF]), *old[1:]]),
    "fewer classes than images": column("predicted", lambda old: [old[0][:-1], *old[1:]]),
    "classes and no confidence": column("confidence", lambda old: [b""] * len(old)),
    "classes in one condition alone": lambda table: column("predicted", lambda old: [old[0], *[b""] * (len(old) - 1)])(
        column("confidence", lambda old: [old[0], *[b""] * (len(old) - 1)])(table)
    ),
    "fewer images": lambda table: column("correct", lambda old: [0] * len(old))(
        column("bits", lambda old: [b"\0"] * len(old))(column("n", lambda old: [8] * len(old))(table))
    ),
}


@pytest.mark.parametrize("digest", [True, False], ids=["with a digest", "of an earlier version"])
@pytest.mark.parametrize("lie", LIES)
def test_a_shard_that_says_what_no_sweep_writes_is_named_and_done_again(store, whole, lie, digest):
    path = sorted((store / "trials").glob("*.parquet"))[1]
    rewritten(path, LIES[lie], digest=digest)
    with pytest.warns(UserWarning, match=f"{path.name}.*left out"):
        left = collect(store)
    assert len(left.trials) == len(RECIPES) - 1 and path.stem not in set(left.trials.key) | set(left.rows.key)
    lines = resumed(store)
    assert len(lines) == 1 and path.name in lines[0] and "set aside as" in lines[0]
    assert [file.name for file in (store / "damaged").iterdir()] == [path.name]
    same(store, whole)


def test_one_changed_answer_is_seen_by_the_digest(store, whole):
    path = sorted((store / "trials").glob("*.parquet"))[0]
    table = pq.read_table(path)
    change = column("loss", lambda old: [old[0] + 0.5, *old[1:]])
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(ValueError, match="its content and its digest differ"):
        read_trial(path)
    assert len(resumed(store)) == 1
    same(store, whole)


def test_shards_of_an_earlier_version_are_finished(store, whole):
    """Without a digest they are held against key and suite alone: nothing is said, nothing is done again."""
    for path in (store / "trials").glob("*.parquet"):
        rewritten(path, lambda table: table, digest=False)
    for path in (store / "deals").glob("*.parquet"):
        pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    for path in (store / "beginnings").glob("*.json"):
        path.write_text(
            json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "origin"})
        )
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*.*")}
    assert resumed(store) == [] and before == {path: path.stat().st_mtime_ns for path in store.rglob("*.*")}
    same(store, whole)


def test_shards_from_before_the_predicted_classes_keep_their_digest(store, whole):
    """Without the two columns, and with the digest of that time, they are read and are not done again."""
    for path in (store / "trials").glob("*.parquet"):
        table = pq.read_table(path).drop_columns(["predicted", "confidence"])
        old = {name: ROW_COLUMNS[name] for name in table.column_names}
        digest = content_sha256(frame(table.to_pydict(), old), old)
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"robcomp_rows": digest.encode()}), path)
    read = collect(store)
    assert len(read.trials) == len(RECIPES) and (read.rows.predicted == b"").all() and resumed(store) == []
    assert put_back(read, store.parent / "again") == len(RECIPES) and len(collect(store.parent / "again").rows) == len(
        read.rows
    )


def test_a_store_with_the_first_names_of_its_columns_is_read_and_not_done_again(store, whole):
    """As version 1 wrote it: the old names in tables and records, digests taken under them, the version in the
    record."""
    for path in (store / "deals").glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.rename_columns([FIRST_NAMES.get(name, name) for name in table.column_names]), path)
    for path in (store / "trials").glob("*.parquet"):
        table = pq.read_table(path)
        record = json.loads(table.schema.metadata[b"robcomp"])
        old = {FIRST_NAMES.get(name, name): value for name, value in record.items()} | dict(schema=1)
        text = canonical(old).encode()
        said = {b"robcomp": text, b"robcomp_sha256": sha256(text).hexdigest().encode()}
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, **said}), path)
    read, made = collect(store), collect(whole[1])
    assert set(FIRST_NAMES) & set(read.trials) == {"distinct_codes"} and "positions" in read.deals
    assert resumed(store) == [] and not (store / "damaged").exists() and (read.trials.schema == 1).all()
    pd.testing.assert_frame_equal(read.trials.drop(columns="schema"), made.trials.drop(columns="schema"))
    for mine, theirs in zip(read.deals.positions, made.deals.positions):
        assert np.array_equal(mine, theirs)


def test_two_shards_with_swapped_names(store, whole):
    first, second = sorted((store / "trials").glob("*.parquet"))[:2]
    bytes_of = first.read_bytes(), second.read_bytes()
    first.write_bytes(bytes_of[1]), second.write_bytes(bytes_of[0])
    assert len(resumed(store)) == 2
    same(store, whole)


def test_a_shard_under_a_forged_key_is_refused(store):
    path = sorted((store / "trials").glob("*.parquet"))[0]
    table = pq.read_table(path)
    forged = table.set_column(0, "key", pa.array(["0" * 16] * len(table)))
    text = table.schema.metadata[b"robcomp"].decode().replace(path.stem, "0" * 16)
    metadata = {b"robcomp": text.encode(), b"robcomp_sha256": sha256(text.encode()).hexdigest().encode()}
    pq.write_table(forged.replace_schema_metadata(metadata), path.with_name("0" * 16 + ".parquet"))
    with pytest.raises(ValueError, match="its record does not make its key"):
        read_trial(path.with_name("0" * 16 + ".parquet"))


@pytest.mark.parametrize("damage", ["missing", "truncated", "other images", "of another suite", "labels lost"])
def test_deals_are_written_again(store, whole, damage):
    (path,) = (store / "deals").glob("*.parquet")
    table = pq.read_table(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "other images":
        numbers = table.column("positions").to_pylist()
        pq.write_table(
            table.set_column(
                3,
                "positions",
                pa.array([numbers[0], numbers[2], numbers[1], *numbers[3:]], table.schema.field("positions").type),
            ).replace_schema_metadata({}),
            path,
        )
    elif damage == "of another suite":
        pq.write_table(table.set_column(0, "suite", pa.array(["x"] * len(table))).replace_schema_metadata({}), path)
    else:
        pq.write_table(
            table.set_column(
                4, "labels", pa.array([[]] * len(table), table.schema.field("labels").type)
            ).replace_schema_metadata({}),
            path,
        )
    if damage in ("truncated", "of another suite", "labels lost"):
        with pytest.warns(UserWarning, match=path.name):
            assert collect(store).deals.empty
    assert len(resumed(store)) == (damage != "missing")
    for mine, theirs in zip(collect(store).deals.positions, collect(whole[1]).deals.positions):
        assert np.array_equal(mine, theirs)
    assert read_deal(path).shape == (5, 5)


# -- tuned beginnings --


@pytest.mark.parametrize(
    "damage",
    [
        "packed cut",
        "packed garbled",
        "notes cut",
        "notes garbled",
        "notes gone",
        "notes of another kind",
        "notes nested",
        "notes a folder",
        "packed without origin",
        "swapped",
        "packed swapped",
        "earlier and swapped",
    ],
)
def test_beginnings_that_do_not_fit_are_set_aside_and_computed_again(whole, tmp_path, damage):
    recipes = ["prune0.5+tune1", "prune0.3+tune1", "prune0.5+tune1+int8"]
    store, clean = tmp_path / "store", tmp_path / "clean"
    sweep(study(), recipes, clean, progress=False)
    shutil.copytree(clean, store)
    for path in (store / "trials").iterdir():
        path.unlink()
    first, second = sorted((store / "beginnings").glob("*.robcomp"))
    notes = first.with_suffix(".json")
    if damage == "packed cut":
        first.write_bytes(first.read_bytes()[:-9])
    if damage == "packed garbled":
        first.write_bytes(b"\0" * 100)
    if damage == "notes cut":
        notes.write_text(notes.read_text()[:20])
    if damage == "notes garbled":
        notes.write_bytes(b"\xff\xfe")
    if damage == "notes gone":
        notes.unlink()
    if damage == "notes nested":
        notes.write_text('{"seconds": 1.0, "history": ' + "[" * 100_000 + "]" * 100_000 + "}")
    if damage == "notes a folder":
        notes.unlink(), notes.mkdir()
    if damage == "notes of another kind":
        notes.write_text('{"seconds": "long", "history": 7}')
    if damage == "packed without origin":  # of another seed, say; the notes beside it are right
        from robcomp.pack import pack, unpack

        module = unpack(first, module=study()._model)
        next(module.parameters()).data.mul_(1.5)
        pack(module, first)
    if damage == "earlier and swapped":
        from robcomp.pack import pack, unpack

        for path in (first, second):
            module = unpack(path, module=study()._model)
            pack(module, path, recipe=module.recipe)
            path.with_suffix(".json").write_text(
                json.dumps(
                    {
                        name: value
                        for name, value in json.loads(path.with_suffix(".json").read_text()).items()
                        if name != "origin"
                    }
                )
            )
    if "swapped" in damage:
        swaps = (
            [(first, second)] if damage == "packed swapped" else [(first, second), (notes, second.with_suffix(".json"))]
        )
        for one, other in swaps:
            contents = one.read_bytes(), other.read_bytes()
            one.write_bytes(contents[1]), other.write_bytes(contents[0])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sweep(study(), recipes, store, progress=False)
    assert any("set aside as" in str(warning.message) for warning in said)
    for mine, theirs in zip(comparable(store), comparable(clean)):
        pd.testing.assert_frame_equal(mine, theirs)
    assert list((store / "damaged").iterdir())


@pytest.mark.parametrize("part", ["training", "baselines"])
def test_a_damaged_training_under_way_is_set_aside(store, part):
    (store / part).mkdir(exist_ok=True)
    (store / part / f"x{'.tune' if part == 'training' else '.pt'}").write_bytes(b"half a checkpoint")
    assert len(resumed(store)) == 1 and not list((store / part).iterdir())


@pytest.mark.parametrize("part", ["training", "baselines"])
def test_a_training_under_another_name_is_set_aside(store, part):
    ending = ".tune" if part == "training" else ".pt"
    (store / part).mkdir(exist_ok=True)
    write_checkpoint(store / part / f"one{ending}", {}, {})
    os.replace(store / part / f"one{ending}", store / part / f"two{ending}")
    lines = resumed(store)
    assert len(lines) == 1 and f"two{ending} was written as one{ending}: set aside as" in lines[0]
    assert not list((store / part).iterdir())


def test_a_digest_that_is_not_that_of_the_weights_is_set_aside(tmp_path):
    (tmp_path / "baselines").mkdir()
    network, note = (tmp_path / "baselines" / f"net{ending}" for ending in (".pt", ".sha256"))
    weights = dict(weight=torch.ones(3))
    write_checkpoint(network, {}, dict(model=weights))
    for digest, kept in ((tensors_sha256(weights), True), ("0" * 64, False)):
        note.write_text(digest)
        with warnings.catch_warnings(record=True) as said:
            set_aside(tmp_path)
        assert note.exists() == kept and len(said) == (not kept) and network.exists()


@pytest.mark.parametrize("content", [b"hello", b"", pickle.dumps(print)])
def test_what_is_no_checkpoint_behind_a_right_digest_is_set_aside(store, content):
    (store / "baselines").mkdir(exist_ok=True)
    (store / "baselines" / "x.pt").write_bytes(sha256(content).digest() + content)
    lines = resumed(store)
    assert len(lines) == 1 and "x.pt is damaged: set aside as" in lines[0]


@pytest.mark.parametrize("endings", [[".sha256"], [".pt"], [".pt", ".sha256"]], ids=["notes", "networks", "both"])
def test_dense_networks_under_each_others_names_are_trained_again(tmp_path, endings):
    def swept(folder, seed, recipes):
        mine = Study(
            "digits",
            "mobilenetv2",
            seed=seed,
            train=Training(0.01, batch=16),
            conditions=dict(corruptions=("contrast",), severities=(1,), per_condition=5),
        )
        sweep(mine, recipes, folder, progress=False)

    for seed in (0, 1):
        swept(tmp_path / "store", seed, ["dense"])
    shutil.copytree(tmp_path / "store", tmp_path / "other")
    for ending in endings:
        one, two = (tmp_path / "other" / "baselines").glob(f"*{ending}")
        os.replace(one, tmp_path / "x"), os.replace(two, one), os.replace(tmp_path / "x", two)
    with pytest.warns(UserWarning, match="set aside as"):
        swept(tmp_path / "other", 0, ["dense", "prune0.5"])
    swept(tmp_path / "store", 0, ["dense", "prune0.5"])
    for mine, theirs in zip(comparable(tmp_path / "other"), comparable(tmp_path / "store")):
        pd.testing.assert_frame_equal(mine, theirs)


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left on device: .*mine.bin"), replacing(tmp_path / "mine.bin"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())


# -- packed files of finished trials --


def test_packed_files_of_one_size_under_each_others_names_are_found(tmp_path):
    for seed in (0, 2):
        sweep(attacked_study(seed), ["dense"], tmp_path, progress=False)
    files = sorted((tmp_path / "artifacts").glob("*.robcomp"))
    contents = [file.read_bytes() for file in files]
    assert len(set(contents)) == 2 and len({len(content) for content in contents}) == 1
    for file, content in zip(files, reversed(contents)):
        file.write_bytes(content)
    assert set(store_status(tmp_path).artifact) == {"damaged"}
    for seed in (0, 2):
        sweep(attacked_study(seed), ["dense"], tmp_path, remake=True, progress=False)
    assert [file.read_bytes() for file in files] == contents and set(store_status(tmp_path).artifact) == {"whole"}


def test_a_packed_file_that_is_gone_is_said_and_made_again_on_request(store, whole):
    first, second, *_ = sorted((store / "artifacts").glob("*.robcomp"))
    first.unlink(), second.write_bytes(second.read_bytes()[:-1])
    assert store_status(store).artifact.value_counts().to_dict() == {
        "whole": len(RECIPES) - 2,
        "missing": 1,
        "damaged": 1,
    }
    lines = resumed(store)
    assert (
        len(lines) == 1
        and lines[0].startswith(f"2 of {len(RECIPES)} finished trials have no whole packed file")
        and not first.exists()
    )
    assert resumed(store, remake=True) == []
    assert all(path.read_bytes() == (whole[1] / "artifacts" / path.name).read_bytes() for path in (first, second))


def test_an_unknown_option_of_the_conditions_is_refused_at_once():
    with pytest.raises(ValueError, match="unknown option of conditions 'n': allowed: corruptions, severities"):
        Study("digits", "mobilenetv2", conditions=dict(n=3))


def test_the_status_tells_of_packed_files_that_are_gone(store):
    def said():
        return CliRunner().invoke(status_command, [str(store)]).output

    assert "packed file" not in said()
    min((store / "artifacts").glob("*.robcomp")).unlink()
    assert said().endswith("without a whole packed file: 1; a sweep with remake=True makes them again\n")


def test_warnings_name_the_line_of_the_user(store):
    min((store / "artifacts").glob("*.robcomp")).unlink()
    shard = max((store / "trials").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.warns(UserWarning) as said:
        collect(store)
        robcomp.sweep(study(), RECIPES, store, progress=False)
    assert {"left out", "set aside", "no whole packed file"} <= {
        part for part in ("left out", "set aside", "no whole packed file") for line in said if part in str(line.message)
    }
    assert {line.filename for line in said} == {__file__}


def test_a_packed_file_changed_in_place_is_found_again_though_its_time_was_set_back(store):
    """What was once found whole is no evidence."""
    assert resumed(store) == []  # everything is in the list of what was looked at
    path = min((store / "artifacts").glob("*.robcomp"))
    before, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with open(path, "r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )
    said = resumed(store)
    assert len(said) == 1 and said[0].startswith("1 of ") and "no whole packed file" in said[0]


def test_a_shard_changed_in_place_is_found_again_though_its_time_was_set_back(store, whole):
    resumed(store)
    path = min((store / "trials").glob("*.parquet"))
    before, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with open(path, "r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert any("set aside as" in line for line in resumed(store))
    same(store, whole)


# -- files and folders of another kind --

NO_LIST = [
    "",
    "7",
    "[]",
    "null",
    "[" * 100_000,
    '{"a": ' * 50_000,
    "\xff\xfe",
    '{"%s": 5}',
    '{"%s": [%s, 5]}',
    '{"%s": [%s, [5]]}',
    '{"%s": [%s, [null]]}',
    '{"%s": [%s, ["ok", "many"]]}',
    '{"%s": [%s, [["ok"], 1]]}',
    '{"%s": [%s, []]}',
    '{"%s": [[], []]}',
    '{"%s": [%s, {"0": true}]}',
    '{"%s": null, "x": {"y": [[[[]]]]}}',
]


def test_a_list_of_what_was_looked_at_that_is_none_is_thrown_away(store):
    from robcomp._store.shards import stamp_of

    path = min((store / "artifacts").glob("*.robcomp"))
    path.unlink()
    resumed(store)
    for text in NO_LIST:
        for part in (*(store / "trials").iterdir(), *(store / "artifacts").iterdir()):
            name, stamp = str(part.relative_to(store)), json.dumps(list(stamp_of(part)))
            (store / "checked").write_text(text.replace("%s", name, 1).replace("%s", stamp, 1), encoding="latin1")
            said = resumed(store)
            assert len(said) == 1 and said[0].startswith("1 of "), (text, said)
            break


@pytest.mark.parametrize(
    "part", ["checked", "trials", "artifacts", "beginnings", "training", "deals", "damaged", "claims"]
)
@pytest.mark.parametrize("kind", ["file", "folder", "pipe"])
def test_what_is_of_another_kind_is_one_line(store, whole, part, kind):
    """A file or a pipe where a folder belongs, a folder or a pipe where the list belongs: one line, or it does not
    matter."""
    path = store / part
    min((store / "trials").glob("*.parquet")).write_bytes(b"cut")
    if path.is_dir():
        shutil.move(path, store / "aside")
    path.unlink(missing_ok=True)
    make_kind(path, kind)
    try:
        said = resumed(store)
    except OSError as error:
        said = [str(error)]
    assert all("\n" not in line and "Errno" not in line for line in said)
    if kind != "folder" and part != "checked":
        assert any(str(path) in line for line in said)
    if kind == "folder" and part == "checked":
        assert any(f"cannot write {path}" in line for line in said)


def make_kind(path, kind):
    if kind == "file":
        path.write_bytes(b"x")
    if kind == "folder":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_folder_or_a_pipe_named_like_a_file_of_the_store_is_set_aside(store, whole, kind):
    """Nobody waits for a pipe, and the table is the same in the end."""
    shutil.rmtree(store / "trials")
    names = [
        min(path for path in (store / part).glob(f"*{suffix}"))
        for part, suffix in (
            ("artifacts", ".robcomp"),
            ("deals", ".parquet"),
            ("beginnings", ".robcomp"),
            ("beginnings", ".json"),
        )
    ]
    names += [
        store / "trials" / min((whole[1] / "trials").glob("*.parquet")).name,
        store / "training" / "x.tune",
        store / "baselines" / "x.pt",
    ]
    for path in names:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        make_kind(path, kind)
    resumed(store)
    same(store, whole)
    assert not any(path.is_dir() or path.is_fifo() for path in names)


def test_records_that_no_sweep_writes_are_damage(store, whole):
    """Behind right digests: JSON of other kinds, numbers without end, nesting without end."""
    path = min((store / "trials").glob("*.parquet"))
    table, before = pq.read_table(path), pq.read_table(path).schema.metadata
    record = json.loads(before[b"robcomp"])
    for text in (
        "[]",
        "7",
        "null",
        '""',
        "[" * 100_000,
        "{",
        json.dumps(record | dict(seed=float("inf"))),
        json.dumps(record | dict(protocol="[" * 100_000)),
        json.dumps(record | dict(protocol="[]")),
        json.dumps(record | dict(seed={})),
        json.dumps(record | dict(recipe=["int8"])),
    ):
        metadata = before | {b"robcomp": text.encode(), b"robcomp_sha256": sha256(text.encode()).hexdigest().encode()}
        pq.write_table(table.replace_schema_metadata(metadata), path)
        with pytest.raises(ValueError) as error:
            read_trial(path)
        assert "\n" not in str(error.value) and str(path) in str(error.value), text[:40]
    assert any("set aside as" in line for line in resumed(store))
    same(store, whole)


def test_claims_that_say_nothing_are_nobody(tmp_path):
    from robcomp._store.claims import Claims

    claims = Claims(tmp_path, patience=0, now=lambda: 1e12)
    texts = [
        "",
        "7",
        "[]",
        "[" * 100_000,
        '{"pid": "x"}',
        '{"pid": Infinity}',
        '{"pid": 1e400, "host": [], "state": {}}',
        '{"state": "held"}',
    ]
    for number, text in enumerate(texts):
        (claims.folder / f"trial-{number}.0").write_text(text)
    (claims.folder / f"trial-{len(texts)}.0").mkdir()
    assert len(claims.all()) == len(texts) + 1
    for number in range(len(texts) + 1):
        assert claims.take(f"trial-{number}")


# -- executors --


def test_probes_and_temporary_names_of_many_threads(tmp_path):
    def work(n):
        writable_folder(tmp_path / "folder")
        with replacing(tmp_path / "folder" / "file") as file:
            file.write(bytes([n % 256]) * 1000)

    with ThreadPoolExecutor(16) as executor:
        list(executor.map(work, range(400)))
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"] and len(
        set((tmp_path / "folder" / "file").read_bytes())
    ) == 1


def test_a_forking_pool_is_refused_before_anything_is_done(tmp_path):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
        with pytest.raises(ValueError, match=r"mp_context=multiprocessing.get_context\('spawn'\)"):
            sweep(study(), RECIPES, tmp_path / "store", executor=executor, progress=False)
    assert not (tmp_path / "store").exists()


class Hiding:
    """Somebody's own object around a pool of processes."""

    def __init__(self, pool):
        self.pool = pool

    def submit(self, function, *given, **options):
        future = Future()
        self.pool.apply_async(function, given, options, future.set_result, future.set_exception)
        return future


@pytest.mark.parametrize("trains", [False, True])
def test_a_forking_pool_that_an_object_hides_is_refused_in_one_line(tmp_path, trains):
    """Nothing hangs, whoever gives the first work: the training of the dense network or a piece."""
    import torch
    from robcomp.sweep import Study
    from robcomp.training import Training

    torch.randn(512, 512) @ torch.randn(512, 512)
    mine = Study("digits", "vgg19", train=Training(1)) if trains else study()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        with pytest.raises(
            ValueError, match="^forked processes hang where torch has worked before: pass Process.*'spawn'[)][)]$"
        ):
            sweep(mine, RECIPES, tmp_path / "store", executor=Hiding(pool), progress=False)
    assert not list((tmp_path / "store" / "trials").glob("*.parquet"))


@pytest.mark.parametrize(
    "wrong, said",
    [
        ("dask", "got 'dask'"),
        (4, "got 4"),
        (0, "got 0"),
        ("", "got ''"),
        (object(), "got <object"),
        (ThreadPoolExecutor, "got <class"),
        (pd.DataFrame([[1], [2]]), "got 0 0 1 1 2"),
    ],
)
def test_what_is_no_executor_is_one_line_that_says_what_to_pass(tmp_path, wrong, said):
    with pytest.raises(TypeError, match="executor is None or an object with submit") as error:
        sweep(study(), RECIPES, tmp_path / "store", executor=wrong, progress=False)
    text = str(error.value)
    assert said in text and "\n" not in text and not (tmp_path / "store").exists()
    assert "get_context('spawn')" in text and "get_executor(pure=False)" in text and "AutoExecutor" in text


class Losing:
    """An executor that loses some of what it is given, or refuses it."""

    def __init__(self, lost, refuses=None):
        self.lost, self.refuses, self.count = lost, refuses, 0

    def submit(self, function, *arguments, **options):
        future, self.count = Future(), self.count + 1
        if self.refuses and self.count in self.lost:
            raise self.refuses
        if self.count in self.lost:
            future.set_exception(MemoryError("a worker\ndied"))
        else:
            future.set_result(function(*arguments, **options))
        return future


@pytest.mark.parametrize(
    "refuses", [None, RuntimeError("shut\ndown"), OSError("queue\nfull"), TimeoutError("too late")]
)
def test_a_lost_piece_does_not_stop_the_others(whole, tmp_path, refuses):
    with pytest.raises(RuntimeError, match="1 of .* pieces were lost .*run the same sweep again") as error:
        sweep(study(), RECIPES, tmp_path, executor=Losing({2}, refuses), progress=False)
    assert "\n" not in str(error.value) and 0 < len(collect(tmp_path).trials) < len(RECIPES)
    assert resumed(tmp_path) == []
    same(tmp_path, whole)


class Answering:
    """An executor that answers with something of its own, and does work only where it is told to."""

    def __init__(self, made, does=False):
        self.made, self.does = made, does

    def submit(self, function, *arguments, **options):
        if self.does:
            function(*arguments, **options)
        return self.made()


def said_at_once(error):
    future = Future()
    future.set_exception(error)
    return future


def told(value):
    future = Future()
    future.set_result(value)
    return future


@pytest.mark.parametrize("value", [None, "done", True, {}, MagicMock()], ids=lambda value: type(value).__name__)
def test_a_piece_that_was_never_done_is_lost(tmp_path, value):
    with pytest.raises(RuntimeError, match="pieces were lost .*it came back with .*, so it was never done") as error:
        sweep(study(), RECIPES, tmp_path, executor=Answering(lambda: told(value)), progress=False)
    assert "\n" not in str(error.value)


def test_a_sweep_whose_pieces_write_elsewhere_ends_with_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr("robcomp.sweep.IDLE", 1.0)
    said = "^all pieces came back and 8 trials are not in .*dense; .*machines that"
    with pytest.raises(RuntimeError, match=said) as error:
        sweep(study(), RECIPES, tmp_path, executor=Answering(lambda: told(1)), progress=False)
    assert "\n" not in str(error.value)


def test_a_sweep_waits_while_another_process_is_at_work(whole, tmp_path, monkeypatch):
    """Its own pieces have nothing to do meanwhile, which is no sign of a fault."""
    monkeypatch.setattr("robcomp.sweep.IDLE", 0.5)
    from robcomp._store.claims import Claims

    shutil.copytree(whole[1], tmp_path / "store")
    path = min((tmp_path / "store" / "trials").iterdir())
    path.rename(tmp_path / "aside")
    with Claims(tmp_path / "store").beating() as others, ThreadPoolExecutor(2) as threads:
        assert others.take(f"trial-{path.stem}")
        swept = threads.submit(sweep, study(), RECIPES, tmp_path / "store", executor=Here(), progress=False)
        time.sleep(3)
        assert not swept.done()
        (tmp_path / "aside").rename(path)
        swept.result()
    same(tmp_path / "store", whole)


class Here:
    """An executor that does all at once."""

    def submit(self, function, *arguments, **options):
        return told(function(*arguments, **options))


@pytest.mark.parametrize("made", [lambda: None, lambda: 3, lambda: "future", object])
def test_an_executor_that_gives_no_future_is_one_line(tmp_path, made):
    said = "^executor.submit gives a future, with done and result, got .*: pass Proc"
    with pytest.raises(TypeError, match=said) as error:
        sweep(study(), RECIPES, tmp_path, executor=Answering(made, does=True), progress=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("error", [SystemExit(3), SystemExit(), asyncio.CancelledError(), MemoryError()], ids=repr)
def test_a_piece_that_ends_in_any_way_is_lost(whole, tmp_path, error):
    class Ending(Here):
        count = 0

        def submit(self, *given, **options):
            self.count += 1
            return said_at_once(error) if self.count == 2 else super().submit(*given, **options)

    with pytest.raises(RuntimeError, match="1 of .* pieces were lost .*run the same sweep again"):
        sweep(study(), RECIPES, tmp_path, executor=Ending(), progress=False)
    assert resumed(tmp_path) == []
    same(tmp_path, whole)


def test_one_recipe_as_a_text_is_one_recipe(tmp_path):
    with pytest.warns(UserWarning, match="guess") as said:
        assert [trial.recipe for trial in sweep(study(), "dense", tmp_path, progress=False)] == ["dense"]
    assert {one.filename for one in said} == {__file__}  # where the sweep was called


def test_an_interrupt_ends_a_sweep(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="what is finished is kept in .*, and the same call goes on from there"):
        sweep(study(), RECIPES, tmp_path, executor=Answering(lambda: said_at_once(KeyboardInterrupt())), progress=False)


@pytest.mark.parametrize("executor", [None, Here()])
@pytest.mark.parametrize("stage", ["extend", "evaluate"])
def test_a_trial_that_exits_is_a_failed_one(tmp_path, monkeypatch, executor, stage):
    """As a network whose code calls sys.exit."""
    from robcomp import filing, workshop

    kept, place = getattr(workshop if stage == "extend" else filing, stage), workshop if stage == "extend" else filing

    def exiting(own, *given, **options):
        if stage == "evaluate" or str(given[0]) == "cluster4":
            sys.exit(2)
        return kept(own, *given, **options)

    monkeypatch.setattr(place, stage, exiting)
    trials = sweep(study(), ["dense", "prune0.5", "cluster4"], tmp_path, executor=executor, progress=False)
    table = collect(tmp_path).trials.set_index("recipe")
    assert len(trials) == 3 and table.error["cluster4"] == "SystemExit: 2"
    assert list(table.status == "failed") == [stage == "evaluate" or recipe == "cluster4" for recipe in table.index]


def test_an_exit_that_a_signal_asks_for_ends_the_process(tmp_path, monkeypatch):
    from robcomp import filing

    def leave(number, frame):
        sys.exit(9)

    before = signal.signal(signal.SIGTERM, leave)
    monkeypatch.setattr(filing, "evaluate", lambda *given, **options: os.kill(os.getpid(), signal.SIGTERM))
    try:
        with pytest.raises(SystemExit, match="9"):
            sweep(study(), ["dense"], tmp_path, progress=False)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not list((tmp_path / "trials").iterdir())


@pytest.mark.parametrize(
    "future, said",
    [(lambda: told(None), "came back with None"), (lambda: said_at_once(SystemExit(1)), "came back with SystemExit")],
)
def test_a_dense_network_that_was_lost_is_one_line(tmp_path, future, said):
    mine = Study("digits", "vgg19", train=Training(1))
    with pytest.raises(RuntimeError, match=f"^the piece that trains the dense network was lost: it {said}"):
        sweep(mine, RECIPES, tmp_path, executor=Answering(future), progress=False)


def test_weights_of_a_file_are_not_for_a_network_that_is_given(tmp_path):
    model = small_study()._model
    for file in ("net.pt", tmp_path / "absent.pt", "auto"):
        with pytest.raises(TypeError, match="^weights= is for a network given by its name, .* into yours$"):
            Study("digits", model, weights=file)
    assert Study("digits", model, weights="").weights is None


@pytest.mark.parametrize(
    "classes, size, said",
    [
        (10, 48, "net takes images of 48 x 48 by its contract, digits has 32 x 32: .*"),
        (7, 32, "net tells 7 classes apart, digits has 10: .*"),
    ],
)
def test_a_network_that_does_not_fit_the_images_is_refused(classes, size, said):
    layers = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))
    contract = InputContract(size, (128,) * 3, (64,) * 3)
    net = model_from(layers, name="net", classes=classes, contract=contract)
    with pytest.raises(ValueError, match=f"^{said}$"):
        Study(load("digits"), net)
    late = Study("digits", net)  # read when it is needed
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^{said}$"):
            late.data


# -- what is said when a sweep has ended --


def answers_of(scale):
    """A study of the digits whose network was fitted to them, its scores then scaled."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 10))
    net = model_from(layers, name="mynet", classes=10, contract=contract_of(load("digits")))
    fit(net, load("digits"), Training(4, peak=0.2), progress=False)
    with torch.no_grad():
        net[2].weight *= scale
        net[2].bias *= scale
    conditions = dict(corruptions=["contrast"], severities=[1], per_condition=10)
    return Study(load("digits"), net, conditions=conditions)


def said_of(own, recipes, folder):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sweep(own, recipes, folder, progress=False)
    return [str(warning.message) for warning in said if warning.category is UserWarning]


def test_a_dense_network_that_guesses_is_said_once(tmp_path):
    (line,) = said_of(answers_of(-1), ["dense"], tmp_path / "wrong")
    assert re.fullmatch(
        r"dense mynet classifies 0\.0\d\d of clean images correctly, no more than guessing: train it "
        "longer, or do its weights, its contract and the order of its classes fit[?]",
        line,
    )
    assert said_of(answers_of(-1), ["dense"], tmp_path / "wrong") == []
    assert said_of(answers_of(1), ["dense"], tmp_path / "right") == []


def test_trials_that_failed_are_one_line(tmp_path, capsys):
    sweep(study(), ["prune0.9999", "prune0.9998"], tmp_path, progress=False)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "failed" in line]
    assert re.fullmatch(r"robcomp: 2 of 2 trials failed; the first says: ValueError: .*", line)
    sweep(study(), ["prune0.9999", "cluster4"], tmp_path, progress=False)
    assert f"robcomp: 1 of 2 trials failed: see the column error of collect('{tmp_path}')" in capsys.readouterr().err
    sweep(study(), ["cluster4"], tmp_path, progress=False)
    assert "failed" not in capsys.readouterr().err


def test_a_choice_leads_to_its_packed_file(tmp_path):
    from robcomp.pack import unpack

    sweep(small_study(), ["dense", "int8"], tmp_path, progress=False)
    table = summarise(collect(tmp_path))
    key = table[table.recipe == "int8"].key.iloc[0]
    file = store_status(tmp_path).set_index("key").file[key]
    assert unpack(file, module=small_study()._model).recipe == "int8"


# -- other images under a name that a store knows --


def with_data(part=None, change=None):
    """The study of three layers, with the images or labels of one part changed under the same name."""
    mine = study()
    if part:
        held = getattr(mine.data, part)
        pixels, labels = held.images.copy(), held.labels.copy()
        if change == "pixel":
            pixels[0, 0, 0, 0] ^= 1
        else:
            labels[0] = 1 - labels[0]
        setattr(mine.data, part, Images(pixels, labels))
    return mine


@pytest.mark.parametrize("change", ["pixel", "label"])
@pytest.mark.parametrize("part", ["train", "calibration", "test"])
def test_other_images_under_a_known_name_are_refused(tmp_path, part, change):
    sweep(with_data(), ["dense"], tmp_path, progress=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = "holds results on 'noise' with other (images|labels or classes).*: give"
    with pytest.raises(ValueError, match=said) as error:
        sweep(with_data(part, change), ["dense", "int8"], tmp_path, progress=False)
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [trial.recipe for trial in sweep(with_data(), ["dense"], tmp_path, progress=False)] == ["dense"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff", None], ids=str)
def test_a_damaged_note_on_images_is_set_aside_and_written_again(tmp_path, damage):
    sweep(with_data(), ["dense"], tmp_path, progress=False)
    (note,) = (tmp_path / "datasets").iterdir()
    kept = note.read_bytes()
    note.write_bytes(kept.replace(b'"labels":"', b'"labels":"f', 1) if damage is None else damage)
    with pytest.warns(UserWarning, match="set aside") as said:
        sweep(with_data(), ["dense"], tmp_path, progress=False)
    assert note.read_bytes() == kept and not any("\n" in str(one.message) for one in said)


def test_stores_with_other_images_under_one_name_are_not_merged(tmp_path):
    for store, given in dict(one=with_data(), same=with_data(), other=with_data("test", "pixel")).items():
        sweep(given, ["dense"], tmp_path / store, progress=False)
    with pytest.raises(ValueError, match="hold results on 'noise', one with other images; nothing was merged"):
        merge([tmp_path / "one", tmp_path / "other"], tmp_path / "into")
    assert not (tmp_path / "into").exists()
    merge([tmp_path / "one", tmp_path / "same"], tmp_path / "into")
    with pytest.raises(ValueError, match="with other images"):
        sweep(with_data("test", "pixel"), ["dense"], tmp_path / "into", progress=False)


def given(act=nn.ReLU, mean=128.0):
    """A study whose network has these weights, and this forward pass and contract."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), act(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    model = model_from(net, name="own", classes=2, contract=InputContract(32, (mean,) * 3, (64,) * 3))
    return Study(study().data, model, conditions=dict(corruptions=("contrast",), severities=(1,), per_condition=20))


@pytest.mark.parametrize(
    "changed, said",
    [(dict(mean=100.0), "another contract"), (dict(act=nn.Tanh), "the same weights and another forward pass")],
    ids=str,
)
def test_another_network_with_known_weights_is_refused(tmp_path, changed, said):
    sweep(given(), ["dense"], tmp_path / "store", progress=False)
    sweep(given(), ["dense"], tmp_path / "store", progress=False)
    with pytest.raises(ValueError, match=f"holds results on 'own' with {said}: give this one a name") as error:
        sweep(given(**changed), ["dense"], tmp_path / "store", progress=False)
    assert "\n" not in str(error.value)
    sweep(given(**changed), ["dense"], tmp_path / "other", progress=False)
    with pytest.raises(ValueError, match=f"on 'own', one with {said}; nothing was merged"):
        merge([tmp_path / "store", tmp_path / "other"], tmp_path / "into")


def test_mirroring_is_part_of_a_data_set_also_of_pictures_on_the_disk(tmp_path):
    from PIL import Image
    from robcomp.data import from_folder

    for part, name, number in product(("train", "test"), "ab", range(9)):
        (tmp_path / "pictures" / part / name).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / part / name / f"{number}.png")

    def run(**options):
        torch.manual_seed(0)
        net = model_from(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
            name="own",
            classes=2,
            contract=InputContract(16, (128,) * 3, (64,) * 3),
        )
        data = from_folder(tmp_path / "pictures", size=16, **options)
        return sweep(
            Study(data, net, conditions=dict(corruptions=("contrast",), severities=(1,), per_condition=5)),
            ["dense"],
            tmp_path / "store",
            progress=False,
        )

    run(keep=False)
    run(keep=True)  # the same pictures, in memory
    for keep in (False, True):
        with pytest.raises(ValueError, match="mirrored otherwise"):
            run(flip=False, keep=keep)


@pytest.mark.parametrize(
    "part, column", [("trials", "n"), ("trials", "corruption"), ("trials", "key"), ("deals", "suite")]
)
def test_a_column_that_is_there_twice_is_damage(tmp_path, part, column):
    sweep(given(), ["dense"], tmp_path, progress=False)
    before = comparable(tmp_path)
    path = next((tmp_path / part).iterdir())
    table = pq.read_table(path)
    pq.write_table(table.append_column(column, table.column(column)), path)
    with pytest.warns(UserWarning, match=f"column {column} is there twice"):
        collect(tmp_path)
    with pytest.warns(UserWarning, match="set aside"):
        sweep(given(), ["dense"], tmp_path, progress=False)
    for mine, theirs in zip(before, comparable(tmp_path)):
        pd.testing.assert_frame_equal(mine, theirs)


@pytest.mark.parametrize("name", [b"\xff\xfe.parquet", b"a\nb.parquet"])
def test_files_whose_names_cannot_be_printed_are_no_trials(tmp_path, name):
    sweep(given(), ["dense"], tmp_path, progress=False)
    for part in ("trials", "deals"):
        path = next((tmp_path / part).iterdir())
        shutil.copy(path, os.fsencode(path.parent) + b"/" + name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(store_status(tmp_path)) == len(collect(tmp_path).trials) == 1


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_data_file_of_a_store_is_held_against_its_name(tmp_path, damage):
    from robcomp._store.pictures import read_data, write_data

    data = study().data
    path = write_data(tmp_path, data)
    whole = path.read_bytes()
    other = write_data(tmp_path / "other", with_data("test", "label").data)
    path.write_bytes(whole[:1000] if damage == "cut" else other.read_bytes())
    with pytest.raises(ValueError) as error:
        read_data(path)
    assert "\n" not in str(error.value)
    with pytest.warns(UserWarning, match="set aside"):
        assert write_data(tmp_path, data) == path
    assert path.read_bytes() == whole and (read_data(path).test.labels == data.test.labels).all()


def test_of_two_sweeps_at_once_on_other_images_one_is_refused(tmp_path):
    wall, errors = threading.Barrier(2), []

    def run(mine):
        wall.wait()
        try:
            sweep(mine, ["dense"], tmp_path, progress=False)
        except ValueError as error:
            errors.append(str(error))

    both = [threading.Thread(target=run, args=(mine,)) for mine in (with_data(), with_data("test", "label"))]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(errors) == 1 and "holds results on 'noise'" in errors[0] and len(collect(tmp_path).trials) == 1


@pytest.mark.parametrize("note", [None, "{"], ids=str)
def test_other_labels_are_refused_where_the_note_is_lost(tmp_path, note):
    sweep(with_data(), ["dense"], tmp_path, progress=False)
    (path,) = (tmp_path / "datasets").iterdir()
    path.unlink() if note is None else path.write_text(note)
    with warnings.catch_warnings(), pytest.raises(ValueError, match="holds results on 'noise' with other labels"):
        warnings.simplefilter("ignore")
        sweep(with_data("test", "label"), ["dense"], tmp_path, progress=False)
    sweep(with_data(), ["dense"], tmp_path, progress=False)
    assert path.exists()


def test_the_same_classes_as_texts_of_numpy_are_the_same_data(tmp_path):
    mine = study()
    sweep(mine, ["dense"], tmp_path, progress=False)
    data = mine.data
    mine = study()
    mine._data = Data(data.name, data.train, data.calibration, data.test, np.array(data.classes), flip=1)
    sweep(mine, ["dense"], tmp_path, progress=False)
    with pytest.raises(TypeError, match="a data set is named by a text, got None"):
        Data(None, data.train, data.calibration, data.test, data.classes)
