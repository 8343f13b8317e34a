"""Where the experiment notebooks, the committed tables and the trained networks are: inside an installed package, or in
the clone around it."""

from __future__ import annotations

from pathlib import Path
from string import Formatter

PACKAGE = Path(__file__).parents[1]
SHIPPED = {"experiments": "nbs/experiments", "results": "results"}  # what setup.py copies into a wheel, from the clone


def shipped(
    name: str,  # experiments or results
) -> Path:
    """The folder of that name. A wheel carries a copy in robcomp/_shipped; a clone has none and uses its own
    folders."""
    copied = PACKAGE / "_shipped" / name
    return copied if copied.is_dir() else PACKAGE.parent / SHIPPED[name]


def parameter_file(
    name: str | Path,  # a path, or the name of a file that comes with robcomp
) -> Path:
    """The parameter file that is meant; a file of the user's comes first."""
    if not isinstance(name, (str, Path)):
        raise ValueError(f"parameters is the name of a file, got {name!r:.80}")
    own, folder = Path(name), shipped("experiments") / "parameters"
    known = folder / f"{name}.yaml"
    if known.is_file() and not own.exists():
        return known
    if own.exists() or own.suffix in (".yaml", ".yml", ".json") or len(own.parts) != 1:
        return own
    from robcomp._text.suggest import unknown  # which itself looks into these folders

    raise ValueError(unknown("parameter file", str(name), sorted(path.stem for path in folder.glob("*.yaml"))))


def starting_weights(
    weights: str,  # a file, with {arch}, {dataset} and {seed} filled in; auto; empty: train
    *,
    arch: str,
    dataset: str,
    seed: int = 0,
) -> Path | None:  # None: there is no file, so the network is trained
    """The file of weights that a study starts from. `auto` takes the network that comes with robcomp, where there is
    one."""
    if weights == "auto":
        known = shipped("results") / "weights" / f"{arch}_{dataset}.safetensors"
        return known if known.is_file() else None
    if not weights:
        return None
    try:
        fields = [(name, how, kind) for _, name, how, kind in Formatter().parse(weights) if name is not None]
    except ValueError:
        fields = [("", "", "")]  # a brace without its other one
    if not all(name in ("arch", "dataset", "seed") and not how and not kind for name, how, kind in fields):
        # a width, as in {seed:9999999999}, would take as much memory as it says
        raise ValueError(f"weights {weights!r:.80}: what stands in braces is arch, dataset or seed")
    return Path(weights.format(arch=arch, dataset=dataset, seed=seed))
