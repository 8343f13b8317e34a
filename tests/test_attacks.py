"""The attacks of `tests/attacks.py` in small: nothing falls."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from robcomp.data import from_folder
from robcomp.elsewhere import from_onnx
from robcomp.pack import ledger, unpack
from robcomp.sweep import store_status
from robcomp.tables import collect, read_tables
from tests.attacks import ATTACKS, Faulty, Killed, attacked_stores, run

ROOT = Path(__file__).parents[1]


def test_a_store_comes_back_from_random_faults():
    table = attacked_stores(int(os.environ.get("ROBCOMP_ATTACKS", 200)), int(os.environ.get("ROBCOMP_FUZZ_SEED", 0)))
    assert list(table.attack) == list(ATTACKS) and not table.fell.any(), table[table.fell > 0].to_csv()


def test_packed_files_behind_right_checksums():
    """In a process of its own, whose memory is measured."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks", "packed", os.environ.get("ROBCOMP_FUZZ_SECONDS", "5")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | dict(PYTHONPATH=str(ROOT)),
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(StringIO(done.stdout))
    assert table.tried.sum() > 20 and not table.fell.any() and table.grown_kb.max() < 64_000, done.stdout


def test_the_attacks_do_attack(tmp_path):
    """A kill leaves a store without all its trials, at some of the operations with something half-written."""
    left = set()
    for after in range(1, 40, 3):
        try:
            with Faulty(after, Killed):
                run(tmp_path / str(after))
        except Killed:
            left.add(any(path.name.endswith(".partial") for path in (tmp_path / str(after)).rglob("*")))
    assert left == {True, False}


READERS = [from_folder, ledger, unpack, collect, read_tables, store_status, from_onnx]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_what_names_no_file_is_one_line(reader):
    for name in (None, 3, b"bytes"):
        with pytest.raises(TypeError, match="^a file or folder is named by a text or a Path, got"):
            reader(name)
    for name in ("x" * 5000, "a\nb", "a\0b"):
        with pytest.raises(ValueError) as caught:
            reader(name)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
