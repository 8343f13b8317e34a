"""What the parameters of a function mean: the comments beside them in the source, for `help`."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from textwrap import dedent

HEADS = ("Parameters:", "Returns:")


def meanings(thing: object) -> dict[str, str]:
    """The comment beside each parameter of a function or class, by name; `return` for what comes back.

    A class without a maker of its own has fields for parameters. Raises OSError where there is no source.
    """
    source = dedent(inspect.getsource(thing))
    comments = _comments(source)
    definition = ast.parse(source).body[0]
    if isinstance(definition, ast.ClassDef):
        makers = [node for node in definition.body if getattr(node, "name", "") == "__init__"]
        if makers:
            return _of_parameters(makers[0], comments)
        fields = [node for node in definition.body if isinstance(node, ast.AnnAssign)]
        return {field.target.id: comments[field.end_lineno] for field in fields if field.end_lineno in comments}
    found = _of_parameters(definition, comments)
    if definition.returns and definition.returns.end_lineno in comments:
        found["return"] = comments[definition.returns.end_lineno]
    return found


def explain(thing: object) -> None:
    """Add what its parameters mean to the docstring of a function or class, once."""
    doc = inspect.getdoc(thing) or ""
    if doc != plain(doc):
        return
    try:
        found = meanings(thing)
    except (OSError, TypeError):
        return  # no source, or nothing that was written in Python
    returned = found.pop("return", "")
    parts = [doc]
    if found:
        parts.append("\n".join([HEADS[0], *(f"    {name}: {text}" for name, text in found.items())]))
    if returned:
        parts.append(f"{HEADS[1]}\n    {returned}")
    thing.__doc__ = "\n\n".join(parts)


def plain(doc: str) -> str:
    """A docstring without what `explain` has added."""
    for head in HEADS:
        doc = doc.partition(f"\n\n{head}\n")[0]
    return doc


def _comments(source: str) -> dict[int, str]:
    """Comments by line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def _of_parameters(definition: ast.FunctionDef, comments: dict[int, str]) -> dict[str, str]:
    """Of each parameter the comment between its beginning and that of the next one."""
    given = definition.args
    parts = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    end = definition.returns.lineno if definition.returns else definition.body[0].lineno
    found = {}
    for part in parts:
        stop = min((other.lineno for other in parts if other.lineno > part.lineno), default=end)
        said = [comments[line] for line in range(part.lineno, stop) if line in comments]
        if said:
            found[part.arg] = said[0]
    return found
