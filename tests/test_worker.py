"""Which packages a compute worker imports: the list of the page, proved by a sweep without all others."""

import configparser
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.worker import COMMAND, WORKER

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("packages", [WORKER, WORKER + COMMAND], ids=["sweep", "command"])
def test_a_worker_runs_with_the_packages_of_the_page_alone(packages):
    """All other requirements and extras are blocked, and what the sweep imported of the requirements is the list."""
    settings = configparser.ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini")
    named = {
        re.split(r"[<>=!\[]", word)[0].lower()
        for key, words in settings["DEFAULT"].items()
        if key.endswith("requirements")
        for word in words.split()
    }
    named |= {*COMMAND}
    others = named - {*packages}
    blocked = [
        module
        for module, found in packages_distributions().items()
        if {name.lower().replace("_", "-") for name in found} & {name.replace("_", "-") for name in others}
    ]
    assert {"jupyterlab", "altair", "ipywidgets", "papermill", "sklearn", "nbdev"} <= {*blocked}
    done = subprocess.run(
        [sys.executable, "-m", "tests.worker", *blocked, "IPython", "matplotlib"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert {*done.stdout.split()} & named <= {*packages}
    if packages == WORKER:
        assert {*done.stdout.split()} & named == {*WORKER}
    else:
        assert {*COMMAND} <= {*done.stdout.split()}


def test_the_page_says_the_same():
    page = (ROOT / "nbs/howto/worker.ipynb").read_text()
    assert "pip install " + " ".join(WORKER) in page and "pip install " + " ".join(COMMAND) in page
