"""Which devices the bits of trials come from: two kinds in one paired comparison are said in a line.

A processor and a GPU, or two kinds of GPU, add the same products in another order, so an image whose two best classes
are nearly level may be right on one and wrong on the other. The engine is no matter here: bits do not depend on it (page
`evaluate`), and neither is the number of threads (page `scale`).
"""
from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import pandas as pd

from robcomp._files.json_files import parsed


@lru_cache(maxsize=4096)
def device_of(versions: str) -> str:
    """The device that stands in a trial's versions; empty where none does, as in simulated and published tables."""
    try: said = parsed(versions)
    except ValueError: return ""
    return str(said.get("device", "")) if isinstance(said, dict) else ""


def mixed_devices(trials: pd.DataFrame, keys: Iterable[str]) -> str:
    """One line where some of these trials were evaluated on another device than others; empty where they were not."""
    some = trials[trials.key.isin(list(keys))]
    devices = some.versions.map(device_of)
    known = devices[devices != ""]
    if known.nunique() < 2: return ""
    parts = []
    for device, count in known.value_counts().items():
        first = some.loc[known.index[known == device][0]]
        parts.append(f"{count} from {device} (as {first.arch} {first.recipe} seed {first.seed})")
    return (f"bits of several devices are compared: {', '.join(parts)}; "
            "evaluate all of them on one to be sure of small differences")
