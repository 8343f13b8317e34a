"""What a rendered page lacks: answers under the title, words for pictures, tables that fit, folded checks."""

from __future__ import annotations

import re
from html import escape, unescape

FIGURE = re.compile(r"<figure\b.*?</figure>", re.S)
CAPTION = re.compile(r"<figcaption[^>]*>(.*?)</figcaption>", re.S)
SILENT = re.compile(r'<img(?![^>]*\salt="[^"]*\S)')
TABLE = re.compile(r'(<div class="rc-scroll">\s*)?(<table\b.*?</table>)', re.S)
# pandoc gives the columns of a wide table equal widths, a column of ticks as much as one of sentences
COLUMN_WIDTHS = re.compile(r"<colgroup>.*?</colgroup>\s*", re.S)
CELL = re.compile(r"(<t[dh]\b[^>]*>)(.*?)(</t[dh]>)", re.S)
WORD = re.compile(r"[^\W\d_]{3,}")
ANSWERS = re.compile(r'<section class="rc-answers[^"]*">.*?</section>', re.S)
TITLE = re.compile(
    r'<header id="title-block-header".*?</header>'
    r'|<h1>.*?</h1>(?:<div class="description">.*?</div>)?',
    re.S,
)
LAST_HEADING = re.compile(
    r'<h2\b[^>]*\b(?:id|data-anchor-id)="([^"]+)"[^>]*>(?:(?!</h2>).)*</h2>'
    r"((?:\s|</?div\b[^>]*>)*)$",
    re.S,
)
CODE = re.compile(
    r'(?:<details\b[^>]*>\s*<summary>[^<]*</summary>\s*)?(?:<div class="code-copy-outer-scaffold">)?'
    r'<div class="sourceCode[^"]*"[^>]*>\s*<pre.*?</pre>\s*</div>'
    r'(?:<button[^>]*class="code-copy-button"[^>]*>.*?</button></div>)?',
    re.S,
)
CHECK = re.compile(r"\s*(assert\b|test_\w+\()")
MESSAGES = re.compile(r"<pre[^>]*><code>(?:robcomp: compiling [^\n<]*\n?)+</code></pre>")
# what stands in a page and is not its text
OTHER = re.compile(r"(<(script|style|pre|code|svg|head|title)\b.*?</\2>|<[^>]+>)", re.S)
INTERVAL = re.compile(r"\(([-+\u2212]?[\d.,]+) to ([-+\u2212]?[\d.,]+)(?=\))")
LONG, SHOWN = 14, 10  # rows of a table from which on only the first `SHOWN` stand open; styles.css says the same number


def plain(html: str) -> str:
    """The text of a piece of HTML on one line."""
    return " ".join(unescape(re.sub("<[^>]+>", "", html)).split())


def with_picture_texts(html: str) -> str:
    """A page whose pictures without a text take it from the caption of their figure."""

    def told(figure: re.Match) -> str:
        caption = CAPTION.search(figure[0])
        words = plain(caption[1]) if caption else ""
        if not words or not SILENT.search(figure[0]):
            return figure[0]
        return SILENT.sub(lambda _: f'<img alt="{escape(words)}"', re.sub(r'\salt="\s*"', "", figure[0]))

    return FIGURE.sub(told, html)


def with_unbroken_numbers(html: str) -> str:
    """A page whose numbers in text and tables stay on one line with their interval or per cent, and have a minus."""
    parts = OTHER.split(html)
    for at in range(0, len(parts), 3):
        text = INTERVAL.sub("(\\1\u00a0to\u00a0\\2", parts[at])
        parts[at] = re.sub(r"(?<![\w.,-])-(?=\d)", "\u2212", re.sub(r"(?<=\d) (?=%)", "\u00a0", text))
    return "".join(part for at, part in enumerate(parts) if at % 3 < 2)


def fitting(cell: re.Match) -> str:
    """A cell of a table: names may break after a plus or an underscore, a number stays on one line.

    The interval of a number may take the next line.
    """
    start, content, end = cell.groups()
    content = re.sub(r"(?<=\d)%", "\u00a0%", content)
    if "<" in content:
        broken = lambda code: re.sub(r"\+(?!<wbr>)", "+<wbr>", code[0])
        return start + re.sub(r"<code>[^<]*\+.*?</code>", broken, content) + end
    if len(content) <= 32 and re.search(r"\d", content) and not WORD.search(unescape(content)):
        return start + re.sub(r" (?!\()", "\u00a0", content.strip()) + end
    return start + re.sub(r"(?<=\w)([+_])(?=\w)", r"\1<wbr>", content) + end


def with_boxed_tables(html: str) -> str:
    """A page whose tables stand in boxes of their own; of a long one the first rows, and all of it behind a click."""

    def box(found: re.Match) -> str:
        table = CELL.sub(fitting, COLUMN_WIDTHS.sub("", found[2]))
        if found[1]:
            return found[1] + table
        rows = len(re.findall(r"<tr\b", table.partition("<tbody")[2]))
        more = f'<details class="rc-more"><summary>All {rows} rows</summary></details>' if rows > LONG else ""
        return f'<div class="rc-scroll">{table}</div>{more}'

    return TABLE.sub(box, html)


def with_answers_first(html: str) -> str:
    """A page that begins with its answers: they are computed last, when all is known, and read first.

    The heading that they stood under goes, and its line in the table of contents, if nothing else stands under it.
    """
    found = ANSWERS.search(html)
    if not found or not TITLE.search(html):
        return html
    before, after = html[: found.start()], html[found.end() :]
    alone = LAST_HEADING.search(before)
    if alone and not plain(after.partition("</main>")[0]):
        before, name = before[: alone.start()] + alone[2], re.escape(alone[1])
        before, after = (re.sub(rf'<li><a href="#{name}"[^>]*>[^<]*</a></li>\s*', "", part) for part in (before, after))
    rest = before + after
    place = TITLE.search(rest).end()
    return rest[:place] + found[0] + rest[place:]


def with_folded_cells(html: str) -> str:
    """A page without the messages of a compiler, its cells that mainly check behind a click."""

    def fold(found: re.Match) -> str:
        lines = [line for line in unescape(re.sub("<[^>]+>", "", found[0])).splitlines() if line.strip()]
        checks = sum(bool(CHECK.match(line)) for line in lines)
        if found[0].startswith("<details") or 2 * checks < len(lines) or not checks:
            return found[0]
        return f'<details class="rc-check"><summary>Check</summary>{found[0]}</details>'

    return CODE.sub(fold, MESSAGES.sub("", html))
