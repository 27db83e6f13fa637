"""A session: one run of a search on a study. The budget is for a session; one that was cut short is continued, not
begun anew.
"""

import time
from dataclasses import dataclass

from optuna import Study

from autoopt.core.trial import FAILED, Trial

SESSION, SEARCHED_S = "autoopt_session", "autoopt_searched_s"


@dataclass
class Session:
    """Counters of the current session. `searched_s` is the study's whole search time, its earlier sessions included."""

    study: Study
    first_trials: int
    first_s: float
    _earlier_s: float
    _began: float

    @classmethod
    def begin(cls, study: Study, trials: list[Trial]) -> "Session":
        """Goes on with the counters of the last session where that was killed or interrupted."""
        earlier = float(study.user_attrs.get(SEARCHED_S, 0.0))
        last = study.user_attrs.get(SESSION)
        first_trials, first_s = counted(trials), earlier
        if last is not None and last["ended_by"] in (None, "interrupt"):
            first_trials, first_s = last["first_trials"], last["first_s"]
        session = cls(study, first_trials, first_s, earlier, time.monotonic())
        session.save(None)
        return session

    @property
    def searched_s(self) -> float:
        return self._earlier_s + time.monotonic() - self._began

    def save(self, ended_by: str | None) -> None:
        """Called after each trial: a kill loses the running trial's seconds at most."""
        self.study.set_user_attr(SEARCHED_S, self.searched_s)
        self.study.set_user_attr(
            SESSION, {"first_trials": self.first_trials, "first_s": self.first_s, "ended_by": ended_by}
        )


@dataclass(frozen=True)
class Ended:
    """How the last session of a study ended; `stopped_by` is None while it runs or after a kill."""

    stopped_by: str | None
    searched_s: float


def last_ended(study: Study) -> Ended:
    last = study.user_attrs.get(SESSION) or {"ended_by": None}
    return Ended(last["ended_by"], float(study.user_attrs.get(SEARCHED_S, 0.0)))


def counted(trials: list[Trial]) -> int:
    """Trials that a budget counts: complete and screened ones."""
    return sum(trial.state != FAILED for trial in trials)
