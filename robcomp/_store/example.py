"""A simulated study: outcomes drawn from a simple model of images, conditions and recipes. No network was run.

An image has a difficulty, a condition has a strength, a recipe has a skill. An image is right with probability
`logistic(skill - strength - difficulty)`, which is also its confidence. Images are dealt out and bits packed as a real
run does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import expit

from robcomp import __version__
from robcomp._store.shards import frame
from robcomp.recipe import Prune, Quantize, parse
from robcomp.schema import (
    CLEAN,
    DEAL_COLUMNS,
    ROW_COLUMNS,
    SCHEMA_VERSION,
    SEVERITIES,
    STANDARD,
    TRIAL_COLUMNS,
    Trial,
    canonical,
)

RECIPES = (
    "dense",
    "int8",
    "int4",
    "prune0.5",
    "prune0.5+tune1",
    "prune0.9+tune1",
    "cluster16",
    "prune0.5+tune1+int8",
    "prune0.7+tune1+int8",
    "cluster16+int8",
    "prune0.5+cluster16+int8",
    "int8+prune0.5",
)
NETS = dict(
    mobilenetv2=dict(params=2_236_682, buffers=34_164, macs=91_000_000, skill=3.6, slack=0.5),
    vgg19=dict(params=20_035_018, buffers=11_024, macs=398_000_000, skill=3.2, slack=1.0),
)
HARSH = dict(zip(STANDARD, (2.6, 2.1, 2.3, 1.2, 2.5, 1.4, 1.5, 1.2, 1.4, 0.8, 0.3, 1.3, 1.0, 1.5, 1.4)))
DIFFICULTY = 1.2


def deal(images: int, per_condition: int, *, name: str = "simulated") -> pd.DataFrame:
    """A deal table: all images clean, then one permutation laid cyclically over the corrupted conditions."""
    rng = np.random.default_rng(0)
    order, labels = rng.permutation(images), rng.integers(0, 10, images)
    conditions = [(corruption, severity) for corruption in STANDARD for severity in SEVERITIES]
    places = np.arange(len(conditions) * per_condition).reshape(len(conditions), -1) % images
    positions = [np.arange(images)] + [order[place] for place in places]
    names, severities = zip((CLEAN, 0), *conditions)
    suite = f"{name}|{images} images|{len(STANDARD)}x{len(SEVERITIES)}|{per_condition} a condition|seed 0"
    return frame(
        dict(
            suite=[suite] * len(positions),
            corruption=names,
            severity=severities,
            positions=positions,
            labels=[labels[number] for number in positions],
        ),
        DEAL_COLUMNS,
    )


def strengths(deal: pd.DataFrame) -> np.ndarray:
    """How far each condition lowers the chance of a right answer: logits, 0 for clean."""
    return np.array(
        [
            HARSH.get(name, 0) * (0.25 + 0.25 * severity) * (severity > 0)
            for name, severity in zip(deal.corruption, deal.severity)
        ]
    )


def rows_of(key: str, deal: pd.DataFrame, chance: list[np.ndarray], uniform: list[np.ndarray]) -> dict[str, list]:
    """Columns of a row table: image i is correct where its uniform number is under its chance."""
    right = [draw < level for draw, level in zip(uniform, chance)]
    return dict(
        key=[key] * len(deal),
        corruption=list(deal.corruption),
        severity=list(deal.severity),
        n=[len(hit) for hit in right],
        correct=[int(hit.sum()) for hit in right],
        loss=[float(-np.log(np.where(hit, level, 1 - level)).mean()) for hit, level in zip(right, chance)],
        ece=[float(abs(hit.mean() - level.mean())) for hit, level in zip(right, chance)],
        bits=[np.packbits(hit).tobytes() for hit in right],
        predicted=[
            _named(np.asarray(labels), draw, level).tobytes()
            for labels, draw, level in zip(deal.labels, uniform, chance)
        ],
        confidence=[np.minimum(level * 256, 255).astype(np.uint8).tobytes() for level in chance],
    )


def _named(labels: np.ndarray, uniform: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The class that is named: the true one where the uniform number is under its chance, else another by how far it
    is above."""
    other = np.minimum(9 * (uniform - chance) / np.maximum(1 - chance, 1e-12), 8).astype(int)
    return np.where(uniform < chance, labels, (labels + 1 + other) % 10).astype(np.uint8)


def study(seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Trial, row and deal tables of two architectures and twelve recipes."""
    dealt = deal(1_000, 40)
    records, rows = [], []
    for arch, net in NETS.items():
        rng = np.random.default_rng([seed, len(arch)])
        difficulty = DIFFICULTY * np.random.default_rng(1).standard_normal(1_000)
        uniform = [rng.random(len(numbers)) for numbers in dealt.positions]
        for recipe in RECIPES:
            record = _record(arch, recipe, seed, dealt.suite[0], net)
            own = rng.normal(0, 0.25, 1_000) * (recipe != "dense")
            level = net["skill"] + _skill(recipe) * (1.5 - net["slack"]) - difficulty + own
            mild = 1 - 0.12 * ("prune" in recipe) * net["slack"]
            chance = [expit(level[numbers] - mild * loss) for numbers, loss in zip(dealt.positions, strengths(dealt))]
            records.append(record)
            rows.append(frame(rows_of(record["key"], dealt, chance, uniform), ROW_COLUMNS))
    trials = frame({name: [record[name] for record in records] for name in TRIAL_COLUMNS}, TRIAL_COLUMNS)
    return trials, pd.concat(rows, ignore_index=True), dealt


def _skill(recipe: str) -> float:
    """What a recipe costs in logits."""
    cost = dict(int8=0.03, int4=0.9, cluster16=0.12)
    stages = [str(stage) for stage in parse(recipe)]
    pruned = sum(1.6 * stage.amount**4 for stage in parse(recipe) if isinstance(stage, Prune))
    tuned = "tune1" in stages
    return 0.1 * tuned - sum(cost.get(stage, 0) for stage in stages) - pruned * (0.5 if tuned else 1)


def _record(arch: str, recipe: str, seed: int, suite: str, net: Mapping) -> dict:
    """A trial record with sizes of the right order."""
    stages, params = parse(recipe).stages, net["params"]
    kept = 1 - max([stage.amount for stage in stages if isinstance(stage, Prune)], default=0)
    width = min([stage.bits for stage in stages if isinstance(stage, Quantize)] + [4 if "cluster16" in recipe else 32])
    mask = -kept * np.log2(kept) - (1 - kept) * np.log2(1 - kept) if kept < 1 else 0
    entropy = kept * width * (0.85 if width < 32 else 0.93) + mask
    protocol = dict(epochs=20, tune_peak=0.01, calibration=256, simulated=True)
    trial = Trial("simulated", arch, recipe, seed=seed, protocol=protocol, suite=suite)
    weights = 4 * net["params"] + 4 * net["buffers"]
    return dict(
        trial.record(),
        protocol=canonical(protocol),
        key=trial.key,
        study="simulated",
        schema=SCHEMA_VERSION,
        params=params,
        nonzero=round(params * kept),
        macs=net["macs"],
        dense_bytes=weights,
        distinct_codes=float(2**width) if width < 32 else round(0.1 * params * kept),
        size_bytes=round(params * entropy / 8) + 4 * net["buffers"],
        gzip_bytes=round(params * 4 * (0.93 if width == 32 else 0.3) * (0.1 + 0.9 * kept)),
        onnx_bytes=float("nan"),
        latency_s=net["macs"] / 2.2e10,
        train_s=600.0,
        compress_s=5.0 + 60 * recipe.count("tune"),
        evaluate_s=40.0,
        versions=canonical(dict(robcomp=__version__, machine="simulated")),
        status="ok",
        error="",
        energy_j=float("nan"),
        configuration="",
        source="",
    )
