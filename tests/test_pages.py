"""The home page and the findings, executed again: their committed outputs say what their code and the committed
tables give today."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NBS = Path(__file__).parents[1] / "nbs"
PAGES = [NBS / "index.ipynb", *sorted((NBS / "analysis").glob("*.ipynb"))]
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def texts(cells):
    """The text of each output, by cell; pictures and tables are drawn from the same values, and have their own
    tests."""
    for cell in cells:
        outputs = [output.get("data", {}) for output in cell.outputs]
        found = ["".join(data.get("text/markdown", data.get("text/plain", ""))) for data in outputs]
        yield [text for text in found if not text.startswith("<") and "alt." not in text]


def alike(then, now):
    """Are two texts the same, but for the last digit of a number? Another processor may round another way."""
    if NUMBER.split(then) != NUMBER.split(now):
        return False
    for old, new in zip(NUMBER.findall(then), NUMBER.findall(now)):
        step = 10.0 ** -len(old.partition(".")[2])
        if abs(float(old) - float(new)) > 1.01 * step * ("." in old):
            return False
    return True


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_says_what_its_code_gives(path):
    page = nbformat.read(path, 4)
    cells = [cell for cell in page.cells if cell.cell_type == "code" and "#| eval: false" not in cell.source]
    then = list(texts(cells))
    page.cells = cells
    NotebookClient(page, timeout=900, resources=dict(metadata=dict(path=str(path.parent)))).execute()
    for cell, before, after in zip(cells, then, texts(cells), strict=True):
        assert len(before) == len(after) and all(map(alike, before, after)), (cell.source[:300], before, after)
    assert sum(map(len, then)) > 2


def test_numbers_may_differ_in_their_last_digit_alone():
    assert alike("0.911 of 22 networks", "0.912 of 22 networks")
    assert not alike("0.911 of 22 networks", "0.914 of 22 networks")
    assert not alike("1 of 1 of ours", "6 of 6 of ours")
    assert not alike("0.911 gained", "0.911 lost")
