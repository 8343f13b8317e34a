"""What is set for the time of an export: silence for what libraries print below Python, and attention written in its
parts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def silenced() -> Iterator[None]:
    """While this lasts, what is printed on standard output goes nowhere, whoever prints it."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:
        kept = None  # there is no standard output
    if kept is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
    try:
        yield
    finally:
        if kept is not None:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)


@contextmanager
def attention_in_parts() -> Iterator[None]:
    """While this lasts, torch computes attention by operations that can be written, not by a single one of its own."""
    kept = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(kept)
