"""Worker processes: started, given jobs, listened to, buried and replaced."""

import logging
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from autoopt.core.errors import STOP
from autoopt.core.memory import resident_gb
from autoopt.core.trial import Trial
from autoopt.search.crew import Start
from autoopt.search.jobs import Died, Event, Job
from autoopt.search.member import LAST_LINES, Member, give_up
from autoopt.search.worker import Ready, Terminated, work

log = logging.getLogger(__name__)

TERM_S = 2.0  # after a SIGTERM to a worker: the same to the search may come later, and then that decides
SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit locks and threads of torch in any state


@dataclass(kw_only=True)
class Worker(Member):
    process: Any
    line: Connection
    words: Path
    terminated_at: float = 0.0
    """When it got a SIGTERM."""
    ended: bool = False
    """For that reason."""


class Workers:
    """So many processes, as a context. They import `preload` at once, and begin when `start` is given: see `open`."""

    def __init__(self, count: int, folder: Path, preload: str) -> None:
        self._folder, self._preload = folder, preload
        self._start: Start | None = None
        self._stillborn = 0
        self._workers = [self._spawn(index) for index in range(count)]

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End them: what they hold is lost."""
        for worker in self._workers:
            _bury(worker)
        self._workers = []

    def open(self, start: Start) -> None:
        """`start()` makes what jobs are done with, in each worker; it is pickled. Waits for the first to be ready.

        Raises AutooptError or Bug where `start` does, here or, of workers that come later, from `turn`.
        """
        self._start = start
        for worker in self._workers:
            _send(worker, start)
        while not self.idle():
            self.turn(lambda event: None, wait_s=1.0)

    def idle(self) -> bool:
        return any(worker.idle for worker in self._workers)

    def begin(self, job: Job, trials: Sequence[Trial], cut: Callable[[], str]) -> None:
        worker = next(worker for worker in self._workers if worker.idle)
        _send(worker, worker.give(job, trials, cut))

    def turn(self, handle: Callable[[Event], None], wait_s: float) -> None:
        for worker in self._workers:
            if word := worker.word():
                _send(worker, word)
            if worker.terminated_at and time.monotonic() - worker.terminated_at > TERM_S and worker.told != STOP:
                worker.ended = True
                worker.process.kill()
        by_sign: dict[Any, int] = {}
        for place, worker in enumerate(self._workers):
            by_sign |= {worker.line: place, worker.process.sentinel: place}
        for place in sorted({by_sign[sign] for sign in wait(list(by_sign), wait_s)}):
            self._listen(place, handle)

    def used_gb(self, number: int) -> float:
        return max((resident_gb(w.process.pid) for w in self._workers if w.job and w.job.number == number), default=0.0)

    def kill(self, number: int) -> None:
        for worker in self._workers:
            if worker.job and worker.job.number == number:
                log.info(
                    "process %d did not end when it was told to, or takes too much memory: it is killed",
                    worker.process.pid,
                )
                worker.process.kill()

    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers]

    def _spawn(self, index: int) -> Worker:
        ours, theirs = SPAWN.Pipe()
        words = self._folder / f"worker-{index}.txt"
        process = SPAWN.Process(target=work, args=(theirs, words, self._preload), name=f"autoopt worker {index}")
        process.start()
        theirs.close()
        log.info("worker %d is process %d", index, process.pid)
        worker = Worker(process=process, line=ours, words=words)
        if self._start is not None:
            _send(worker, self._start)
        return worker

    def _listen(self, place: int, handle: Callable[[Event], None]) -> None:
        worker = self._workers[place]
        while (message := _receive(worker)) is not None:
            self._heard(worker, message, handle)
        if worker.process.is_alive():
            return
        self._stillborn += not worker.ready
        how = _how(-signal.SIGTERM if worker.ended else worker.process.exitcode)
        words = _last_words(worker)
        _bury(worker)
        log.warning("worker %d died (%s)", place, how)
        give_up(self._stillborn, how, words)
        self._workers[place] = self._spawn(place)
        if worker.job is not None:
            handle(Died(worker.job.number, how, words))

    def _heard(self, worker: Worker, message: Any, handle: Callable[[Event], None]) -> None:
        if isinstance(message, Ready):
            self._stillborn = 0
        if isinstance(message, Terminated):
            worker.terminated_at = time.monotonic()
        else:
            worker.hear(message, handle)


def _send(worker: Worker, message: Any) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # it died: the next turn says so
        worker.line.send(message)


def _receive(worker: Worker) -> Any:
    """Its next message; None where there is none, or it is dead, or died while it was sending."""
    try:
        return worker.line.recv() if worker.line.poll() else None
    except Exception:  # the line is closed, or what came over it is half of a message
        worker.process.join(5)
        worker.process.kill()  # it has closed its line: nobody hears of it any more
        worker.process.join(5)
        return None


def _bury(worker: Worker) -> None:
    worker.process.kill()
    worker.process.join(10)
    worker.line.close()
    worker.words.unlink(missing_ok=True)


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        cause = ": by hand, or by the system where memory ran out" if -code == signal.SIGKILL else ""
        return f"signal {-code}, {name}{cause}"
    return f"exit code {code}"


def _last_words(worker: Worker) -> str:
    """Of its log, then of what it printed, a crash's trace among it."""
    try:
        printed = worker.words.read_text(errors="replace").splitlines()[-LAST_LINES:]
    except OSError:
        printed = []
    return "\n".join([*worker.logged, *printed])
