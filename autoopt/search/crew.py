"""Who does the jobs: this process, or workers of their own (see engines.py)."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from autoopt.core.memory import resident_gb
from autoopt.core.trial import FAILED, Trial
from autoopt.search.jobs import Acts, Ended, Event, Job, perform

Start = Callable[[], Acts]


class Crew(Protocol):
    def idle(self) -> bool:
        """Whether somebody is there for another job."""

    def begin(self, job: Job, trials: Sequence[Trial], cut: Callable[[], str]) -> None:
        """Give a job to somebody idle. `trials`: the study's so far, a list that only grows."""

    def turn(self, handle: Callable[[Event], None], wait_s: float) -> None:
        """Pass on what has happened; wait so long at most for something to happen."""

    def used_gb(self, number: int) -> float:
        """Memory of the process that has the job of this number."""

    def kill(self, number: int) -> None:
        """End the process that has the job of this number, where it is not this one: it is told as Died."""


class Hired(Crew, Protocol):
    """A crew of workers, as a context that ends them."""

    def __enter__(self) -> "Hired": ...

    def __exit__(self, *exc: object) -> None: ...

    def open(self, start: Start) -> None:
        """`start()` makes what jobs are done with, in each worker; it is pickled. Waits for the first to be ready.

        Raises AutooptError or Bug where `start` does, here or, of workers that come later, from `turn`.
        """

    def close(self) -> None:
        """End them: what they hold is lost."""


class Baseline:
    """The baseline in this process, and no more: others come for the trials."""

    def __init__(self, acts: Acts, *, measured: bool) -> None:
        """`measured`: it is on record already."""
        self._here, self._begun = Here(acts), measured

    def idle(self) -> bool:
        return not self._begun

    def begin(self, job: Job, trials: Sequence[Trial], cut: Callable[[], str]) -> None:
        self._begun = True
        self._here.begin(job, trials, cut)

    def turn(self, handle: Callable[[Event], None], wait_s: float) -> None:
        def heard(event: Event) -> None:
            if isinstance(event, Ended):
                self._begun = event.state != FAILED  # else it is begun anew
            handle(event)

        self._here.turn(heard, wait_s)
        if wait_s:
            time.sleep(wait_s)

    def used_gb(self, number: int) -> float:
        return self._here.used_gb(number)

    def kill(self, number: int) -> None:
        pass


class Here:
    """Jobs in this process, one at a time: nothing is started, nothing protects it from what they do."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts
        self._next: tuple[Job, Sequence[Trial], Callable[[], str]] | None = None

    def idle(self) -> bool:
        return self._next is None

    def begin(self, job: Job, trials: Sequence[Trial], cut: Callable[[], str]) -> None:
        self._next = (job, trials, cut)

    def turn(self, handle: Callable[[Event], None], wait_s: float) -> None:
        if self._next is not None:
            (job, trials, cut), self._next = self._next, None
            perform(job, self._acts, trials, cut, handle)

    def used_gb(self, number: int) -> float:
        return resident_gb(os.getpid())

    def kill(self, number: int) -> None:
        pass
