"""The public API: light, lazy, at most 80 names, explained by `help` and the site alike, its page made from it."""

import ast
import importlib
import inspect
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from fastcore.docments import docments

import robcomp
from robcomp._display.face import face_markdown
from robcomp._display.reference import Reference, cell
from robcomp._text.parameters import HEADS, meanings, plain

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
    if callable(found) and name != module:
        assert inspect.getdoc(found)


def test_import_robcomp_loads_nothing_of_others():
    loaded = python("import sys; before = {*sys.modules}; import robcomp; print(*{*sys.modules} - before)").split()
    assert {name.split(".")[0] for name in loaded} <= {*sys.stdlib_module_names, "robcomp"}, loaded


AGREE = """
import inspect, robcomp, robcomp.{0}
assert callable(robcomp.{0}) and inspect.ismodule(robcomp.{0})
assert inspect.signature(robcomp.{0}) == inspect.signature(robcomp.{0}.{0})
assert "Returns:" in robcomp.{0}.{0}.__doc__
"""


@pytest.mark.parametrize(
    "first",
    [
        "import robcomp",
        "import robcomp.{0}",
        "from robcomp.{0} import __all__",
        "from robcomp import {0}",
        "import robcomp.{0} as other; assert other.{0}",
    ],
)
def test_a_verb_and_its_module_agree_whatever_is_imported_first(first):
    python((first + AGREE).format("pareto"))  # quick to import; the next test looks at all


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_a_module_that_can_be_called(verb):
    module, function = getattr(robcomp, verb), getattr(importlib.import_module(f"robcomp.{verb}"), verb)
    assert module is sys.modules[f"robcomp.{verb}"] and module.__name__ == f"robcomp.{verb}" and module.__all__
    assert inspect.signature(module) == inspect.signature(function)
    assert pickle.loads(pickle.dumps(module)) is module, "an executor sends it to another process"
    with pytest.raises(TypeError, match=rf"{verb}\(\)"):
        module()


def test_calling_the_module_is_calling_the_function():
    table = robcomp.summarise(robcomp.example())
    table = table[table.arch == "vgg19"]
    assert list(robcomp.pareto(table, robcomp.Goals())) == list(robcomp.pareto.pareto(table, robcomp.Goals()))


def test_other_modules_stay_as_they_are():
    assert type(robcomp.charts) is type(sys) and not callable(robcomp.charts)
    with pytest.raises(AttributeError, match=r"robcomp has no 'compres': dir\(robcomp\) lists what it has"):
        robcomp.compres


def test_nbdev_keeps_the_list(tmp_path):
    """nbdev writes the version into __init__.py when it exports; the rest of the file stays to the byte."""
    left_out = shutil.ignore_patterns("runs", "__pycache__")
    for name in ("nbs", "robcomp"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
    settings = (ROOT / "settings.ini").read_text()
    (tmp_path / "settings.ini").write_text(settings.replace("version = 0.1.0", "version = 9.9.9"))
    for command in ("nbdev_export", "nbdev_clean"):
        subprocess.run([str(Path(sys.executable).with_name(command))], cwd=tmp_path, check=True, capture_output=True)
    expected = (ROOT / "robcomp/__init__.py").read_text().replace(robcomp.__version__, "9.9.9")
    assert (tmp_path / "robcomp/__init__.py").read_text() == expected


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
    expected = {word.split(".")[1] for word in WORDS if word.split(".")[0] == module}
    assert {*importlib.import_module(f"robcomp.{module}").__all__} == expected


def stub() -> str:
    """What robcomp/__init__.pyi has to say: every name of the face, from its module."""
    lines = [
        '"""The public API for type checkers and editors: the names of robcomp.FACE, '
        'which are loaded when they are first used."""'
    ]
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
    if not callable(found):
        return
    signature = inspect.signature(found)
    untyped = [own.name for own in signature.parameters.values() if own.annotation is own.empty]
    if not inspect.isclass(found) and signature.return_annotation is signature.empty:
        untyped.append("return")
    assert not untyped


def of_face(word):
    """What a word of the face stands for, explained as for a user who wrote `robcomp.name`."""
    module, name = word.split(".")
    getattr(robcomp, name)
    return getattr(importlib.import_module(f"robcomp.{module}"), name)


CALLED = [word for word in WORDS if callable(of_face(word))]


@pytest.mark.parametrize("word", CALLED)
def test_help_and_the_site_say_the_same(word):
    found = of_face(word)
    said, page = inspect.getdoc(found), Reference(found)._repr_markdown_()
    for name, meaning in meanings(found).items():
        line = meaning if name == "return" else f"{name}: {meaning}"
        assert f"    {line}" in said.splitlines() and cell(meaning) in page
    assert plain(said) in page and not any(head in page for head in HEADS)


@pytest.mark.parametrize("word", CALLED)
def test_meanings_are_the_comments_that_fastcore_finds_too(word):
    """It finds none of options and fields."""
    found = of_face(word)
    theirs = {
        name: part["docment"]
        for name, part in docments(found, full=True, returns=True).items()
        if part.get("docment") and not (inspect.isclass(found) and name in ("self", "return"))
    }
    assert theirs.items() <= meanings(found).items()


@pytest.mark.parametrize("word", CALLED)
def test_every_parameter_and_answer_of_the_face_is_explained(word):
    found = of_face(word)
    signature, said = inspect.signature(found), meanings(found)
    asked = list(signature.parameters)
    if not inspect.isclass(found) and signature.return_annotation not in (None, "None"):
        asked.append("return")
    assert [name for name in asked if len(said.get(name, "")) < 4] == []


def refuses(function, deep=1):
    """Does a function raise ValueError itself, or one of the project's functions that it calls by name?"""
    code = ast.parse(dedent(inspect.getsource(function)))
    raised = [getattr(node.exc, "func", None) for node in ast.walk(code) if isinstance(node, ast.Raise)]
    if any(getattr(kind, "id", "") == "ValueError" for kind in raised):
        return True
    names = {node.id for node in ast.walk(code) if isinstance(node, ast.Name)} if deep else set()
    called = [inspect.unwrap(function).__globals__.get(name) for name in names]
    return any(
        refuses(other, deep - 1)
        for other in called
        if inspect.isfunction(other) and other.__module__.startswith("robcomp.")
    )


@pytest.mark.parametrize("word", CALLED)
def test_what_raises_a_value_error_says_so(word):
    found = of_face(word)
    maker = found.__init__ if inspect.isclass(found) else found
    if inspect.isfunction(maker) and refuses(maker):
        assert "ValueError" in inspect.getdoc(found)


def test_the_type_checker_sees_every_name():
    """`make test` runs mypy, strictly, over a road on which each public name is used as its types say."""
    road = ast.parse((Path(__file__).parent / "typed_road.py").read_text())
    used = {node.attr for node in ast.walk(road) if isinstance(node, ast.Attribute)}
    assert {*robcomp.__all__} <= used
