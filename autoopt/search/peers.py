"""Other processes that search the same study: what they have ended, what they work on, and that we are alive.

Optuna's own means: heartbeats say who is alive, a trial's state who has it, its record what it is about.
"""

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoopt.core.recipe import Recipe
from autoopt.core.space import Space, parameters
from autoopt.core.trial import Evaluation, Trial
from autoopt.search import storage
from autoopt.search.asking import distributions
from autoopt.search.jobs import Built, Ended
from autoopt.search.queue import close_unbegun, queue_left
from autoopt.search.record import BEGUN, BUILT, RECORD, TAKEN, from_frozen, recipes_of, running
from autoopt.search.session import last_ended

log = logging.getLogger(__name__)

LOOK_S = 1.0  # between two looks at what the others do


@dataclass
class Peers:
    """`leads`: of all processes, this one began the session, and concludes the study."""

    study: optuna.Study
    space: Space
    host: str = "another machine"
    """What this machine is called."""
    leads: bool = True
    is_led: Callable[[], bool] = lambda: True
    """Whether there is a process that leads; asked where this one does not."""
    verdict: str | None = None
    """Why the others, of a search that only conducts them, have ended."""
    over: bool = False
    """Whether the session of the process that leads has ended, as far as this one follows it."""
    _ours: dict[int, int] = field(default_factory=dict)
    """Optuna's id by number of the trials that run here."""
    _seen: set[int] = field(default_factory=set)
    """Numbers of ended trials that this process knows."""
    _fresh: list[Trial] = field(default_factory=list)
    """Ended elsewhere, and not told yet."""
    _theirs: list[FrozenTrial] = field(default_factory=list)
    """Running elsewhere, at the last look."""
    _handed: dict[int, int] = field(default_factory=dict)
    """Optuna's id by number of the trials that wait for the machine that measures: alive, until that has them."""
    _reserved: dict[Recipe, optuna.Trial] = field(default_factory=dict)
    _unbegun: dict[int, float] = field(default_factory=dict)
    """When trials were first seen that somebody asked for and did not begin."""
    _looked_at: float = -LOOK_S
    _steady_since: float = field(default_factory=time.monotonic)
    """Since when the heart beats without a miss."""
    _led_at: float = field(default_factory=time.monotonic)
    """When there last was a process that leads."""
    _asked_at: float = 0.0
    _beaten_at: float = 0.0
    _measures: bool = False
    """Whether this process measures what others make."""
    _queued_at: float = field(default_factory=time.monotonic)
    _closed: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def knowing(self, trials: Sequence[Trial]) -> Iterator[None]:
        """While a search goes on that knows of these trials."""
        self._seen |= {trial.number for trial in trials}
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        try:
            yield
        finally:
            self._closed.set()
            with suppress(Exception):  # the database is away: their heartbeats end, too
                self.release(list(self._reserved))

    def begin(self, asked: optuna.Trial) -> None:
        """A trial runs here from now on: its first heartbeat. What a kill leaves before, `_close_unbegun` finds."""
        self.study._storage.record_heartbeat(asked._trial_id)  # type: ignore[attr-defined]
        asked.set_user_attr(BEGUN, True)
        self._ours[asked.number] = asked._trial_id

    def ended(self, number: int) -> None:
        """It is on record, or was left."""
        self._ours.pop(number, None)
        self._seen.add(number)

    def claims(self, asked: optuna.Trial, recipe: Recipe, siblings: Sequence[Recipe]) -> bool:
        """Write down that recipe and siblings are worked on here; False where another process was faster. Of two that
        claim the same at one moment both may give way, never none.
        """
        asked.set_user_attr(RECORD, running(recipe, siblings, host=self.host))
        self._look()
        return not self.has(recipe)

    def reserve(self, recipes: Sequence[Recipe], sibling_of: int) -> None:
        """Numbers for siblings that are about to be made, so that nobody else begins them."""
        for recipe in recipes:
            if recipe not in self._reserved:
                answers = parameters(self.space, recipe) or {}
                trial = create_trial(
                    state=TrialState.RUNNING,
                    params=answers,
                    distributions=distributions(self.space, recipe) if answers else {},
                    user_attrs={RECORD: running(recipe, sibling_of=sibling_of, host=self.host)},
                )
                asked = optuna.Trial(self.study, self.study._storage.create_new_trial(self.study._study_id, trial))
                self.begin(asked)
                self._reserved[recipe] = asked

    def reserved(self, recipe: Recipe, sibling_of: int | None) -> optuna.Trial:
        """The number that a recipe has, or gets now; see `used`."""
        self.reserve([recipe], -1 if sibling_of is None else sibling_of)
        return self._reserved[recipe]

    def used(self, recipe: Recipe) -> None:
        self._reserved.pop(recipe, None)

    def release(self, recipes: Sequence[Recipe]) -> None:
        """Siblings that will not be made here: they count nowhere."""
        for recipe in recipes:
            asked = self._reserved.get(recipe)
            if asked is not None:
                close_unbegun(self.study, asked.number)
                self.ended(asked.number)
                self.used(recipe)

    def hand_over(self, asked: optuna.Trial, ended: Ended, sibling_of: int | None) -> None:
        """To the machine that measures: what was made here is in the store, the rest in the record."""
        built = {"evaluation": ended.evaluation.to_dict(), "sibling_of": sibling_of}
        try:
            asked.set_user_attr(BUILT, built)
        except UpdateFinishedTrialError:  # this process was taken for dead: what it has made counts all the same
            self.ended(asked.number)
            self.used(ended.recipe)
            asked = self.reserved(ended.recipe, sibling_of)
            asked.set_user_attr(BUILT, built)
        self._ours.pop(asked.number, None)
        self._handed[asked.number] = asked._trial_id
        self.used(ended.recipe)

    def take(self) -> tuple[optuna.Trial, Recipe, Built] | None:
        """An artifact that waits to be measured, which this process does from now on."""
        self._measures = True
        for frozen in filter(_waits, list(self._theirs)):
            self._theirs.remove(frozen)
            if not _waits(self.study._storage.get_trial(frozen._trial_id)):
                continue  # another process of this machine was faster
            asked, built = optuna.Trial(self.study, frozen._trial_id), frozen.user_attrs[BUILT]
            try:
                self.begin(asked)
                asked.set_user_attr(TAKEN, True)
            except UpdateFinishedTrialError:  # it was taken for lost
                self._ours.pop(frozen.number, None)
                return None
            evaluation = Evaluation.from_dict(built["evaluation"])
            return asked, recipes_of(frozen)[0], Built(evaluation, built["sibling_of"])
        return None

    def has(self, recipe: Recipe) -> bool:
        """Whether another process works on it."""
        return any(recipe in recipes_of(frozen) for frozen in self._theirs)

    def count(self) -> int:
        """Trials that run elsewhere, siblings not counted."""
        return sum(not _is_sibling(frozen) for frozen in self._theirs)

    def any(self) -> bool:
        """Whether others work, or what is made here still waits for a machine that measures, where there is one."""
        waiting = [frozen for frozen in self._theirs if _waits(frozen)]
        return len(waiting) < len(self._theirs) or (bool(waiting) and not self.is_leaderless())

    def is_leaderless(self) -> bool:
        """Whether no search has led the study for a while: who waits for one may end."""
        last = max(self._led_at, self._steady_since)  # a database that was away said nothing
        return not self.leads and time.monotonic() - last > storage.STALE_S

    def news(self, *, now: bool = False) -> list[Trial]:
        """Trials that others have ended, and were not told yet. It looks `now`, or LOOK_S after the last look."""
        if now or time.monotonic() - self._looked_at >= LOOK_S:
            self._look_after_them()
        fresh, self._fresh = self._fresh, []
        return fresh

    def _look_after_them(self) -> None:
        """And close what dead processes have left."""
        try:
            self._look()
        except Exception:
            self._steady_since = time.monotonic()
            self._unbegun.clear()
            raise
        if time.monotonic() - self._steady_since > storage.STALE_S:  # else those that live may not have said so yet
            if time.monotonic() - self._beaten_at > storage.BEAT_S:
                self._beat_once()  # this process may have been stopped by hand, and slept
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                fail_stale_trials(self.study)
            if self.leads and time.monotonic() - self._queued_at > storage.STALE_S:
                self._queued_at = time.monotonic()
                queue_left(self.study, lost_only=True)  # of a process that died before it had queued them

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        self.over = not self.leads and last_ended(self.study).stopped_by is not None
        self._look_for_the_leader()
        theirs = []
        for frozen in self.study.get_trials(deepcopy=False):
            if frozen.number in self._handed and (frozen.state.is_finished() or TAKEN in frozen.user_attrs):
                del self._handed[frozen.number]
            if frozen.state == TrialState.RUNNING and frozen.number not in self._ours:
                theirs.append(frozen)
            elif frozen.state.is_finished() and frozen.number not in self._seen:
                self._seen.add(frozen.number)
                trial = from_frozen(frozen)
                self._fresh += [] if trial is None else [trial]
        self._theirs = [frozen for frozen in theirs if RECORD in frozen.user_attrs]
        self._close_unbegun([frozen for frozen in theirs if BEGUN not in frozen.user_attrs])

    def _close_unbegun(self, found: Sequence[FrozenTrial]) -> None:
        """Trials that somebody asked for and died, or lost its connection, before it began."""
        now = time.monotonic()
        self._unbegun = {frozen.number: self._unbegun.get(frozen.number, now) for frozen in found}
        for number, since in self._unbegun.items():
            if now - since > storage.STALE_S:
                close_unbegun(self.study, number)

    def _beat(self) -> None:
        while not self._closed.wait(storage.BEAT_S):
            try:
                self._beat_once()
            except Exception as error:  # the database is away: whoever writes says so
                log.debug("no heartbeat: %s", error)
                self._steady_since = time.monotonic()

    def _beat_once(self) -> None:
        """Also for what waits to be measured here: who has made it may have ended."""
        self._beaten_at = time.monotonic()
        waiting = [frozen._trial_id for frozen in list(self._theirs) if self._measures and _waits(frozen)]
        for trial_id in [*self._ours.values(), *self._handed.values(), *waiting]:
            self.study._storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]

    def _look_for_the_leader(self) -> None:
        now = time.monotonic()
        if not self.leads and now - self._asked_at > storage.BEAT_S:
            self._asked_at = now
            self._led_at = now if self.is_led() else self._led_at


def _waits(frozen: FrozenTrial) -> bool:
    """Whether an artifact was made of it, and nobody measures that yet."""
    return frozen.state == TrialState.RUNNING and BUILT in frozen.user_attrs and TAKEN not in frozen.user_attrs


def _is_sibling(frozen: FrozenTrial) -> bool:
    return frozen.user_attrs[RECORD].get("sibling_of") is not None
