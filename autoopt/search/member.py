"""A worker of a crew, as the search knows it: what it was given, what it was told, what it said."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoopt.core.errors import AutooptError, Bug
from autoopt.core.trial import Trial
from autoopt.search.jobs import Event, Free, Job
from autoopt.search.worker import Broken, Ready

LAST_LINES = 30
STILLBORN = 3  # workers in a row that die before they are ready, until the search gives up


@dataclass
class Member:
    ready: bool = False
    job: Job | None = None
    cut: Callable[[], str] = lambda: ""
    told: str = ""
    """The last cut that it was told."""
    knows: int = 0
    """So many of the study's trials were sent to it."""
    logged: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    @property
    def idle(self) -> bool:
        return self.ready and self.job is None

    def give(self, job: Job, trials: Sequence[Trial], cut: Callable[[], str]) -> tuple[Job, list[Trial]]:
        """What to send to it: the job, and the trials that it does not know."""
        fresh = list(trials[self.knows :])
        self.job, self.cut, self.told = job, cut, ""
        self.knows += len(fresh)
        self.logged.clear()
        return job, fresh

    def word(self) -> tuple[int, str] | None:
        """What to send to it about its job: its number and why to cut it short; None where nothing has changed."""
        if self.job is None or (word := self.cut()) == self.told:
            return None
        self.told = word
        return self.job.number, word

    def hear(self, message: Any, handle: Callable[[Event], None]) -> None:
        """Raises AutooptError or Bug where it could not begin."""
        if isinstance(message, logging.LogRecord):
            self.logged.append(f"{message.levelname} {message.getMessage()}")
            logging.getLogger(message.name).handle(message)
        elif isinstance(message, Ready):
            self.ready = True
        elif isinstance(message, Broken):
            kind = Bug if message.bug else AutooptError
            raise kind(message.trace if message.bug else message.reason)
        else:
            if isinstance(message, Free):
                self.job = None
            handle(message)


def give_up(stillborn: int, how: str, words: str) -> None:
    """Raises AutooptError where too many workers in a row died before they were ready."""
    if stillborn >= STILLBORN:
        raise AutooptError(f"workers die before they can begin, the last one: {how}: {words or 'no word'}")
