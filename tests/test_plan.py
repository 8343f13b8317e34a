"""Plans: the tree, what it costs, and a schedule against the bounds that no schedule can beat."""
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from robcomp._store.tree import jobs, looks_at_images, shared, steps
from robcomp.plan import Plan, bound, plan_table, read_plan, schedule, write_plan
from robcomp.recipe import parse

ROOT = Path(__file__).parents[1]
STAGES = ["prune0.5", "prune0.7:layer", "cluster16", "cluster4", "int8", "int4", "int8:weights", "tune1", "tune0.5", "recal"]
RECIPES = st.lists(st.lists(st.sampled_from(STAGES), max_size=5).map(lambda stages: parse("+".join(stages) or "dense")), min_size=1, max_size=15)


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
        for recipe in job.recipes: assert not job.needs or job.needs in steps(recipe)
        assert job.length or len(job.recipes) <= together


@given(RECIPES)
@settings(max_examples=100, deadline=None)
def test_no_shared_look_at_images_is_left_out_of_the_tree(recipes):
    """Counted by another road: a beginning that ends with such a stage and stands in two recipes is a node."""
    names = [{name for name, stage in zip(steps(recipe), recipe) if looks_at_images(stage)} for recipe in set(recipes)]
    assert shared(recipes) == {name for one in range(len(names)) for other in range(one) for name in names[one] & names[other]}


@given(st.lists(st.tuples(st.integers(-1, 30), st.floats(.1, 100)), min_size=1, max_size=30), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_schedules_are_possible_and_within_grahams_bound(nodes, workers):
    table = pd.DataFrame([(min(needs, place - 1), seconds) for place, (needs, seconds) in enumerate(nodes)], columns=["needs", "seconds"])
    found = schedule(table, workers)
    for row, needs in zip(found.itertuples(), table.needs): assert needs < 0 or row.start >= found.end[needs] - 1e-9
    for _, own in found.sort_values("start").groupby("worker"): assert (own.start.iloc[1:].to_numpy() >= own.end.iloc[:-1].to_numpy() - 1e-9).all()
    assert bound(table, workers) - 1e-6 <= found.end.max() <= (2 - 1 / workers) * bound(table, workers) + 1e-6


def fifty():
    """Fifty recipes: those of the committed study, which has more."""
    return pd.read_parquet(ROOT / "results/mobilenetv2-cifar10/trials.parquet").recipe.tolist()[:50]


def full_plan():
    history = pd.concat([pd.read_parquet(ROOT / f"results/{name}-cifar10/trials.parquet") for name in ("mobilenetv2", "vgg19")])
    return Plan(dict(archs=["mobilenetv2", "vgg19", "resnet50_pooled"], datasets=["cifar10", "cifar100"], seeds=[0, 1, 2, 3, 4], epochs=16, per_condition=200, recipes=fifty()), history=history)


@pytest.mark.parametrize("workers", [1, 2, 4, 8, 16, 32, 64, 128, 256])
def test_simulated_makespan_at_scale(workers):
    """3 x 2 x 5 cells of 50 recipes, costs of the committed tables, on simulated workers."""
    table = plan_table(full_plan())
    share = bound(table, workers) / schedule(table, workers).end.max()
    assert share <= 1 + 1e-9 and (share >= .85 or workers > 64)


def test_a_plan_needs_no_torch(tmp_path):
    code = "import sys; sys.modules['torch'] = None\nfrom robcomp.plan import Plan, plan_table\nprint(len(plan_table(Plan(dict(seeds=[0, 1])))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "4", done.stderr


@pytest.mark.parametrize("change, said", [(lambda found: found | dict(plan=2), "is a plan of version 2"), (lambda found: found | dict(cells=[]), "is damaged or was changed by hand"),
                                          (lambda found: [], "is no plan")])
def test_other_plans_are_refused_in_one_line(tmp_path, change, said):
    path = write_plan(Plan({}), tmp_path / "plan.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=said) as error: read_plan(path)
    assert "\n" not in str(error.value)
