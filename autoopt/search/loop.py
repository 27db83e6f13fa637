"""The loop: propose, evaluate, tell, until the budget is spent."""

import logging
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime

import optuna

from autoopt.core.errors import AutooptError, Interrupted, OutOfTime, Screened, trial_failure
from autoopt.core.recipe import Recipe
from autoopt.core.siblings import baseline, siblings
from autoopt.core.standing import standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Draft, Trial
from autoopt.search.asking import ask, random_sampler
from autoopt.search.budget import EXHAUSTED, next_occurrence, seconds_left, spent
from autoopt.search.expected import expected_seconds
from autoopt.search.queue import leave, queue_first, queue_left, retry
from autoopt.search.record import RECORD, read_trials, running
from autoopt.search.screening import Gate
from autoopt.search.search import Search
from autoopt.search.session import Session
from autoopt.search.telling import add, tell, tell_repeat

log = logging.getLogger(__name__)

REPEATS_IN_A_ROW, FAILURES_IN_A_ROW = 50, 10
STUBBORN = 5  # repeats or failures in a row after which recipes are drawn at random: some samplers insist on a point
TOO_LONG_IN_A_ROW = 5  # proposals that would end after the deadline, until the search ends before it


def run_search(search: Search) -> str:
    """Search until the budget is spent; returns why it stopped: trials, hours, until, kpis, plateau, exhausted (of the
    space) or interrupt.

    Raises AutooptError where the first FAILURES_IN_A_ROW trials all failed. An error that is no `trial_failure` is a
    bug: the trial, or sibling, is recorded as failed with its trace, then it is raised again.
    """
    trials = read_trials(search.study)
    run = Run(search, Session.begin(search.study, trials), trials)
    try:
        run.prepare()
        stopped_by = run.until_spent()
    except Interrupted:
        stopped_by = "interrupt"
    run.session.save(stopped_by)
    return stopped_by


@dataclass
class Run:
    """The state of a search while it runs."""

    search: Search
    session: Session
    trials: list[Trial]
    known: dict[Recipe, Trial] = field(default_factory=dict)
    """Recipes that need not be evaluated again."""
    repeats: int = 0
    failures: int = 0
    too_long: int = 0
    """Each in a row, up to now."""

    def __post_init__(self) -> None:
        until = self.search.budget.until
        self.until = next_occurrence(until, datetime.now()) if until else None
        self.known = {trial.recipe: trial for trial in self.trials if trial.state != FAILED}
        self.standing = standing(self.trials, self.search.kpis)

    def until_spent(self) -> str:
        while True:
            left = self._deadlines()
            reason = spent(self.search.budget, self.standing, since=self.session.first_trials, left=left)
            if self.search.should_stop():
                raise Interrupted("stopped between two trials")
            if reason:
                return reason
            if self.too_long >= TOO_LONG_IN_A_ROW:
                return min(left, key=lambda deadline: left[deadline])
            if self.repeats >= REPEATS_IN_A_ROW:
                log.warning("the last %d recipes proposed had all been evaluated: the space is exhausted", self.repeats)
                return EXHAUSTED
            if self.failures >= FAILURES_IN_A_ROW and self.standing.count(COMPLETE) <= 1:
                last = self.trials[-1].reason
                raise AutooptError(f"the first {self.failures} trials all failed, the last one with: {last}")
            self._one_trial()

    def prepare(self) -> None:
        """Trial 0, the first recipes, and what a stop or a deadline has left of an earlier session."""
        search = self.search
        if not self.trials:
            self._measure_baseline()
        with self.session.clock("log"):
            queue_first(search.study, search.space, search.first)
            queue_left(search.study)
            last = next((t for t in reversed(self.trials) if t.sibling_of is None), self.trials[0])
        if search.rules.siblings and last.state != SCREENED and last.recipe.is_trained:
            tried = {trial.recipe for trial in self.trials}
            lost = [recipe for recipe in siblings(search.space, last.recipe) if recipe not in tried]
            self._add_siblings(search.make_up(last, lost), last.number)

    def _measure_baseline(self) -> None:
        """Added as it stands, whether or not the space contains it."""
        search, recipe = self.search, baseline(self.search.space)
        draft = Draft(recipe)
        search.watch.on_start(0, recipe)
        search.evaluate(draft, Gate(search.rules, search.kpis, (), recipe))
        if draft.error is not None:
            raise draft.error
        self._add(0, draft, None)

    def _one_trial(self) -> None:
        """One proposal: evaluated, answered from the record, or left since it would take too long."""
        search, study, clock = self.search, self.search.study, self.session.clock
        stubborn = max(self.repeats, self.failures) >= STUBBORN
        with clock("sampler"), random_sampler(study) if stubborn else nullcontext():
            asked, recipe = ask(study, search.space)
        with clock("log"):
            if recipe in self.known:
                self.repeats += 1
                return tell_repeat(study, asked, self.known[recipe], search.kpis)
            if self._would_be_late(recipe):
                self.too_long += not leave(study, asked)
                return None
            asked.set_user_attr(RECORD, running(recipe))
            search.watch.on_start(asked.number, recipe)
        trial, found = self._evaluate(asked, recipe)
        self.repeats, self.failures, self.too_long = 0, self.failures + 1 if trial.state == FAILED else 0, 0
        self._add_siblings(found, trial.number)

    def _is_over(self) -> bool:
        """Whether time is up: with nothing feasible yet, the trial that runs may come to its end."""
        return bool(self.standing.feasible) and self._seconds_left() <= 0

    def _seconds_left(self) -> float:
        return min(self._deadlines().values(), default=float("inf"))

    def _deadlines(self) -> dict[str, float]:
        return seconds_left(self.search.budget, self.session.session_s, self.until, datetime.now())

    def _would_be_late(self, recipe: Recipe) -> bool:
        """Never while nothing is feasible: then any model is better than none."""
        left = self._seconds_left()
        return left < float("inf") and bool(self.standing.feasible) and expected_seconds(recipe, self.trials) > left

    def _evaluate(self, asked: optuna.Trial, recipe: Recipe) -> tuple[Trial, Iterable[Draft]]:
        """The trial as it was recorded, and its siblings. Raises Interrupted, and what is a bug, after the record."""
        search, number = self.search, asked.number
        others = siblings(search.space, recipe) if search.rules.siblings and recipe.is_trained else []
        draft = Draft(recipe, tuple(other for other in others if other not in self.known))
        found: Iterable[Draft] = ()
        try:
            found = search.evaluate(draft, Gate(search.rules, search.kpis, self.trials, recipe, self._is_over))
            ended = self._ended(number, draft)
        except Screened as screened:
            draft.facts |= {"screened_by": screened.by}
            ended = self._ended(number, draft, SCREENED, str(screened))
        except OutOfTime as over:
            ended = self._ended(number, draft, FAILED, str(over))
            retry(search.study, asked)
        except (Interrupted, KeyboardInterrupt):
            ended = self._ended(number, draft, FAILED, "interrupted; its recipe was queued again")
            tell(search.study, asked, ended, search.kpis)
            retry(search.study, asked)
            raise
        except BaseException as error:
            draft.error = error
            ended = self._ended(number, draft)
        self._record(ended, lambda: tell(search.study, asked, ended, search.kpis))
        raise_bug(draft.error)
        return ended, found

    def _add_siblings(self, found: Iterable[Draft], parent: int) -> None:
        """A stop leaves the rest to the next session: see prepare."""
        for sibling in found:
            self._add(len(self.search.study.get_trials(deepcopy=False)), sibling, parent)
            raise_bug(sibling.error)
            if self.search.should_stop():
                break

    def _ended(
        self, number: int, draft: Draft, state: str = COMPLETE, reason: str = "", sibling_of: int | None = None
    ) -> Trial:
        """The trial as it will stand in the record; it takes the seconds of the session's clock along."""
        for stage, seconds in self.session.clock.drain().items():
            draft.clock.seconds[stage] = draft.clock.seconds.get(stage, 0.0) + seconds
        trace, ended_at_s = "", self.session.searched_s
        if draft.error is not None:
            bug = f"a bug: {type(draft.error).__name__}: {draft.error}"
            state, reason = FAILED, trial_failure(draft.error) or bug
            trace = "".join(traceback.format_exception(draft.error))
        return Trial(
            number, state, draft.recipe, draft.evaluation(), reason, trace, ended_at_s, sibling_of, time.time()
        )

    def _add(self, number: int, draft: Draft, sibling_of: int | None) -> None:
        """A trial that the sampler did not ask for. Nobody else adds to the study, so that its number is known."""
        trial = self._ended(number, draft, sibling_of=sibling_of)
        self._record(trial, lambda: add(self.search.study, self.search.space, trial, self.search.kpis))

    def _record(self, trial: Trial, write: Callable[[], None]) -> None:
        """What the trial left behind, then the study, then everybody who watches."""
        with self.session.clock("log"):
            self.trials.append(trial)
            self.standing = standing(self.trials, self.search.kpis)
            self.search.watch.before_record(trial, self.standing)
            write()
            if trial.state != FAILED:
                self.known[trial.recipe] = trial
            else:
                log.warning("trial %d failed: %s", trial.number, trial.reason)
            self.search.watch.on_end(trial, self.standing)
            self.session.save(None)


def raise_bug(error: BaseException | None) -> None:
    if error is not None and trial_failure(error) is None:
        raise error
