"""What a user gets: the wheel is built, installed into a clean environment without the dev extras, and used there.

`make release-check`, or `python -m tests.release --venv FOLDER` to keep the environment for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from configparser import ConfigParser
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]


def dozen_lines(text: str) -> str:
    """The Python lines of the README."""
    return re.search(r"## A dozen lines\n.*?```python\n(.*?)```", text, re.S)[1]


def as_notebook(code: str) -> dict:
    """A notebook with a cell for each block of lines, and one for each of its last lines, so that their results are
    seen."""
    *blocks, last = code.strip().split("\n\n")
    cells = [
        dict(cell_type="code", id=f"cell-{n}", metadata={}, source=text, outputs=[], execution_count=None)
        for n, text in enumerate([*blocks, *last.splitlines()])
    ]
    return dict(
        cells=cells,
        metadata=dict(kernelspec=dict(name="python3", display_name="", language="python")),
        nbformat=4,
        nbformat_minor=5,
    )


def shown(notebook: Path) -> str:
    """The texts of a notebook's results."""
    outputs = [output for cell in json.loads(notebook.read_text())["cells"] for output in cell.get("outputs", [])]
    return "\n".join(
        "".join(output["data"]["text/plain"]) for output in outputs if "text/plain" in output.get("data", {})
    )


def tracked_copy(target: Path) -> Path:
    """The files that git knows, as they are now: nothing that merely lies about goes into a release."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, names):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)
    return target


def build(folder: Path) -> Path:
    """The wheel, built in an environment of its own."""
    source = tracked_copy(folder / "source")
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)])
    return next(folder.glob("*.whl"))


def install(wheel: Path, venv: Path) -> Path:
    """Install the wheel and what it requires; the folder of the environment's commands."""
    if not (venv / "bin" / "python").exists():
        run([sys.executable, "-m", "venv", str(venv)])
    pip = [str(venv / "bin" / "python"), "-m", "pip"]
    run([*pip, "install", "--quiet", str(wheel)])
    run([*pip, "install", "--quiet", "--force-reinstall", "--no-deps", str(wheel)])
    run([*pip, "check"])
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini")
    found = {entry["name"].lower() for entry in json.loads(run([*pip, "list", "--format", "json"]))}
    dev = {re.split(r"[<>=]", word)[0].replace("_", "-") for word in settings["DEFAULT"]["dev_requirements"].split()}
    if dev & found:
        raise SystemExit(f"the environment is not clean: it has {', '.join(sorted(dev & found))}")
    return venv / "bin"


def run(command: list[str], cwd: Path | None = None) -> str:
    """What a command prints; where it fails, its last lines and the end."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean | dict(PATH=f"{Path(command[0]).parent}{os.pathsep}{clean['PATH']}"),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n" + "\n".join((done.stdout + done.stderr).splitlines()[-15:]))
    return done.stdout


def use(commands: Path, folder: Path) -> None:
    """README's lines, and the three commands, in an empty folder."""

    def step(name, *command):
        start = time.perf_counter()
        said = run([str(commands / command[0]), *command[1:]], folder)
        print(f"ok  {name} ({time.perf_counter() - start:.0f} s)", flush=True)
        return said

    (folder / "readme.ipynb").write_text(json.dumps(as_notebook(dozen_lines((ROOT / "README.md").read_text()))))
    step(
        "import robcomp from the wheel",
        "python",
        "-c",
        "import robcomp, pathlib; assert 'site-packages' in robcomp.__file__",
    )
    step("README's lines", "papermill", "readme.ipynb", "done.ipynb")
    print(re.sub(r"^", "    ", shown(folder / "done.ipynb"), flags=re.M))
    step("robcomp study", "robcomp", "study", "EPOCHS=1", "PER_CONDITION=2", "RECIPES=[dense, int8]")
    step("robcomp new mine --own", "robcomp", "new", "mine", "--own")
    step(
        "robcomp study of that notebook",
        "robcomp",
        "study",
        "ARCH=mine/own_model.ipynb",
        "PARAMETERS=mine/parameters.yaml",
        "EPOCHS=1",
        "PER_CONDITION=2",
        "RECIPES=[dense, int8]",
        "FOLDER=runs/own",
    )
    step("robcomp explore --no-open", "robcomp", "explore", "--no-open")
    step("its notebook", "papermill", "explorer.ipynb", "explored.ipynb")
    if "Explorer" not in shown(folder / "explored.ipynb"):
        raise SystemExit("explorer.ipynb ran, and no explorer is in it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--venv", type=Path, help="environment to make, or to use again; without it a new one, which is removed"
    )
    asked = parser.parse_args()
    with TemporaryDirectory() as place:
        folder = Path(place)
        wheel = build(folder)
        print(f"ok  {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
        commands = install(wheel, (asked.venv or folder / "venv").resolve())
        print("ok  installed without the dev extras", flush=True)
        (folder / "user").mkdir()
        use(commands, folder / "user")


if __name__ == "__main__":
    main()
