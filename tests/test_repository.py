"""The repository itself: exports in step, notebooks clean and in style, arrows between modules one way."""

import ast
import configparser
import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "nbs").glob("[0-9]*.ipynb"))
ALL_NOTEBOOKS = sorted(
    path for path in (ROOT / "nbs").rglob("*.ipynb") if not {"runs", ".ipynb_checkpoints"} & set(path.parts)
)
# Which modules import a sibling of their own decade
SIBLINGS = {
    (name, other)
    for name, others in dict(
        recipe="slips",
        data="images",
        arrays="images data",
        conditions="images published_corruptions",
        corruptions="images published_corruptions arrays conditions",
        training="steps",
        quantize="input_ranges",
        stages="training prune cluster quantize half_precision",
        compress="prune cluster quantize half_precision stages",
        pack="packed_parts",
        footprint="pack",
        deploy="integers",
        timing="integers deploy",
        elsewhere="deploy",
        evaluate="integers deploy",
        sensitivity="evaluate",
        workshop="baseline",
        filing="baseline",
        jobs="baseline workshop filing",
        judge="baseline filing",
        sweep="baseline workshop filing jobs judge",
        plan="costs",
        workers="baseline workshop jobs sweep plan",
        results="tables",
        uncertainty="tables results",
        replicates="tables results",
        counts="tables results",
        goals="results replicates",
        seeds="tables results uncertainty replicates",
        contrasts="tables results uncertainty replicates seeds selection",
        behaviour="tables results uncertainty selection contrasts",
        hypotheses="choice count_intervals claims",
        chart_tables="pareto",
        limits="choice chart_tables",
        explorer="charts",
        report="charts",
        study_charts="charts",
        command="study many",
    ).items()
    for other in others.split()
}


def cells(path):
    return [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(path.read_text())["cells"]]


def number(path):
    return int(path.name[:2]), path.stem[3:]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository's tracked kind of files, somewhere else."""
    folder = tmp_path_factory.mktemp("copy") / "robcomp"
    left_out = shutil.ignore_patterns(".venv", ".git", "runs", "_proc", "_docs", "__pycache__", "results")
    shutil.copytree(ROOT, folder, ignore=left_out)
    return folder


def in_copy(copy, command):
    subprocess.run([str(Path(sys.executable).with_name(command))], cwd=copy, check=True, capture_output=True)


def test_exports_are_in_step(copy):
    in_copy(copy, "nbdev_export")
    for path in sorted((copy / "robcomp").glob("*.py")):
        committed = (ROOT / "robcomp" / path.name).read_text()
        assert path.read_text() == committed, f"{path.name} differs from its notebook: run nbdev_export"


def test_notebooks_are_clean(copy):
    in_copy(copy, "nbdev_clean")
    for path in ALL_NOTEBOOKS:
        cleaned = json.loads((copy / path.relative_to(ROOT)).read_text())
        name = path.relative_to(ROOT)
        assert cleaned == json.loads(path.read_text()), f"{name} is not clean: run nbdev_clean"


def test_readme_is_in_step():
    subprocess.run([sys.executable, "-m", "robcomp.site", "readme", "--check"], cwd=ROOT, check=True)


def test_every_module_has_its_source():
    exported = {number(path)[1] for path in NOTEBOOKS}
    found = {path.stem for path in (ROOT / "robcomp").glob("*.py") if not path.stem.startswith("_")}
    assert found == exported


def test_top_level_is_as_designed():
    allowed = {
        "nbs",
        "robcomp",
        "tests",
        "results",
        "settings.ini",
        "setup.py",
        "_quarto.yml",
        "Makefile",
        "README.md",
        "LICENSE",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "CITATION.cff",
        "MANIFEST.in",
        ".ci",
        ".github",
        ".gitignore",
        ".gitattributes",
        ".git-blame-ignore-revs",
    }
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {path.split("/")[0] for path in listed.split("\n") if path} <= allowed


EXPORT = re.compile(r"\s*#\|\s*exporti?\b")


def exported_lines(text):
    """How many lines an export cell has, without blank ones and directives."""
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#|"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_style(path):
    found = cells(path)
    exported = [text for kind, text in found if kind == "code" and EXPORT.match(text)]
    shown = [text for kind, text in found if kind == "code" and not EXPORT.match(text)]
    lines = list(map(exported_lines, exported))
    assert statistics.median(lines) <= 12, f"median export cell has {statistics.median(lines)} lines"
    assert max(lines) <= 30, f"an export cell has {max(lines)} lines"
    assert sum(lines) <= 200, f"{sum(lines)} exported lines, above 200: part it where a second idea begins"
    assert len(shown) >= len(exported), "fewer demo cells than export cells"
    assert sum(kind == "markdown" for kind, _ in found) >= 0.8 * len(exported), "little prose"
    assert re.match(r"# \w+\s+> .", found[0][1]), "starts with a title and one line that says what it is about"


# All that is written by hand, and the modules that are made from it
WRITTEN = [
    *ALL_NOTEBOOKS,
    *sorted(path for path in (ROOT / "robcomp").glob("*.py") if path.name != "_modidx.py"),
    *sorted((ROOT / "robcomp").glob("_*/*.py")),
    *sorted((ROOT / "tests").glob("*.py")),
]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_lines_of_code_have_at_most_120_characters(path):
    parts = [text for kind, text in cells(path) if kind == "code"] if path.suffix == ".ipynb" else [path.read_text()]
    long = [line for text in parts for line in text.splitlines() if len(line) > 120]
    assert not long, f"open up: {long[0].strip()[:80]} ..."


# Functions with more than six parameters, by file and name; nothing joins them without a reason
MANY_PARAMETERS = {
    # values that hold settings: made once, by keyword, each setting with a default, and passed on as one thing
    *"schedule.Training corruptions.Suite baseline.Study stages.Means schema.Trial".split(),
    # loops that numba compiles: they take arrays and numbers, and no values of ours
    *"""kmeans._lloyd draws._draw frost._frost_kernel kernels.sample snow._snow_kernel
    spatter._water_kernel spatter._mud_kernel context._step context._mixed context._move context._code""".split(),
}


def parameters(path):
    """Names and numbers of parameters of all functions of a file; a class is called as its `__init__`."""
    for node in ast.walk(ast.parse(path.read_text())):
        inside = node.body if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) else []
        for own in inside:
            if not isinstance(own, ast.FunctionDef):
                continue
            name = node.name if own.name == "__init__" else own.name
            given = own.args
            taken = [part.arg for part in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            yield f"{path.stem}.{name}", len(taken) - (taken[:1] == ["self"])


def test_functions_have_at_most_six_parameters():
    files = [path for path in (ROOT / "robcomp").rglob("*.py") if path.name != "_modidx.py"]
    many = {name for path in files for name, number in parameters(path) if number > 6}
    assert many - MANY_PARAMETERS == set(), "what belongs together becomes a value"


@pytest.mark.parametrize("path", sorted((ROOT / "nbs/experiments").glob("*.ipynb")), ids=lambda path: path.stem)
def test_experiments_hold_no_code_of_their_own(path):
    found = cells(path)
    assert len(found) <= 15
    for kind, text in found:
        if kind == "code":
            assert not re.search(r"^\s*(def|class) |import torch", text, re.M)


@pytest.mark.parametrize("path", sorted((ROOT / "nbs/experiments").glob("*.ipynb")), ids=lambda path: path.stem)
def test_experiments_write_figures_as_they_are_written_everywhere(path):
    """Rounded to three decimals, the files of small networks all have one size."""
    for kind, text in cells(path):
        if kind == "code" and '"size_mb", ' in text:
            assert ".round(" not in text and "to_markdown(" in text


# The lowest decade that enters a room of private mechanism
ROOMS = dict(_text=0, _files=0, _corruptions=10, _compression=20, _packing=30, _deployment=30, _store=40, _display=70)


def imported_files(path):
    """The modules of robcomp that a file imports, as paths inside the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            start = path.parents[node.level - 1]
        elif (node.module or "").split(".")[0] == "robcomp":
            start = ROOT
        else:
            continue
        place = start.joinpath(*(node.module or "").split("."))
        files = [place.with_suffix(".py"), *(place / f"{alias.name}.py" for alias in node.names)]
        yield from (found for found in files if found.exists())


def imports(module):
    """Names of robcomp's own modules that a module imports, and the rooms it enters, by way of mechanism files too."""
    seen, queue = set(), [ROOT / "robcomp" / f"{module}.py"]
    while queue:
        for path in imported_files(queue.pop()):
            if path in seen:
                continue
            seen.add(path)
            if path.parent.name.startswith("_"):
                queue.append(path)
    inside = {path.relative_to(ROOT / "robcomp").with_suffix("").parts for path in seen}
    return {parts[0] for parts in inside if not parts[-1].startswith("__")}


def test_every_file_of_mechanism_stands_in_a_room_with_a_sentence():
    others = {"__init__.py", "__init__.pyi", "__main__.py", "_modidx.py", "__pycache__"}
    private = {path.name for path in (ROOT / "robcomp").iterdir() if path.name.startswith("_")} - others
    assert private == set(ROOMS)
    for room in ROOMS:
        assert ast.get_docstring(ast.parse((ROOT / "robcomp" / room / "__init__.py").read_text()))


def test_modules_import_lower_numbers_only():
    numbers = {name: value for value, name in map(number, NOTEBOOKS)}
    for name, value in numbers.items():
        for other in imports(name):
            if other in ROOMS:
                opens = ROOMS[other]
                assert opens // 10 <= value // 10, f"{name} ({value}) enters {other}, whose doors open from {opens} on"
                continue
            assert numbers[other] < value, f"{name} ({value}) imports {other} ({numbers[other]})"
            same_decade = numbers[other] // 10 == value // 10
            assert not same_decade or (name, other) in SIBLINGS, f"{name} imports its sibling {other}"


IMPORT_WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}: raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocker())
import {modules}
"""


def import_without(modules, blocked):
    code = IMPORT_WITHOUT.format(blocked=set(blocked), modules=", ".join(f"robcomp.{name}" for name in modules))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_analysis_and_display_need_no_torch():
    right = [name for value, name in map(number, NOTEBOOKS) if value >= 50 and name not in ("study", "command")]
    import_without(["schema", "recipe", *right], ["torch", "torchvision"])


def test_what_makes_the_table_needs_little():
    settings = configparser.ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini")
    names = {
        re.split(r"[<>=!\[]", word)[0].lower().replace("-", "_")
        for key in ("requirements", "dev_requirements")
        for word in settings["DEFAULT"][key].split()
    }
    few = {"torch", "torchvision", "numpy", "pandas", "pyarrow", "numba", "scipy"}
    blocked = (names - few) | {"sklearn", "PIL", "IPython"} - {"scikit_learn"}
    import_without(["data", "models", "training", "compress", "evaluate", "sweep"], blocked)


def test_nothing_needs_nbdev():
    import_without([name for _, name in map(number, NOTEBOOKS)], ["nbdev", "fastcore", "execnb"])


@pytest.mark.parametrize("path", ALL_NOTEBOOKS, ids=lambda path: path.stem)
def test_tables_on_pages_have_the_columns_of_today(path):
    former = r"<th[^>]*>(luck|distinct|numbers)</th>"
    outputs = [json.dumps(cell["outputs"]) for cell in json.loads(path.read_text())["cells"] if "outputs" in cell]
    assert not (found := re.search(former, "".join(outputs))), f"execute it again: it shows the column {found[1]}"


@pytest.mark.parametrize("path", ALL_NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_no_state_of_widgets(path):
    """Megabytes that no page shows: a bar that has ended, an explorer without its kernel."""
    assert "widgets" not in json.loads(path.read_text())["metadata"], "execution left the state of widgets: remove it"
