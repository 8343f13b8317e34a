"""Compiled loops on equal shares of a batch, one share a thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Timer

import numpy as np
from numba import config


def in_threads(kernel: Callable, arrays: tuple, *constants) -> None:
    """Run a kernel that lets go of the interpreter on shares of the first axis of `arrays`.

    Plain threads, not numba's parallel loops: these take twice as long to compile, and abort the process where two
    threads of a caller, or a forked worker, enter them at once.
    """
    n = len(arrays[0])
    # Not get_num_threads(): it starts numba's own pool, which sets OpenMP's number of threads, and so torch's.
    workers = max(1, min(config.NUMBA_NUM_THREADS, n // 8))
    if workers == 1:
        return kernel(*arrays, *constants)
    pieces = min(8 * workers, n // 8)  # more than threads, so that one held up by the system leaves work to the other
    cuts = [n * k // pieces for k in range(pieces + 1)]
    with ThreadPoolExecutor(workers) as pool:
        shares = [[array[a:b] for array in arrays] for a, b in zip(cuts, cuts[1:])]
        for done in [pool.submit(kernel, *share, *constants) for share in shares]:
            done.result()


def over(images: np.ndarray, kernel: Callable, *constants, numbers: np.ndarray | None = None) -> np.ndarray:
    """What `kernel(images, [numbers,] out, *constants)` makes of the images."""
    out = np.empty_like(images)
    in_threads(kernel, (images, out) if numbers is None else (images, numbers, out), *constants)
    return out


@contextmanager
def notice(text: str, after: float = 1.0) -> Iterator[None]:
    """Say something on standard error where the block takes longer than `after` seconds."""
    timer = Timer(after, lambda: print(text, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
