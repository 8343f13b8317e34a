"""The command `robcomp` from the outside, and what an installed package carries."""

import configparser
import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import nbformat
import pytest
import yaml
from click.testing import CliRunner

from robcomp import __version__
from robcomp._files import shipped as rooms
from robcomp.command import main, own_copy
from robcomp.tables import example, write_tables
from robcomp.parameters import allowed_parameters, experiment

ROOT = Path(__file__).parents[1]


def said(*words):
    done = CliRunner().invoke(main, list(map(str, words)))
    return done.exit_code, done.output


def test_the_command_is_the_group():
    settings = (ROOT / "setup.py").read_text()
    assert '"robcomp = robcomp.command:main"' in settings
    assert said("--version") == (0, f"robcomp, version {__version__}\n")


@pytest.mark.parametrize("command", ["study", "new", "explore"])
def test_help_teaches_by_example(command):
    code, text = said(command, "--help")
    assert code == 0 and ("robcomp " + command in text or "EPOCHS=16" in text) and text.count("\n") > 8


@pytest.mark.parametrize("arch", ["resnet50", "vgg19", "mobilenetv2", "baseline", "own_model"])
def test_new_writes_a_notebook_and_its_parameters(tmp_path, arch):
    code, text = said("new", tmp_path / "mine", *(["--own"] if arch == "own_model" else ["--arch", arch]))
    assert (
        code == 0
        and f"jupyter lab {arch}.ipynb" in text
        and f"papermill {arch}.ipynb out.ipynb -f parameters.yaml" in text
    )
    made = tmp_path / "mine" / f"{arch}.ipynb"
    nbformat.validate(nbformat.read(made, 4))
    assert "](../" not in made.read_text(), "a link that leads nowhere from here"
    given = yaml.safe_load((tmp_path / "mine" / "parameters.yaml").read_text())
    assert list(given) == allowed_parameters(made) == allowed_parameters(experiment(arch))
    values = {}
    exec(
        "".join(
            next(
                cell["source"]
                for cell in json.loads(made.read_text())["cells"]
                if "parameters" in cell["metadata"].get("tags", [])
            )
        ),
        values,
    )
    assert given == {name: values[name] for name in given}


def test_the_copy_differs_in_the_check_of_names_and_in_links_alone():
    before = ["".join(cell["source"]) for cell in json.loads(experiment("vgg19").read_text())["cells"]]
    after = ["".join(cell["source"]) for cell in own_copy(experiment("vgg19"))["cells"]]
    changed = [(old, new) for old, new in zip(before, after) if new != old]
    assert ('check_parameters(globals(), "vgg19")', 'check_parameters(globals(), "vgg19", folder=".")') in changed
    linked = [(old, new) for old, new in changed if "](../" in old]
    assert linked and all("](../" not in new for _, new in linked) and len(changed) == len(linked) + 2


@pytest.mark.parametrize(
    "words, text",
    [
        (["new", "mine"], "mine/mobilenetv2.ipynb exists and is kept: name another folder"),
        (["new", "other", "--arch", "vgg91"], "unknown architecture 'vgg91': did you mean 'vgg19'?"),
        (["new", "other", "--own", "--arch", "vgg19"], "--arch and --own: give one of them"),
        (
            ["explore", "mine", "--no-open"],
            "no results in mine: name the folder of a study (trials.parquet) or a store (trials/)",
        ),
        (["study", "ARCH=absent.ipynb"], "no notebook absent.ipynb: `robcomp new FOLDER` makes one"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    assert said("new", "mine")[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, output = said(*words)
    assert code == 1 and text in output and output.count("\n") == 1
    assert (
        before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        and not Path("other").exists()
    )


@pytest.mark.parametrize("kind", ["committed", "a study", "several studies"])
def test_the_explorer_notebook_runs(tmp_path, monkeypatch, kind):
    from nbclient import NotebookClient

    monkeypatch.chdir(tmp_path)
    if kind != "committed":
        write_tables(example(), tmp_path / "runs" / "one")
    if kind == "several studies":
        write_tables(example(seed=1), tmp_path / "runs" / "two")
    folder = {"committed": [], "a study": ["runs/one"], "several studies": ["runs"]}[kind]
    assert said("explore", *folder, "--no-open")[0] == 0
    path = Path(*folder) / "explorer.ipynb"
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, timeout=120, resources=dict(metadata=dict(path=str(path.parent)))).execute()
    assert "application/vnd.jupyter.widget-view+json" in str(notebook.cells[-1].outputs)
    path.write_text("mine")
    assert said("explore", *folder, "--no-open")[0] == 0 and path.read_text() == "mine", (
        "a notebook that exists is kept"
    )


def test_explore_opens_jupyterlab(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        subprocess, "run", lambda words, **_: started.append(words) or subprocess.CompletedProcess(words, 0)
    )
    monkeypatch.chdir(tmp_path)
    assert said("explore")[0] == 0 and started == [[sys.executable, "-m", "jupyterlab", "explorer.ipynb"]]


# -- what a wheel carries --


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    from tests.release import tracked_copy

    pytest.importorskip("setuptools", reason="needs setuptools and wheel to build")
    folder = tmp_path_factory.mktemp("wheel")
    source = tracked_copy(folder / "source")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "bdist_wheel", "--dist-dir", str(folder)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def test_a_wheel_carries_what_the_clone_has(wheel):
    inside = {name: ZipFile(wheel).read(name) for name in ZipFile(wheel).namelist()}
    for name, source in rooms.SHIPPED.items():
        kinds = (".ipynb", ".yaml") if name == "experiments" else (".parquet",)
        files = [
            path
            for path in (ROOT / source).rglob("*")
            if path.suffix in kinds and not {"runs", ".ipynb_checkpoints"} & {*path.parts}
        ]
        assert len(files) > 5
        for path in files:
            assert inside[f"robcomp/_shipped/{name}/{path.relative_to(ROOT / source).as_posix()}"] == path.read_bytes()
    assert "robcomp/py.typed" in inside and not any(name.startswith(("tests/", "nbs/")) for name in inside)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "robcomp").rglob("*.py")}
    assert modules <= {*inside}


def test_the_package_of_a_wheel_finds_its_own_files(wheel, tmp_path):
    ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "from robcomp.parameters import EXPERIMENTS, experiment, with_file\nfrom robcomp.command import source_of\n"
        "print(EXPERIMENTS, experiment('vgg19'), with_file(dict(parameters='vgg19-cifar10'))['dataset'], "
        "*source_of(None)[1], sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=dict(PYTHONPATH=str(tmp_path / "site"), PATH=""),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.split("\n")
    assert (
        all(line.startswith(str(tmp_path / "site/robcomp/_shipped")) for line in (*lines[:2], *lines[3:-1]))
        and lines[2] == "cifar10"
    )
    assert len(lines[3:-1]) == len(
        [path for path in (ROOT / "results").glob("*/trials.parquet") if path.parent.name != "paper"]
    )


def test_setup_and_the_package_ship_the_same_folders():
    import ast

    found = [
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "SHIPPED"
    ]
    assert found == [rooms.SHIPPED]


def test_the_sources_hold_what_a_wheel_is_built_from():
    listed = (ROOT / "MANIFEST.in").read_text()
    for folder in rooms.SHIPPED.values():
        assert f"recursive-include {folder} " in listed
    settings = configparser.ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini")
    assert "include settings.ini" in listed and settings["DEFAULT"]["lib_name"] == "robcomp"


def test_a_command_by_a_wrong_name_is_answered_with_the_nearest_one():
    done = CliRunner().invoke(main, ["stduy"])
    assert done.exit_code == 2 and "unknown command 'stduy': did you mean 'study'? allowed: explore, " in done.output


def test_the_package_runs_as_its_command():
    run = [
        subprocess.run([*words, "--version"], capture_output=True, text=True)
        for words in ([sys.executable, "-m", "robcomp"], [sys.executable, "-m", "robcomp.command"])
    ]
    assert [done.stdout for done in run] == [f"robcomp, version {__version__}\n"] * 2
