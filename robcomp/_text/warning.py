"""Warnings that name the line of the user, not one inside robcomp."""

from __future__ import annotations

import sys
import warnings

PASSED_OVER = {"robcomp", "torch", "contextlib", "functools"}  # modules between the user's line and the warning


def warn_caller(message: str) -> None:
    """Warn at the nearest line on the stack that is neither robcomp's own nor of what stands between, as decorators."""
    frame, level = sys._getframe(1), 2  # level 1 would be this function
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in PASSED_OVER:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
