"""Attacks on a store and on packed files, counted: `python -m tests.attacks store 200` and `python -m tests.attacks
packed 5`.

The first works on a tiny study: random faults, then a resume. After it the tables are those of an undisturbed study to
the byte, and nothing that was said takes more than one line. The second mutates packed files behind right checksums for
so many seconds and measures the memory and the time of each file. Both print a table as CSV: attack, tried, fell (and
what else was measured)."""

from __future__ import annotations

import builtins
import errno
import os
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robcomp._files import atomic as _atomic
from robcomp._store.shards import read_deals
from robcomp.tables import collect
from robcomp.sweep import sweep

RECIPES = ["dense", "prune0.5+tune1", "prune0.5+tune1+int8", "cluster4"]
TIMES = ["train_s", "compress_s", "evaluate_s", "latency_s"]


@cache
def study(seed: int = 0):
    """A network of three layers on noise in two kinds; made once, because threads share torch's generator."""
    import torch
    from torch import nn

    from robcomp.data import Data, Images, InputContract
    from robcomp.models import model_from
    from robcomp.sweep import Study
    from robcomp.training import Training

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=4, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 2),
        )

    def noise(n, own):
        labels = np.arange(n) % 2
        pixels = np.random.default_rng(own).normal(100 + 40 * labels[:, None, None, None], 60, (n, 32, 32, 3))
        return Images(pixels.clip(0, 255).astype(np.uint8), labels)

    data = Data("noise", noise(40, 0), noise(20, 1), noise(20, 2), ["dark", "bright"])
    return Study(
        data,
        model_from(net, name="small", classes=2, contract=InputContract(32, (128,) * 3, (64,) * 3)),
        tune=Training(1, batch=20, peak=0.05),
        conditions=dict(corruptions=("contrast",), severities=(1, 5), per_condition=8),
    )


def digest(store: Path) -> str:
    """Of everything that a study found, but for how long it took."""
    tables = collect(store)
    sorted_ones = (
        tables.trials.drop(columns=TIMES).sort_values("key"),
        tables.rows.sort_values(["key", "corruption", "severity"]),
        tables.deals,
    )
    plain = [
        [value.tolist() if isinstance(value, np.ndarray) else value for value in row]
        for table in sorted_ones
        for row in table.itertuples(index=False)
    ]
    return sha256(repr(plain).encode()).hexdigest()


class Killed(BaseException):
    """The process is gone: nothing after it is done, no file taken away."""


class Faulty:
    """Within the block, the `after`-th file operation fails, and, where the process is killed, every one after it."""

    def __init__(self, after: int, error):
        self.after, self.error, self.count = after, error, 0

    def __enter__(self):
        self.kept = dict(replace=os.replace, fsync=os.fsync, unlink=Path.unlink, mkdir=Path.mkdir, open=builtins.open)

        def failing(own, writes=lambda *_: True):
            def call(*arguments, **options):
                if writes(*arguments):
                    self.step()
                return own(*arguments, **options)

            return call

        os.replace, os.fsync = failing(os.replace), failing(os.fsync)
        Path.unlink, Path.mkdir = failing(Path.unlink), failing(Path.mkdir)
        _atomic.open = failing(builtins.open, lambda path, mode="r", **_: "w" in mode)
        return self

    def step(self):
        self.count += 1
        if self.count == self.after or self.count > self.after and self.error is Killed:
            raise self.error() if self.error is Killed else OSError(self.error, os.strerror(self.error))

    def __exit__(self, *_):
        os.replace, os.fsync, Path.unlink, Path.mkdir = (
            self.kept[name] for name in ("replace", "fsync", "unlink", "mkdir")
        )
        del _atomic.open


def run(store: Path) -> None:
    sweep(study(), RECIPES, store, progress=False)


def some(store: Path, rng: random.Random, parts=("trials", "deals", "beginnings", "datasets")) -> Path | None:
    found = sorted(path for part in parts for path in (store / part).glob("*") if not path.name.endswith(".partial"))
    return rng.choice(found) if found else None


def truncated(store, rng):
    if path := some(store, rng):
        path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size + 1)])


def garbled(store, rng):
    if not (path := some(store, rng)):
        return
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 3, 50])):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def swapped(store, rng):
    part = rng.choice(["trials", "beginnings"])
    files = sorted((store / part).glob("*.robcomp" if part == "beginnings" else "*.parquet"))
    if len(files) < 2:
        return deleted(store, rng)
    one, other = rng.sample(files, 2)
    pairs = [
        (one, other),
        *(
            [(one.with_suffix(".json"), other.with_suffix(".json"))]
            if part == "beginnings" and rng.random() < 0.5
            else []
        ),
    ]
    for first, second in pairs:
        if first.exists() and second.exists():
            contents = first.read_bytes(), second.read_bytes()
            first.write_bytes(contents[1]), second.write_bytes(contents[0])


def foreign(store, rng):
    """A whole file of another study under a name of this one."""
    if not (path := some(store, rng)):
        return
    others = sorted((FOREIGN / path.parent.name).glob(f"*{path.suffix}"))
    if others:
        path.write_bytes(rng.choice(others).read_bytes())


def nulls(store, rng):
    if not (path := some(store, rng, ("trials", "deals"))):
        return
    try:
        table = pq.read_table(path)
    except Exception:
        return
    name = rng.choice(table.column_names)
    values = table.column(name).to_pylist()
    if values:
        values[rng.randrange(len(values))] = None
    changed = table.set_column(
        table.schema.get_field_index(name), name, pa.array(values, table.schema.field(name).type)
    )
    metadata = dict(table.schema.metadata or {})
    if rng.random() < 0.5:
        metadata.pop(b"robcomp_rows", None)
    pq.write_table(changed.replace_schema_metadata(metadata), path)


def deleted(store, rng):
    if path := some(store, rng):
        path.unlink()


def interrupted(error):
    def attack(store, rng):
        for path in rng.sample(sorted((store / "trials").iterdir()), 2):
            path.unlink()
        if rng.random() < 0.5:
            shutil.rmtree(store / "beginnings")
        try:
            with Faulty(rng.randrange(1, 60), error):
                run(store)
        except Killed:
            pass
        except OSError as raised:
            one_line(str(raised))

    return attack


def read_only(store, rng):
    """Nothing can be written: one line says so, and nothing has changed."""
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    kept, Path.touch = Path.touch, refuse
    try:
        run(store)
    except OSError as raised:
        one_line(str(raised))
        assert "cannot write in" in str(raised)
    else:
        raise AssertionError("nothing was said of a folder that cannot be written in")
    finally:
        Path.touch = kept
    assert before == {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


def refuse(*_, **__):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def two_writers_and_a_reader(store, rng):
    for path in rng.sample(sorted((store / "trials").iterdir()), 2):
        path.unlink()
    if rng.random() < 0.5:
        truncated(store, rng)
    failed, done = [], threading.Event()

    def guarded(work):
        try:
            work()
        except BaseException as error:
            failed.append(error)

    def read():
        while not done.is_set():
            collect(store), read_deals(store)

    writers = [threading.Thread(target=guarded, args=(lambda: run(store),)) for _ in range(2)]
    reader = threading.Thread(target=guarded, args=(read,))
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set(), reader.join()
    if failed:
        raise failed[0]


ATTACKS = {
    "file cut short": truncated,
    "bytes garbled": garbled,
    "names swapped": swapped,
    "file of another study": foreign,
    "empty places": nulls,
    "file gone": deleted,
    "killed at a file operation": interrupted(Killed),
    "disk full": interrupted(errno.ENOSPC),
    "folder read-only": read_only,
    "two writers and a reader": two_writers_and_a_reader,
}
FOREIGN = Path()


def one_line(text: str) -> None:
    assert text and "\n" not in text, text


def attacked_stores(examples: int, seed: int = 0) -> pd.DataFrame:  # attack, tried, fell, first
    """Faults, then a resume, so many times; `fell` counts where tables differ afterwards, or an error or a longer text
    comes up."""
    global FOREIGN
    rng, tried, fell, first = random.Random(seed), Counter(), Counter(), {}
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        whole, store, FOREIGN = Path(root) / "whole", Path(root) / "store", Path(root) / "foreign"
        run(whole)
        sweep(study(seed=1), RECIPES, FOREIGN, progress=False)
        wanted, names = digest(whole), list(ATTACKS)
        for example in range(examples):
            shutil.rmtree(store, ignore_errors=True)
            shutil.copytree(whole, store)
            chosen = [
                names[example % len(names)],
                *rng.sample(
                    [
                        name
                        for name in names
                        if name in ("file cut short", "bytes garbled", "names swapped", "empty places")
                    ],
                    rng.choice([0, 0, 1, 2]),
                ),
            ]
            said.clear()
            try:
                for name in chosen:
                    ATTACKS[name](store, rng)
                collect(store)
                run(store)
                assert digest(store) == wanted, "the tables are others"
                for warning in said:
                    one_line(str(warning.message))
            except Exception as error:
                fell[chosen[0]] += 1
                first.setdefault(
                    chosen[0], f"example {example} of seed {seed}, {chosen}: {type(error).__name__} {error}"
                )
            tried[chosen[0]] += 1
    return pd.DataFrame(
        [dict(attack=name, tried=tried[name], fell=fell[name], first=first.get(name, "")) for name in names]
    )


# Columns: attack, bytes, tried, fell, refused, grown_kb; CPU seconds: honest_s, usual_s, longest_s
def attacked_files(seconds: float, seed: int = 0) -> pd.DataFrame:
    """Packed files changed behind right checksums: what is taken is what a writer writes, all else one line, at an
    honest file's cost."""
    import torch

    from robcomp.compress import compress
    from robcomp.pack import ledger, pack, unpack
    from tests.test_pack import NOISE, mutated, net

    torch.set_num_threads(1)
    rng, rows, taken = random.Random(seed), {}, {}
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as root:
        scratch, model, files = Path(root) / "file", net(), {}
        for recipe in ("dense", "prune0.5+int4", "prune0.5:2of4+cluster4", "prune0.5+cluster16+int8"):
            pack(compress(net(), recipe, NOISE).module, scratch, recipe=recipe)
            files[recipe] = scratch.read_bytes()
            for _ in range(3):
                unpack(scratch, module=model), ledger(scratch)
            honest = [seconds_of(lambda: unpack(scratch, module=model)) for _ in range(20)]
            rows[recipe] = dict(
                attack=f"packed {recipe}, mutated",
                bytes=len(files[recipe]),
                tried=0,
                fell=0,
                refused=0,
                grown_kb=0,
                honest_s=float(np.median(honest)),
                longest_s=0.0,
                first="",
            )
            taken[recipe] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            recipe = rng.choice(list(files))
            row, before = rows[recipe], peak()
            scratch.write_bytes(mutated(files[recipe], rng))
            for read in (lambda: unpack(scratch, module=model), lambda: ledger(scratch)):
                start = time.process_time()
                try:
                    try:
                        found = read()
                    finally:
                        taken[recipe].append(time.process_time() - start)
                    if isinstance(found, torch.nn.Module):
                        as_written(found, scratch)
                except ValueError as error:
                    row["refused"] += 1
                    if "\n" in str(error):
                        row["fell"], row["first"] = row["fell"] + 1, str(error)[:200]
                except Exception as error:
                    row["fell"], row["first"] = row["fell"] + 1, f"{type(error).__name__} {error}"[:200]
            row["tried"], row["grown_kb"] = row["tried"] + 1, max(row["grown_kb"], peak() - before)
    for recipe, row in rows.items():
        if taken[recipe]:
            row.update(usual_s=float(np.median(taken[recipe])), longest_s=max(taken[recipe]))
    return pd.DataFrame(rows.values())


def seconds_of(read) -> float:
    start = time.process_time()
    read()
    return time.process_time() - start


def as_written(module, path: Path) -> None:
    """A file that was taken says what a writer writes of the network that came out of it: nothing more, nothing else,
    all of it finite."""
    from robcomp.pack import pack
    from tests.test_pack import opened, parts_of

    try:
        pack(module, path.with_suffix(".again"), recipe=module.recipe)
    except ValueError as error:
        raise AssertionError(f"a network was taken that cannot be written: {error}") from None
    (mine, body), (again, other) = (opened(own.read_bytes()) for own in (path, path.with_suffix(".again")))
    streams, written = (parts_of(*file) for file in ((mine, body), (again, other)))
    for key in streams.keys() & written.keys():  # those that are there by the same coder
        if key[1].partition(":")[0] in ("codes", "mask", "integers", "codebook", "ranges"):
            assert streams[key] == written[key], f"{key[1]} of {key[0]} is another than is written"
    for header in (mine, again):
        header["sections"] = [[name, kind.partition(":")[0]] for name, kind, *_ in header["sections"]]
    assert mine == again, "a header was taken that no writer writes"
    assert all(
        np.isfinite(value.numpy()).all() for value in module.state_dict().values() if value.is_floating_point()
    ), "numbers were taken that are not finite"


def main(kind: str = "store", amount: str = "200", seed: str = "0") -> None:
    if kind not in ("store", "packed"):
        raise SystemExit(
            f"unknown attack {kind!r}: write store (and how many examples) or packed (and how many seconds)"
        )
    table = attacked_stores(int(amount), int(seed)) if kind == "store" else attacked_files(float(amount), int(seed))
    print(table.to_csv(index=False), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
