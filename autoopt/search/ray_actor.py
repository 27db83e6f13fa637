"""A worker as a Ray actor: what runs on the machines of the cluster. Light: torch comes with the work alone.

Calls may be lost on the way or come twice where a network fails, so none has an effect of its own: orders are numbered
and taken once, news is kept until the search says that it has come.
"""

import importlib
import logging
import os
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from autoopt.core.errors import AutooptError
from autoopt.core.memory import resident_gb
from autoopt.core.trial import Trial
from autoopt.search.jobs import Acts, Job, perform
from autoopt.search.worker import Broken, Ready, speak_into

LOOK_S = 0.25  # between two looks at the own memory
CHANGE, CHANGE_GB = 0.02, 0.02  # by which it must differ to be told: an idle actor says nothing


@dataclass(frozen=True)
class Used:
    """Memory of the actor's process, in GB."""

    gb: float


@dataclass(frozen=True)
class Setting:
    """Where the search runs: an actor of the same machine finds the same files and modules."""

    words: Path
    cwd: str
    path: tuple[str, ...]
    environment: Mapping[str, str]
    preload: str


def packed(message: Any) -> bytes:
    """As multiprocessing sends it between a program's own processes; nothing of it is ever read from a file."""
    return bytes(ForkingPickler.dumps(message))


def unpacked(message: bytes) -> Any:
    return ForkingPickler.loads(message)


class Actor:
    """One thread of its own does the work; Ray's threads bring orders and take news."""

    def __init__(self, setting: Setting) -> None:
        os.environ.update(setting.environment)  # before torch is imported, whose OpenMP reads it then
        with suppress(OSError):  # another machine may not have it
            os.chdir(setting.cwd)
        sys.path += [place for place in setting.path if place not in sys.path and Path(place).exists()]
        with suppress(OSError):
            speak_into(setting.words)
        self._preload = setting.preload
        self._lock, self._orders = threading.Lock(), queue.SimpleQueue[Any]()
        self._taken = 0
        self._come = threading.Condition()
        self._news: deque[bytes] = deque()
        self._first = 0
        self._number, self._word = -1, ""
        threading.Thread(target=self._work, daemon=True).start()
        threading.Thread(target=self._look, daemon=True).start()

    def where(self) -> tuple[int, str]:
        """Its process, and the id of its node."""
        import ray

        return os.getpid(), ray.get_runtime_context().get_node_id()

    def tell(self, first: int, orders: Sequence[bytes]) -> int:
        """Orders by number, from `first` on; those that came before are passed over. Returns how many were taken."""
        with self._lock:
            for order in orders[max(0, self._taken - first) :]:
                self._take(unpacked(order))
                self._taken += 1
            return self._taken

    def news(self, heard: int, wait_s: float) -> list[bytes]:
        """All messages after the first `heard`, which are forgotten; waits so long at most for one to come."""
        with self._come:
            while self._news and self._first < heard:
                self._news.popleft()
                self._first += 1
            self._come.wait_for(lambda: bool(self._news), wait_s)
            return list(self._news)[max(0, heard - self._first) :]

    def _take(self, order: Any) -> None:
        kind, value = order
        if kind == "word":
            number, word = value
            if number == self._number:  # else it is about a job that was over by then
                self._word = word
            return
        if kind == "job":
            self._number, self._word = value[0].number, ""
        self._orders.put(value)

    def _send(self, message: Any) -> None:
        with self._come:
            self._news.append(packed(message))
            self._come.notify_all()

    def _work(self) -> None:
        try:
            self._live()
        except BaseException:
            traceback.print_exc()  # the last words of this process
            sys.stderr.flush()
            os._exit(1)

    def _live(self) -> None:
        try:
            importlib.import_module(self._preload)
            acts: Acts = unpacked(self._orders.get())()
        except Exception as error:
            bug = not isinstance(error, AutooptError)
            return self._send(Broken(str(error), traceback.format_exc(), bug))
        for handler in (_Log(self._send), logging.StreamHandler()):  # type: ignore[arg-type]
            logging.getLogger().addHandler(handler)  # the second: what is not heard any more where the actor dies
        self._send(Ready())
        trials: list[Trial] = []
        last: int | None = None
        while True:
            job, fresh = self._orders.get()
            assert isinstance(job, Job)
            if last is not None and last != job.number:
                acts.tidy(last)  # the search gives the next job when it has heard all of the last one
            last = job.number
            trials += fresh
            with suppress(OSError):
                os.ftruncate(1, 0)  # what it prints matters where it dies, and then the last lines do
            perform(job, acts, trials, lambda: self._word, self._send)

    def _look(self) -> None:
        told, bell = 0.0, threading.Event()
        while not bell.wait(LOOK_S):
            now = resident_gb(os.getpid())
            if abs(now - told) > max(CHANGE_GB, CHANGE * told):
                told = now
                self._send(Used(now))


class _Log(QueueHandler):
    """The search writes the one log of the study."""

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue(record)  # type: ignore[operator]
