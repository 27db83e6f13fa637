"""A session: one run of a search on a study. The budget is for a session; one that was cut short is continued, not
begun anew.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna import Study

from autoopt.core.clock import StageClock
from autoopt.core.left import counted
from autoopt.core.trial import Trial

SESSION = "autoopt_session"
ERROR = "error"
"""How a session ended that met a bug, or could not go on."""
JOINED = "autoopt_joined_ended"
"""Why a process that had joined found that nothing is left to do, in the session that goes on."""


@dataclass
class Session:
    """Counters of the current session. `searched_s` is the study's whole search time, its earlier sessions included.

    `clock` counts what no trial is running for (proposing, logging), until the next record takes it.
    """

    study: Study
    first_trials: int
    first_s: float
    _earlier_s: float
    clock: StageClock = field(default_factory=StageClock)
    leads: bool = True
    """False where another process began it, which alone writes it down."""
    paused_s: float = 0.0
    """Of this run, spent waiting for room on the disk: no search time."""
    _began: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(cls, study: Study, trials: Sequence[Trial]) -> "Session":
        """Goes on with the counters of the last session where that was killed or interrupted."""
        last = _saved(study)
        first_trials, first_s = counted(trials), last["searched_s"]
        if last["first_trials"] is not None and last["ended_by"] in (None, "interrupt", ERROR):
            first_trials, first_s = last["first_trials"], last["first_s"]
        searched_s = max([last["searched_s"], *(trial.ended_at_s for trial in trials)])  # others may have gone on
        session = cls(study, first_trials, first_s, searched_s, StageClock(dict(last["seconds"])))
        session.save(None)
        if study.user_attrs.get(JOINED):
            study.set_user_attr(JOINED, None)
        return session

    @classmethod
    def join(cls, study: Study) -> "Session":
        """That of the process that leads. Seconds count from what it wrote down last, a minute ago at the most."""
        last = _saved(study)
        return cls(study, last["first_trials"] or 0, last["first_s"], last["searched_s"], leads=False)

    @property
    def searched_s(self) -> float:
        return self._earlier_s + time.monotonic() - self._began - self.paused_s

    @property
    def session_s(self) -> float:
        """Of these, the seconds that count against the budget."""
        return self.searched_s - self.first_s

    def save(self, ended_by: str | None) -> None:
        """Called after each trial: a kill loses the running trial's seconds at most."""
        if not self.leads:
            if ended_by not in (None, "interrupt", ERROR):
                self.study.set_user_attr(JOINED, ended_by)
            return
        self.study.set_user_attr(
            SESSION,
            {
                "first_trials": self.first_trials,
                "first_s": self.first_s,
                "searched_s": self.searched_s,
                "seconds": dict(self.clock.seconds),
                "ended_by": ended_by,
            },
        )


@dataclass(frozen=True)
class Ended:
    """How the last session of a study ended; `stopped_by` is None while it runs or after a kill."""

    stopped_by: str | None
    searched_s: float
    seconds: dict[str, float]
    """By stage, what belongs to no trial's record."""


def last_ended(study: Study) -> Ended:
    last = _saved(study)
    return Ended(last["ended_by"], last["searched_s"], last["seconds"])


def joined_ended(study: Study) -> str | None:
    """Why one of the others has ended; None where none has come to an end of its own."""
    reason: str | None = study.user_attrs.get(JOINED)
    return reason


def _saved(study: Study) -> dict[str, Any]:
    never: dict[str, Any] = {"first_trials": None, "first_s": 0.0, "searched_s": 0.0, "seconds": {}, "ended_by": None}
    return {**never, **study.user_attrs.get(SESSION, {})}
