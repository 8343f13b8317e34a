"""One wording for a name that is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

from robcomp._files.shipped import shipped

# other words for parameters, and which are meant
MEANT = dict(
    network="arch",
    arch="network",
    model="arch",
    data="dataset",
    lr="peak",
    learning_rate="peak",
    wd="weight_decay",
    decay="weight_decay",
    gpu="device",
    cuda="device",
    output="folder",
    path="folder",
    store="folder",
    batch_size="batch",
    budget="where",
)


def unknown(kind: str, name: object, allowed: Iterable[str]) -> str:
    """The line to raise: what was asked for, the nearest right name, all that is allowed."""
    allowed = list(allowed)
    near = get_close_matches(str(name)[:100].lower(), [word.lower() for word in allowed], n=1, cutoff=0.5)
    guess = next((word for word in allowed if near and word.lower() == near[0]), None)
    hint = f"did you mean {guess!r}? " if guess else ""
    return f"unknown {kind} {name!r:.100}: {hint}allowed: {', '.join(allowed)}"


def unknown_parameter(
    name: object, allowed: Iterable[str], *, of: str = "", read: Callable[[Path], list[str]] | None = None
) -> str:
    """The line to raise for a parameter that is not allowed: the nearest right name, or the experiments that have it,
    where the notebook `of` does not; `read` gives the parameters of one."""
    allowed, small, hint = list(allowed), str(name).lower(), ""
    if read:
        owners = [path.stem for path in sorted(shipped("experiments").glob("*.ipynb")) if small in read(path)]
        if owners:
            hint = f"it is one of {', '.join(owners)}, not of {of}; "
    near = get_close_matches(small, allowed, n=1, cutoff=0.8) or [MEANT.get(small, "")]
    if near[0] in allowed:
        hint = f"did you mean {near[0]!r}? "
    return f"unknown parameter {name!r:.100}: {hint}allowed: {', '.join(allowed)}"
