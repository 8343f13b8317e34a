"""Silence for what other libraries print below Python, where nothing but the file descriptor can be turned aside."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced() -> Iterator[None]:
    """While this lasts, what is printed on standard output goes nowhere, whoever prints it."""
    sys.stdout.flush()
    try: kept = os.dup(1)
    except OSError: kept = None  # there is no standard output
    if kept is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
    try: yield
    finally:
        if kept is not None:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
