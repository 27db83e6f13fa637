"""The loop: propose, evaluate, tell, until the budget is spent."""

import logging
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime

import optuna

from autoopt.core.errors import AutooptError, Interrupted, Screened, TrialError
from autoopt.core.kpi import Kpi
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.space import Space, parameters, siblings
from autoopt.core.standing import Standing, standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Draft, Trial
from autoopt.search.asking import QUEUED, ask, random_sampler, was_queued
from autoopt.search.budget import Budget, next_occurrence, seconds_left, spent
from autoopt.search.expected import expected_seconds
from autoopt.search.record import RECORD, read_trials, running
from autoopt.search.rules import Rules
from autoopt.search.screening import Gate
from autoopt.search.session import Session
from autoopt.search.telling import add, tell, tell_repeat

log = logging.getLogger(__name__)

REPEATS_IN_A_ROW, FAILURES_IN_A_ROW = 50, 10
STUBBORN = 5  # repeats or failures in a row after which recipes are drawn at random: some samplers insist on a point
TOO_LONG_IN_A_ROW = 5  # proposals that would end after the deadline, until the search ends before it

Evaluate = Callable[[Draft, Gate], Iterable[Draft]]


@dataclass(frozen=True)
class Watch:
    """Told about the search as it goes: the live display, the tracker, the house-keeping of artifacts."""

    on_start: Callable[[int, Recipe], None] = lambda number, recipe: None
    before_record: Callable[[Trial, Standing], None] = lambda trial, standing: None
    """Before the study knows of the trial: what the record will refer to has to be there."""
    on_end: Callable[[Trial, Standing], None] = lambda trial, standing: None


@dataclass(frozen=True)
class Search:
    """A study and what it is searched with.

    `evaluate(draft, gate)` fills the draft, shows the gate what it finds, and returns the drafts of the siblings, which
    it may make one by one. It raises TrialError where a recipe fails.
    """

    study: optuna.Study
    space: Space
    kpis: tuple[Kpi, ...]
    evaluate: Evaluate
    budget: Budget
    first: Sequence[Recipe]
    """Asked before the sampler has a say; those outside of the space are left out."""
    rules: Rules = field(default_factory=Rules)
    watch: Watch = field(default_factory=Watch)
    should_stop: Callable[[], bool] = lambda: False


def run_search(search: Search) -> str:
    """Search until the budget is spent; returns why it stopped: trials, hours, until, kpis, plateau or interrupt.

    Raises AutooptError where the first FAILURES_IN_A_ROW trials all failed. Any other exception than TrialError and
    MemoryError from `evaluate` is a bug: the trial is recorded as failed, then it is raised again.
    """
    trials = read_trials(search.study)
    run = Run(search, Session.begin(search.study, trials), trials)
    try:
        if not trials:
            run.measure_baseline()
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
            left = seconds_left(self.search.budget, self.session.session_s, self.until, datetime.now())
            reason = spent(self.search.budget, self.standing, since=self.session.first_trials, left=left)
            if self.search.should_stop():
                raise Interrupted("stopped between two trials")
            if reason:
                return reason
            if self.too_long >= TOO_LONG_IN_A_ROW:
                return min(left, key=lambda deadline: left[deadline])
            if self.repeats >= REPEATS_IN_A_ROW:
                log.warning("the last %d recipes proposed had all been evaluated: the space is exhausted", self.repeats)
                return "plateau"
            if self.failures >= FAILURES_IN_A_ROW and self.standing.count(COMPLETE) <= 1:
                last = self.trials[-1].reason
                raise AutooptError(f"the first {self.failures} trials all failed, the last one with: {last}")
            self._one_trial(min(left.values(), default=float("inf")))

    def measure_baseline(self) -> None:
        """Trial 0, added as it stands whether or not the space contains it; then the first recipes are queued."""
        search, draft = self.search, Draft(BASELINE)
        search.watch.on_start(0, BASELINE)
        search.evaluate(draft, Gate(search.rules, search.kpis, (), BASELINE))
        self._add(0, draft, None)
        with self.session.clock("log"):
            for recipe in search.first:
                queued = parameters(search.space, recipe)
                if queued is not None:
                    search.study.enqueue_trial(queued, user_attrs={QUEUED: True})

    def _one_trial(self, seconds_left: float) -> None:
        """One proposal: evaluated, answered from the record, or left since it would take too long."""
        search, study, clock = self.search, self.search.study, self.session.clock
        stubborn = max(self.repeats, self.failures) >= STUBBORN
        with clock("sampler"), random_sampler(study) if stubborn else nullcontext():
            asked, recipe = ask(study, search.space)
        with clock("log"):
            if recipe in self.known:
                self.repeats += 1
                return tell_repeat(study, asked, self.known[recipe], search.kpis)
            if self.standing.feasible and expected_seconds(recipe, self.trials) > seconds_left:
                return self._leave(asked)
            asked.set_user_attr(RECORD, running(recipe))
            search.watch.on_start(asked.number, recipe)
        trial, found = self._evaluate(asked, recipe)
        self.repeats, self.failures, self.too_long = 0, self.failures + 1 if trial.state == FAILED else 0, 0
        self._record(trial, lambda: self._tell(asked, trial))
        for sibling in found:
            self._add(len(study.get_trials(deepcopy=False)), sibling, trial.number)
            if search.should_stop():
                break

    def _evaluate(self, asked: optuna.Trial, recipe: Recipe) -> tuple[Trial, Iterable[Draft]]:
        """The trial as it ended, and its siblings. Raises Interrupted, and what is a bug, after the study is safe."""
        search, number = self.search, asked.number
        others = siblings(search.space, recipe) if search.rules.siblings and recipe.is_trained else []
        draft = Draft(recipe, tuple(other for other in others if other not in self.known))
        try:
            found = search.evaluate(draft, Gate(search.rules, search.kpis, self.trials, recipe))
            return self._ended(number, draft, COMPLETE), found
        except Screened as screened:
            draft.facts |= {"screened_by": screened.by}
            return self._ended(number, draft, SCREENED, str(screened)), []
        except TrialError as error:
            return self._ended(number, draft, FAILED, str(error)), []
        except MemoryError as error:
            return self._ended(number, draft, FAILED, f"MemoryError: {error}"), []
        except (Interrupted, KeyboardInterrupt):
            self._tell(asked, self._ended(number, draft, FAILED, "interrupted; its recipe was queued again"))
            search.study.enqueue_trial(asked.params, user_attrs={"retry_of": number})
            raise
        except BaseException as error:
            self._tell(asked, self._ended(number, draft, FAILED, f"a bug: {type(error).__name__}: {error}"))
            raise

    def _ended(self, number: int, draft: Draft, state: str, reason: str = "", sibling_of: int | None = None) -> Trial:
        """The trial as it will stand in the record; it takes the seconds of the session's clock along."""
        for stage, seconds in self.session.clock.drain().items():
            draft.clock.seconds[stage] = draft.clock.seconds.get(stage, 0.0) + seconds
        trace = traceback.format_exc() if state == FAILED and reason != draft.failure else ""
        return Trial(
            number, state, draft.recipe, draft.evaluation(), reason, trace, self.session.searched_s, sibling_of
        )

    def _add(self, number: int, draft: Draft, sibling_of: int | None) -> None:
        """A trial that the sampler did not ask for. Nobody else adds to the study, so that its number is known."""
        state = FAILED if draft.failure else COMPLETE
        trial = self._ended(number, draft, state, draft.failure, sibling_of)
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

    def _tell(self, asked: optuna.Trial, trial: Trial) -> None:
        tell(self.search.study, asked, trial, self.search.kpis)

    def _leave(self, asked: optuna.Trial) -> None:
        """Too long for the time that is left. What was queued waits for the next session."""
        self.too_long += 1
        self.search.study.tell(asked, state=optuna.trial.TrialState.FAIL)
        if was_queued(asked):
            self.too_long = TOO_LONG_IN_A_ROW  # it would be the next one again
            self.search.study.enqueue_trial(asked.params, user_attrs={QUEUED: True})
