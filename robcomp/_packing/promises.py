"""What the recipe of a file promises, held against its numbers: two zeros in every four, and half precision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import nn

from robcomp._compression.state import layers
from robcomp.half_precision import Halves
from robcomp.recipe import Cluster, Half, Prune, Recipe, Tune


def check_promises(module: nn.Module, recipe: Recipe) -> None:
    """A line of error where a network cannot be what its recipe has made."""
    states = {name: layer.state for name, layer in layers(module).items() if layer.state}
    check_books(
        recipe,
        {
            name: layer.codebook.cpu().numpy()
            for name, layer in layers(module).items()
            if layer.codebook is not None and layer.state.mask is None
        },
    )
    check_pattern(recipe, {name: state.mask.cpu().numpy() for name, state in states.items() if state.mask is not None})
    half = next((stage for stage in recipe if isinstance(stage, Half)), None)
    if half is None:
        return
    try:
        Halves(half, [name for name, state in states.items() if state.in_half]).check(module)
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def check_pattern(
    recipe: Recipe,
    masks: Mapping[str, np.ndarray],  # by layer, of the shape of its weight: not 0 where a weight is kept
) -> None:
    """A line of error where two zeros in every four were promised and other weights are zero.

    Where weights were pruned in other ways too, a layer may have zeros without the pattern, but not all of them.
    Channels that went afterwards took the fours apart.
    """
    scopes = [stage.scope for stage in recipe if isinstance(stage, Prune)]
    if "2of4" not in scopes or "channel" in scopes[scopes.index("2of4") :]:
        return
    other = [name for name, mask in masks.items() if not _two_of_four(mask)]
    if other and (set(scopes) <= {"2of4", "channel"} or len(other) == len(masks)):
        raise ValueError(f"its recipe {recipe} promises two zeros in every four, which layer {other[0]} has not"[:250])


def check_books(recipe: Recipe, books: Mapping[str, np.ndarray]) -> None:
    """A line of error where shared values of a layer without kept zeros are in another order than clustering gives
    them: where zeros are kept, zero comes first. Tuning moves values, and then nothing can be told."""
    stages = list(recipe)
    first = next((place for place, stage in enumerate(stages) if isinstance(stage, Cluster)), len(stages))
    if any(isinstance(stage, Tune) for stage in stages[first:]):
        return
    for name, book in books.items():
        if (np.diff(book.astype(np.float64), axis=-1) < 0).any():
            raise ValueError(
                f"layer {name} says that it keeps no zeros, its shared values are in an order that says it does"[:250]
            )


def _two_of_four(mask: np.ndarray) -> bool:
    filters, channels = mask.shape[:2]
    if channels % 4:
        return False
    fours = (mask != 0).reshape(filters, channels // 4, 4, -1)
    return int(fours.sum(2, dtype=np.uint8).max()) <= 2
