"""What an earlier stage has to know of later ones. No torch, so that a plan can ask as well."""

from __future__ import annotations

from collections.abc import Iterable

from robcomp.recipe import Quantize, Stage


def coming_bits(stages: Iterable[Stage]) -> int:
    """The finest grid that the next quantization may bring, 0 where none is to come."""
    return next((8 if stage.scope == "auto" else stage.bits for stage in stages if isinstance(stage, Quantize)), 0)
