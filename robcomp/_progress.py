"""A progress bar where tqdm is installed, silence where it is not."""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace


def progress(total: int, description: str, *, unit: str = "it", shown: bool = True) -> AbstractContextManager:
    """A bar with what is running, the rate and the time left; use `bar.update(n)` and `bar.set_postfix_str(text)`."""
    if shown:
        try:
            from tqdm.auto import tqdm
            return tqdm(total=total, desc=description, unit=unit, leave=False, dynamic_ncols=True)
        except ImportError: pass
    return nullcontext(SimpleNamespace(update=lambda n=1: None, set_postfix_str=lambda text, refresh=True: None,
                                       set_description=lambda text, refresh=True: None))
