"""One wording for a column that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from robcomp.schema import CORRUPTIONS, GROUPS

# other words for columns, and which are meant
COLUMNS_MEANT = dict(
    accuracy="clean robust",
    acc="clean robust",
    robustness="robust",
    size="size_mb size_bytes",
    mb="size_mb",
    bytes="size_bytes",
    latency="latency_s",
    time="latency_s",
    speed="latency_s",
    energy="energy_j",
    flops="macs",
    parameters="params",
    compression="compression_ratio",
    ece="ece_clean ece_robust",
    network="arch",
    model="arch",
)
# the columns that people ask for first
COLUMNS_FIRST = """clean robust worst noise blur weather digital drop size_mb onnx_bytes latency_s energy_j
    compression_ratio arch recipe""".split()

# columns that a sweep leaves empty, and who fills them
FILLED = dict(
    onnx_bytes="A sweep leaves onnx_bytes empty: judge fills it for ONNX files.",
    energy_j="A sweep leaves energy_j empty: only studies that measured it have it.",
)


def unknown_column(name: object, allowed: Iterable[str], *, kind: str = "column") -> str:
    """The line to raise for a column that is not there: which are meant or nearest, and those asked for first."""
    allowed = list(allowed)
    if str(name) in CORRUPTIONS:
        group = next((group for group, members in GROUPS.items() if name in members), "extra_robust")
        return (
            f"{name} is a corruption and no {kind}: {group!r} is the mean of its group, and by_condition(tables) of "
            "robcomp.chart_tables has the accuracy under each"
        )
    guesses = _meant(str(name).lower(), allowed)
    hint = f"did you mean {' or '.join(map(repr, guesses))}? " if guesses else ""
    first = [word for word in COLUMNS_FIRST if word in allowed]
    shown = first if first and len(allowed) > 12 else allowed
    more = f" and {len(allowed) - len(shown)} more" if len(allowed) > len(shown) else ""
    return f"unknown {kind} {name!r:.100}: {hint}allowed: {', '.join(shown)}{more}"


def _meant(name: str, allowed: list[str]) -> list[str]:
    """The columns that a word stands for; else at most two whose names are nearest to it."""
    guesses = [word for word in COLUMNS_MEANT.get(name, "").split() if word in allowed]
    own = {word.lower(): word for word in reversed(allowed)}
    near = get_close_matches(name, own, n=2, cutoff=0.5)
    # a second one that is much farther away only distracts
    close = [own[word] for word in near if word == near[0] or word in get_close_matches(name, near, cutoff=0.8)]
    return guesses or close
