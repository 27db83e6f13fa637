"""A worker: a process that does one job after the other, and lives no longer than the one that started it."""

import faulthandler
import importlib
import logging
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from autoopt.core.errors import AutooptError
from autoopt.core.trial import Trial
from autoopt.search.crew import Start
from autoopt.search.jobs import Event, Job, perform

OOM_SCORE = 800  # of -1000 to 1000: where memory runs out, Linux ends a worker before the search
POLL_S = 0.05


@dataclass(frozen=True)
class Ready:
    """The worker may be given jobs."""


@dataclass(frozen=True)
class Terminated:
    """The worker got a SIGTERM. Slurm and systemd send it to all processes, and the search decides what becomes of
    them; by hand it may be meant for this one alone.
    """


@dataclass(frozen=True)
class Broken:
    """The worker cannot begin."""

    reason: str
    trace: str
    bug: bool


def work(line: Connection, words: Path, preload: str) -> None:
    """The worker's life. What it prints goes to the file `words`; `preload`: a module that takes time to import."""
    _prepare(words)
    stop, send = _Stop(line), _Sender(line)

    def on_term(*_: Any) -> None:  # by a thread, since this one may be sending
        threading.Thread(target=send, args=(Terminated(),), daemon=True).start()

    signal.signal(signal.SIGTERM, on_term)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the search is gone
        importlib.import_module(preload)
        start: Start = line.recv()
        try:
            acts = start()
        except Exception as error:
            bug = not isinstance(error, AutooptError)
            return send(Broken(str(error), traceback.format_exc(), bug))
        logging.getLogger().addHandler(_Log(send))  # type: ignore[arg-type]
        send(Ready())
        trials: list[Trial] = []
        while True:
            job, fresh = line.recv()
            if not isinstance(job, Job):
                continue  # a word about a job that was over by then
            trials += fresh
            stop.begin(job)
            os.ftruncate(1, 0)  # what it prints matters where it dies, and then the last lines do
            perform(job, acts, trials, stop.cut, send)


class _Stop:
    """What the search said last about the job at hand, asked for every POLL_S at most."""

    def __init__(self, line: Connection) -> None:
        self._line, self._number, self._word, self._asked = line, -1, "", 0.0
        for number in (signal.SIGINT, signal.SIGHUP):  # they reach all processes of a terminal: the search decides
            signal.signal(number, signal.SIG_IGN)

    def begin(self, job: Job) -> None:
        self._number, self._word = job.number, ""

    def cut(self) -> str:
        now = time.monotonic()
        if now - self._asked > POLL_S:
            self._asked = now
            while self._line.poll():
                number, word = self._line.recv()
                if number == self._number:  # else it is about a job that was over by then
                    self._word = word
        return self._word


class _Sender:
    """Sends from any thread."""

    def __init__(self, line: Connection) -> None:
        self._line, self._lock = line, threading.Lock()

    def __call__(self, message: Event | Ready | Terminated | Broken | logging.LogRecord) -> None:
        with self._lock:
            self._line.send(message)


class _Log(QueueHandler):
    """The search writes the one log of the study."""

    def enqueue(self, record: logging.LogRecord) -> None:
        send: _Sender = self.queue  # type: ignore[assignment]
        send(record)


def _prepare(words: Path) -> None:
    speak_into(words)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    threading.Thread(target=_die_with_the_search, daemon=True).start()


def speak_into(words: Path) -> None:
    """What this process prints, a crash's trace among it, goes to the file."""
    words.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    for output in (sys.stdout, sys.stderr):
        os.dup2(file, output.fileno())
    faulthandler.enable(all_threads=False)


def _die_with_the_search() -> None:
    search = parent_process()
    if search is not None:
        search.join()
        os._exit(1)
