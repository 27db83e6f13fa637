"""The loop: propose, have it evaluated, record, until the budget is spent."""

import logging
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from autoopt.core.errors import AutooptError, Bug, Interrupted
from autoopt.core.left import Left
from autoopt.core.recipe import Recipe
from autoopt.core.siblings import baseline, siblings
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Trial
from autoopt.search.asking import ask, drawn, random_sampler
from autoopt.search.budget import EXHAUSTED, FAILURES, budget_left, next_occurrence, seconds_left, spent
from autoopt.search.expected import expected_seconds
from autoopt.search.jobs import Job
from autoopt.search.ledger import Ledger
from autoopt.search.queue import leave, queue_again, queue_first, queue_left
from autoopt.search.record import RECORD, read_trials, running
from autoopt.search.running import Running
from autoopt.search.search import Search
from autoopt.search.session import ERROR, Session
from autoopt.search.telling import tell_repeat

log = logging.getLogger(__name__)

REPEATS_IN_A_ROW, FAILURES_IN_A_ROW = 50, 10
MOST_FAILURES_IN_A_ROW = 30  # also where something has worked before: a limit may be too small for all that trains
STUBBORN = 5  # repeats or failures in a row after which recipes are drawn at random: some samplers insist on a point
TOO_LONG_IN_A_ROW = 5  # proposals that would end after the deadline, until the search ends before it
WAIT_S = 0.2  # for news of workers, between two looks at the time, the disk and the signals
HOPELESS_S = 3600.0  # that a trial may run after the deadline where nothing is feasible yet
SAVE_S = 60.0  # a kill costs no more of the session's time


def run_search(search: Search) -> str:
    """Search until the budget is spent; returns why it stopped: trials, hours, until, kpis, plateau, exhausted (of the
    space), failures (too many in a row) or interrupt.

    Where other processes search the same study, see Peers, the one that leads waits for what they have begun.

    Raises AutooptError where the first FAILURES_IN_A_ROW trials all failed, and Bug where a trial met one, after it was
    recorded as failed.
    """
    trials, peers = read_trials(search.study), search.peers
    leads = peers is None or peers.leads
    run = Run(search, Session.begin(search.study, trials) if leads else Session.join(search.study), trials)
    try:
        with peers.knowing(trials) if peers else nullcontext():
            run.prepare() if leads else run.wait_for_the_baseline()
            run.ledger.hear(now=True)  # others may be at work on what this session would not begin
            stopped_by = run.until_spent()
    except Interrupted:
        stopped_by = "interrupt"
    except (AutooptError, Bug):
        run.ledger.patiently(lambda: run.session.save(ERROR))  # so that others do not wait for this one
        raise
    with suppress(Interrupted):  # the disk is full: the session counts as killed
        run.ledger.patiently(lambda: run.session.save(stopped_by))
    return stopped_by


@dataclass
class Run:
    """The state of a search while it runs."""

    search: Search
    session: Session
    trials: list[Trial]
    owed: list[Job] = field(default_factory=list)
    """Siblings that an earlier session, or a worker that died, did not come to."""
    repeats: int = 0
    too_long: int = 0
    """Each in a row, up to now."""
    _waits_for_others: bool = False
    _saved: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        until = self.search.budget.until
        self.until = next_occurrence(until, datetime.now()) if until else None
        self.ledger = Ledger(self.search, self.session, self.trials)
        self.running = Running(self.search, self.ledger, self.owed.append, self._is_over)

    def until_spent(self) -> str:
        while True:
            reason = self._why_stop()
            may_begin = self.search.crew.idle() and self._has_room()
            owes = bool(self.owed) and not self.search.should_stop() and not self._is_over()
            if may_begin and self.search.measures and not self.search.should_stop() and self._measure_for_others():
                continue
            if may_begin and owes:
                self.running.begin(self.owed.pop(0), None)
            elif may_begin and not reason:
                self._propose()
            elif not self.running.any() and reason and not owes and not self._others_work():
                break
            if self.search.should_stop() and not self.running.any():
                break
            self._tell_of_others(bool(reason) and not self.running.any())
            if not may_begin or self.running.any() or reason:
                self._turn(more=may_begin and not reason)
        if reason is None or self.search.should_stop():
            raise Interrupted("stopped between two trials")
        return reason

    def _tell_of_others(self, idle: bool) -> None:
        """Nothing is left to begin here, and others are not done."""
        waits = idle and self._others_work()
        if waits != self._waits_for_others:
            self._waits_for_others = waits
            self.search.watch.on_wait("for what other processes have begun" if waits else "")

    def _measure_for_others(self) -> bool:
        """Begin to measure what a machine has made that does not; False where there is no such artifact."""
        peers = self.search.peers
        taken = None if peers is None else self.ledger.patiently(peers.take)
        if taken is None:
            return False
        asked, recipe, built = taken
        self.running.begin(replace(self._job(asked.number, recipe, ()), built=built), asked)
        return True

    def prepare(self) -> None:
        """Trial 0, the first recipes, and what a stop or a deadline has left of an earlier session."""
        search = self.search
        while not self.trials:
            if search.should_stop():
                raise Interrupted("stopped before the baseline was measured")
            if search.crew.idle() and not self.running.any() and self._has_room():
                self.running.begin(self._job(0, baseline(search.space), ()), None)
            self._turn()
        self.ledger.patiently(lambda: queue_first(search.study, search.space, search.first))
        self.ledger.patiently(lambda: queue_left(search.study))
        self.ledger.patiently(lambda: queue_again(search.study, search.space, search.again))
        for recipe in search.again:
            self.ledger.known.pop(recipe, None)
        self._owe_what_was_left()

    def _owe_what_was_left(self) -> None:
        search = self.search
        owing = {t.number: t for t in self.trials if t.state != SCREENED and not t.again and t.sibling_of is None}
        for number in search.left:
            lost = self._siblings(owing[number].recipe) if number in owing else ()
            if lost:
                self.owed.append(self._job(number, owing[number].recipe, lost, owing[number]))
            else:
                search.watch.on_free(number)

    def wait_for_the_baseline(self) -> None:
        """The process that leads measures it; and what an earlier session here has left. Raises Interrupted."""
        while not self.trials:
            if self.search.should_stop():
                raise Interrupted("stopped before the baseline was measured")
            if self.search.peers is not None and self.search.peers.is_leaderless():
                raise AutooptError("the search ended before it had measured the baseline: type it again, then this")
            self._turn()
        self._owe_what_was_left()

    def _turn(self, *, more: bool = False) -> None:
        """Hear of the workers, or wait a little; not where there is `more` to begin, and somebody for it."""
        ended = len(self.trials)
        self.ledger.hear()
        idle = self.search.crew.idle()
        wait_s = 0.0 if idle and (more or not self.running.any()) else WAIT_S  # else nobody has anything to tell
        self.search.crew.turn(self.running.handle, wait_s)
        if self._others_work() and not self.running.any():
            time.sleep(WAIT_S)
        self.running.tick()
        with self.session.clock("log"):
            self.search.watch.on_turn(self._budget_left())
        if len(self.trials) > ended:
            self.repeats = self.too_long = 0
        if time.monotonic() - self._saved > SAVE_S:
            self._saved = time.monotonic()
            self.ledger.patiently(lambda: self.session.save(None))

    def _why_stop(self) -> str | None:
        """Why nothing more is proposed: what runs may change that by its end."""
        if self.search.should_stop():
            return "interrupt"
        left, ledger, peers = self._deadlines(), self.ledger, self.search.peers
        going = self.running.count() + (peers.count() if peers is not None else 0)
        since = self.session.first_trials
        reason = spent(self.search.budget, ledger.standing, since=since, left=left, running=going)
        if reason or (reason := peers.verdict if peers is not None else None):
            return reason
        if self.too_long >= TOO_LONG_IN_A_ROW:
            return min(left, key=lambda deadline: left[deadline])
        if self.repeats >= REPEATS_IN_A_ROW:
            if not going:
                log.warning("the last %d recipes proposed had all been evaluated: the space is exhausted", self.repeats)
            return EXHAUSTED
        if self.running.failures >= FAILURES_IN_A_ROW and ledger.standing.count(COMPLETE) <= 1:
            last = next(trial.reason for trial in reversed(self.trials) if trial.state == FAILED)
            raise AutooptError(f"the first {self.running.failures} trials all failed, the last one with: {last}")
        return FAILURES if self.running.failures >= MOST_FAILURES_IN_A_ROW else None

    def _propose(self) -> None:
        """One proposal. Where another process took this one for dead meanwhile, and has closed it, there is none."""
        with suppress(UpdateFinishedTrialError):
            self._propose_one()

    def _propose_one(self) -> None:
        """Begun, answered from the record, or left since it would take too long, or others are at it."""
        search, study, ledger, peers = self.search, self.search.study, self.ledger, self.search.peers
        ledger.hear(now=True)
        stubborn = max(self.repeats, self.running.failures) >= STUBBORN
        with random_sampler(study) if stubborn else nullcontext():
            asked = ledger.patiently(lambda: ask(study), "sampler")
            if peers is not None:
                ledger.patiently(lambda: peers.begin(asked))
            recipe = ledger.patiently(lambda: drawn(asked, search.space), "sampler")  # what is drawn is not drawn twice
        if recipe in ledger.known:
            self.repeats += 1
            return self._answer(asked, recipe)
        if self.running.has(recipe):
            return self._give_way(asked)
        if self._would_be_late(recipe):
            self.too_long += not ledger.patiently(lambda: leave(study, asked))
            return self._left(asked)
        siblings = self._siblings(recipe)
        if peers is not None and not ledger.patiently(lambda: peers.claims(asked, recipe, siblings)):
            return self._give_way(asked)
        ledger.hear()  # what the claim has found
        if recipe in ledger.known:  # another process was about to end it
            return self._answer(asked, recipe)
        if peers is not None and self._why_stop():  # others have begun the last ones at the same moment
            return self._give_way(asked)
        if peers is None:
            ledger.patiently(partial(asked.set_user_attr, RECORD, running(recipe)))
        return self.running.begin(self._job(asked.number, recipe, siblings), asked)

    def _answer(self, asked: optuna.Trial, recipe: Recipe) -> None:
        """From the record."""
        study, known, kpis = self.search.study, self.ledger.known[recipe], self.search.kpis
        self.ledger.patiently(lambda: tell_repeat(study, asked, known, kpis))
        self._left(asked)

    def _give_way(self, asked: optuna.Trial) -> None:
        """Somebody has the recipe."""
        self.repeats += 1
        self.ledger.patiently(lambda: leave(self.search.study, asked))
        self._left(asked)

    def _left(self, asked: optuna.Trial) -> None:
        """It is not begun here."""
        if self.search.peers is not None:
            self.search.peers.ended(asked.number)

    def _others_work(self) -> bool:
        """Also on siblings, or on what this process waits for before its first trial."""
        return (peers := self.search.peers) is not None and (peers.any() or not (peers.leads or self.trials))

    def _job(self, number: int, recipe: Recipe, owed: tuple[Recipe, ...], parent: Trial | None = None) -> Job:
        return Job(number, recipe, owed, self.search.rules, self.search.kpis, parent)

    def _siblings(self, recipe: Recipe) -> tuple[Recipe, ...]:
        """Those that are not on record yet."""
        if not self.search.rules.siblings or not recipe.is_trained:
            return ()
        peers = self.search.peers
        found = (other for other in siblings(self.search.space, recipe) if other not in self.ledger.known)
        return tuple(other for other in found if peers is None or not peers.has(other))

    def _has_room(self) -> bool:
        """Waits a little where there is none, and nothing runs that could make some."""
        if self.search.has_room(self.ledger.standing):
            self.ledger.go_on()
            return True
        if not self.running.any():
            self.ledger.wait_a_little("the disk is nearly full")
        return False

    def _is_over(self) -> bool:
        """Whether running trials are to end: with nothing feasible yet, they may come to their end, in an hour."""
        if not self.ledger.standing.feasible:
            return self._seconds_left() <= -HOPELESS_S
        return self._seconds_left() <= 0 or self.search.budget.stop == "kpis"

    def _seconds_left(self) -> float:
        return min(self._deadlines().values(), default=float("inf"))

    def _budget_left(self) -> Left:
        since, searched_s, until_s = self.session.first_trials, self.session.session_s, self._seconds_left()
        return budget_left(self.search.budget, self.trials, since=since, searched_s=searched_s, until_s=until_s)

    def _deadlines(self) -> dict[str, float]:
        return seconds_left(self.search.budget, self.session.session_s, self.until, datetime.now())

    def _would_be_late(self, recipe: Recipe) -> bool:
        """Never while nothing is feasible: then any model is better than none."""
        left = self._seconds_left()
        if left == float("inf") or not self.ledger.standing.feasible:
            return False
        return expected_seconds(recipe, self.trials) > left
