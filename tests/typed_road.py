"""The road of a user, as a type checker sees it: `mypy tests/typed_road.py` finds nothing to say. It is checked, not
run."""

from pathlib import Path

import pandas as pd
from torch import nn

import robcomp


def compressed(network: nn.Module, folder: Path) -> Path:
    data = robcomp.load("digits")
    model = robcomp.model_from(network, name="own", classes=len(data.classes), contract=robcomp.contract_of(data))
    curve: pd.DataFrame = robcomp.fit(model, data, robcomp.Training(3, seed=1))
    print(curve.train_accuracy, robcomp.accuracy(model, data.test) + 0.5)
    artifact = robcomp.compress(model, "prune0.5+int8", data=data)
    robcomp.pack(artifact.module, folder / "own.robcomp", recipe=str(artifact.recipe))
    weights: pd.DataFrame = robcomp.ledger(folder / "own.robcomp")
    print(weights, robcomp.measure(artifact.module, size_bytes=1).get("params"))
    rows = robcomp.evaluate({"own": artifact.module}, robcomp.Suite(data, per_condition=10))
    print(rows.bits)
    return folder


def studied(folder: Path) -> str:
    study = robcomp.Study("digits", "mobilenetv2", train=robcomp.Training(2), seed=1)
    trials = robcomp.sweep(study, ["dense", "int8"], folder / "store")
    tables = robcomp.gather_tables(folder / "store", trials)
    table = robcomp.summarise(tables)
    print(robcomp.by_recipe(table), robcomp.intervals(tables, draws=100), robcomp.compare(tables, "dense", "int8"))
    front: pd.Series = robcomp.pareto(table, robcomp.Goals("robust", "size_mb"))
    robcomp.chart_front(table[front]).save(str(folder / "front.html"))
    robcomp.write_report(tables, folder)
    return str(robcomp.choose(tables, where="size_mb < 2", best="robust"))
