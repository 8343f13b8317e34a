"""Work that is stopped, by Ctrl-C or by the signal that batch queues send: both end alike, with one sentence."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from threading import current_thread, main_thread


class Terminated(KeyboardInterrupt):
    """An interrupt that SIGTERM asked for."""


def interrupted(what: str, where: object = "") -> str:
    """What is said of an interrupt; `what` is to be repeated, a call or a command, and `where` keeps what is done."""
    place = f" in {where}" if where else ""
    return f"interrupted: what is finished is kept{place}, and the same {what} goes on from there"


def exit_code(error: KeyboardInterrupt) -> int:
    """143 or 130, as a shell has it for a process that a signal ended."""
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


def _terminate(number: int, frame: object) -> None:
    raise Terminated


@contextmanager
def terminable() -> Iterator[bool]:
    """Within the block SIGTERM is an interrupt; not where somebody handles it already, nor in the kernel of a notebook,
    which whoever started it ends. Is it so?"""
    kernel = sys.modules.get("ipykernel.kernelapp")
    ours = (
        current_thread() is main_thread()
        and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        and not (kernel and kernel.IPKernelApp.initialized())
    )
    if ours:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield ours
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def resumable(function: Callable) -> Callable:
    """The same function; interrupted, it says that nothing is lost and what to do, without the lines it was at."""

    @wraps(function)
    def run(*given, **options):
        with terminable() as ours:
            try:
                return function(*given, **options)
            except KeyboardInterrupt as error:
                stopped = type(error)
        asked = signature(function).bind(*given, **options).arguments
        said = interrupted("call", asked.get("folder") or asked.get("store") or "")
        if not (ours and stopped is Terminated):
            raise stopped(said)
        print(f"robcomp: {said}", file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM)

    return run


def ended(error: KeyboardInterrupt, where: object = "") -> Exception:
    """What a command that was interrupted ends with, a click.ClickException."""
    import click

    problem = click.ClickException(interrupted("command", where))
    problem.exit_code = exit_code(error)
    return problem
