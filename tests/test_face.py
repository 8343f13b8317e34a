"""The public face: light, lazy, at most 80 names, verbs that share a name with their module, the page made from the list."""
import importlib
import inspect
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import robcomp
from robcomp._display.face import face_markdown

ROOT = Path(__file__).parents[1]
WORDS = [word for words in robcomp.FACE.values() for word in words.split()]
VERBS = [word.split(".")[0] for word in WORDS if len({*word.split(".")}) == 1]


def python(code, *flags):
    done = subprocess.run([sys.executable, *flags, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_face_is_small_and_every_name_stands_once():
    names = [word.split(".")[1] for word in WORDS]
    assert len(names) == len({*names}) <= 80 and robcomp.__all__ == names and {*dir(robcomp)} == {*names, "__version__"}


@pytest.mark.parametrize("word", WORDS)
def test_a_name_leads_to_what_its_module_exports(word):
    module, name = word.split(".")
    home = importlib.import_module(f"robcomp.{module}")
    assert name in home.__all__, f"export {name} of {module} with #| export"
    found = getattr(robcomp, name)
    assert found is (home if name == module else getattr(home, name))
    if callable(found) and name != module: assert inspect.getdoc(found)


def test_import_robcomp_loads_nothing_of_others():
    loaded = python("import sys; before = {*sys.modules}; import robcomp; print(*{name.split('.')[0] for name in {*sys.modules} - before})").split()
    assert {*loaded} <= {*sys.stdlib_module_names, "robcomp"}, loaded


@pytest.mark.parametrize("first", ["import robcomp", "import robcomp.{0}", "from robcomp.{0} import __all__", "from robcomp import {0}",
                                   "import robcomp.{0} as other; assert other.{0}"])
def test_a_verb_and_its_module_agree_whatever_is_imported_first(first, verb="pareto"):  # quick to import; the next test looks at all
    python(f"{first.format(verb)}\nimport inspect, robcomp, robcomp.{verb}\nassert callable(robcomp.{verb}) and inspect.ismodule(robcomp.{verb})\n"
           f"assert inspect.signature(robcomp.{verb}) == inspect.signature(robcomp.{verb}.{verb})")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_a_module_that_can_be_called(verb):
    module, function = getattr(robcomp, verb), getattr(importlib.import_module(f"robcomp.{verb}"), verb)
    assert module is sys.modules[f"robcomp.{verb}"] and module.__name__ == f"robcomp.{verb}" and module.__all__
    assert inspect.signature(module) == inspect.signature(function)
    assert pickle.loads(pickle.dumps(module)) is module, "an executor sends it to another process"
    with pytest.raises(TypeError, match=rf"{verb}\(\)"): module()


def test_calling_the_module_is_calling_the_function():
    table = robcomp.summarise(robcomp.example())
    table = table[table.arch == "vgg19"]
    assert list(robcomp.pareto(table, robcomp.Goals())) == list(robcomp.pareto.pareto(table, robcomp.Goals()))


def test_other_modules_stay_as_they_are():
    assert type(robcomp.charts) is type(sys) and not callable(robcomp.charts)
    with pytest.raises(AttributeError, match="robcomp has no 'compres': dir\\(robcomp\\) lists what it has"): robcomp.compres


def test_nbdev_keeps_the_list(tmp_path):
    """nbdev writes the version into __init__.py when it exports; the rest of the file stays to the byte."""
    for name in ("nbs", "robcomp"): shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("runs", "__pycache__"))
    settings = (ROOT / "settings.ini").read_text()
    (tmp_path / "settings.ini").write_text(settings.replace("version = 0.1.0", "version = 9.9.9"))
    for command in ("nbdev_export", "nbdev_clean"):
        subprocess.run([str(Path(sys.executable).with_name(command))], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "robcomp/__init__.py").read_text() == (ROOT / "robcomp/__init__.py").read_text().replace(robcomp.__version__, "9.9.9")


def test_the_page_is_made_from_the_list():
    cells = json.loads((ROOT / "nbs/howto/api.ipynb").read_text())["cells"]
    shown = "".join(cells[-1]["outputs"][0]["data"]["text/markdown"])
    assert shown == face_markdown(ROOT / "nbs"), "run nbs/howto/api.ipynb again: the list or a docstring has changed"


def test_the_version_is_the_same_everywhere():
    settings = (ROOT / "settings.ini").read_text()
    assert f"version = {robcomp.__version__}\n" in settings
    assert f"version: {robcomp.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {robcomp.__version__}" in (ROOT / "CHANGELOG.md").read_text()


MODULES = sorted(path.stem for path in (ROOT / "robcomp").glob("[a-z]*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_nothing_else_is_public(module):
    assert {*importlib.import_module(f"robcomp.{module}").__all__} == {name for name, home in (word.split(".")[::-1] for word in WORDS) if home == module}


def stub() -> str:
    """What robcomp/__init__.pyi has to say: every name of the face, from its module."""
    lines = ['"""The public face for type checkers and editors: the names of robcomp.FACE, which are loaded when they are first used."""']
    for words in robcomp.FACE.values():
        homes: dict[str, list[str]] = {}
        for word in words.split():
            home, name = word.split(".")
            homes.setdefault(home, []).append(f"{name} as {name}")
        for home, names in homes.items():
            listed = names[0] if len(names) == 1 else "(\n    " + ",\n    ".join(names) + ",\n)"
            lines.append(f"from .{home} import {listed}")
    return "\n".join([*lines, "", "__version__: str", "FACE: dict[str, str]", ""])


def test_type_checkers_see_the_face():
    assert (ROOT / "robcomp" / "__init__.pyi").read_text() == stub()


@pytest.mark.parametrize("word", WORDS)
def test_every_parameter_and_answer_of_the_face_has_a_type(word):
    module, name = word.split(".")
    found = getattr(importlib.import_module(f"robcomp.{module}"), name)
    if not callable(found): return
    signature = inspect.signature(found)
    untyped = [own.name for own in signature.parameters.values() if own.annotation is own.empty]
    if not inspect.isclass(found) and signature.return_annotation is signature.empty: untyped.append("return")
    assert not untyped
