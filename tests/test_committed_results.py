"""A row of the committed CIFAR-10 studies, made again from the weights and the recipe: the same answers, image by
image."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from robcomp.compress import compress
from robcomp.corruptions import Suite
from robcomp.data import load
from robcomp.evaluate import evaluate
from robcomp.models import load_weights, make_model
from robcomp.recipe import parse
from robcomp.tables import outcomes, read_tables
from robcomp.schema import Trial
from robcomp.sweep import Study
from robcomp.training import Training

ROOT = Path(__file__).parents[1]
RESULTS, PARAMETERS = ROOT / "results", ROOT / "nbs" / "experiments" / "parameters"
CIFAR, WEIGHTS = (Path(os.environ.get(name, "/nowhere")) for name in ("ROBCOMP_DATA", "ROBCOMP_WEIGHTS"))
IMAGES = 60
CONDITIONS = [("clean", 0), ("gaussian_noise", 3), ("frost", 5), ("jpeg_compression", 1)]


class Part:
    """The first images of a few conditions of a suite."""

    def __init__(self, suite):
        self.suite, self.data, self.adapt = suite, suite.data, False

    @property
    def conditions(self):
        return [
            condition for condition in self.suite.conditions if (condition.corruption, condition.severity) in CONDITIONS
        ]

    def __len__(self):
        return IMAGES * len(self.conditions)

    def positions(self, condition):
        return self.suite.positions(condition)[:IMAGES]

    def batch(self, condition, part=slice(None)):
        return tuple(found[:IMAGES][part] for found in self.suite.batch(condition))


@pytest.mark.skipif(not (CIFAR / "cifar-10-batches-py").is_dir(), reason="ROBCOMP_DATA holds no CIFAR-10")
@pytest.mark.parametrize("recipe", ["dense", "int8", "prune0.7", "cluster16+int8"])
@pytest.mark.parametrize("arch", ["mobilenetv2", "vgg19"])
def test_a_committed_row_comes_out_again(arch, recipe):
    folder, file = RESULTS / f"{arch}-cifar10", WEIGHTS / f"{arch}_cifar10.safetensors"
    if not folder.is_dir():
        pytest.skip(f"no results of {arch}")
    if not file.is_file():
        pytest.skip(f"no trained weights at {file.name}: name their folder in ROBCOMP_WEIGHTS")
    tables, data = read_tables(folder), load("cifar10")
    own = tables.trials[(tables.trials.recipe == recipe) & (tables.trials.status == "ok")]
    if own.empty:
        pytest.skip(f"{recipe} is not among the results of {arch}")
    key, suite = own.key.iloc[0], Suite(data, per_condition=200, frost="imagecorruptions")
    assert own.suite.iloc[0] == suite.text
    rows = evaluate(
        {key: compress(load_weights(make_model(arch), file), recipe, data).module}, Part(suite), progress=False
    )
    committed = outcomes(tables, key)[key]
    for row in rows.itertuples():
        known = committed.xs((row.corruption, row.severity), level=("corruption", "severity")).to_numpy()[:IMAGES]
        assert (np.unpackbits(np.frombuffer(row.bits, np.uint8), count=IMAGES).astype(bool) == known).all(), (
            row.corruption,
            row.severity,
        )
    assert len(rows) == len(CONDITIONS)


TUNED = Training(1, peak=0.01, batch=128, warmup=0.0)  # as the parameter files of both studies say


@pytest.mark.parametrize("arch", ["mobilenetv2", "vgg19"])
def test_committed_keys_come_out_of_trial_and_protocol(arch):
    file = RESULTS / f"{arch}-cifar10" / "trials.parquet"
    if not file.is_file():
        pytest.skip(f"no results of {arch}")
    trials, protocol = pd.read_parquet(file), Study("cifar10", arch, weights="given", tune=TUNED).protocol()
    assert len(trials) >= 30
    for row in trials.itertuples():
        assert (
            Trial(
                row.dataset,
                row.arch,
                str(parse(row.recipe)),
                seed=row.seed,
                protocol=protocol,
                weights=row.weights,
                suite=row.suite,
            ).key
            == row.key
        )
    grown = Study(
        "cifar10", arch, weights="given", tune=Training(1, peak=0.01, batch=128, warmup=0.0, sizes="16*1")
    ).protocol()
    assert Trial("cifar10", arch, "dense", protocol=grown).key != Trial("cifar10", arch, "dense", protocol=protocol).key


def test_every_dense_network_of_the_studies_says_how_it_was_trained():
    known = pd.read_csv(RESULTS / "weights" / "training.csv", keep_default_na=False).set_index("weights")
    used = set()
    for file in [*RESULTS.glob("*cifar*/trials.parquet"), *RESULTS.glob("apart/*/trials.parquet")]:
        trials = pd.read_parquet(file)
        for digest in trials["weights"].unique():
            assert set(trials["arch"]) == {known.arch[digest]} and set(trials["dataset"]) == {known.dataset[digest]}
            used.add(digest)
    assert used == set(known.index)
    for row in known[known.parameters != ""].itertuples():
        given = yaml.safe_load((PARAMETERS / f"{row.parameters}.yaml").read_text())
        usual = Training(given["epochs"], batch=given["batch"]).record()
        assert (usual["batch"], usual["weight_decay"], usual["smoothing"]) == (128, 5e-4, 0.1)  # as its README says
        assert (given["network"], given["dataset"], given["epochs"], given["sizes"], given["peak"]) == (
            row.arch,
            row.dataset,
            row.epochs,
            row.sizes,
            row.peak,
        )
