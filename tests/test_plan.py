"""Plans: the tree, what it costs, and a schedule against the bounds that no schedule can beat."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

from robcomp._store.tree import jobs, looks_at_images, shared, steps
from robcomp.command import main
from robcomp.costs import IMAGES, MACS
from robcomp.plan import Plan, least_makespan, plan_table, read_plan, schedule, makespans, write_plan
from robcomp.recipe import parse

ROOT = Path(__file__).parents[1]
STAGES = st.sampled_from(
    ["prune0.5", "prune0.7:layer", "cluster16", "cluster4", "int8", "int4", "int8:weights", "tune1", "tune0.5", "recal"]
)
RECIPE = st.lists(STAGES, max_size=5).map(lambda stages: parse("+".join(stages) or "dense"))
RECIPES = st.lists(RECIPE, min_size=1, max_size=15)


@given(RECIPES, st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_jobs_hold_every_recipe_once_and_come_after_what_they_need(recipes, together):
    found = jobs(recipes, together=together)
    trials = [recipe for job in found if not job.length for recipe in job.recipes]
    assert len(trials) == len(set(trials)) and set(trials) == set(recipes)
    made = [job.makes for job in found if job.length]
    assert len(made) == len(set(made)) and set(made) == shared(recipes)
    for place, job in enumerate(found):
        assert not job.needs or job.needs in [earlier.makes for earlier in found[:place]]
        for recipe in job.recipes:
            assert not job.needs or job.needs in steps(recipe)
        assert job.length or len(job.recipes) <= together


@given(RECIPES)
@settings(max_examples=100, deadline=None)
def test_no_shared_look_at_images_is_left_out_of_the_tree(recipes):
    """Counted by another road: a beginning that ends with such a stage and stands in two recipes is a node."""
    names = [{name for name, stage in zip(steps(recipe), recipe) if looks_at_images(stage)} for recipe in set(recipes)]
    assert shared(recipes) == {name for one, other in combinations(names, 2) for name in one & other}


@given(st.lists(st.tuples(st.integers(-1, 30), st.floats(0.1, 100)), min_size=1, max_size=30), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_schedules_are_possible_and_within_grahams_bound(nodes, workers):
    earlier = [(min(needs, place - 1), seconds) for place, (needs, seconds) in enumerate(nodes)]
    table = pd.DataFrame(earlier, columns=["needs", "seconds"])
    found = schedule(table, workers)
    for row, needs in zip(found.itertuples(), table.needs):
        assert needs < 0 or row.start >= found.end[needs] - 1e-9
    for _, own in found.sort_values("start").groupby("worker"):
        assert (own.start.iloc[1:].to_numpy() >= own.end.iloc[:-1].to_numpy() - 1e-9).all()
    assert (
        least_makespan(table, workers) - 1e-6
        <= found.end.max()
        <= (2 - 1 / workers) * least_makespan(table, workers) + 1e-6
    )


def history(name):
    return pd.read_parquet(ROOT / "results" / name / "trials.parquet")


def fifty():
    """Fifty recipes: those of the committed study, which has more."""
    return history("mobilenetv2-cifar10").recipe.tolist()[:50]


def full_plan():
    given = dict(
        archs=["mobilenetv2", "vgg19", "resnet50_pooled"],
        datasets=["cifar10", "cifar100"],
        seeds=[0, 1, 2, 3, 4],
        epochs=16,
        per_condition=200,
        recipes=fifty(),
    )
    return Plan(given, history=pd.concat([history("mobilenetv2-cifar10"), history("vgg19-cifar10")]))


@pytest.mark.parametrize("workers", [1, 2, 4, 8, 16, 32, 64, 128, 256])
def test_simulated_makespan_at_scale(workers):
    """3 x 2 x 5 cells of 50 recipes, costs of the committed tables, on simulated workers."""
    share = makespans(plan_table(full_plan()), [workers]).share.item()
    assert share <= 1 + 1e-9 and (share >= 0.85 or workers > 64)


def test_a_plan_needs_no_torch(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from robcomp.plan import Plan, plan_table\n"
        "print(len(plan_table(Plan(dict(seeds=[0, 1])))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "4", done.stderr


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda found: found | dict(plan=2), "is a plan of version 2"),
        (lambda found: found | dict(cells=[]), "is damaged or was changed by hand"),
        (lambda found: [], "is no plan"),
    ],
)
def test_other_plans_are_refused_in_one_line(tmp_path, change, said):
    path = write_plan(Plan({}), tmp_path / "plan.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=said) as error:
        read_plan(path)
    assert "\n" not in str(error.value)


# ---- what `robcomp plan` is given ----


def planned(folder, text, *words):
    """What `robcomp plan` says to a parameter file, and whether it wrote a plan."""
    (folder / "study.yaml").write_text(text)
    before = {path.name for path in folder.iterdir()}
    study, plan = str(folder / "study.yaml"), str(folder / "plan.json")
    done = CliRunner().invoke(main, ["plan", study, "-o", plan, *map(str, words)])
    return done, {path.name for path in folder.iterdir()} - before


@pytest.mark.parametrize(
    "text, said",
    [
        ("arch: mobilenetv22", "unknown arch 'mobilenetv22': did you mean 'mobilenetv2'?"),
        ("archs: [vgg19, own_model]", "unknown arch 'own_model'"),
        ("archs: [[vgg19]]", "unknown arch ['vgg19']"),
        ("archs: vgg19", "archs is a list of different values such as [mobilenetv2], got 'vgg19'"),
        ("dataset: cifra10", "dataset is digits, cifar10, cifar100 or cifar10.1, got 'cifra10'"),
        ("datasets: [cifra10]", "unknown dataset 'cifra10': did you mean 'cifar10'?"),
        ("datasets: [digits, digits]", "datasets is a list of different values"),
        ("seeds: [a]", "seeds is a list of different whole numbers from 0 on, such as [0, 1, 2], got ['a']"),
        ("seeds: [0, 0]", "seeds is a list of different whole numbers"),
        ("seeds: 3", "seeds is a list of different whole numbers"),
        ("seed: 1\nseeds: [0]", "seed and seeds: give one of them"),
        ("epochs: -1", "epochs is a whole number from 1 on, got -1"),
        ("epochs: three", "epochs is a whole number from 1 on, got 'three'"),
        ("epochs: null", "epochs is a whole number from 1 on, got None"),
        ("together: 0", "together is a whole number from 1 to 10,000, got 0"),
        ("recipes: []", "recipes is a list of texts"),
        ("recipes: int8", "recipes is a list of texts"),
        ("recipes: [3]", "a recipe is text as prune0.7+int8, or dense, got int"),
        ("recipes: [prone0.5]", "did you mean 'prune'?"),
        ("sizes: 16*2", "covers 2 epochs, the training has 6"),
        ("peak: high", "peak is a learning rate above 0, got 'high'"),
        ("per_condition: 0", "per_condition is a whole number from 1 on"),
        ("frost: nowhere", "frost is own, imagecorruptions or a folder of pictures"),
        ("frost: /etc", "frost='/etc': allowed are"),
        ("os: 3", "unknown parameter 'os': allowed: "),
        ("lr: 3", "unknown parameter 'lr': did you mean 'peak'?"),
        ("extra: perhaps", "extra is true or false"),
        ("device: gpu", "device is cpu, cuda, cuda:1"),
        ("weights: absent.safetensors", "weights is auto, a safetensors file that exists"),
        ("weights: null", "weights is auto"),
        ("weights: '{arhc}.safetensors'", "what stands in braces is arch, dataset or seed"),
        ("weights: 'nowhere/{arch}.safetensors'", "weights 'nowhere/mobilenetv2.safetensors' are not there"),
        ("where: size_bm < 1", "size_bm"),
        ("best: fastest", "fastest"),
        ("recipe: [int8]", "unknown parameter 'recipe': did you mean 'recipes'?"),
        ("1: 2", "unknown parameter 1"),
        ("- a list", "holds no parameters"),
        ("a: [", "is not YAML"),
        ("[" * 3000, "is not YAML"),
    ],
)
def test_a_parameter_that_no_worker_can_run_with_is_one_line_and_no_file(tmp_path, text, said):
    done, written = planned(tmp_path, text)
    assert done.exit_code == 1
    assert done.output.startswith("Error: ") and said in done.output and done.output.count("\n") == 1
    assert not written


@pytest.mark.parametrize(
    "kind, said",
    [
        ("small", "is 6 x 6 pixels at 0.2 of its size, images are 32: take a larger picture"),
        ("none", "cannot be read"),
        ("empty", "a folder with pictures"),
        ("right", ""),
    ],
)
def test_a_folder_of_frost_holds_the_pictures_that_a_plan_needs(tmp_path, kind, said):
    from PIL import Image

    (tmp_path / "frost").mkdir()
    if kind == "none":
        (tmp_path / "frost" / "a.png").write_text("no picture")
    if kind in ("small", "right"):
        side = 32 if kind == "small" else 200
        Image.new("RGB", (side, side), "white").save(tmp_path / "frost" / "a.png")
    done, written = planned(tmp_path, f"frost: {tmp_path / 'frost'}")
    assert done.exit_code == (1 if said else 0) and bool(written) == (not said), done.output
    if said:
        assert said in done.output and done.output.count("\n") == 1


@pytest.mark.parametrize(
    "kind, said",
    [
        ("another table", "is not a robcomp table: it lacks key"),
        ("no table", "is damaged or not parquet"),
        ("absent", "is absent"),
    ],
)
def test_a_history_that_is_none_is_one_line(tmp_path, kind, said):
    if kind == "another table":
        pd.DataFrame(dict(a=[1])).to_parquet(tmp_path / "odd.parquet")
    if kind == "no table":
        (tmp_path / "odd.parquet").write_text("seconds")
    done, written = planned(tmp_path, "epochs: 1", "--history", tmp_path / "odd.parquet")
    assert done.exit_code == 1 and said in done.output and done.output.count("\n") == 1 and not written


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    done = CliRunner().invoke(main, ["plan", "mobilenetv2-cifar10", "-o", str(tmp_path / "absent" / "plan.json")])
    assert done.exit_code == 1 and "no folder" in done.output and done.output.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda found: found["parameters"].update(epochs="three"), id="a value"),
        pytest.param(lambda found: found.pop("parameters"), id="no parameters"),
        pytest.param(lambda found: found["nodes"][0].pop("recipes"), id="a node"),
        pytest.param(lambda found: found["nodes"].append(3), id="a number"),
        pytest.param(lambda found: found.update(nodes=3), id="no nodes"),
    ],
)
def test_a_plan_that_was_changed_by_hand_is_refused_in_one_line(tmp_path, change):
    path = write_plan(Plan({}), tmp_path / "plan.json")
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    done = CliRunner().invoke(main, ["work", str(path), "--store", str(tmp_path / "store")])
    assert done.exit_code == 1 and "is damaged or was changed by hand" in done.output
    assert not (tmp_path / "store").exists()


# ---- what trials take ----


@pytest.mark.parametrize(
    "change, times",
    [
        (dict(per_condition=100), (10_000 + 75 * 100) / 25_000),
        (dict(per_condition=None), 760_000 / 25_000),
        (dict(per_condition=200), 1),
        (dict(per_condition=200, extra=True), 29_000 / 25_000),
    ],
)
def test_an_evaluation_costs_what_its_images_cost(change, times):
    """The committed trials answered 25,000 images each."""
    tables = history("mobilenetv2-cifar10")
    plan = Plan(dict(dataset="cifar10", recipes=["dense"]) | change, history=tables)
    assert plan.nodes[-1]["seconds"] == pytest.approx(tables.evaluate_s.median() * times)


def test_what_no_earlier_trial_holds_is_guessed_and_costs_something():
    tables = history("mobilenetv2-cifar10")
    bare = tables[~tables.recipe.str.contains("tune|recal")]
    plan = Plan(dict(dataset="cifar10", weights="", recipes=["dense", "tune1+recal", "tune1+int8"]), history=bare)
    assert all(node["seconds"] > 0 for node in plan.nodes)


def test_a_network_without_history_is_guessed_at_the_pace_of_those_that_have_one():
    tables = history("mobilenetv2-cifar10")
    slow = tables.assign(evaluate_s=10 * tables.evaluate_s)
    given = dict(arch="resnet50", dataset="cifar10", recipes=["dense"])
    alone, beside = (Plan(given, history=table).nodes[-1]["seconds"] for table in (tables, slow))
    assert beside == pytest.approx(10 * alone)


def test_the_paper_is_no_history_of_times():
    given = dict(arch="resnet50", dataset="cifar10", recipes=["dense"])
    assert Plan(given, history=history("paper")).nodes == Plan(given).nodes


def test_costs_know_every_network_and_data_set():
    from robcomp.data import DATASETS
    from robcomp.models import ARCHITECTURES

    assert set(IMAGES) == set(DATASETS) and set(MACS) == set(ARCHITECTURES)
