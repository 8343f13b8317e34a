"""A progress bar where tqdm is installed, silence where it is not."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace

# A notebook's bars are widgets that a terminal never sees. Whoever runs a notebook from a terminal names a file here,
# and the bars are written to it as text instead.
PROGRESS_FILE = "ROBCOMP_PROGRESS"


def progress(total: int, description: str, *, unit: str = "it", shown: bool = True) -> AbstractContextManager:
    """A bar with what is running, the rate and the time left; use `bar.update(n)` and `bar.set_postfix_str(text)`."""
    if shown:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            pass
        else:
            if os.environ.get(PROGRESS_FILE):
                return _written(total, description, unit)
            return tqdm(total=total, desc=description, unit=unit, leave=False, dynamic_ncols=True)
    return nullcontext(
        SimpleNamespace(
            update=lambda n=1: None,
            set_postfix_str=lambda text, refresh=True: None,
            set_description=lambda text, refresh=True: None,
        )
    )


def _written(total: int, description: str, unit: str) -> AbstractContextManager:
    from tqdm import tqdm

    file = open(os.environ[PROGRESS_FILE], "a", buffering=1, encoding="utf-8")  # closed with the process
    return tqdm(total=total, desc=description, unit=unit, leave=False, ncols=110, file=file, mininterval=0.5)
