"""Workers that are Ray actors: given jobs, listened to, buried and replaced. Only ray_driver.py meets Ray."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from autoopt.core.errors import STOP, AutooptError, ConfigError
from autoopt.core.trial import Trial
from autoopt.search.crew import Start
from autoopt.search.engines import Place, Ray
from autoopt.search.jobs import Died, Event, Job
from autoopt.search.member import LAST_LINES, Member, give_up
from autoopt.search.ray_actor import Setting, Used, packed, unpacked
from autoopt.search.ray_cluster import Found, no_cluster, said
from autoopt.search.ray_driver import Gone, Hello, News, Refused, drive
from autoopt.search.worker import Ready
from autoopt.search.workers import SPAWN

log = logging.getLogger(__name__)

JOIN_S = 120.0  # for the driver to join or to start a cluster
FAREWELL_S = 15.0  # for the driver to take leave of its cluster
FATAL = "Fatal Python error: "


@dataclass
class Worker(Member):
    where: str = ""
    node: str = ""
    pid: int = 0
    used_gb: float = 0.0
    killed: bool = False


class Actors:
    """So many actors, as a context. They are there, or on their way, when this returns; they begin with `open`.

    Raises ConfigError where the cluster cannot be used.
    """

    def __init__(self, engine: Ray, count: int, place: Place) -> None:
        self._engine, self._folder = engine, place.folder / "work"
        self._start: bytes | None = None
        self._stillborn, self._has_joined = 0, False
        self._workers = [Worker() for _ in range(count)]
        threads = {"OMP_NUM_THREADS": str(place.threads), "OMP_WAIT_POLICY": "PASSIVE"}
        setting = Setting(self._folder / "worker.txt", os.getcwd(), tuple(sys.path), threads, place.preload)
        self._words = self._folder / "ray.txt"
        self._line, theirs = SPAWN.Pipe()
        here = place.artifacts is None
        self._driver = SPAWN.Process(
            target=drive, args=(theirs, self._words, engine, count, setting, here), name="autoopt ray"
        )
        self._driver.start()
        theirs.close()
        try:
            place.say(said(self._joined(), count))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Actors":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End them: what they hold is lost. A cluster that was there before goes on."""
        with suppress(OSError):
            self._line.send(None)
        self._driver.join(FAREWELL_S if self._has_joined else 0.0)
        self._driver.kill()
        self._driver.join(10)
        self._line.close()
        for words in (self._words, *map(self._file, range(len(self._workers)))):
            words.unlink(missing_ok=True)
        self._workers = []

    def open(self, start: Start) -> None:
        self._start = packed(start)
        for place in range(len(self._workers)):
            self._begin(place)
        while not self.idle():
            self.turn(lambda event: None, wait_s=1.0)

    def idle(self) -> bool:
        return any(worker.idle for worker in self._workers)

    def begin(self, job: Job, trials: Sequence[Trial], cut: Callable[[], str]) -> None:
        place, worker = next((place, worker) for place, worker in enumerate(self._workers) if worker.idle)
        self._order(place, "job", worker.give(job, trials, cut))

    def turn(self, handle: Callable[[Event], None], wait_s: float) -> None:
        for place, worker in enumerate(self._workers):
            if word := worker.word():
                self._order(place, "word", word)
        if not wait([self._line, self._driver.sentinel], wait_s):
            return
        while (message := self._receive(handle)) is not None:
            if isinstance(message, News):
                for each in message.messages:
                    self._heard(self._workers[message.place], unpacked(each), handle)
            elif isinstance(message, Hello):
                self._met(self._workers[message.place], message)
            elif isinstance(message, Gone):
                self._bury(message, handle)

    def used_gb(self, number: int) -> float:
        return max(
            (worker.used_gb for worker in self._workers if worker.job and worker.job.number == number), default=0
        )

    def kill(self, number: int) -> None:
        for place, worker in enumerate(self._workers):
            if worker.job and worker.job.number == number and not worker.killed:
                log.info("%s did not end when it was told to, or takes too much memory: it is killed", worker.where)
                worker.killed = True
                self._send("kill", place)

    def places(self) -> list[tuple[str, int]]:
        """Node, by Ray's name, and process of each worker; '' and 0 of those that wait for room."""
        return [(worker.node, worker.pid) for worker in self._workers]

    def _met(self, worker: Worker, hello: Hello) -> None:
        worker.where, worker.node, worker.pid = f"process {hello.pid} on {hello.address}", hello.node, hello.pid
        log.info("worker %d is %s", hello.place, worker.where)

    def _joined(self) -> Found:
        try:
            message = self._line.recv() if self._line.poll(JOIN_S) else None
        except (EOFError, OSError):
            message = None
        if message is None:
            last = (self._printed(self._words) or ["it says nothing"])[-1]
            raise ConfigError(no_cluster(self._engine, last))
        if isinstance(message, Refused):
            raise ConfigError(message.reason)
        found: Found = message
        self._has_joined = True
        return found

    def _begin(self, place: int) -> None:
        self._send("order", place, packed(("start", self._start)))

    def _order(self, place: int, kind: str, value: Any) -> None:
        self._send("order", place, packed((kind, value)))

    def _send(self, kind: str, place: int, value: Any = None) -> None:
        with suppress(OSError):  # the driver died: the next turn says so
            self._line.send((kind, place, value))

    def _receive(self, handle: Callable[[Event], None]) -> Any:
        """The next message; None where there is none. Raises AutooptError where the cluster is lost."""
        try:
            return self._line.recv() if self._line.poll() else None
        except (EOFError, OSError):
            return self._lost(handle)

    def _lost(self, handle: Callable[[Event], None]) -> None:
        """The driver is dead, and all actors with it."""
        last = "\n".join(self._printed(self._words))
        log.error("the driver of Ray ended: %s", last)
        going = [worker for worker in self._workers if worker.job]
        if not going or any(worker.told != STOP for worker in going):
            raise AutooptError(
                "the Ray cluster does not answer any more, or its head is gone: the study is safe, and the same "
                "command goes on where it was"
            )
        self._workers = []  # the same signal has ended both
        for worker in going:
            assert worker.job is not None
            handle(Died(worker.job.number, "the Ray cluster is gone", last))

    def _bury(self, gone: Gone, handle: Callable[[Event], None]) -> None:
        worker = self._workers[gone.place]
        self._stillborn += not worker.ready and not gone.with_node
        printed = self._printed(self._file(gone.place))
        self._file(gone.place).unlink(missing_ok=True)  # the next one may live elsewhere
        words = "\n".join(printed or worker.logged)  # the file has both
        fatal = [line.removeprefix(FATAL) for line in printed if line.startswith(FATAL)]
        how = f"{gone.how} ({fatal[-1]})" if fatal else gone.how
        log.warning("worker %d, %s, died (%s): %s", gone.place, worker.where, how, gone.text)
        give_up(self._stillborn, how, words)
        self._workers[gone.place] = Worker()
        self._send("anew", gone.place)
        if self._start is not None:
            self._begin(gone.place)
        if worker.job is not None:
            handle(Died(worker.job.number, how, words))

    def _heard(self, worker: Worker, message: Any, handle: Callable[[Event], None]) -> None:
        if isinstance(message, Ready):
            self._stillborn = 0
        if isinstance(message, Used):
            worker.used_gb = message.gb
        else:
            worker.hear(message, handle)

    def _file(self, place: int) -> Path:
        return self._folder / f"worker-{place}.txt"

    def _printed(self, words: Path) -> list[str]:
        """The last lines, where it is on this machine or a shared folder."""
        try:
            lines: list[str] = words.read_text(errors="replace").splitlines()
        except OSError:
            return []
        return lines[-LAST_LINES:]
