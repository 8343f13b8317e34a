"""Ctrl-C and SIGTERM end a sweep, a worker and a command alike: what is finished is kept, and one sentence says so."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from robcomp import many, study
from robcomp._text.stopping import Terminated, resumable, terminable

ROOT = Path(__file__).parents[1]
SCRIPT = """
import os, signal, sys
from torch import nn
from robcomp import filing
from robcomp.corruptions import Suite
from robcomp.data import Data, contract_of, load
from robcomp.models import model_from
from robcomp.sweep import Study, sweep
digits, evaluate, asked = load("digits"), filing.evaluate, []
few = Data("few", digits.train.take(range(60)), digits.calibration.take(range(20)), digits.test.take(range(30)),
           digits.classes)
def evaluated(*given, **options):
    asked.append(given)
    if len(asked) == 2: os.kill(os.getpid(), {number})
    return evaluate(*given, **options)
filing.evaluate = evaluated
net = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
net = model_from(net, name="net", classes=10, contract=contract_of(few))
study = Study(few, net, conditions=dict(corruptions=["fog"], severities=[1], per_condition=5), together=1)
sweep(study, ["dense", "prune0.5", "cluster4"], sys.argv[1], progress=False)
"""


@pytest.fixture(autouse=True)
def hears_an_interrupt():
    """A job that a shell runs in the background ignores SIGINT, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "number, code, last",
    [(signal.SIGTERM, 143, "robcomp: "), (signal.SIGINT, -signal.SIGINT, "KeyboardInterrupt: ")],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_script_that_sweeps_ends_with_one_sentence(tmp_path, number, code, last):
    """Of an interrupt, Python shows where it came up: in the script's own line, and in one of ours."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(number=int(number)), str(tmp_path)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        env=os.environ | dict(PYTHONPATH=str(ROOT)),
    )
    lines = done.stderr.strip().splitlines()
    said = f"interrupted: what is finished is kept in {tmp_path}, and the same call goes on from there"
    assert done.returncode == code and lines[-1] == last + said, done.stderr
    assert sum(line.lstrip().startswith("File ") for line in lines) == (0 if number == signal.SIGTERM else 2)
    assert len(list((tmp_path / "trials").glob("*.parquet"))) == 1


def stopping(number):
    def stop(*given, **options):
        os.kill(os.getpid(), number)

    return stop


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_commands_that_are_stopped_end_alike(tmp_path, monkeypatch, number, code):
    monkeypatch.setattr(study, "execute", stopping(number))
    monkeypatch.setattr(many, "plan_of", stopping(number))
    monkeypatch.setattr(many, "read_parameters", lambda path: {})
    calls = (study.main, [f"FOLDER={tmp_path}"], f" in {tmp_path}"), (many.plan_command, ["x"], "")
    for command, words, place in calls:
        done = CliRunner().invoke(command, words)
        said = f"Error: interrupted: what is finished is kept{place}, and the same command goes on from there\n"
        assert (done.exit_code, done.output) == (code, said)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_whoever_handles_the_signal_already_is_left_alone():
    asked, before = [], signal.signal(signal.SIGTERM, lambda *given: asked.append(given))
    try:
        resumable(stopping(signal.SIGTERM))()
        with terminable() as ours:
            assert not ours
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(asked) == 1


def test_a_call_within_a_command_leaves_the_end_to_it():
    with pytest.raises(Terminated, match="and the same call goes on from there$"):
        with terminable():
            resumable(stopping(signal.SIGTERM))()
