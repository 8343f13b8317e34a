"""A sweep as a compute worker runs it: `python -m tests.worker [BLOCKED ...]` prints the packages that it imported.

Names that follow are blocked: an import of one of them is an error, as if the package were not installed.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions
from tempfile import TemporaryDirectory

# What a worker needs of the requirements in settings.ini, with a network and images of one's own;
# nbs/howto/worker.ipynb says what needs more.
WORKER = ["torch", "numpy", "pandas", "pyarrow", "scipy", "numba", "tqdm"]
COMMAND = ["click", "pyyaml", "threadpoolctl"]  # what the command `robcomp work` needs besides


def without(names: list[str]) -> type[PathFinder]:
    """A finder of modules that knows all packages but some, which are then absent as if they were not installed."""

    class Finder(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name.split(".")[0] in names else super().find_spec(name, path, target)

    return Finder


def work(folder: str) -> None:
    """Train, compress in every kind of stage but channels, evaluate and file: noise for images, a small network."""
    import numpy as np
    from torch import nn
    from robcomp import Data, Images, Study, Training, collect, contract_of, model_from, sweep

    draws = np.random.default_rng(0)
    train, test = (Images(draws.integers(0, 256, (n, 16, 16, 3), np.uint8), np.arange(n) % 2) for n in (64, 32))
    data = Data("noise", train, train, test, ["a", "b"])
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    network = model_from(nn.Sequential(*layers), name="small", classes=2, contract=contract_of(data))
    study = Study(data, network, tune=Training(1, batch=32), conditions=dict(severities=[3], per_condition=8))
    sweep(study, ["dense", "prune0.5+tune1+cluster4+int8+recal", "int4"], folder, progress=False)
    trials = collect(folder).trials
    failed = trials[trials.status != "ok"]
    if len(failed):
        raise SystemExit(f"{failed.recipe.iloc[0]} failed: {failed.error.iloc[0]}")


def command(folder: str) -> None:
    """What `robcomp work` says of a plan that is not there: all that the command imports is imported by then."""
    from click.testing import CliRunner
    from robcomp.command import main

    for call, said in ([["--version"], "robcomp"], [["work", f"{folder}/no.plan"], "no.plan"]):
        done = CliRunner().invoke(main, call)
        if isinstance(done.exception, ImportError) or said not in done.output:
            raise SystemExit(f"robcomp {' '.join(call)}: {done.exception!r} {done.output}")


def imported() -> list[str]:
    """The distributions whose modules are loaded."""
    known = packages_distributions()
    return sorted({name.lower() for module in {*sys.modules} for name in known.get(module, [])})


if __name__ == "__main__":
    sys.meta_path[:] = [without(sys.argv[1:]) if finder is PathFinder else finder for finder in sys.meta_path]
    with TemporaryDirectory() as place:
        if "click" in sys.argv[1:]:
            work(place)
        else:
            command(place)
    print("\n".join(imported()))
