"""Recipes as a tree: what begins alike, which beginnings are worth a file, and jobs that no two workers share. No
torch.

A beginning is named by its text and by the grids that its clusterings expect: equal names are equal work. One whose
last stage looks at images (tune, recal, int8 with its inputs) costs seconds to hours and is kept on disk once it is
made. Stages that look at weights alone take less time than writing and reading a file would, so every worker that needs
one applies it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from robcomp._compression.coming import coming_bits
from robcomp.recipe import Cluster, Quantize, Recalibrate, Recipe, Stage, Tune, prefixes


class Job(NamedTuple):
    """What one worker does in one go: make a beginning (`length` stages of its one recipe), or finish trials (`length`
    0)."""

    recipes: tuple[Recipe, ...]
    length: int = 0
    needs: str = ""  # name of the beginning that is made before

    @property
    def makes(self) -> str:
        """The name of the beginning that is there afterwards; empty for trials."""
        return steps(self.recipes[0])[self.length - 1] if self.length else ""

    def __str__(self) -> str:
        return str(Recipe(self.recipes[0].stages[: self.length])) if self.length else ", ".join(map(str, self.recipes))


def steps(recipe: Recipe) -> list[str]:
    """A name for each beginning of a recipe."""
    grids = [
        f"@{coming_bits(recipe.stages[n + 1 :])}" if isinstance(stage, Cluster) else ""
        for n, stage in enumerate(recipe)
    ]
    return [str(prefix) + "".join(grids[: n + 1]) for n, prefix in enumerate(prefixes(recipe))]


def looks_at_images(stage: Stage) -> bool:
    return isinstance(stage, (Tune, Recalibrate)) or isinstance(stage, Quantize) and stage.rounds_inputs


def ordered(recipes: Iterable[Recipe]) -> list[Recipe]:
    """Each recipe once, those that begin alike next to each other."""
    return sorted(set(recipes), key=lambda recipe: [str(stage) for stage in recipe])


def shared(recipes: Iterable[Recipe]) -> set[str]:
    """Names of the beginnings that are made once for several recipes."""
    recipes = set(recipes)
    counts = Counter(name for recipe in recipes for name, stage in zip(steps(recipe), recipe) if looks_at_images(stage))
    return {name for name, count in counts.items() if count > 1}


def way(recipe: Recipe, kept: set[str]) -> list[tuple[str, int]]:
    """The kept beginnings of a recipe, shortest first, with their numbers of stages."""
    return [(name, n + 1) for n, name in enumerate(steps(recipe)) if name in kept]


def jobs(recipes: Iterable[Recipe], *, together: int = 4, kept: set[str] | None = None) -> list[Job]:
    """The tree cut into jobs, what is needed before what needs it. At most `together` trials that begin alike make one
    job."""
    recipes = ordered(recipes)
    kept = shared(recipes) if kept is None else kept
    made, leaves = {}, {}
    for recipe in recipes:
        needs = ""
        for name, length in way(recipe, kept):
            made.setdefault(name, Job((recipe,), length, needs))
            needs = name
        leaves.setdefault(needs, []).append(recipe)
    groups = [Job(tuple(part), 0, needs) for needs, found in leaves.items() for part in parts(found, together)]
    return [*made.values(), *groups]


def parts(items: Sequence, size: int) -> list[Sequence]:
    return [items[start : start + size] for start in range(0, len(items), size)]
