"""How the site shows a function or a class: its call, what it does, and a table of its parameters."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from textwrap import wrap

from execnb.nbio import mk_cell
from nbdev.process import Processor
from nbdev.showdoc import BasicMarkdownRenderer, _ext_link
from nbdev.doclinks import NbdevLookup

from robcomp._modidx import d
from robcomp._text.parameters import meanings, plain

INHERITED = "Call self as a function."  # what Python says of every callable object that says nothing itself


def type_words(annotation: object) -> str:
    """A type as one would say it: without the modules, alternatives joined by `or`."""
    if annotation is inspect.Parameter.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text).replace(" | ", " or ")


def cell(text: str) -> str:
    """Text that stays in its cell of a pipe table."""
    return " ".join(text.split()).replace("|", r"\|")


class ShowInternal(Processor):
    """What a lesson shows of its exported cells: internal definitions (`#| exporti`), each with an anchor.

    Public definitions have their reference instead. It stands in for nbdev's `rm_export`, which hides both.
    """

    def begin(self) -> None:
        for cell in reversed(list(self.nb.cells)):
            if cell.cell_type != "code" or "exporti" not in cell.directives_:
                continue
            names = re.findall(r"^(?:def|class) (\w+)", cell.source, re.M)
            anchors = "".join(f'<span id="{name.lower()}"></span>' for name in names)
            if anchors:
                self.nb.cells.insert(cell.idx_, mk_cell(anchors, cell_type="markdown"))

    def cell(self, cell) -> None:
        if cell.cell_type != "code":
            return
        if "exporti" in cell.directives_:
            cell.source = re.sub(r"^#\|.*\n", "", cell.source, flags=re.M)
        elif {"export", "hide", "default_exp"} & cell.directives_.keys():
            del cell["source"]


def exported(symbol: object) -> object:
    """What the package has for a class that is defined on a page, where it has no source that can be read."""
    if not inspect.isclass(symbol) or symbol.__module__ != "__main__":
        return symbol
    homes = [module for module, names in d["syms"].items() if f"{module}.{symbol.__name__}" in names]
    return getattr(import_module(homes[0]), symbol.__name__) if len(homes) == 1 else symbol


class Reference(BasicMarkdownRenderer):
    """Shows a symbol on its page; `renderer` in settings.ini names this class."""

    def call(self) -> str:
        """The call on lines that fit a narrow column."""
        parameters = [part for part in self.sig.parameters.values() if part.name != "self"]
        bare = [part.replace(annotation=inspect.Parameter.empty) for part in parameters]
        parts = str(self.sig.replace(parameters=bare, return_annotation=inspect.Signature.empty))[1:-1]
        text = f"{self.nm}({parts})"
        if len(text) <= 72:
            return text
        lines = wrap(parts, 68, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
        return f"{self.nm}(\n" + "\n".join(lines) + ")"

    def table(self) -> str:
        """Name, type, default and meaning of each parameter, and of what is returned."""
        said, rows = meanings(exported(self.sym)), []
        for name, part in self.sig.parameters.items():
            if name == "self":
                continue
            default = "" if part.default is inspect.Parameter.empty else f"`{cell(repr(part.default))}`"
            rows.append([f"`{name}`", cell(type_words(part.annotation)), default, cell(said.get(name, ""))])
        made = said.get("return", "")
        returned = "" if inspect.isclass(self.sym) else type_words(self.sig.return_annotation)
        if returned not in ("", "None") or made:
            rows.append(["returns", cell(returned), "", cell(made)])
        if not rows:
            return ""
        heads = [["parameter", "type", "default", "meaning"], [":--"] * 4]
        return "".join(f"| {' | '.join(row)} |\n" for row in heads + rows)

    def _repr_markdown_(self) -> str:
        source = NbdevLookup().code(self.fn)
        link = _ext_link(source, "source", 'style="float:right; font-size:smaller"') if source else ""
        parts = ["---", link, f"{'#' * self.title_level} {self.nm}"]
        docs = plain(self.docs or "")
        if docs and docs.strip() != INHERITED:
            parts.append(docs)
        if self.sig is not None:
            parts += [f"```python\n{self.call()}\n```", self.table()]
        return "\n\n".join(part for part in parts if part)
