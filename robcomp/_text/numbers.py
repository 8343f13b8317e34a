"""Numbers as they are written everywhere: shares, per cent, points, factors, megabytes."""

from __future__ import annotations

import math
from numbers import Integral

import pandas as pd

from robcomp.schema import GROUPS

UNKNOWN = "–"
SHARES = frozenset(
    """accuracy clean robust worst extra_robust drop mce relative_mce ece_clean ece_robust sparsity share
    wins chosen front_probability probability robust_over_clean robust_over_dense""".split()
) | set(GROUPS)
DIFFERENCES = frozenset("change difference clean_change robust_change".split()) | {f"{name}_change" for name in GROUPS}
MEASURES = dict(
    clean="clean accuracy",
    robust="robust accuracy",
    worst="worst-case accuracy",
    noise="accuracy under noise",
    blur="accuracy under blur",
    weather="accuracy in weather",
    digital="accuracy under digital corruptions",
    drop="loss to corruption",
    mce="corruption error",
    ece_robust="calibration error",
    size_mb="file size",
    compression_ratio="compression",
    sparsity="sparsity",
    macs="arithmetic",
    latency_s="latency",
    energy_j="energy",
)
UNITS = dict(size_mb=" MB", latency_s=" ms", compression_ratio=" times")
HEADS = dict(
    noise_change="change under noise",
    blur_change="change under blur",
    weather_change="change in weather",
    digital_change="change under digital",
    size_mb="MB",
    compression_ratio="times smaller",
    gzip_ratio="times smaller (gzip)",
    worst_corruption="worst corruption",
    latency_s="latency (ms)",
    clean_vs_dense="clean, points to dense",
    robust_vs_dense="robust, points to dense",
    clean_vs_control="clean, points to equal training",
    robust_vs_control="robust, points to equal training",
    failed="failed seeds",
)


def share(value: float) -> str:
    """A share as it stands in a table: 0.911."""
    return f"{value:.3f}"


def percent(value: float, digits: int = 0) -> str:
    """A share as it is written in a sentence: 95 %."""
    return f"{100 * value:.{digits}f} %"


def in_points(value: float) -> str:
    """A difference of shares, in points and without the word: +0.5; nothing that rounds to zero has a sign."""
    text = f"{100 * value:+.1f}"
    return text if float(text) else "0.0"


def interval_in_points(value: float, low: float, high: float, *, words: str = "") -> str:
    """A difference of shares with its interval, in points: +0.5 (-0.1 to +1.2); `words` stand after the figure."""
    return f"{in_points(value)}{words} ({in_points(low)} to {in_points(high)})"


def points(difference: pd.Series, low: str = "low", high: str = "high") -> str:
    """A difference of accuracies with its interval, in points; `low` and `high` name the ends."""
    value = difference["difference" if "difference" in difference else "value"]
    return interval_in_points(value, difference[low], difference[high], words=" points")


def percent_interval(value: float, low: float, high: float) -> str:
    """A share with its interval, in per cent: 2.2 % (1.4 to 3.4 %)."""
    return f"{percent(value, 1)} ({100 * low:z.1f} to {percent(high, 1)})"


def p_value(p: float) -> str:
    """The p value of a test as it stands in a sentence: p = 0.031; very small ones have no exponent."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def times(value: float) -> str:
    """A factor: 13.1."""
    return f"{value:.1f}"


def significant(value: float, digits: int = 3) -> str:
    """A number with some significant digits and no exponent, zeros at its end kept: 80.1, 8.40, 0.0123."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{value:.{max(0, decimals)}f}"


def is_difference(name: str) -> bool:
    """Does a column hold a difference of accuracies, which is written in points?"""
    return name in DIFFERENCES or "_vs_" in name


def cell(name: str, value: object) -> str:
    """A value of a column as it stands in every table; a dash where nothing is known."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return UNKNOWN
    if isinstance(value, Integral):
        return f"{value:,}"
    if name in SHARES:
        return share(value)
    if is_difference(name):
        return in_points(value)
    if name.endswith("_ratio"):
        return times(value)
    if name == "size_mb":
        return significant(value)
    if name == "latency_s":
        return significant(1e3 * value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else significant(value)


def measure(name: str) -> str:
    """What a column is called in a sentence; its own name where it has no other."""
    return MEASURES.get(name, name)


def figure(name: str, value: object) -> str:
    """A column's value in a sentence, with its name and unit: clean accuracy 0.911, file size 3.95 MB."""
    if name.startswith("P("):
        return f"{name} {share(value)}"
    return f"{measure(name)} {cell(name, value)}{UNITS.get(name, '')}"


def lost(name: str, amount: float) -> str:
    """How much of a column is lost, in a sentence: 0.3 points of robust accuracy; 0.12 MB of file size."""
    if name not in SHARES:
        return f"{significant(amount, 2)}{UNITS.get(name, '')} of {measure(name)}"
    said = "less than 0.1" if amount < 0.0005 else f"{100 * amount:.1f}"
    return f"{said} points of {measure(name)}"


def head(name: str) -> str:
    """What a column is called at the top of a table."""
    return HEADS.get(name, name)


def written(table: pd.DataFrame) -> pd.DataFrame:
    """The same table as text: values and heads as readers see them everywhere."""
    return pd.DataFrame({head(name): [cell(name, value) for value in table[name]] for name in table})


def tooltip_format(name: str) -> str:
    """The same digits, as the charts ask for them."""
    if name.endswith("_ratio"):
        return ".1f"
    if name in ("size_mb", "latency_s", "macs", "energy_j"):
        return ".3r"
    return ".3f"
