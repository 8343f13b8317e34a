"""Who is doing what in a store: claims of any number of processes on any number of machines, without locks.

store/claims/<name>.<number> a small JSON file: host, pid, space, born, token, state (held, free or done), digest

A claim is written under a name of its own and linked to its place, which fails where a file is there already and is
atomic on local disks and on NFS; where a disk has no links it is an exclusive create. No claim is ever deleted, so none
is taken twice: who takes over from an owner that is gone or silent makes the next number, and one of any two who try
fails. The highest number is the claim that counts. An owner that was taken for silent finds a higher number and writes
nothing.

Owners say that they are there by touching their files. "Silent" compares two times of the file server, that of the
claim and that of a file touched just now, so clocks of the machines need not agree. An owner on this machine whose
process has ended is gone at once. A claim that cannot be read, or whose digest is another, is nobody's: it is named,
and passed over as one that was given up; one that is still empty has a moment to be written. Assumed of a network disk:
exclusive create, `rename` over a file, times of its own, and a cache of attributes that is shorter than PATIENCE."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Event, Lock, Thread
from time import time
from typing import NamedTuple

from robcomp._files.atomic import replacing, writable_folder
from robcomp._files.json_files import parsed
from robcomp._text.warning import warn_caller

BEAT = 15.0  # seconds between two signs of life
# Seconds without one after which an owner counts as silent: more than a minute, for which NFS may show old times
PATIENCE = 180.0
_HELD: set[str] = set()  # tokens of the claims that this process holds now
_NAME = re.compile(r"(?P<name>[\w-]+)\.(?P<number>\d+)")


class Owner(NamedTuple):
    """A process that claims: `space` tells processes of one machine from those of another or of a container, `born`
    from later ones with the same number."""

    host: str
    pid: int
    space: str = ""
    born: str = ""


def born(pid: int) -> str:
    """When a process of this machine began, in the kernel's words; empty where it is not known or the process has
    ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def space() -> str:
    """Within what process numbers mean the same: one start of one machine or container. Empty where the system does not
    tell."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def myself() -> Owner:
    return Owner(socket.gethostname(), os.getpid(), space(), born(os.getpid()))


def has_ended(owner: Owner) -> bool:
    """Is this a process beside us that is no more? Of other machines and containers nothing is known."""
    return owner.space != "" and owner.space == space() and born(owner.pid) != owner.born


class Claim(NamedTuple):
    """One claim as its file says: `seen` is the file's time. Without a token it could not be read: then its state is
    garbled, or held where it is empty and may be written just now."""

    name: str
    number: int
    owner: Owner
    token: str
    state: str
    seen: float


NOBODY = Owner("?", 0)


def _content(path: Path) -> tuple[bytes, float]:
    """What stands in the file of a claim, and its time; a line for what is no file, of which nobody waits for a
    pipe."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return b"a link to nothing", 0.0
    if not stat.S_ISREG(about.st_mode):
        return b"no file", about.st_mtime
    with open(path, "rb") as file:  # opening asks the server, a cached time will not do
        return file.read(), os.fstat(file.fileno()).st_mtime


def _digest(said: Mapping) -> str:
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _is_claim(said: object) -> bool:
    """Is this what an owner writes? Those of earlier versions have no digest."""
    if not isinstance(said, Mapping) or type(said.get("pid")) is not int:
        return False
    texts = (*Owner._fields, "token", "state")
    if not all(isinstance(said.get(name), str) for name in texts if name != "pid") or not said["token"]:
        return False
    digest = said.get("digest")
    return digest is None or digest == _digest({name: said[name] for name in texts})


class Claims:
    """The claims of one store as one owner sees them."""

    def __init__(
        self,
        store: str | Path,
        *,
        owner: Owner | None = None,
        patience: float = PATIENCE,
        now: Callable[[], float] | None = None,
        ended: Callable[[Owner], bool] = has_ended,
    ):
        self.folder = writable_folder(Path(store) / "claims")
        self.owner, self.patience, self.ended = owner or myself(), patience, ended
        self.now, self.mine, self.guard = now or self._server_time, {}, Lock()

    def take(self, name: str) -> bool:
        """Is the work of this name ours from now on? Look afterwards whether another has finished it meanwhile."""
        current = self.current(name)
        if current and current.state == "held" and not self.abandoned(current):
            return False
        number, token = current.number + 1 if current else 0, secrets.token_hex(8)
        _HELD.add(token)
        try:
            ours = self._create(self._path(name, number), token)
        except BaseException:
            _HELD.discard(token)
            raise
        if ours:
            with self.guard:
                self.mine[name] = (number, token)
            if current and not current.token:
                warn_caller(
                    f"{self._path(name, number - 1)} is no claim that can be read: passed over, its work is done "
                    "again where it is not finished"
                )
        else:
            _HELD.discard(token)
        return ours

    def holds(self, name: str) -> bool:
        """Has nobody taken over what we claimed? Asked before a result is written."""
        number, token = self.mine.get(name, (-1, ""))
        current = self.current(name)
        return current is not None and (current.number, current.token) == (number, token)

    def leave(self, name: str, *, state: str) -> None:
        """Give up a claim: `done` where the work is on disk, `free` where another worker has to do it."""
        with self.guard:
            number, token = self.mine.pop(name)
        _HELD.discard(token)
        with replacing(self._path(name, number), "w") as file:
            file.write(self._text(token, state))

    def beat(self) -> None:
        """Say that we are still there."""
        with self.guard:
            held = [self._path(name, number) for name, (number, _) in self.mine.items()]
        for path in held:
            try:
                os.utime(path)
            except OSError:
                continue  # the disk is away for a moment: a worker that finds us silent takes over

    @contextmanager
    def beating(self, every: float = BEAT) -> Iterator[Claims]:
        """While this lasts, a thread says every so many seconds that we are there; what is still held at the end is
        free."""
        over = Event()

        def beat() -> None:
            while not over.wait(every):
                self.beat()

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()
            with self.guard:
                _HELD.difference_update(token for _, token in self.mine.values())  # though the disk be full
            for name in list(self.mine):
                self.leave(name, state="free")

    def abandoned(self, claim: Claim) -> bool:
        """Is its owner gone or silent, or is it left from earlier work of this process that ended before it could say
        so?"""
        left = claim.owner == self.owner and claim.token not in _HELD
        patience = self.patience if claim.token else min(self.patience, BEAT)
        return left or self.ended(claim.owner) or abs(self.now() - claim.seen) > patience

    def current(self, name: str) -> Claim | None:
        """The claim that counts, None where nobody ever made one."""
        number = self._last(name)
        return self._read(name, number) if number >= 0 else None

    def all(self) -> list[Claim]:
        """The claims that count, by name."""
        last = {}
        for path in self.folder.glob("*.*"):
            if match := _NAME.fullmatch(path.name):
                last[match["name"]] = max(last.get(match["name"], 0), int(match["number"]))
        return [self._read(name, number) for name, number in sorted(last.items())]

    def _last(self, name: str) -> int:
        """The highest number of a name, -1 where there is none; numbers have no gaps, so few have to be looked at."""
        there, absent = -1, 0
        while os.path.lexists(self._path(name, absent)):
            there, absent = absent, 2 * absent + 1
        while absent - there > 1:
            middle = (there + absent) // 2
            there, absent = (middle, absent) if os.path.lexists(self._path(name, middle)) else (there, middle)
        return there

    def _create(self, path: Path, token: str) -> bool:
        """Put a claim in its place, whole, unless one is there."""
        text, draft = self._text(token, "held"), self.folder / f".{token}"
        try:
            with replacing(draft, "w") as file:
                file.write(text)
            os.link(draft, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            return self._create_without_links(path, text)
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _create_without_links(self, path: Path, text: str) -> bool:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return True

    def _read(self, name: str, number: int) -> Claim:
        content, seen = _content(self._path(name, number))
        try:
            said = parsed(content)
        except ValueError:
            said = {}
        if not _is_claim(said):
            return Claim(name, number, NOBODY, "", "garbled" if content else "held", seen)
        owner = Owner(*(said[part] for part in Owner._fields))
        return Claim(name, number, owner, said["token"], said["state"], seen)

    def _text(self, token: str, state: str) -> str:
        said = self.owner._asdict() | dict(token=token, state=state)
        return json.dumps(said | dict(digest=_digest(said)))

    def _path(self, name: str, number: int) -> Path:
        return self.folder / f"{name}.{number}"

    def _server_time(self) -> float:
        probe = self.folder / f".now-{self.owner.host}-{self.owner.pid}"
        probe.touch()
        os.utime(probe)
        seen = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
        return seen


class Watch(Claims):
    """The claims of a store for a process that only looks: nothing is written. What is silent is told by the clock of
    this machine, or by the latest sign of life of any owner where that is later."""

    def __init__(self, store: str | Path):
        self.folder = Path(store) / "claims"
        self.owner, self.patience, self.ended = myself(), PATIENCE, has_ended
        self.mine, self.guard = {}, Lock()
        latest = max((claim.seen for claim in self.all()), default=0.0)
        self.now = lambda: max(time(), latest)

    def working(self) -> dict[str, Claim]:
        """The claims whose owners are at work, by name."""
        return {claim.name: claim for claim in self.all() if claim.state == "held" and not self.abandoned(claim)}
