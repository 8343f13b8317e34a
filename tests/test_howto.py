"""What the how-to pages about many machines show runs as it stands."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from robcomp._store.small import small_study
from robcomp.command import main

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "nbs" / "howto"
QUICK = (
    'Study("digits", "mobilenetv2"',
    'Study("digits", "mobilenetv2", train=Training(.01, batch=16), conditions=dict(per_condition=1)',
)


def cells(name, kind):
    page = json.loads((PAGES / f"{name}.ipynb").read_text())
    return ["".join(cell["source"]) for cell in page["cells"] if cell["cell_type"] == kind]


def snippets(name, language):
    block = re.compile(rf"```{language}\n(.*?)```", re.S)
    return [text for cell in cells(name, "markdown") for text in block.findall(cell)]


def has_nothing_else(name):
    """No line of code stands outside of a block, where no test would look at it."""
    prose = [re.sub(r"```.*?```", "", cell, flags=re.S) for cell in cells(name, "markdown")]
    return not any(re.search(r"^    \S", text, re.M) for text in prose)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("howto")


@pytest.mark.parametrize("code", snippets("many_machines", "python"), ids=lambda code: code.split()[1])
def test_a_script_runs_as_it_stands(place, code):
    """But for how long its network is trained, and on how few images it is asked."""
    if "submitit" in code or "dask" in code:
        pytest.importorskip("submitit" if "submitit" in code else "distributed")
    if "plan.json" in code:
        from robcomp.plan import Plan, write_plan

        write_plan(Plan(dict(epochs=0.01, batch=16, per_condition=1)), place / "plan.json")
        code += "\nassert sum(job.result() for job in jobs) == 1\n"
    else:
        code = "from robcomp import Training\n" + code.replace(*QUICK)
    (place / "script.py").write_text(code)
    done = subprocess.run([sys.executable, "script.py"], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_commands_run_as_they_stand(tmp_path, monkeypatch):
    """In the order of the page, from the parameter file that it shows.

    A small network stands for its network, copies for the stores of its scripts."""

    def small_study_of(plan, number, device=None):
        return small_study(seed=plan.cells[number]["seed"])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("robcomp.workers.study_of", small_study_of)
    (text,) = snippets("many_machines", "yaml")
    Path("study.yaml").write_text(text)
    said = {}
    for line in "\n".join(snippets("many_machines", "sh")).splitlines():
        if not line or line.startswith("#"):
            continue
        words = shlex.split(line.replace("${SLURM_ARRAY_TASK_ID:-1}", "1"))
        assert words[0] == "robcomp"
        if words[1] == "merge":
            for store in words[2:4]:
                shutil.copytree("runs/two-seeds/store", store)
        done = CliRunner().invoke(main, words[1:])
        assert done.exit_code == 0, done.output
        said.setdefault(words[1], done.output)
    assert "8 trials done by this worker" in said["work"]
    assert "trials: 8 done" in said["status"] and "about 0.00 hours" in said["status"]
    assert has_nothing_else("many_machines") and has_nothing_else("resume")


@pytest.mark.parametrize("name", ["many_machines", "resume"])
def test_the_cells_run(name, monkeypatch):
    monkeypatch.chdir(PAGES)
    scope = {}
    for code in cells(name, "code"):
        exec(code, scope)
