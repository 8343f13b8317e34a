"""The grammar of `choose`: comparisons of columns with numbers or quoted text, joined by and, or, not, parentheses.

    condition  = part { "or" part }
    part       = factor { "and" factor }
    factor     = "not" factor | "(" condition ")" | comparison
    comparison = column op value | value op column        op: <= < >= > == !=
    column     = name | "P(" condition ")"

`P(robust > 0.6)` is the share of resampled studies in which the condition inside holds; it is a column like the others,
whose name is its text. Nothing is evaluated as Python. `not` is pushed into the comparisons while parsing, so that a
missing value satisfies no comparison and no negated one either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from robcomp._text.columns import unknown_column

_TOKEN = re.compile(
    r"""(?P<space>\s+) | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
                      | (?P<text>'[^']*'|"[^"]*") | (?P<op><=|>=|==|!=|<|>) | (?P<name>[^\W\d]\w*)
                      | (?P<paren>[()])""",
    re.X,
)
_COMPARE = {
    "<=": np.less_equal,
    "<": np.less,
    ">=": np.greater_equal,
    ">": np.greater,
    "==": np.equal,
    "!=": np.not_equal,
}
_MIRROR = {"<=": ">=", "<": ">", ">=": "<=", ">": "<", "==": "==", "!=": "!="}
_NEGATE = {"<=": ">", "<": ">=", ">=": "<", ">": "<=", "==": "!=", "!=": "=="}
NO_ARITHMETIC = "conditions do not calculate; a third of the float32 bytes is written compression_ratio >= 3"
_HINT = {
    "=": "equality is written ==",
    "%": "fractions are written 0 to 1, as 0.6",
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "/": NO_ARITHMETIC,
    "*": NO_ARITHMETIC,
    "'": "a quotation that does not end",
    '"': "a quotation that does not end",
}
DEEPEST = 50


class Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Comparison(NamedTuple):
    """One column against one value."""

    column: str
    op: str
    value: float | str

    def __str__(self) -> str:
        return f"{self.column} {self.op} " + (repr(self.value) if isinstance(self.value, str) else f"{self.value:.12g}")

    def columns(self) -> set[str]:
        return {self.column}

    def negated(self) -> Comparison:
        return self._replace(op=_NEGATE[self.op])

    def holds(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        values = columns[self.column]
        return _COMPARE[self.op](values, self.value) & _known(values)

    def shortfall(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """How far from holding, as a share of the wanted value; 0 where it holds, infinite where unknown."""
        values, holds = columns[self.column], self.holds(columns)
        if isinstance(self.value, str) or self.op == "!=":
            return np.where(holds, 0.0, 1.0)
        with np.errstate(over="ignore"):
            lacks = np.abs(values - self.value) / (abs(self.value) or 1)
        return np.where(holds, 0, np.where(_known(values), lacks, np.inf))


class Group(NamedTuple):
    """Parts of which all (and) or some (or) must hold. No condition at all is an `and` of no parts."""

    word: str
    parts: tuple

    def __str__(self) -> str:
        return f" {self.word} ".join(f"({part})" if isinstance(part, Group) else str(part) for part in self.parts)

    def columns(self) -> set[str]:
        return set().union(*(part.columns() for part in self.parts))

    def negated(self) -> Group:
        return Group("or" if self.word == "and" else "and", tuple(part.negated() for part in self.parts))

    def holds(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        together = np.logical_and if self.word == "and" else np.logical_or
        return together.reduce([part.holds(columns) for part in self.parts] or [np.ones(_shape(columns), bool)])

    def shortfall(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        together = np.add if self.word == "and" else np.minimum
        return together.reduce([part.shortfall(columns) for part in self.parts] or [np.zeros(_shape(columns))])


def parse_condition(text: str, columns: Mapping[str, bool]) -> Comparison | Group:
    """The tree of a condition. `columns`: the known names, and whether each holds numbers."""
    if not isinstance(text, str):
        raise TypeError(f"a condition is text, as 'size_mb <= 1 and robust >= 0.6', got {type(text).__name__}")
    if not text.strip():
        return Group("and", ())
    parser = _Parser(text, columns)
    tree = parser.condition(0)
    if parser.token.kind != "end":
        parser.fail("expected and, or, or the end", parser.token)
    return tree


def confidences(tree: Comparison | Group) -> dict[str, str]:
    """The columns of a condition that are probabilities, each with the condition inside."""
    return {name: name[2:-1] for name in sorted(tree.columns()) if name.startswith("P(")}


def unknown_in(tree: Comparison | Group, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where a condition neither holds nor fails, because a value that it asks for is missing."""
    return ~(tree.holds(columns) | tree.negated().holds(columns))


def clauses(tree: Comparison | Group) -> list[Comparison | Group]:
    """What must hold, one by one."""
    return list(tree.parts) if isinstance(tree, Group) and tree.word == "and" else [tree]


class _Parser:
    def __init__(self, text: str, columns: Mapping[str, bool]):
        self.text, self.allowed, self.at, self.inside = text, columns, 0, False
        self.tokens = self.scan()

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def fail(self, what: str, token: Token) -> None:
        marked = f"{self.text[: token.start]}^{self.text[token.start :]}"
        what, marked = (" ".join(text.split()) for text in (what, marked))
        raise ValueError(f"bad condition at character {token.start + 1}: {what}: {marked}")

    def scan(self) -> list[Token]:
        tokens, at = [], 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            here = Token(match.lastgroup if match else "?", match[0] if match else self.text[at], at)
            if not match:
                self.fail(_HINT.get(here.text, f"{here.text!r} has no meaning here"), here)
            if here.kind != "space":
                tokens.append(self.checked(here, tokens))
            at = here.end
        return tokens + [Token("end", "", len(self.text))]

    def checked(self, token: Token, before: list[Token]) -> Token:
        last = before[-1] if before else token
        if last.kind == "number" and last.end == token.start and token.kind in ("name", "number"):
            self.fail("units are not written, a number stands alone", token)
        word = token.text.lower()
        return token._replace(kind=word) if token.kind == "name" and word in ("and", "or", "not") else token

    def take(self, *kinds: str) -> Token | None:
        token = self.token
        if token.kind not in kinds:
            return None
        self.at += 1
        return token

    def condition(self, depth: int) -> Comparison | Group:
        return self.joined("or", self.part, depth)

    def part(self, depth: int) -> Comparison | Group:
        return self.joined("and", self.factor, depth)

    def joined(self, word: str, inner, depth: int) -> Comparison | Group:
        parts = [inner(depth)]
        while self.take(word):
            parts.append(inner(depth))
        same = [part.parts if isinstance(part, Group) and part.word == word else (part,) for part in parts]
        flat = [leaf for leaves in same for leaf in leaves]
        return Group(word, tuple(flat)) if len(flat) > 1 else flat[0]

    def factor(self, depth: int) -> Comparison | Group:
        if depth > DEEPEST:
            self.fail(f"nested more than {DEEPEST} deep", self.token)
        if self.take("not"):
            return self.factor(depth + 1).negated()
        if self.token.text != "(" or self.token.kind != "paren":
            return self.comparison()
        self.take("paren")
        inside = self.condition(depth + 1)
        if self.token.text != ")" or not self.take("paren"):
            self.fail("expected )", self.token)
        return inside

    def comparison(self) -> Comparison:
        left, op, right = self.operand(), self.take("op"), None
        if op is None:
            self.fail(f"expected one of <= < >= > == != after {left.text}", self.token)
        right = self.operand()
        if self.token.kind == "op":
            self.fail("one comparison at a time: join two with and", self.token)
        names = [token for token in (left, right) if token.kind == "name"]
        if len(names) != 1:
            self.fail("a comparison has one column and one number or 'text'", right)
        name, value, sign = (left, right, op.text) if names[0] is left else (right, left, _MIRROR[op.text])
        return Comparison(name.text, sign, self.value(name, value, op))

    def probability(self) -> Token:
        name = self.take("name")
        if self.inside:
            self.fail("a probability of a probability has no meaning here", name)
        self.inside = self.take("paren") is not None
        inner = self.condition(0)
        self.inside = False
        if self.token.text != ")" or not self.take("paren"):
            self.fail("expected )", self.token)
        return name._replace(text=f"P({inner})")

    def operand(self) -> Token:
        if self.token.text == "P" and self.tokens[self.at + 1].text == "(":
            return self.probability()
        token = self.take("name", "number", "text")
        if token is None:
            self.fail("expected a column, a number or 'text'", self.token)
        if token.kind == "name" and token.text not in self.allowed:
            raise ValueError(unknown_column(token.text, self.allowed))
        return token

    def value(self, name: Token, value: Token, op: Token) -> float | str:
        numbers = self.allowed.get(name.text, True)
        if numbers != (value.kind == "number"):
            self.fail(f"{name.text} holds {'numbers' if numbers else 'text, written in quotes'}", value)
        if value.kind == "text" and op.text not in ("==", "!="):
            self.fail("text is compared by == or !=", op)
        if name.text.startswith("P(") and not 0 <= float(value.text) <= 1:
            self.fail("a probability is from 0 to 1", value)
        if numbers and not np.isfinite(float(value.text)):
            self.fail(
                "an infinite number, which nothing reaches: write a smaller one, or leave the comparison out", value
            )
        return float(value.text) if numbers else value.text[1:-1]


def _shape(columns: Mapping[str, np.ndarray]) -> tuple:
    return np.shape(next(iter(columns.values())))


def _known(values: np.ndarray) -> np.ndarray:
    return np.equal(values, values).astype(bool)
