"""How long calls take: the processor's time of several that take turns, and the wall-clock time of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter, process_time

import numpy as np
import pandas as pd

from .foreign import TYPES


def processor_seconds(
    runs: Mapping[str, Callable[[], object]],  # what to time, by name
    *,
    rounds: int = 5,  # turns
    repeats: int = 1,  # calls a turn
) -> pd.Series:  # seconds a call: the least of all turns
    """Time of several things that take turns."""
    found = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = process_time()
            for _ in range(repeats):
                run()
            found[name].append((process_time() - start) / repeats)
    return pd.Series({name: min(times) for name, times in found.items()}, name="seconds")


def asked_of_file(running, batch: int, threads: int) -> Callable[[], object]:
    """A session and a batch of noise, ready to be timed."""
    own, face = running.get_session_options().intra_op_num_threads, running.get_inputs()[0]
    if own != threads:
        raise ValueError(f"this session runs on {own} threads, not {threads}: pass the path of its file")
    if not all(isinstance(side, int) for side in face.shape[1:]):
        raise ValueError(f"this file does not fix the size of its images ({face.shape}): export it for one size")
    if isinstance(face.shape[0], int) and face.shape[0] != batch:
        raise ValueError(f"this file takes {face.shape[0]} images at a time, not {batch}: pass batch={face.shape[0]}")
    if face.type not in TYPES:
        raise ValueError(f"this file takes {face.type}: allowed are {', '.join(TYPES)}")
    x = np.random.default_rng(0).integers(0, 256, (batch, *face.shape[1:]), np.uint8)
    x = x if TYPES[face.type] == np.uint8 else (x / 255).astype(TYPES[face.type])
    return lambda: running.run(None, {face.name: x})


def seconds_of_calls(call: Callable[[], object], repeats: int, warmup: int) -> list[float]:
    """The time of each call after the first ones."""
    times = []
    for _ in range(warmup + repeats):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return times[warmup:]
