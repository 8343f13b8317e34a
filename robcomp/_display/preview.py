"""Plain pages of the notebooks without Quarto: nbdev prepares them, pandoc turns them into HTML."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from tempfile import TemporaryDirectory

from robcomp._display.page import marked
from robcomp._display.svg import data_address

# The widths that Quarto's theme gives with the `grid` of _quarto.yml: 358 pixels of text on a screen of 390, 678 on
# 1280, 764 on 1366 and 809 from 1440 on. What fits here fits there.
PLAIN = """
:root { color-scheme: light; } * { box-sizing: border-box; }
body { margin: 0; color: #343a40; font: 17px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
a { color: #0057b3; }
h1 { font-size: 2rem; line-height: 1.2; margin: 1.5rem 0 .5rem; } h2 { font-size: 1.65rem; margin: 2rem 0 .75rem; }
code, pre { font-family: SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .875em; }
code { background: #f6f6f6; } p, ul, ol { margin: 0 0 1rem; }
main pre { background: #f6f6f6; line-height: 1.45; overflow-x: auto; padding: .6rem; } main pre code { font-size: 1em; }
main table { border-collapse: collapse; } main :is(td, th) { border: 0 solid #ddd; text-align: left; }
main table.dataframe :is(td, th) { text-align: right; } main img { max-width: 100%; height: auto; }
details.code { color: #595959; font-size: .9rem; margin: .3rem 0; }
.description { font-weight: 300; margin-bottom: 1rem; }
header { background: #2780e3; color: #fff; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; min-height: 58px;
         padding: .9rem 16px; }
header a { color: #fff; text-decoration: none; } header a:first-child { font-size: 1.1rem; }
.menu, main, footer { padding: 0 16px; } .menu { font-size: .925rem; }
.menu ul { list-style: none; margin: 0; padding-left: .8rem; }
.menu h2 { font-size: 1rem; margin: .6rem 0 0; } .menu [aria-current] { font-weight: 600; }
footer { border-top: 1px solid #ddd; color: #595959; display: flex; flex-wrap: wrap; font-size: .875rem; gap: 1rem;
         justify-content: space-between; margin-top: 3rem; padding-block: 1rem; }
@media (min-width: 75rem) {
  .columns { display: grid; grid-template-columns: 1fr min(809px, 100vw - 602px) 1fr; }
  .columns main { min-width: 0; padding: 0; }
}
"""
# Above the content instead of beside it, the menu would fill a phone's first screen.
FOLDED = (
    '<script>document.currentScript.previousElementSibling.open = matchMedia("(min-width: 75rem)").matches</script>'
)
EMPTY = re.compile(
    r'<div class="sourceCode"[^>]*><pre[^>]*><code[^>]*></code></pre></div>'
    r"|<pre[^>]*><code></code></pre>"
)
SOURCE = re.compile(r'(<div class="sourceCode"[^>]*><pre.*?</pre></div>)', re.S)
PREPARE = """
import sys
import nbdev.doclinks
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
if __name__ == "__main__":
    refresh_quarto_yml()
    nbdev.doclinks._build_modidx()
    proc_nbs(n_workers=2, skip_file_re=sys.argv[1])
"""


def prepared(root: Path, only: Sequence[str] = ()) -> dict[str, str]:
    """Let nbdev prepare the notebooks in `_proc`, or `only` some of them; which page each becomes, by path.

    The command nbdev_proc_nbs is not used: without Quarto it tries to install it.
    """
    for name in only:  # nbdev takes what changed while it last ran for up to date
        (root / "_proc" / name).unlink(missing_ok=True)
    with TemporaryDirectory() as folder:
        script = Path(folder) / "prepare.py"
        script.write_text(PREPARE)
        names = "|".join(re.escape(PurePosixPath(name).name) for name in only)
        skip = "^[_.]" + (f"|^(?!(?:{names})$)" if only else "")
        run = subprocess.run([sys.executable, script, skip], cwd=root, capture_output=True, text=True)
    if run.returncode:
        lines = run.stderr.strip().splitlines() or ["no message"]
        said = next((line for line in lines if "Error in notebook" in line), lines[-1])
        raise RuntimeError(f"nbdev could not prepare the notebooks: {said} (a cell with an import holds nothing else)")
    found = {}
    for path in sorted((root / "_proc").rglob("*.ipynb")):
        name, given = path.relative_to(root / "_proc"), front_matter(path).get("output-file", f"{path.stem}.html")
        found[name.as_posix()] = name.with_name(given).as_posix()
    return found


def front_matter(path: Path) -> dict[str, str]:
    """The fields that nbdev wrote into the first cell of a prepared notebook."""
    import yaml

    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    fields = yaml.safe_load("".join(first["source"]).strip().strip("-")) if first["cell_type"] == "raw" else None
    return fields if isinstance(fields, dict) else {}


def as_html(path: Path, *, fold: bool = False) -> str:
    """A prepared notebook through pandoc; its code behind a click, if it is to `fold`."""
    import pypandoc

    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"] = [part for cell in notebook["cells"] for part in plain_cells(cell)]
    asked = ["--mathml", "--columns=10000"]  # with fewer columns a long row would spread over the page
    html = pypandoc.convert_text(json.dumps(notebook), "html5", format="ipynb", extra_args=asked)
    html = html.replace('<div class="output stream stdout"', '<div class="cell-output cell-output-stdout"')
    html = re.sub(r'<div class="output [^"]*"', '<div class="cell-output cell-output-display"', html)
    html = EMPTY.sub("", html)
    return SOURCE.sub(r'<details class="code"><summary>Code</summary>\1</details>', html) if fold else html


def plain_cells(cell: dict) -> list[dict]:
    """A cell without the directives that only Quarto obeys: no code that is not echoed, Markdown results as text."""
    if cell["cell_type"] != "code":
        return [cell] if cell["cell_type"] == "markdown" else []
    source = "".join(cell["source"])
    asked = dict(re.findall(r"^#\|\s*([\w-]+):\s*(.+)$", source, re.M))
    outputs = cell["outputs"] if asked.get("output") != "false" else []
    for output in outputs:
        if output["output_type"] == "execute_result":
            output["execution_count"] = 1  # pandoc refuses none
        inlined(output.get("data", {}), asked.get("fig-alt", "").strip("\"' "))
    code = "" if asked.get("echo") == "false" else re.sub(r"^#\|.*\n?", "", source, flags=re.M)
    shown = [dict(cell, source=code, outputs=[])] if code.strip() else []
    for output in outputs:  # in their order: a result in Markdown is a cell of text between those of others
        if "text/markdown" in output.get("data", {}):
            text = re.sub(r"\)\{[^}]*\}", ")", "".join(output["data"]["text/markdown"]))
            shown.append(dict(cell_type="markdown", metadata={}, source=text))
        elif shown and shown[-1]["cell_type"] == "code":
            shown[-1]["outputs"].append(output)
        else:
            shown.append(dict(cell, source="", outputs=[output]))
    return shown


def inlined(data: dict, words: str) -> None:
    """Pictures among a cell's results become images that carry their own bytes and the words of `#| fig-alt:`."""
    pictures = {kind: "".join(data.pop(kind)) for kind in ("image/svg+xml", "image/png", "image/jpeg") if kind in data}
    if not pictures or "text/html" in data:
        return
    kind, content = next(iter(pictures.items()))
    address = data_address(content) if kind.endswith("xml") else f"data:{kind};base64,{content.strip()}"
    data["text/html"] = f'<img src="{escape(address)}" alt="{escape(words)}">'


def sidebar(root: Path, notebooks: list[str]) -> list[tuple[str, list[str]]]:
    """The sections of the sidebar in _quarto.yml, each with the notebooks that its patterns match."""
    import yaml

    entries = yaml.safe_load((root / "_quarto.yml").read_text(encoding="utf-8"))["website"]["sidebar"]["contents"]

    def matching(pattern: str) -> list[str]:
        pattern = "/" + pattern.lstrip("/")
        if pattern.endswith("/**"):
            return [name for name in notebooks if f"/{name}".startswith(pattern[:-2])]
        level = [name for name in notebooks if name.count("/") == pattern.count("/") - 1]
        return [name for name in level if PurePosixPath(f"/{name}").match(pattern)]

    def flat(entry: str | dict) -> list[tuple[str, list[str]]]:
        if isinstance(entry, str):
            return [("", matching(entry))]
        title, contents = entry.get("section", entry.get("text", "")), entry.get("contents", entry.get("href", []))
        if isinstance(contents, str):
            return [(title, matching(contents))]
        pages = [name for inner in contents if isinstance(inner, str) for name in matching(inner)]
        return [(title, pages)] + [part for inner in contents if not isinstance(inner, str) for part in flat(inner)]

    return [part for entry in entries for part in flat(entry)]


def linked(html: str, name: str, targets: Mapping[str, str]) -> str:
    """`html` of the notebook `name`, with links to notebooks leading to their pages."""

    def page(link: re.Match) -> str:
        path = normpath(f"{name}/../{link[1]}")
        if path not in targets:
            return link[0]
        return f'href="{relpath(targets[path], PurePosixPath(targets[name]).parent.as_posix())}{link[2] or ""}"'

    return re.sub(r'href="([^":#]+\.ipynb)(#[^"]*)?"', page, html)


def navigation(
    sections: list[tuple[str, list[str]]], name: str, targets: Mapping[str, str], titles: Mapping[str, str]
) -> str:
    """The links to all pages, the present one marked."""
    here, parts = PurePosixPath(targets[name]).parent.as_posix(), []
    for title, members in sections:
        current = {path: ' aria-current="page"' if path == name else "" for path in members}
        links = "".join(
            f'<li><a href="{relpath(targets[path], here)}"{current[path]}>{escape(titles[path])}</a></li>'
            for path in members
        )
        if title and title != "Home" and links:
            parts.append(f"<h2>{escape(title)}</h2>")
        if links:
            parts.append(f"<ul>{links}</ul>")
    return "".join(parts)


def bar(entries: list[dict], name: str, targets: Mapping[str, str]) -> str:
    """Links of the bar or the footer in _quarto.yml, as they are reached from the notebook `name`."""
    here, links = PurePosixPath(targets[name]).parent.as_posix(), []
    for entry in entries:
        address = relpath(targets[entry["href"]], here) if entry["href"] in targets else entry["href"]
        words = entry.get("text") or entry.get("aria-label", entry["href"])
        links.append(f'<a href="{escape(address)}">{escape(words)}</a>')
    return "".join(links)


def shell(title: str, top: str, menu: str, body: str, *, foot: str = "", head: str = "") -> str:
    """A plain page around its content: the bar, the menu of all pages, the footer."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{PLAIN}</style>{head}</head><body><header>{top}</header>"
        f'<div class="columns"><details class="menu" open><summary>Pages</summary><nav>{menu}</nav></details>'
        f"{FOLDED}<main><h1>{escape(title)}</h1>{body}</main></div><footer>{foot}</footer></body></html>"
    )


def write_pages(root: Path, out: Path, only: Sequence[str] = ()) -> list[Path]:
    """All notebooks of the repository as pages in `out`, which is emptied first; or `only` some: the others stay."""
    import yaml

    targets, site = prepared(root, only), yaml.safe_load((root / "_quarto.yml").read_text(encoding="utf-8"))["website"]
    fields = {name: front_matter(root / "_proc" / name) for name in targets}
    titles = {name: fields[name].get("title", PurePosixPath(name).stem) for name in targets}
    sections = sidebar(root, list(targets))
    entries = [dict(text=site["title"], href="index.ipynb"), *site["navbar"]["left"], *site["navbar"].get("right", [])]
    if not only:
        shutil.rmtree(out, ignore_errors=True)
    for name in only or targets:
        given, up = fields[name].get("description"), "../" * name.count("/")
        lead = f'<div class="description">{marked(given)}</div>' if given else ""
        body = lead + as_html(root / "_proc" / name, fold=bool(fields[name].get("code-fold")))
        head = f'<link rel="stylesheet" href="{up}styles.css"><link rel="icon" href="{up}{site["favicon"]}">'
        page = shell(
            titles[name],
            bar(entries, name, targets),
            navigation(sections, name, targets, titles),
            linked(body, name, targets),
            foot=site["page-footer"]["left"],
            head=head,
        )
        place = out / targets[name]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(page, encoding="utf-8")
    copy_pictures(root / "nbs", out)
    return [out / targets[name] for name in only or targets]


def copy_pictures(folder: Path, out: Path) -> None:
    """The pictures and styles that pages refer to."""
    for end in ("svg", "png", "css"):
        for picture in folder.rglob(f"*.{end}"):
            place = out / picture.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, place)
