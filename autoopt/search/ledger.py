"""What a search knows and writes down: each trial once, in the study first, then for everybody who watches."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from autoopt.core.errors import Interrupted, chain, one_line
from autoopt.core.recipe import Recipe
from autoopt.core.standing import grown, standing
from autoopt.core.trial import Trial
from autoopt.search.jobs import Ended
from autoopt.search.patience import passing
from autoopt.search.queue import LEFT, retry
from autoopt.search.search import Search
from autoopt.search.session import Session
from autoopt.search.telling import add, tell

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE_S = 0.5


@dataclass
class Ledger:
    """`trials` in the order of their ends: it only grows."""

    search: Search
    session: Session
    trials: list[Trial]
    known: dict[Recipe, Trial] = field(default_factory=dict)
    """Recipes that need not be evaluated again."""
    _waits: bool = False

    def __post_init__(self) -> None:
        self.known = {trial.recipe: trial for trial in self.trials if not trial.again}
        self.standing = standing(self.trials, self.search.kpis)

    def deaths(self, recipe: Recipe) -> int:
        """How many workers died while they had it."""
        return sum(trial.recipe == recipe and trial.killed_worker for trial in self.trials)

    def close(self, asked: optuna.Trial, ended: Ended, *, again: bool = False, sibling_of: int | None = None) -> None:
        """Record a trial that the sampler or the queue asked for; `again`: and queue its recipe."""
        trial = self._trial(asked.number, ended, again=again, sibling_of=sibling_of)
        try:
            if again:  # a kill before it is queued again is made up for by the next session: see queue_left
                self.patiently(lambda: asked.set_user_attr(LEFT, True))
            self._record(trial, lambda: tell(self.search.study, asked, trial, self.search.kpis))
            if again:
                self.patiently(lambda: retry(self.search.study, asked))
        except UpdateFinishedTrialError:
            self._closed_by_another(ended, sibling_of)

    def add(self, ended: Ended, sibling_of: int | None, *, again: bool = False) -> None:
        """Record a trial that nobody asked for."""
        peers, study = self.search.peers, self.search.study
        if peers is None or not self.trials:  # nobody else adds to the study, or yet: its number is known
            number = len(study.get_trials(deepcopy=False)) if self.trials else 0
            trial = self._trial(number, ended, sibling_of=sibling_of, again=again)
            return self._record(trial, lambda: self._add(trial))
        asked = self.patiently(lambda: peers.reserved(ended.recipe, sibling_of))
        peers.used(ended.recipe)
        return self.close(asked, ended, again=again, sibling_of=sibling_of)

    def _add(self, trial: Trial) -> None:
        """Once: where the answer to the first attempt was lost, it is there."""
        study = self.search.study
        if len(study.get_trials(deepcopy=False)) <= trial.number:
            add(study, self.search.space, trial, self.search.kpis)

    def hear(self, *, now: bool = False) -> None:
        """Of trials that other processes have ended."""
        peers = self.search.peers
        fresh = [] if peers is None else self.patiently(lambda: peers.news(now=now))
        if not fresh:
            return
        self.trials += fresh
        self.known |= {trial.recipe: trial for trial in fresh if not trial.again}
        for trial in fresh:
            self.standing = grown(self.standing, trial, self.search.kpis)
        self.search.watch.on_news(fresh, self.standing)

    def _closed_by_another(self, ended: Ended, sibling_of: int | None) -> None:
        """It took this process for dead while the database was out of reach. What was found is kept all the same,
        unless another has found it by now.
        """
        self.hear(now=True)
        if ended.recipe not in self.known and not ended.cut:
            self.add(ended, sibling_of)

    def wait_a_little(self, reason: str) -> None:
        """For something outside; the time counts as paused. See `go_on`."""
        if not self._waits:
            log.warning("%s: waiting", reason)
            self.search.watch.on_wait(reason)
        self._waits = True
        time.sleep(PAUSE_S)
        self.session.paused_s += PAUSE_S

    def go_on(self) -> None:
        if self._waits:
            self._waits = False
            self.search.watch.on_wait("")

    def patiently(self, write: Callable[[], T], stage: str = "log") -> T:
        """What `write` returns, tried again until the disk has room and the database takes it. Raises Interrupted."""
        while True:
            try:
                with self.search.at_work(), self.session.clock(stage):
                    found = write()
                self.go_on()
                return found
            except Exception as error:
                reason = passing(error)
                if reason is None:
                    raise
                if self.search.should_stop():
                    raise Interrupted(f"stopped while {reason}") from error
                self.wait_a_little(f"{reason} ({_cause(error)})")

    def _trial(self, number: int, ended: Ended, *, again: bool = False, sibling_of: int | None = None) -> Trial:
        """As it will stand in the record; it takes the seconds of the session's clock along."""
        seconds = dict(ended.evaluation.seconds)
        for stage, more in self.session.clock.drain().items():
            seconds[stage] = seconds.get(stage, 0.0) + more
        evaluation = replace(ended.evaluation, seconds=seconds)
        ended_at_s = self.session.searched_s
        return Trial(
            number,
            ended.state,
            ended.recipe,
            evaluation,
            ended.reason,
            ended.trace,
            ended_at_s,
            sibling_of,
            again,
            time.time(),
        )

    def _record(self, trial: Trial, write: Callable[[], None]) -> None:
        """What the trial left behind, then the study, then everybody who watches."""
        now = grown(self.standing, trial, self.search.kpis)
        self.patiently(lambda: self.search.watch.before_record(trial, now))
        self.patiently(write)
        self.trials.append(trial)
        self.standing = now
        if self.search.peers is not None:
            self.search.peers.ended(trial.number)
        if not trial.again:
            self.known[trial.recipe] = trial
        with self.search.at_work(), self.session.clock("log"):
            self.search.watch.on_end(trial, self.standing)
        self.patiently(lambda: self.session.save(None))


def _cause(error: BaseException) -> str:
    """The innermost message: what lies around it says less."""
    told = [one_line(each, 200) for each in chain(error) if str(each).strip("() ")]
    return told[-1] if told else type(error).__name__
