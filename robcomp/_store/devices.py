"""Which devices the bits of trials come from: two kinds in one paired comparison are said in a line.

A processor and a GPU, two kinds of GPU, or processors with other instructions (AVX2, AVX512) add the same products in
another order. Losses then differ in their last digits, tuned weights too, and an image whose two best classes are
nearly level may be right on one and wrong on the other. The engine is no matter here: bits do not depend on it (page
`evaluate`), and neither is the number of threads (page `scale`). A device without bfloat16 trains in float32, which is
another training run with the same seed: weights differ by more than their last digits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import pandas as pd

from robcomp._files.json_files import parsed


@lru_cache(maxsize=4096)
def _said(versions: str) -> Mapping:
    try:
        said = parsed(versions)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def device_of(versions: str) -> str:
    """The device that stands in a trial's versions; empty where none does, as in simulated and published tables."""
    return str(_said(versions).get("device", ""))


def trains_in(versions: str) -> str:
    """The number format that the device of a trial trains in; empty where it is not known."""
    return str(_said(versions).get("trains_in", ""))


def computed_on(versions: str) -> str:
    """The device of a trial, a processor with its instructions where they are known: older tables do not tell."""
    device, instructions = device_of(versions), str(_said(versions).get("instructions", ""))
    return f"{device} {instructions}" if device == "cpu" and instructions else device


def trained_on(versions: str) -> str:
    """The device of a trial with the number format that it trains in, as far as they are known."""
    device, number_format = computed_on(versions), trains_in(versions)
    return f"{device} training in {number_format}" if device and number_format else device


def _counted(trials: pd.DataFrame, values: pd.Series, word: str) -> str:
    """How many trials have each value, with one of them: `2 from cpu (as vgg19 dense seed 0), 1 from ...`."""
    parts = []
    for value, count in values.value_counts().items():
        first = trials.loc[values.index[values == value][0]]
        parts.append(f"{count} {word} {value} (as {first.arch} {first.recipe} seed {first.seed})")
    return ", ".join(parts)


def mixed_training(trials: pd.DataFrame) -> str:
    """One line where some of these trials were tuned in another number format than others; empty where none was."""
    tuned = trials[trials.recipe.str.contains("tune", regex=False)]
    formats = tuned.versions.map(trains_in)
    formats = formats[formats != ""]
    if formats.nunique() < 2:
        return ""
    return (
        f"networks tuned in several number formats are compared: {_counted(tuned, formats, 'in')}; the same "
        "seed tunes another network in each: tune all of them on one kind of device to be sure of small differences"
    )


def mixed_devices(trials: pd.DataFrame, keys: Iterable[str]) -> str:
    """One line where some of these trials were computed on another device than others; empty where they were not."""
    some = trials[trials.key.isin(list(keys))]
    if formats := mixed_training(some):
        return formats
    devices = some.versions.map(computed_on)
    known = devices[devices != ""]
    told = set(known)
    if len(told - {"cpu"}) + ("cpu" in told and not any(name.startswith("cpu ") for name in told)) < 2:
        return ""  # cpu alone may be any of the processors
    return (
        f"bits of several devices are compared: {_counted(some, known, 'from')}; losses differ in their last digits, "
        "and so may answers where two classes are nearly level: evaluate all of them on one to be sure of small "
        "differences"
    )
