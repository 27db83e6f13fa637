"""What a searching process spends its time on: sampler, storage, the rest; and its round trips to the database."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from autoopt.core.clock import StageClock

OUTSIDE = "outside"


class Spy:
    """Counts from `begin` on, in this process. Stages are those of the session's clock: sampler asks, log writes."""

    def __init__(self) -> None:
        self._stage = OUTSIDE
        self._main = threading.current_thread()
        self.begin()
        self._watch_stages()
        self._watch_database()

    def begin(self) -> None:
        self.stages: dict[str, float] = defaultdict(float)
        self.trips: dict[str, int] = defaultdict(int)
        self.database_s: dict[str, float] = defaultdict(float)
        self.idle_s = 0.0
        self._began, self._cpu = time.perf_counter(), time.process_time()

    @contextmanager
    def idle(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.idle_s += time.perf_counter() - began

    def found(self, trials: int) -> dict[str, Any]:
        """Per trial, in ms: asking without the database, the database, and all else that is no waiting for workers."""
        wall = time.perf_counter() - self._began
        asking = self.stages["sampler"] - self.database_s["sampler"]
        writing = self.stages["log"] - self.database_s["log"]
        database = sum(seconds for stage, seconds in self.database_s.items() if stage != "heartbeat")
        rest = wall - self.idle_s - asking - writing - database
        parts = {"ask": asking, "record": writing, "database": database, "rest": rest, "idle": self.idle_s}
        return {
            "wall_s": round(wall, 2),
            "cpu_s": round(time.process_time() - self._cpu, 2),
            "ms_a_trial": {part: round(1e3 * seconds / max(1, trials), 2) for part, seconds in parts.items()},
            "round_trips_a_trial": {stage: round(n / max(1, trials), 1) for stage, n in sorted(self.trips.items())},
            "database_ms_a_trial": {
                stage: round(1e3 * s / max(1, trials), 2) for stage, s in sorted(self.database_s.items())
            },
        }

    def _watch_stages(self) -> None:
        original, spy = StageClock.__call__, self

        @contextmanager
        def call(clock: StageClock, stage: str) -> Iterator[None]:
            before, began = spy._stage, time.perf_counter()
            spy._stage = stage
            try:
                with original(clock, stage):
                    yield
            finally:
                spy._stage = before
                if before == OUTSIDE:  # one within another is counted once
                    spy.stages[stage] += time.perf_counter() - began

        StageClock.__call__ = call  # type: ignore[method-assign]

    def _watch_database(self) -> None:
        original, spy = psycopg.Connection.wait, self

        def wait(connection: Any, *args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return original(connection, *args, **named)
            finally:
                stage = spy._stage if threading.current_thread() is spy._main else "heartbeat"
                spy.trips[stage] += 1
                spy.database_s[stage] += time.perf_counter() - began

        psycopg.Connection.wait = wait  # type: ignore[method-assign]
