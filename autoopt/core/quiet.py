"""A quiet machine: while one process measures, the others of the same host wait between two steps of theirs."""

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)

POLL_S = 0.002
LONGEST_S = 120.0  # that anybody waits: a process that was stopped by hand must not hold up a night


class QuietMachine:
    """Two locked files that all processes of a user on a host share. Who works holds the room together with others;
    who measures takes the turn, so that nobody enters any more, then the room alone. A process that dies holds nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or Path(tempfile.gettempdir()) / f"autoopt-{os.getuid()}"
        self._turn, self._room = _open(folder / "turn.lock"), _open(folder / "room.lock")
        self._look = _open(folder / "turn.lock")
        self._working = False
        self._given_up: set[int | None] = set()

    @contextmanager
    def working(self, longest_s: float | None = None) -> Iterator[None]:
        """What keeps the cores busy, with `step` called in between. It waits so long at most for who measures."""
        self._enter(longest_s)
        try:
            yield
        finally:
            self._leave()

    def step(self) -> None:
        """Between two steps of work: waits here while another process measures, or wants to."""
        if self._working and not _try(self._turn, exclusive=False):
            self._leave()
            self._enter()
        elif self._working:
            _unlock(self._turn)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Nobody else works or measures meanwhile; this process is not working either, whatever it is within."""
        was_working = self._working
        self._leave()
        try:
            self._wait(self._turn, exclusive=True)
            self._wait(self._room, exclusive=True)
            yield
        finally:
            _unlock(self._room)
            _unlock(self._turn)
            if was_working:
                self._enter()

    def is_taken(self) -> bool:
        """Whether a process measures or wants to, this one included: for a thread that stays out of its way, and takes
        no part itself, so that nobody waits for it.
        """
        free = _try(self._look, exclusive=False)
        if free:
            _unlock(self._look)
        return not free

    def _enter(self, longest_s: float | None = None) -> None:
        self._wait(self._turn, exclusive=False, longest_s=longest_s)
        self._wait(self._room, exclusive=False, longest_s=longest_s)
        _unlock(self._turn)
        self._working = True

    def _leave(self) -> None:
        _unlock(self._room)
        self._working = False

    def _wait(self, file: int | None, *, exclusive: bool, longest_s: float | None = None) -> None:
        """Until the lock is there, or LONGEST_S are over: then it goes on without, and does not wait for that lock
        again before it has found it free.
        """
        longest_s = LONGEST_S if longest_s is None else longest_s
        end = time.monotonic() + (0.0 if file in self._given_up else longest_s)
        while not _try(file, exclusive=exclusive):
            if time.monotonic() > end:
                if longest_s < LONGEST_S:
                    return
                if file not in self._given_up:
                    log.warning("another process kept the machine for %g s: going on, timings may be noisy", LONGEST_S)
                self._given_up.add(file)
                return
            time.sleep(POLL_S)
        self._given_up.discard(file)


def _open(path: Path) -> int | None:
    """None where no file can be written there: then nobody waits."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        log.warning("%s cannot be locked (%s): other processes do not wait while this one measures", path, error)
        return None


def _try(file: int | None, *, exclusive: bool) -> bool:
    if file is None:
        return True
    with suppress(BlockingIOError):
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        return True
    return False


def _unlock(file: int | None) -> None:
    if file is not None:
        fcntl.flock(file, fcntl.LOCK_UN)
