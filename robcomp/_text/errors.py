"""Errors of other libraries, cut down to one line, and where in a network they came up."""

from __future__ import annotations

import signal
from asyncio import CancelledError
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def first_line(error: BaseException) -> str:
    """What an error says first; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def where(error: BaseException, model) -> str:
    """` in NAME`, the innermost part of a network that was running when an error came up; empty where none was."""
    names = {id(module): name for name, module in model.named_modules() if name}
    running = [names[own] for frame in _frames(error) if (own := id(frame.f_locals.get("self"))) in names]
    return f" in {running[-1]}" if running else ""


def is_foreign(error: BaseException) -> bool:
    """Did an error come up outside this package: in a library, or in the code of a network?"""
    return PACKAGE not in Path(list(_frames(error))[-1].f_code.co_filename).parents


def is_of_the_work(error: BaseException) -> bool:
    """Did the work itself fail, be it by sys.exit? An interrupt, and an exit that the handler of a signal asked for,
    end the process instead."""
    if not isinstance(error, SystemExit):
        return isinstance(error, (Exception, CancelledError))
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    return all(frame.f_code not in handlers for frame in _frames(error))


def _frames(error: BaseException):
    trace = error.__traceback__
    while trace:
        yield trace.tb_frame
        trace = trace.tb_next
