"""The site: its configuration, its finishing step, the README, and whole pages built without Quarto."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from robcomp._display.dashboard import explorer_html
from robcomp._display.live import live_script
from robcomp._display.preview import plain_cells, shell, sidebar
from robcomp.results import summarise
from robcomp.tables import example, find, join, read_tables
from robcomp.site import SCRIPT, Page, cell_text, finish, finished_page, main, preview, readme, site_faults
from robcomp.uncertainty import compare

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(
    path.relative_to(ROOT / "nbs").as_posix()
    for path in (ROOT / "nbs").rglob("*.ipynb")
    if not {"runs", ".ipynb_checkpoints"} & set(path.parts) and not path.name.startswith("_")
)
CHROMIUM = Path("/usr/bin/chromium")


def config() -> dict:
    return yaml.safe_load((ROOT / "_quarto.yml").read_text())


def test_configuration_names_what_exists():
    given = config()
    assert set(given) == {"project", "website", "format"}
    assert set(given["project"]) == {"type", "output-dir", "render", "post-render"}
    assert given["project"]["type"] == "website"
    included = yaml.safe_load((ROOT / "nbs" / "_quarto.yml").read_text())["metadata-files"]
    assert included == ["../_quarto.yml", "nbdev.yml"]
    for command in given["project"]["post-render"]:
        assert importlib.util.find_spec(re.fullmatch(r"python -m (\S+)", command)[1])
    for entry in given["website"]["navbar"]["left"]:
        assert (ROOT / "nbs" / entry["href"]).exists(), f"navbar: no {entry['href']}"
    look = given["format"]["html"]
    for name in (look["css"], *(theme for theme in look["theme"] if theme.endswith(".scss"))):
        assert (ROOT / "nbs" / name).exists()
    anchored = all(pattern.startswith("/") for pattern in given["project"]["render"])
    assert anchored, "a bare `quarto render` would meet raw notebooks"


def test_every_notebook_is_rendered_and_stands_in_the_sidebar_once():
    listed = [name for _, members in sidebar(ROOT, NOTEBOOKS) for name in members]
    assert sorted(listed) == NOTEBOOKS
    patterns = [pattern.lstrip("/").replace("/**/", "/") for pattern in config()["project"]["render"]]
    for name in NOTEBOOKS:
        assert any(Path(name).match(pattern) for pattern in patterns), f"no render pattern for {name}"


@pytest.mark.skipif(not shutil.which("quarto"), reason="needs Quarto (https://quarto.org)")
def test_quarto_accepts_the_configuration():
    subprocess.run(["quarto", "inspect", str(ROOT)], check=True, capture_output=True)


def bound(nodes) -> set[str]:
    """Names that some syntax nodes bring with them: imported, defined, assigned, or bound in a loop."""
    aliases = [alias for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names]
    defined = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    defined |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {alias.asname or alias.name.split(".")[0] for alias in aliases} | defined | stored


def outside(line):
    """The nodes of a statement that are not inside a function or class that it defines."""
    yield line
    if not isinstance(line, (ast.FunctionDef, ast.ClassDef)):
        for child in ast.iter_child_nodes(line):
            yield from outside(child)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_with_imports_stand_by_themselves(name):
    """To make the pages nbdev runs the cells that import or export, and no others: they use only their names."""
    cells = json.loads((ROOT / "nbs" / name).read_text())["cells"]
    found = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    if "skip_exec: true" in found[0][1]:
        return
    known = set(dir(builtins)) | {"display", "get_ipython"}
    for kind, text in found:
        if kind != "code" or re.search(r"^#\|\s*eval: false", text, re.M) or re.match(r"\s*[%!]", text):
            continue
        lines, exported = ast.parse(text).body, re.search(r"^#\|\s*export", text, re.M)
        nodes = [node for line in lines for node in ast.walk(line)]
        if not exported and not any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in nodes):
            continue
        known |= bound([node for line in lines for node in outside(line)])
        loaded = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        unknown = ", ".join(sorted(loaded - bound(nodes) - known))
        alone = f"{name}: put the import into a cell of its own, this one uses {unknown}: {text[:60]!r}"
        assert exported or not unknown, alone


RAW = ROOT.parent / "shared" / "quarto"
ROW = '<tr><td><code>prune0.5+tune1+int8</code></td><td style="text-align: right;">-0.010 (-0.020 to -0.001)</td></tr>'
SHAPES = dict(  # as Quarto writes them: a caption without a text, the remains of require.js, tables
    caption='<figure class="figure"><p><img src="front.svg" class="img-fluid figure-img"></p>\n'
    "<figcaption>Size &amp; a <em>stair</em></figcaption></figure>",
    require='<head><script src="https://cdn.x/require.min.js" integrity="sha384-x" crossorigin="anonymous">'
    '</script>\n\n<script type="text/javascript">'
    "define('jquery', [],function() {return window.jQuery;})</script>\n</head>",
    check='<div class="code-copy-outer-scaffold"><div class="sourceCode cell-code" id="cb1">'
    '<pre class="sourceCode python"><code>f(1)\nf(2)\nassert f(1)</code></pre></div>'
    '<button title="Copy to Clipboard" class="code-copy-button"><i class="bi"></i></button></div>'
    "<pre><code>robcomp: compiling fog, once on this machine\n"
    "robcomp: compiling frost, once on this machine\n</code></pre>"
    '<div class="sourceCode cell-code" id="cb2"><pre class="sourceCode python">'
    "<code>assert f(1) == 2</code></pre></div>",
    table='<table class="table"><thead><tr><th>recipe</th><th>robust</th></tr></thead><tbody>\n'
    + ROW * 20
    + "</tbody></table>",
)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_that_quarto_makes(shape):
    page = finished_page(SHAPES[shape])
    assert finished_page(page) == page and "define(" not in page and "cdn.x" not in page and not Page(page).mute
    if shape == "caption":
        assert 'alt="Size &amp; a stair"' in page
    if shape == "check":
        assert page.count('<details class="rc-check">') == 1 and "compiling" not in page
        assert page.index("rc-check") > page.index("f(1)")
    if shape == "table":
        assert page.startswith('<div class="rc-scroll"><table')
        assert page.endswith("<summary>All 20 rows</summary></details>")
        assert "prune0.5+<wbr>tune1+<wbr>int8" in page and "\u22120.010 (\u22120.020\u00a0to\u00a0\u22120.001)" in page


def test_a_text_that_a_picture_has_is_kept():
    given = (
        '<figure><img src="a.svg" alt="mine"><figcaption>other</figcaption></figure><figure><img src="b.svg"></figure>'
    )
    assert finished_page(given) == given and Page(given).mute == ["b.svg"]


@pytest.mark.skipif(not RAW.exists(), reason="needs pages as Quarto made them in ../shared/quarto")
@pytest.mark.parametrize("name", ["index", "compress", "analysis_tradeoffs"])
def test_pages_of_quarto_are_finished(tmp_path, name):
    before = (RAW / f"{name}.html").read_text()
    assert "define('jquery'" in before or Page(before).mute, "the page lacks the faults that it is here for"
    page = finished_page(before)
    assert finished_page(page) == page and "define('jquery'" not in page and not Page(page).mute
    assert len(re.findall("<table", page)) == page.count('<div class="rc-scroll">')
    (tmp_path / f"{name}.html").write_text(page)
    expected = {"broken link", "no such place"}  # other pages are not here; nothing else is amiss
    assert set(site_faults(tmp_path)["problem"]) <= expected


def test_a_fault_fails_the_command_and_not_quarto(tmp_path, monkeypatch, capsys):
    (tmp_path / "_docs").mkdir()
    (tmp_path / "_docs" / "a.html").write_text('<a href="gone.html">x</a>')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="gone.html"):
        main([])
    monkeypatch.setenv("QUARTO_PROJECT_OUTPUT_DIR", "_docs")
    main([])
    assert "gone.html" in capsys.readouterr().err and (tmp_path / "_docs" / "a.html").exists()


def test_a_build_with_a_fault_keeps_its_pages_and_fails(tmp_path, monkeypatch):
    """`build` with stand-ins for Quarto and nbdev: pages are written, and one of them has a broken link."""
    docs = "mkdir _docs && echo '<a href=gone.html>x</a>' > _docs/a.html"
    for name, lines in dict(quarto="exit 0", nbdev_docs=docs).items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="gone.html"):
        main(["build"])
    assert (tmp_path / "_docs" / "a.html").exists()


def test_numbers_keep_their_interval_and_per_cent_and_have_a_minus():
    text = "<p>glass blur -5.0 (-7.6 to -2.4), 99.6 %</p><code>-5 %</code><td>CIFAR-10 1e-5 2026-11-27</td>"
    page = finished_page(text)
    assert (
        page
        == (
            "<p>glass blur \u22125.0 (\u22127.6\u00a0to\u00a0\u22122.4), 99.6\u00a0%</p>"
            "<code>-5 %</code><td>CIFAR-10 1e-5 2026-11-27</td>"
        )
        == finished_page(page)
    )


def test_results_stay_in_their_order_in_the_preview():
    said = lambda text: dict(output_type="display_data", data={"text/markdown": text})
    drawn = lambda text: dict(output_type="display_data", data={"text/html": text})
    cells = plain_cells(code("show()", said("a"), drawn("1"), said("b"), drawn("2")) | dict(metadata={}))
    shown = [
        cell["source"]
        if cell["cell_type"] == "markdown"
        else [output["data"]["text/html"] for output in cell["outputs"]]
        for cell in cells
    ]
    assert shown == [[], "a", ["1"], "b", ["2"]]


def test_answers_move_under_the_title_once():
    answers = '<section class="rc-answers"><ul><li>6 of 9</li></ul></section>'
    for title in (
        '<h1>A</h1><div class="description">b</div>',
        '<header id="title-block-header"><h1 class="title">A</h1></header>',
    ):
        page = finished_page(f"{title}<p>how</p>{answers}<p>end</p>")
        assert page == f"{title}{answers}<p>how</p><p>end</p>" == finished_page(page)


@pytest.mark.parametrize("left, heading", [("", False), ("<p>more</p>", True)])
def test_a_heading_that_answers_leave_empty_goes_with_them(left, heading):
    answers = '<section class="rc-answers"><ul><li>6 of 9</li></ul></section>'
    page = finished_page(
        '<nav><ul><li><a href="#in-short" id="toc-in-short">In short</a></li></ul></nav><main>'
        '<h1>A</h1><h2 id="how">How</h2><p>so</p><section id="in-short"><h2 class="anchored" '
        f'data-anchor-id="in-short">In short</h2>\n<div class="cell">{answers}</div>{left}</section>'
        "</main>"
    )
    assert page.count("In short") == 2 * heading and '<h2 id="how">How</h2><p>so</p>' in page
    assert page.index(answers) < page.index("How") and finished_page(page) == page


def test_a_function_is_shown_with_a_table_of_its_parameters():
    show_doc = pytest.importorskip("nbdev.showdoc", reason="needs nbdev (pip install nbdev)").show_doc
    shown = show_doc(preview)._repr_markdown_()
    assert "| `root` | str or Path | `'.'` | of the repository |" in shown and "| returns | DataFrame |" in shown
    call = shown.partition("```python")[2].partition("```")[0]
    assert "Call self as a function" not in shown and max(map(len, call.splitlines())) <= 72


def test_finishing_twice_changes_nothing(tmp_path):
    (tmp_path / "sub").mkdir()
    front, below = tmp_path / "index.html", tmp_path / "sub" / "a.html"
    front.write_text(
        '<head><script src="https://cdn.x/require.min.js" crossorigin="y"></script>\n'
        '<link href="https://fonts.x/a.css" rel="stylesheet">'
        '</head><body><a href="sub/a.html">a</a></body>'
    )
    below.write_text(
        '<body><div class="rc-chart"><img alt="x" src="data:,"></div><a href="/index.html">home</a></body>'
    )
    content = lambda: {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert finish(tmp_path).empty
    first = content()
    assert "cdn.x" not in front.read_text() and "fonts.x" not in front.read_text()
    assert f'src="../{SCRIPT}"' in below.read_text() and SCRIPT not in front.read_text()
    assert finish(tmp_path).empty and first == content()


@pytest.mark.parametrize(
    "html, problem",
    [
        ('<a href="b.html">', "broken link"),
        ('<a href="#x">', "no such place"),
        ('<img src="data:,">', "image without a text"),
        ('<img alt="a" src="https://x.org/a.png">', "fetched from elsewhere"),
        ('<script src="//x.org/a.js"></script>', "fetched from elsewhere"),
    ],
)
def test_what_is_wrong_is_found(tmp_path, html, problem):
    (tmp_path / "a.html").write_text(html)
    assert list(site_faults(tmp_path)["problem"]) == [problem]


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://x.org">',
        '<a href="mailto:a@b.c">',
        '<a href="a.html#p"><p id="p">',
        '<a href="b%20c/">',
        '<a href="">',
        '<a href="/project/a.html">',
        '<a href="/b%20c/">',
    ],
)
def test_what_is_right_passes(tmp_path, html):
    (tmp_path / "a.html").write_text(html)
    (tmp_path / "b c").mkdir()
    (tmp_path / "b c" / "index.html").write_text("")
    assert site_faults(tmp_path).empty


def code(source, *outputs):
    return dict(cell_type="code", source=source, outputs=list(outputs))


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
    assert "![front](nbs/images/front.svg) [up](LICENSE) [in](#x) [out](http://a.b)" in text
    assert "Written from nbs/index.ipynb" in text


def test_readme_check_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "nbs").mkdir()
    (tmp_path / "nbs" / "index.ipynb").write_text(json.dumps(dict(cells=[dict(cell_type="markdown", source=["# a"])])))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="out of step with nbs/index.ipynb: run"):
        main(["readme", "--check"])
    assert not (tmp_path / "README.md").exists()
    main(["readme"])
    main(["readme", "--check"])
    assert readme(check=True)


def test_without_quarto_one_line(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="Quarto is not installed"):
        main(["build"])


def repository_copy(folder):
    """A copy of what the site is made from."""
    leave = shutil.ignore_patterns("runs", "__pycache__", ".ipynb_checkpoints", "*.partial")
    for name in ("nbs", "robcomp", "results"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, folder / name, ignore=leave)
    for name in ("settings.ini", "setup.py", "_quarto.yml"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def previewed(tmp_path_factory):
    """The whole site by nbdev and pandoc: its folder, and what is wrong with it."""
    pytest.importorskip("pypandoc", reason="needs pandoc (pip install pypandoc_binary)")
    copy = repository_copy(tmp_path_factory.mktemp("site") / "robcomp")
    return copy / "_docs", preview(copy)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """The folder of the whole site by Quarto."""
    copy = repository_copy(tmp_path_factory.mktemp("quarto") / "robcomp")
    subprocess.run([sys.executable, "-m", "robcomp.site", "build"], cwd=copy, check=True)
    return copy / "_docs"


@pytest.fixture(params=["preview", *["quarto"] * bool(shutil.which("quarto"))])
def site(request):
    """The folder of the site as a reader gets it: plain pages, and those of Quarto where it is installed."""
    if request.param == "quarto":
        return request.getfixturevalue("rendered")
    return request.getfixturevalue("previewed")[0]


def test_the_site_is_sound(previewed):
    folder, wrong = previewed
    assert wrong.empty, "\n" + wrong.to_string()
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) == len(NOTEBOOKS)
    for path in pages:
        text = path.read_text()
        assert re.search("<title>[^<]+</title>", text) and text.count("<h1") == 1, path.name
        links = [link for link in Page(text).links if link.endswith(".html") and ":" not in link]
        assert len(links) >= len(NOTEBOOKS), f"{path.name} lacks the navigation"
        assert len(text) < 1_000_000, f"{path.name} is heavy"
        raw = re.sub(r"(?s)<(script|style|pre|code)\b.*?</\1>", "", text)
        assert "](http" not in raw, f"{path.name} shows the source of a link"
        sources, folded = text.count('<div class="sourceCode"'), text.count('<details class="code">')
        finding = path.parent.name == "analysis" or path.name == "explore.html"
        assert folded == (sources if finding else 0), f"{path.name}: code of findings is folded, of lessons it is not"


# ---- in a browser ---------------------------------------------------------------------

LOOK_AT = """() => {
  const seen = node => node.getClientRects().length > 0, found = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push("wider than the screen");
  const right = node => node.getBoundingClientRect().right, left = node => node.getBoundingClientRect().left;
  for (const box of document.querySelectorAll(".rc-scroll")) for (const cell of box.querySelectorAll("td, th")) {
    const title = cell.tagName === "TH" && location.pathname.includes("/analysis/");
    const cut = title ? left(cell) < right(box) - 1 : /\\d/.test(cell.textContent);
    const beyond = innerWidth >= 1280 && seen(cell) && right(cell) > right(box) + 1;
    if (cut && beyond) found.push("hidden number or title: " + cell.textContent.slice(0, 40));
  }
  const words = document.createTreeWalker(document.querySelector("main") ?? document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const {parentElement: place, data: text} = words.currentNode;
    const markup = /`[^`]+`|(^|\\s)\\*[A-Za-z][^*\\n]*\\*(?=[\\s.,;:)]|$)|\\{[^{}]+:[.,\\d]+[a-z%]\\}/.exec(text);
    if (markup && !place.closest("code, pre, script, style, textarea")) found.push("raw markup: " + markup[0]);
  }
  for (const svg of document.querySelectorAll("svg.marks")) {
    if (!seen(svg)) continue;
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const box = svg.closest(".rc-chart, .rcx-chart, .rcx-profile");
    const plots = [...svg.querySelectorAll("path.background")].filter(path => path.getBoundingClientRect().width > 5);
    const width = Math.max(...plots.map(right)) - Math.min(...plots.map(left));
    if (!plots.length || width < 200) found.push("narrow plot");
    if (right(svg) > right(box) + 1) found.push("chart wider than its box: " + svg.getAttribute("aria-label"));
    for (const text of svg.querySelectorAll(".role-title text, .role-axis-title text"))
      if (right(text) > right(svg) + 2 || left(text) < left(svg) - 2) found.push("words cut off: " + text.textContent);
    const letters = text => parseFloat(getComputedStyle(text).fontSize) * scale;
    const small = [...svg.querySelectorAll("text")].find(text => text.textContent && letters(text) < 10.95);
    if (small) found.push("small text in a chart: " + small.textContent);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM} (apt-get install chromium)")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=str(CHROMIUM), headless=True, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """An empty tab that keeps what it asked for and what went wrong in it."""
    tab = chromium.new_page(viewport=dict(width=1280, height=900))
    tab.requests, tab.faults = [], []
    tab.on("request", lambda request: tab.requests.append(request.url))
    tab.on("console", lambda message: tab.faults.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: tab.faults.append(str(error)))
    yield tab
    tab.close()
    assert not tab.faults and all(url.startswith(("file:", "data:", "blob:")) for url in tab.requests)


DRAWN = """() => [...document.querySelectorAll(".rc-chart, .rc-explorer")].every(box =>
  !box.clientWidth || (box.querySelector("svg.marks") && Number(box.dataset.room) === Math.floor(box.clientWidth)))"""


def go(tab, address):
    tab.goto(address)
    tab.wait_for_function(DRAWN, timeout=60_000)


@pytest.mark.parametrize("folder", ["analysis", "benchmarks", "experiments", "howto", "."])
def test_every_page_fits_every_screen(site, tab, folder):
    """Each page is read once and then made narrower, as a reader turns a tablet.

    No sideways scroll, no cut number, charts that can be read.
    """
    found = []
    for path in sorted((site / folder).glob("*.html")):
        tab.set_viewport_size(dict(width=1920, height=900))
        go(tab, path.as_uri())
        for width in (1920, 1440, 1280, 390):
            tab.set_viewport_size(dict(width=width, height=900))
            tab.wait_for_function(DRAWN, timeout=60_000)
            found += [f"{path.name} at {width}: {fault}" for fault in tab.evaluate(LOOK_AT)]
    assert not found, "\n".join(found)


FINDINGS = [path.stem for path in sorted((ROOT / "nbs" / "analysis").glob("*.ipynb"))]


@pytest.mark.parametrize("name", FINDINGS)
def test_findings_begin_with_answers_and_a_chart(site, tab, name):
    go(tab, (site / "analysis" / f"{name}.html").as_uri())
    answers = tab.locator(".rc-answers li")
    assert 3 <= answers.count() <= 5 and answers.last.bounding_box()["y"] < 900
    plot = tab.locator("svg.marks").first.locator("path.background").first.bounding_box()
    shown = min(900, plot["y"] + plot["height"]) - plot["y"]
    assert shown >= 150, "no more than a strip of the plot is on the first screen"


def test_the_home_page_has_a_front_for_every_network(site, tab):
    go(tab, (site / "index.html").as_uri())
    menu, first = tab.locator(".vega-bindings select[name=network]"), tab.locator(".rc-answers svg.marks").first
    assert first.bounding_box()["y"] < 800 and tab.locator(".rc-cards li").count() == 3
    seen = set()
    for name in menu.locator("option").all_inner_texts():
        menu.select_option(name)
        tab.wait_for_timeout(300)
        seen.add(first.inner_html())
    assert len(seen) == menu.locator("option").count() >= 3


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "nbs" / "benchmarks").glob("*.ipynb"))])
def test_benchmarks_begin_with_a_result(site, tab, name):
    go(tab, (site / "benchmarks" / f"{name}.html").as_uri())
    assert tab.locator(".rc-answers li").first.bounding_box()["y"] < 400
    assert tab.locator("svg.marks").first.bounding_box()["y"] < 800
    assert not re.search(r"\d[eE][-+]\d\d", tab.locator("main").inner_text())


def test_an_experiment_is_shown_run(site, tab):
    go(tab, (site / "howto" / "experiment.html").as_uri())
    assert tab.locator("main table tbody tr").count() >= 4 and tab.locator("svg.marks").count() == 1
    assert "report.html" in tab.locator("main").inner_text()
    for path in (site / "experiments").glob("*.html"):
        leads = "../howto/experiment.html" in Page(path.read_text()).links
        assert leads or path.stem == "baseline", f"{path.stem} does not say where a run is shown"


def test_checks_are_folded_and_compilers_are_silent(previewed):
    for name in ("charts", "corruptions", "howto/your_images"):
        text = (previewed[0] / f"{name}.html").read_text()
        # the source that makes a message of the compiler may stand on a page, the message itself may not
        assert not re.search(r"robcomp: compiling \w+, once", text)
        if "/" not in name:
            assert '<details class="rc-check">' in text


def test_pages_can_be_made_by_name(previewed, monkeypatch, capsys):
    folder = previewed[0].parent
    before = {path: path.stat().st_mtime_ns for path in previewed[0].rglob("*.html")}
    assert preview(folder, only=["nbs/explore.ipynb"]).empty
    assert {path.name for path, made in before.items() if path.stat().st_mtime_ns != made} == {"explore.html"}
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit):
        main(["preview", "nbs/nothing.ipynb"])
    assert "no notebook nbs/nothing.ipynb" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["build", "nbs/explore.ipynb"])


@pytest.mark.parametrize("width", [390, 1280])
def test_the_preview_has_the_widths_of_quarto(previewed, tab, width):
    tab.set_viewport_size(dict(width=width, height=900))
    go(tab, (previewed[0] / "index.html").as_uri())
    assert tab.locator("main p").first.bounding_box()["width"] == {390: 358, 1280: 678}[width]


# ---- the explorer of the site ---------------------------------------------------------------------


@pytest.fixture
def explorer(site, tab):
    tab.address = (site / "explore.html").as_uri()
    tab.goto(tab.address)
    tab.wait_for_selector(".rcx-chart svg.marks", timeout=30_000)
    return tab


def answer(tab):
    return tab.locator(".rcx-answer").inner_text()


def left(tab):
    return int(re.search(r"The (\d+) recipes", tab.locator(".rcx-rows summary").inner_text())[1])


def chosen(tab):
    return tab.locator(".rcx-answer code").first.inner_text()


def written(tab, where, words):
    """Wait until some words are there."""
    tab.wait_for_function(
        "([where, words]) => [...document.querySelectorAll(where)].some(node => node.textContent.includes(words))",
        arg=[where, words],
    )


@pytest.fixture
def seeds(tab, tmp_path):
    """The explorer on a simulated study with three seeds of every recipe, of which int8 lost one."""
    tables = join(*(example(seed=seed) for seed in range(3)))
    trials = tables.trials
    lost = (trials["recipe"] == "int8") & (trials["seed"] == 1)
    tables = tables._replace(
        trials=trials.assign(status=trials["status"].mask(lost, "failed")),
        rows=tables.rows[~tables.rows["key"].isin(trials["key"][lost])],
    )
    page = shell("Explorer", "", "", explorer_html(tables, draws=60), head="")
    path = tmp_path / "seeds.html"
    path.write_text(page.replace("</body>", f"<script>{live_script()}</script></body>"), encoding="utf-8")
    tab.goto(path.as_uri())
    tab.wait_for_selector(".rcx-chart svg.marks", timeout=30_000)
    tab.study = summarise(tables)
    return tab


def test_the_explorer_has_a_point_a_recipe_and_opens_it_into_its_seeds(seeds):
    own = seeds.study.query("arch == 'mobilenetv2' and status == 'ok'").groupby("recipe")["robust"]
    name = chosen(seeds)
    assert f"{own.mean()[name]:.3f}" in answer(seeds) and "Mean of 3 seeds" in answer(seeds)
    assert f"{own.min()[name]:.3f} to {own.max()[name]:.3f}" in answer(seeds)
    opened = seeds.locator(".rcx-opened details")
    assert opened.locator("tbody tr").first.is_hidden()
    opened.locator("summary").click()
    shown = [float(text) for text in opened.locator("tbody tr td:nth-child(3)").all_inner_texts()]
    assert shown == pytest.approx(list(own.get_group(name)), abs=6e-4)
    assert "Intervals: over images and seeds" in seeds.locator(".rcx-note").inner_text()
    assert (
        "over the same test images and, for what was trained, over seeds" in seeds.locator(".rcx-compare").inner_text()
    )


def test_failed_seeds_are_counted_in_the_explorer(seeds):
    seeds.locator(".rcx-rows summary").click()
    assert seeds.locator(".rcx-rows th").last.inner_text() == "seeds"
    counts = dict(
        zip(
            seeds.locator(".rcx-rows td code").all_inner_texts(),
            seeds.locator(".rcx-rows td:last-child").all_inner_texts(),
        )
    )
    assert counts["int8"] == "2" and counts[chosen(seeds)] == "3"
    seeds.goto(f"{seeds.url.partition('#')[0]}#size_mb=2.1&clean=any&best=robust&brush=2,2.1,0,1")
    seeds.wait_for_function("document.querySelector('.rcx-answer code').textContent === 'int8'")
    assert "Mean of 2 seeds" in answer(seeds) and "1 failed and is not in the mean." in answer(seeds)


def test_with_one_seed_the_explorer_says_that_seed_variation_is_left_out(explorer):
    explorer.locator('select[name="dataset"]').select_option("cifar100")
    explorer.locator('select[name="network"]').select_option("resnet50_pooled on cifar100")
    written(explorer, ".rcx-note", "one seed per recipe")
    assert "one seed per recipe, so variation between seeds is left out" in explorer.locator(".rcx-note").inner_text()
    assert explorer.locator(".rcx-opened details, .rcx-compare details").count() == 0


def test_the_explorer_is_light(site):
    assert sum((site / name).stat().st_size for name in ("explore.html", SCRIPT, "styles.css")) < 1_500_000


def test_the_explorer_starts_with_networks_that_work(explorer):
    text = answer(explorer)
    broken = (
        r"Of \d+ recipes \d+ are excluded: \d+ with less than 90 % of the clean accuracy of dense, \d+ by file size"
    )
    assert "Runner-up:" in text and re.search(broken, text)
    table = explorer.locator(".rcx-rows")
    table.locator("summary").click()
    clean = [float(text) for text in table.locator("tbody tr td:nth-child(2)").all_inner_texts()]
    assert len(clean) == left(explorer) > 5 and min(clean) >= 0.9 * max(clean)


def test_the_second_recipe_is_the_dense_network_itself_on_every_network(explorer):
    """Networks that were only trained further are of its family, and some stand before it."""
    for dataset in explorer.locator("[name=dataset] option").all_inner_texts():
        explorer.locator("[name=dataset]").select_option(dataset)
        for network in explorer.locator("[name=network] option").all_inner_texts():
            explorer.locator("[name=network]").select_option(label=network)
            assert explorer.locator("[name=b]").input_value() == "dense", (dataset, network)


def test_no_limit_brings_back_recipes_that_do_not_work(explorer):
    """Small files of networks near chance are no answer, however far the sliders are opened."""
    explorer.goto(f"{explorer.url.partition('#')[0]}#clean=0.05&size_mb=any")
    explorer.reload()
    table = explorer.locator(".rcx-rows")
    table.locator("summary").click()
    clean = [float(text) for text in table.locator("tbody tr td:nth-child(2)").all_inner_texts()]
    assert len(clean) == left(explorer) > 5 and min(clean) >= 0.9 * max(clean)


def test_a_slider_obeys_the_keyboard_and_excludes(explorer):
    before = left(explorer)
    slider = explorer.locator('input[name="size_mb"]')
    slider.focus()
    for _ in range(40):
        explorer.keyboard.press("ArrowLeft")
    assert left(explorer) < before and "by file size" in answer(explorer)
    assert slider.get_attribute("aria-valuetext").endswith("MB") and "size_mb=" in explorer.url
    for _ in range(200):
        explorer.keyboard.press("ArrowLeft")
    explorer.locator('input[name="clean"]').press("End")
    assert "No recipe is left." in answer(explorer)


def test_menus_choose_network_axes_and_measure(explorer):
    first = answer(explorer)
    explorer.locator('select[name="network"]').select_option("vgg19 on cifar10")
    explorer.wait_for_selector(".rcx-chart svg.marks")
    assert answer(explorer) != first and "network=vgg19" in explorer.url
    explorer.locator('select[name="dataset"]').select_option("cifar100")
    explorer.wait_for_function("location.hash.includes('network=vgg19+on+cifar100')")
    assert explorer.locator('select[name="network"] option').all_inner_texts() == sorted(
        {name.removesuffix("-cifar100") for name in os.listdir(ROOT / "results") if name.endswith("-cifar100")}
    )
    explorer.locator('select[name="dataset"]').select_option("cifar10")
    explorer.locator('select[name="best"]').select_option("worst")
    assert "worst-case accuracy" in answer(explorer)
    explorer.locator('select[name="x"]').select_option("latency_s")
    written(explorer, ".rcx-chart text", "seconds an image")


def test_a_brush_narrows_the_choice_and_the_address_brings_it_back(explorer):
    every, box = left(explorer), explorer.locator(".rcx-chart svg.marks").bounding_box()
    explorer.mouse.move(box["x"] + 70, box["y"] + 60)
    explorer.mouse.down()
    explorer.mouse.move(box["x"] + 0.35 * box["width"], box["y"] + 0.7 * box["height"], steps=6)
    explorer.mouse.up()
    explorer.wait_for_function("location.hash.includes('brush=')")
    few, picked, address = left(explorer), chosen(explorer), explorer.url
    assert 0 < few < every and "outside the brush" in answer(explorer)
    explorer.goto("about:blank")
    explorer.goto(address)
    explorer.wait_for_selector(".rcx-chart svg.marks")
    assert (left(explorer), chosen(explorer)) == (few, picked)
    explorer.locator('button[name="unbrush"]').click()
    explorer.wait_for_function("!location.hash.includes('brush=')")
    assert left(explorer) == every


def test_printed_sentences_wrap(tab, site):
    """A sentence that a cell prints is read without scrolling sideways inside its box."""
    tab.set_viewport_size(dict(width=1280, height=900))
    go(tab, (site / "choice.html").as_uri())
    boxes = tab.locator(".cell-output-stdout pre")
    assert boxes.count() >= 4
    for number in range(boxes.count()):
        assert boxes.nth(number).evaluate("box => box.scrollWidth <= box.clientWidth + 1")


def test_two_recipes_are_compared_with_the_interval_of_the_package(explorer):
    tables = read_tables(ROOT / "results" / "resnet50_pooled-cifar100")  # one seed per recipe
    explorer.locator('select[name="dataset"]').select_option("cifar100")
    explorer.locator('select[name="network"]').select_option("resnet50_pooled on cifar100")
    explorer.wait_for_selector(".rcx-chart svg.marks")
    explorer.locator('select[name="a"]').select_option("int4")
    explorer.locator('select[name="b"]').select_option("dense")
    text = explorer.locator(".rcx-compare").inner_text().replace("\u2212", "-")
    number = r"([+-][\d.]+)"
    found = re.search(rf"clean accuracy {number} points \({number} to {number}\)", text)
    said = [float(part) for part in found.groups()]
    row = compare(tables, find(tables.trials, "int4"), find(tables.trials, "dense"), measure="clean", draws=2)
    assert said == pytest.approx([100 * row[name] for name in ("difference", "low", "high")], abs=0.06)
    back = explorer.locator('select[name="a"]')
    back.select_option("dense")
    explorer.locator('select[name="b"]').select_option("int4")
    assert f"{-100 * row['difference']:+.1f} points" in explorer.locator(".rcx-compare").inner_text()
    assert explorer.locator(".rcx-profile svg.marks").count() == 1
    wide = explorer.locator(".rcx-profile .role-scope > g > .background").first.bounding_box()["width"]
    assert wide >= 200, f"a panel of {wide:.0f} pixels at 1280"


def test_published_figures_and_intervals_can_be_shown_and_hidden(explorer):
    explorer.locator('input[name="refs"]').check()
    written(explorer, ".rc-explorer text, .rcx-note", "CARD deck")
    bars = explorer.locator(".rcx-chart .mark-rule").count()
    explorer.locator('input[name="bars"]').uncheck()
    explorer.wait_for_function(f"document.querySelectorAll('.rcx-chart .mark-rule').length < {bars}")


def test_what_is_left_can_be_taken_away_as_csv(explorer, tmp_path):
    with explorer.expect_download() as download:
        explorer.locator('button[name="csv"]').click()
    download.value.save_as(tmp_path / "shown.csv")
    table = pd.read_csv(tmp_path / "shown.csv")
    assert len(table) == left(explorer) and table["label"][0] == chosen(explorer)
    assert {"network", "clean", "robust_low", "size_mb"} <= set(table)


@pytest.mark.parametrize("width", [390, 1280])
def test_labels_of_ticks_stand_apart(explorer, width):
    explorer.set_viewport_size(dict(width=width, height=900))
    explorer.wait_for_function(DRAWN)
    boxes = explorer.evaluate("""() => [...document.querySelector(".rcx-chart .role-axis-label").children]
      .filter(text => text.getAttribute("opacity") !== "0").map(text => text.getBoundingClientRect())
      .map(box => [box.left, box.right])""")
    gaps = [right[0] - left[1] for left, right in zip(boxes, boxes[1:])]
    assert len(gaps) >= 3 and min(gaps) >= 4, "0.9 and 1 side by side read as 0.91"


def test_every_control_has_a_name(explorer):
    """A label belongs to its first control: an output before a slider would take it."""
    nameless = explorer.evaluate("""() => [...document.querySelectorAll(".rc-explorer :is(input, select, button)")]
      .filter(node => !node.labels?.length && !node.textContent.trim()).map(node => node.name)""")
    assert not nameless
    slider = explorer.get_by_label("file at most")
    assert slider.get_attribute("type") == "range" and slider.get_attribute("name") == "size_mb"


def test_an_address_from_elsewhere_breaks_nothing(explorer):
    for given in ("network=no&x=none&size_mb=abc", "brush=1,2&best=sin&a=zzz&clean=any", "%%%"):
        explorer.goto("about:blank")
        explorer.goto(f"{explorer.address}#{given}")
        explorer.wait_for_selector(".rcx-chart svg.marks")
        assert "recipes" in answer(explorer)
