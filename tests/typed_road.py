"""The road of a user, as a type checker sees it: `mypy tests/typed_road.py` finds nothing to say. It is checked, not
run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

import robcomp
from robcomp.contrasts import recipe_profile
from robcomp.uncertainty import resample


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


def own_images(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> robcomp.Data:
    images = robcomp.Images(pixels, labels)
    data = robcomp.Data("own", images, images, images, ["a", "b"])
    contract = robcomp.InputContract(32, mean=(120.0, 120.0, 120.0), std=(60.0, 60.0, 60.0))
    print(contract.record(), robcomp.CIFAR_CONTRACT.record(), robcomp.contract_of(data) == contract)
    foggy: np.ndarray = robcomp.corrupt(pixels, robcomp.STANDARD[0], 3, seed=1, frost="own")
    print(foggy.shape, robcomp.CORRUPTIONS)

    @robcomp.corruption
    def dark(images: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
        return images // severity

    print(robcomp.corrupt(pixels, dark, 1))
    return robcomp.from_folder(folder, size=32)


def recipes() -> robcomp.Recipe:
    read: robcomp.Recipe = robcomp.parse("prune0.7+tune1")
    written = robcomp.Prune(0.7) >> robcomp.Tune(1) >> robcomp.Cluster(16) >> robcomp.Quantize(8)
    return read >> robcomp.Recalibrate() >> robcomp.Half() if len(read) else written


def shipped(folder: Path, data: robcomp.Data, function: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
    model = robcomp.make_model("mobilenetv2", classes=10, contract=robcomp.CIFAR_CONTRACT, seed=1)
    file: Path = robcomp.save_weights(model, folder / "dense.safetensors")
    print(robcomp.weights_sha256(robcomp.load_weights(model, file)).upper())
    artifact: robcomp.Artifact = robcomp.compress(model, recipes(), data)
    again: nn.Module = robcomp.unpack(folder / "own.robcomp", module=model)
    print(robcomp.latency(again, repeats=3))
    path: Path = robcomp.export_onnx(artifact, folder / "own.onnx")
    running = robcomp.session(path)
    scores: np.ndarray = robcomp.predict(path, data.test.images)
    print(running, scores.argmax(1), robcomp.agreement(artifact, path, data.test.images))
    study = robcomp.Study(data, model)
    judged = {
        "ours": robcomp.from_onnx(path),
        "theirs": robcomp.from_predict(function, contract=robcomp.CIFAR_CONTRACT),
    }
    robcomp.judge(judged, study, folder / "store")
    status: pd.DataFrame = robcomp.store_status(folder / "store")
    return status


def results(folder: Path) -> str:
    tables: robcomp.Tables = robcomp.join(robcomp.read_tables(folder), robcomp.collect(folder), robcomp.example())
    robcomp.write_tables(tables, folder)
    table, draws = robcomp.summarise(tables), 100
    key: str = robcomp.find(tables.trials, "vgg19 int8")
    measured = recipe_profile(tables, draws=draws)
    print(robcomp.dictionary(robcomp.SUMMARY_COLUMNS), robcomp.comparisons(tables, [(key, "b")], draws=draws))
    print(
        robcomp.contrasts(measured, [("int8 - dense", "robust")]),
        robcomp.knee(table, robcomp.Goals("robust", "size_mb")),
    )
    studies = resample(tables, draws=draws)
    print(robcomp.front_probability(studies, robcomp.Goals("robust", "size_mb")))
    print(robcomp.choice_probability(studies, where="size_mb < 2"))
    robcomp.enable_charts()
    robcomp.save_chart(robcomp.chart_front(table), folder / "front.svg")
    print(robcomp.chart_heat(tables), robcomp.chart_severity(tables), robcomp.chart_differences(table))
    robcomp.explore(tables)
    robcomp.check_parameters({"epochs": 3}, "own_model")
    robcomp.write_results(tables, folder)
    return robcomp.to_markdown(table) + robcomp.to_latex(table)
