"""The site: its configuration, its finishing step, the README, and whole pages built without Quarto."""
from __future__ import annotations

import ast
import builtins
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from robcomp._preview import sidebar
from robcomp.site import SCRIPT, Page, cell_text, finish, finished, main, preview, problems, readme

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(path.relative_to(ROOT / "nbs").as_posix() for path in (ROOT / "nbs").rglob("*.ipynb")
                   if not {"runs", ".ipynb_checkpoints"} & set(path.parts) and not path.name.startswith("_"))
CHROMIUM = Path("/usr/bin/chromium")


def config() -> dict: return yaml.safe_load((ROOT / "_quarto.yml").read_text())


def test_configuration_names_what_exists():
    given = config()
    assert set(given) == {"project", "website", "format"}
    assert set(given["project"]) == {"type", "output-dir", "render", "post-render"} and given["project"]["type"] == "website"
    assert yaml.safe_load((ROOT / "nbs" / "_quarto.yml").read_text())["metadata-files"] == ["../_quarto.yml", "nbdev.yml"]
    for command in given["project"]["post-render"]:
        assert importlib.util.find_spec(re.fullmatch(r"python -m (\S+)", command)[1])
    for entry in given["website"]["navbar"]["left"]: assert (ROOT / "nbs" / entry["href"]).exists(), f"navbar: no {entry['href']}"
    look = given["format"]["html"]
    for name in (look["css"], *(theme for theme in look["theme"] if theme.endswith(".scss"))): assert (ROOT / "nbs" / name).exists()
    assert all(pattern.startswith("/") for pattern in given["project"]["render"]), "a bare `quarto render` would meet raw notebooks"


def test_every_notebook_is_rendered_and_stands_in_the_sidebar_once():
    listed = [name for _, members in sidebar(ROOT, NOTEBOOKS) for name in members]
    assert sorted(listed) == NOTEBOOKS
    patterns = [pattern.lstrip("/").replace("/**/", "/") for pattern in config()["project"]["render"]]
    for name in NOTEBOOKS: assert any(Path(name).match(pattern) for pattern in patterns), f"no render pattern for {name}"


@pytest.mark.skipif(not shutil.which("quarto"), reason="needs Quarto (https://quarto.org)")
def test_quarto_accepts_the_configuration():
    subprocess.run(["quarto", "inspect", str(ROOT)], check=True, capture_output=True)


def bound(nodes) -> set[str]:
    """Names that some syntax nodes bring with them: imported, defined, assigned, or bound in a loop or comprehension."""
    aliases = [alias for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names]
    defined = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))} | {node.arg for node in nodes if isinstance(node, ast.arg)}
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {alias.asname or alias.name.split(".")[0] for alias in aliases} | defined | stored


def outside(line):
    """The nodes of a statement that are not inside a function or class that it defines."""
    yield line
    if not isinstance(line, (ast.FunctionDef, ast.ClassDef)):
        for child in ast.iter_child_nodes(line): yield from outside(child)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_with_imports_stand_by_themselves(name):
    """To make the pages nbdev runs the cells that import or export, and no others: what they use must come from such cells."""
    found = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads((ROOT / "nbs" / name).read_text())["cells"]]
    if "skip_exec: true" in found[0][1]: return
    known = set(dir(builtins)) | {"display", "get_ipython"}
    for kind, text in found:
        if kind != "code" or re.search(r"^#\|\s*eval: false", text, re.M) or re.match(r"\s*[%!]", text): continue
        lines, exported = ast.parse(text).body, re.search(r"^#\|\s*export", text, re.M)
        nodes = [node for line in lines for node in ast.walk(line)]
        if not exported and not any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in nodes): continue
        known |= bound([node for line in lines for node in outside(line)])
        used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)} - bound(nodes)
        assert exported or not used - known, f"{name}: put the import into a cell of its own, this one uses {', '.join(sorted(used - known))}: {text[:60]!r}"


RAW = ROOT.parent / "shared" / "quarto"
SHAPES = dict(  # as Quarto writes them: a caption without a text, the remains of require.js, tables in the flow and in results
    caption='<figure class="figure"><p><img src="front.svg" class="img-fluid figure-img"></p>\n<figcaption>Size &amp; a <em>stair</em></figcaption></figure>',
    require='<head><script src="https://cdn.x/require.min.js" integrity="sha384-x" crossorigin="anonymous"></script>\n\n'
            '<script type="text/javascript">define(\'jquery\', [],function() {return window.jQuery;})</script>\n</head>',
    table='<table class="table"><thead><tr><th>recipe</th><th>robust</th></tr></thead><tbody>\n'
          + '<tr><td><code>prune0.5+tune1+int8</code></td><td style="text-align: right;">-0.010 (-0.020 to -0.001)</td></tr>' * 20 + "</tbody></table>")


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_that_quarto_makes(shape):
    page = finished(SHAPES[shape])
    assert finished(page) == page and "define(" not in page and "cdn.x" not in page and not Page(page).mute
    if shape == "caption": assert 'alt="Size &amp; a stair"' in page
    if shape == "table":
        assert page.startswith('<div class="rc-scroll"><table') and page.endswith("<summary>All 20 rows</summary></details>")
        assert "prune0.5+<wbr>tune1+<wbr>int8" in page and "-0.010 (-0.020\u00a0to\u00a0-0.001)" in page


def test_a_text_that_a_picture_has_is_kept():
    given = '<figure><img src="a.svg" alt="mine"><figcaption>other</figcaption></figure><figure><img src="b.svg"></figure>'
    assert finished(given) == given and Page(given).mute == ["b.svg"]


@pytest.mark.skipif(not RAW.exists(), reason="needs pages as Quarto made them in ../shared/quarto")
@pytest.mark.parametrize("name", ["index", "compress", "analysis_tradeoffs"])
def test_pages_of_quarto_are_finished(tmp_path, name):
    before = (RAW / f"{name}.html").read_text()
    assert "define('jquery'" in before or Page(before).mute, "the page lacks the faults that it is here for"
    page = finished(before)
    assert finished(page) == page and "define('jquery'" not in page and not Page(page).mute
    assert len(re.findall("<table", page)) == page.count('<div class="rc-scroll">')
    (tmp_path / f"{name}.html").write_text(page)
    assert set(problems(tmp_path)["problem"]) <= {"broken link", "no such place"}, "other pages are not here; nothing else is amiss"


def test_a_fault_fails_the_command_and_not_quarto(tmp_path, monkeypatch, capsys):
    (tmp_path / "_docs").mkdir()
    (tmp_path / "_docs" / "a.html").write_text('<a href="gone.html">x</a>')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="gone.html"): main([])
    monkeypatch.setenv("QUARTO_PROJECT_OUTPUT_DIR", "_docs")
    main([])
    assert "gone.html" in capsys.readouterr().err and (tmp_path / "_docs" / "a.html").exists()


def test_a_build_with_a_fault_keeps_its_pages_and_fails(tmp_path, monkeypatch):
    """`build` with stand-ins for Quarto and nbdev: pages are written, and one of them has a broken link."""
    for name, lines in dict(quarto="exit 0", nbdev_docs="mkdir _docs && echo '<a href=gone.html>x</a>' > _docs/a.html").items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="gone.html"): main(["build"])
    assert (tmp_path / "_docs" / "a.html").exists()


def test_finishing_twice_changes_nothing(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text('<head><script src="https://cdn.x/require.min.js" crossorigin="y"></script>\n<link href="https://fonts.x/a.css" rel="stylesheet">'
                                         '</head><body><a href="sub/a.html">a</a></body>')
    (tmp_path / "sub" / "a.html").write_text('<body><div class="rc-chart"><img alt="x" src="data:,"></div><a href="/index.html">home</a></body>')
    assert finish(tmp_path).empty
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert "cdn.x" not in (tmp_path / "index.html").read_text() and "fonts.x" not in (tmp_path / "index.html").read_text()
    assert f'src="../{SCRIPT}"' in (tmp_path / "sub" / "a.html").read_text() and SCRIPT not in (tmp_path / "index.html").read_text()
    assert finish(tmp_path).empty and first == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("html, problem", [
    ('<a href="b.html">', "broken link"), ('<a href="#x">', "no such place"), ('<img src="data:,">', "image without a text"),
    ('<img alt="a" src="https://x.org/a.png">', "fetched from elsewhere"), ('<script src="//x.org/a.js"></script>', "fetched from elsewhere")])
def test_what_is_wrong_is_found(tmp_path, html, problem):
    (tmp_path / "a.html").write_text(html)
    assert list(problems(tmp_path)["problem"]) == [problem]


@pytest.mark.parametrize("html", ['<a href="https://x.org">', '<a href="mailto:a@b.c">', '<a href="a.html#p"><p id="p">', '<a href="b%20c/">', '<a href="">'])
def test_what_is_right_passes(tmp_path, html):
    (tmp_path / "a.html").write_text(html)
    (tmp_path / "b c").mkdir()
    (tmp_path / "b c" / "index.html").write_text("")
    assert problems(tmp_path).empty


def code(source, *outputs): return dict(cell_type="code", source=source, outputs=list(outputs))


def test_readme_cells():
    text = dict(output_type="stream", name="stdout", text=["a\n", "b\n"])
    error = dict(output_type="stream", name="stderr", text="noise")
    table = dict(output_type="execute_result", data={"text/html": "<table>", "text/plain": "x  1"})
    assert cell_text(code("#| hide\nimport x")) == cell_text(code("#| default_exp a")) == []
    assert cell_text(code("#| echo: false\nf()", text, error)) == ["```\na\nb\n```"]
    assert cell_text(code("f()", table)) == ["```python\nf()\n```", "```\nx  1\n```"]
    assert cell_text(code("#| output: false\nf()", table)) == ["```python\nf()\n```"]
    assert cell_text(dict(cell_type="raw", source="x")) == []


def test_readme_links_start_from_the_readme(tmp_path):
    (tmp_path / "nbs").mkdir()
    said = "![front](images/front.svg) [up](../LICENSE) [in](#x) [out](http://a.b)"
    (tmp_path / "nbs" / "index.ipynb").write_text(json.dumps(dict(cells=[dict(cell_type="markdown", source=[said])])))
    readme(tmp_path / "nbs" / "index.ipynb", tmp_path / "README.md")
    text = (tmp_path / "README.md").read_text()
    assert "![front](nbs/images/front.svg) [up](LICENSE) [in](#x) [out](http://a.b)" in text and "Written from nbs/index.ipynb" in text


def test_readme_check_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "nbs").mkdir()
    (tmp_path / "nbs" / "index.ipynb").write_text(json.dumps(dict(cells=[dict(cell_type="markdown", source=["# a"])])))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="out of step with nbs/index.ipynb: run"): main(["readme", "--check"])
    assert not (tmp_path / "README.md").exists()
    main(["readme"])
    main(["readme", "--check"])
    assert readme(check=True)


def test_without_quarto_one_line(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="Quarto is not installed"): main(["build"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The whole site, built from a copy of the repository by nbdev and pandoc."""
    pytest.importorskip("pypandoc", reason="needs pandoc (pip install pypandoc_binary)")
    copy = tmp_path_factory.mktemp("site") / "robcomp"
    for name in ("nbs", "robcomp", "results"):
        if (ROOT / name).exists(): shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("runs", "__pycache__", ".ipynb_checkpoints", "*.partial"))
    for name in ("settings.ini", "setup.py", "_quarto.yml"): shutil.copyfile(ROOT / name, copy / name)
    return copy / "_docs", preview(copy)


def test_the_site_is_sound(site):
    folder, wrong = site
    assert wrong.empty, "\n" + wrong.to_string()
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) == len(NOTEBOOKS)
    for path in pages:
        text = path.read_text()
        assert re.search("<title>[^<]+</title>", text) and text.count("<h1") == 1, path.name
        assert len([link for link in Page(text).links if link.endswith(".html") and ":" not in link]) >= len(NOTEBOOKS), f"{path.name} lacks the navigation"
        assert len(text) < 1_000_000, f"{path.name} is heavy"
        sources, folded = text.count('<div class="sourceCode"'), text.count('<details class="code">')
        assert folded == (sources if path.parent.name == "analysis" or path.name == "explore.html" else 0), f"{path.name}: code of the findings is folded, code of the lessons is not"


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM} (apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 390])
def test_charts_live_on_the_site_without_network(site, width):
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    requests, errors, folder = [], [], site[0]
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport=dict(width=width, height=900))
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        for name in ("charts.html", *(f"analysis/{page}.html" for page in ("tradeoffs", "choosing", "corruptions", "combinations", "forgotten"))):
            tab.goto((folder / name).as_uri())
            charts = tab.locator(".rc-chart").count()
            assert charts, f"no chart on {name}"
            sync_api.expect(tab.locator(".rc-chart svg.marks")).to_have_count(charts, timeout=30_000)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the screen"
        browser.close()
    assert all(url.startswith(("file:", "data:")) for url in requests) and not errors
