"""A sweep that is killed, resumed, and run by several processes: the same table as if nothing had happened."""
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from robcomp.results import collect
from robcomp.sweep import plan, sweep
from robcomp.models import weights_sha256

RECIPES = ["dense", "prune0.5", "prune0.5+tune1", "prune0.5+tune1+int8", "prune0.5+tune1+cluster4", "cluster4+int8", "int8", "int4+recal"]
STUDY = '''
import numpy as np, sys, torch
from torch import nn
from robcomp.data import Data, Images, InputContract
from robcomp.models import model_from
from robcomp.sweep import Study, sweep
from robcomp.training import Training

def study():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
    def noise(n, seed):
        labels = np.arange(n) % 2
        pixels = np.random.default_rng(seed).normal(100 + 40 * labels[:, None, None, None], 60, (n, 32, 32, 3))
        return Images(pixels.clip(0, 255).astype(np.uint8), labels)
    data = Data("noise", noise(400, 0), noise(50, 1), noise(100, 2), ["dark", "bright"])
    return Study(data, model_from(net, name="small", classes=2, contract=InputContract(32, (128,) * 3, (64,) * 3)),
                 tune=Training(1, batch=20, peak=.05),
                 conditions=dict(corruptions=("contrast", "gaussian_noise"), severities=(1, 5), per_condition=25))

if __name__ == "__main__": sweep(study(), sys.argv[2].split(), sys.argv[1], together=2, progress=False)
'''
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
        while process.poll() is None and len(list((store / "trials").glob("*.parquet"))) < enough: time.sleep(.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in (store / "trials").glob("*.parquet")}
    assert len(before) >= 4
    subprocess.run(command, check=True)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items()), "a finished trial was run again"
    for mine, theirs in zip(comparable(store), comparable(expected)): pd.testing.assert_frame_equal(mine, theirs)


def test_a_second_run_does_nothing(whole):
    script, store = whole
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file() and path.parent.name in ("trials", "artifacts", "beginnings")}
    subprocess.run([sys.executable, script, store, " ".join(RECIPES)], check=True)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())


def test_an_executor_gives_the_same_table(whole, tmp_path):
    with ThreadPoolExecutor(1) as executor: sweep(study(), RECIPES, tmp_path, executor=executor, progress=False)
    for mine, theirs in zip(comparable(tmp_path), comparable(whole[1])): pd.testing.assert_frame_equal(mine, theirs)


def test_half_written_files_are_not_taken_for_whole(whole, tmp_path):
    _, store = whole
    trial = next((store / "trials").glob("*.parquet"))
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / f"{trial.name}.123.partial").write_bytes(trial.read_bytes()[:100])
    assert collect(tmp_path).trials.empty
    (tmp_path / "trials" / trial.name).write_bytes(trial.read_bytes()[:-10])
    with pytest.raises(ValueError, match="is damaged"): collect(tmp_path)


def test_keys_cover_what_changes_results():
    base = study()
    digest = weights_sha256(base._model)
    key = lambda **change: plan(vary(study(), **change), ["int8"], digest)[0].key
    keys = [key(), key(seed=1), key(conditions=dict(base.conditions, per_condition=20)), key(tune=type(base.tune)(1, batch=20, peak=.04))]
    assert len(set(keys)) == len(keys) and key() == key()


def vary(study, **change):
    for name, value in change.items(): setattr(study, name, value)
    return study


def test_a_failed_trial_is_tried_again(tmp_path):
    sweep(study(), ["prune0.9999", "dense"], tmp_path, progress=False)
    failed = collect(tmp_path).trials.set_index("recipe").status
    assert failed.to_dict() == {"prune0.9999": "failed", "dense": "ok"}
    path = next(path for path in (tmp_path / "trials").glob("*.parquet") if path.stem == collect(tmp_path).trials.set_index("recipe").key["prune0.9999"])
    stamp = path.stat().st_mtime_ns
    sweep(study(), ["prune0.9999", "dense"], tmp_path, progress=False)
    assert path.stat().st_mtime_ns > stamp


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_store_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot write in"): sweep(study(), ["dense"], tmp_path / "store", progress=False)
