"""Slips in the amount of a stage, and what was meant by them: (what is wrong, what might be meant, what to write if
that is none), as `slips` gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

# a stage as it is written, with its commonest amount
USUAL = dict(prune="prune0.7", cluster="cluster16", int="int8", tune="tune3", recal="recal", half="half")
OPTIONS = dict(prune="prune0.7:layer", cluster="cluster16:channel", int="int8:weights")


def odd_amounts(text: str) -> Iterator[tuple[str, str, str]]:
    """What may be wrong with the amount or the option of one stage."""
    small = text.lower()
    if found := re.fullmatch(r"([a-z]+)[-_=:(\s]*(nan|inf|infinity|none|null)\)?(:\w+)?", small, re.ASCII):
        if found[1] in USUAL:
            yield f"{found[2]} is no amount, a number is", "", USUAL[found[1]]
    if found := re.fullmatch(r"([a-z]+)\s*-+(\d*\.?\d+)(:\w+)?", small, re.ASCII):
        yield "an amount has no sign", found[1] + found[2] + (found[3] or ""), ""
    if found := re.fullmatch(r"([a-z]+)[_=(\s]+(\d*\.?\d+)\)?(:\w+)", small, re.ASCII):
        yield "a number follows its stage at once", found[1] + found[2] + found[3], ""
    if found := re.fullmatch(r"([a-z]+)\s*(\d*\.?\d+e[-+]?\d{1,2})(:\w+)?", small, re.ASCII):
        yield (
            "an amount is written out, without an exponent",
            f"{found[1]}{_whole(found[2])}{found[3] or ''}",
            (USUAL.get(found[1], "")),
        )
    if (found := re.fullmatch(r"prune(\d*\.?\d+):2of4", small, re.ASCII)) and float(found[1]) != 0.5:
        yield "two of four weights are half of them", "prune0.5:2of4", ""
    if len(parts := text.split()) > 1:
        yield "stages are joined by +", "+".join(parts), ""
    if found := re.fullmatch(r"([a-z]+)([0-9.]*):(.*)", small, re.ASCII):
        if found[3] == "2of4":
            return
        if found[1] in OPTIONS and not found[3].isidentifier() and not re.fullmatch(r"\s*\.?\d[\d.]*%?", found[3]):
            yield f"{found[3]!r:.40} behind the : is no option", "", OPTIONS[found[1]]


def _whole(number: str) -> str:
    """A number in digits: 0.7 for 7e-1, 10 for 1e1."""
    text = f"{Decimal(number):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
