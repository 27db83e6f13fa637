"""The trials that run: begun, cut short where they must be, recorded when they end or their worker dies."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import optuna

from autoopt.core.errors import CUTS, FULL, KILLED, LIMIT, OVER, STOP, AutooptError, Bug, Interrupted
from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, DIED, FAILED, SCREENED, Evaluation, Trial
from autoopt.search.jobs import Began, Died, Ended, Epoch, Event, Free, Job
from autoopt.search.ledger import Ledger
from autoopt.search.limits import BEYOND, LATE_S, RESPONSE_S
from autoopt.search.search import Search

LOOK_S = 0.25  # between two looks at a process' memory
FULL_IN_A_ROW = 3  # trials that a full disk ends while it has room by the figures: then it is another disk


@dataclass
class Going:
    job: Job
    asked: optuna.Trial | None
    """None: nobody asked, it is the baseline, or siblings that were owed."""
    owed: list[Recipe]
    """Siblings that have not been heard of yet."""
    anew: list[Recipe]
    """Siblings that something from outside ended."""
    on_record: bool
    began: float = field(default_factory=time.monotonic)
    cut: str = ""
    why: str = ""
    cut_at: float = 0.0
    looked_at: float = 0.0
    used_gb: float = 0.0


@dataclass
class Running:
    search: Search
    ledger: Ledger
    owe: Callable[[Job], None]
    """Takes siblings that a dead worker did not come to."""
    is_over: Callable[[], bool]
    failures: int = 0
    """Trials that failed in a row, up to now."""
    fulls: int = 0
    """Trials in a row that a full disk ended."""
    baseline_deaths: int = 0
    _going: dict[int, Going] = field(default_factory=dict)

    def any(self) -> bool:
        return bool(self._going)

    def count(self) -> int:
        """Trials that are not on record yet."""
        return sum(not going.on_record for going in self._going.values())

    def has(self, recipe: Recipe) -> bool:
        return any(recipe == going.job.recipe or recipe in going.owed for going in self._going.values())

    def begin(self, job: Job, asked: optuna.Trial | None) -> None:
        going = Going(job, asked, list(job.siblings), [], on_record=job.parent is not None)
        self._going[job.number] = going
        if job.parent is not None:
            self._reserve(job.siblings, job.number)
        self.search.watch.on_start(job.number, job.recipe)
        self.search.crew.begin(job, self.ledger.trials, lambda: self._cut(going))

    def handle(self, event: Event) -> None:
        """Record what has happened. Raises Bug after it, and AutooptError where the baseline cannot be measured."""
        going = self._going.get(event.number)
        if going is None:
            return
        if isinstance(event, Began):
            self.search.watch.on_stage(event.number, event.stage)
        elif isinstance(event, Epoch):
            self.search.watch.on_epoch(event.number, event.epoch, event.quality)
        elif isinstance(event, Ended):
            self._ended(going, event)
        elif isinstance(event, Died):
            self._died(going, event)
        elif isinstance(event, Free):
            self._owe(going, going.anew)
            self._free(event.number, keep=bool(going.anew))

    def tick(self) -> None:
        """End processes that do not react. The others are told to end by `_cut`, which their crew asks."""
        for number, going in self._going.items():
            grace = {STOP: self.search.limits.grace_s, OVER: LATE_S, LIMIT: RESPONSE_S}
            self._look(going)
            self._cut(going)
            late = going.cut and time.monotonic() - going.cut_at > grace[going.cut]
            most = self.search.limits.trial_gb
            if late or (most is not None and going.used_gb > BEYOND * most):
                self.search.crew.kill(number)

    def _cut(self, going: Going) -> str:
        """Why the trial is to end now, '' to go on. A stop overrules the others."""
        if self.search.should_stop():
            self._set(going, STOP)
        elif not going.cut and self.is_over():
            self._set(going, OVER)
        elif not going.cut and (why := self._over_limit(going)):
            self._set(going, LIMIT, why)
        return going.cut

    def _set(self, going: Going, cut: str, why: str = "") -> None:
        if going.cut != cut:
            going.cut, going.why, going.cut_at = cut, why, time.monotonic()

    def _over_limit(self, going: Going) -> str:
        limits, now = self.search.limits, time.monotonic()
        if limits.trial_minutes is not None and now - going.began > 60 * limits.trial_minutes:
            return f"it took longer than limits.trial_minutes={limits.trial_minutes:g}"
        self._look(going)
        if limits.trial_gb is None or going.used_gb <= limits.trial_gb:
            return ""
        return f"it used {going.used_gb:.2f} GB of memory, limits.trial_gb={limits.trial_gb:.3g}"

    def _look(self, going: Going) -> None:
        """At the memory of its process."""
        now = time.monotonic()
        if self.search.limits.trial_gb is not None and now - going.looked_at >= LOOK_S:
            going.looked_at, going.used_gb = now, self.search.crew.used_gb(going.job.number)

    def _ended(self, going: Going, ended: Ended) -> None:
        going.began = time.monotonic()  # what comes next has its own time, and is not to blame for what came before
        why, going.why, going.cut = going.why, "", going.cut if going.cut in (STOP, OVER) else ""
        if ended.sibling:
            going.owed.remove(ended.recipe)
            ended, again = self._judged(ended)
            if not self._hands_over(ended, going.job.number):
                self.ledger.add(ended, going.job.number, again=again)
            going.anew += [ended.recipe] * again
        elif going.asked is None:
            self._baseline_ended(going, ended, why)
        else:
            self._own_ended(going, going.asked, _explained(ended, why))
        if ended.bug:
            raise Bug(ended.trace)

    def _baseline_ended(self, going: Going, ended: Ended, why: str) -> None:
        if ended.cut == STOP:
            raise Interrupted(ended.reason)
        self.fulls = self.fulls + 1 if ended.cut == FULL else 0
        if ended.cut == FULL and self.fulls < FULL_IN_A_ROW:
            return self.ledger.wait_a_little("the disk is full")  # it is begun anew when there is room
        if ended.state == FAILED and not ended.bug:
            remedy = ": type a larger one" if ended.cut == LIMIT else ""
            raise AutooptError(f"the baseline cannot be measured: {why or ended.reason}{remedy}")
        going.on_record = True
        self.ledger.add(ended, None)

    def _own_ended(self, going: Going, asked: optuna.Trial, ended: Ended) -> None:
        going.on_record = True
        ended, again = self._judged(ended)
        if ended.state != SCREENED and not ended.cut:
            self._reserve(going.owed, going.job.number)
        if self._hands_over(ended, None, asked):
            self.failures = 0
            return
        self.ledger.close(asked, ended, again=again, sibling_of=_sibling_of(going.job))
        if not again:
            self.failures = self.failures + 1 if ended.state == FAILED else 0
        if ended.cut == STOP and not self.search.should_stop():
            raise Interrupted(ended.reason)  # Ctrl-C in a program that uses this as a library

    def _hands_over(self, ended: Ended, sibling_of: int | None, asked: optuna.Trial | None = None) -> bool:
        """Where another machine measures what is made here."""
        peers = self.search.peers
        if self.search.measures or peers is None or ended.state != COMPLETE:
            return False
        self.ledger.patiently(
            lambda: peers.hand_over(asked or peers.reserved(ended.recipe, sibling_of), ended, sibling_of)
        )
        return True

    def _judged(self, ended: Ended) -> tuple[Ended, bool]:
        """How it is recorded, and whether its recipe is tried again: what came from outside says nothing about it."""
        self.fulls = self.fulls + 1 if ended.cut == FULL else 0
        if ended.cut == KILLED:  # a process that measured for it, maybe by the signal that stops the search
            evaluation = replace(ended.evaluation, facts={**ended.evaluation.facts, DIED: ended.reason})
            again = self.search.should_stop() or self.ledger.deaths(ended.recipe) < self.search.limits.retries
            return replace(ended, evaluation=evaluation), again
        return ended, ended.cut in (STOP, OVER) or (ended.cut == FULL and self.fulls < FULL_IN_A_ROW)

    def _died(self, going: Going, died: Died) -> None:
        """The recipe that the worker had is to blame, unless it was ended on purpose."""
        recipe = going.owed[0] if going.on_record and going.owed else going.job.recipe
        ended = self._lost(going, died, recipe)
        retries = self.search.limits.retries
        again = ended.cut in (STOP, OVER) or (not ended.cut and self.ledger.deaths(recipe) < retries)
        ended = replace(ended, reason=ended.reason + _outlook(ended, again))
        if not going.on_record and going.asked is None:
            self.baseline_deaths += 1
            if ended.cut == STOP:
                raise Interrupted(ended.reason)
            if ended.cut or self.baseline_deaths > retries:
                remedy = ": type a larger one" if ended.cut == LIMIT else ""
                raise AutooptError(f"the baseline cannot be measured: {self._lost(going, died, recipe).reason}{remedy}")
        elif not going.on_record and going.asked is not None:
            self.ledger.close(going.asked, ended, again=again, sibling_of=_sibling_of(going.job))
            self.failures += not again
        elif going.owed and ended.cut not in (STOP, OVER):  # else the next session makes up for them
            self._sibling_died(going, ended, again)
        self._free(going.job.number, keep=going.on_record and bool(going.owed))

    def _sibling_died(self, going: Going, ended: Ended, again: bool) -> None:
        self.ledger.add(ended, going.job.number, again=again)
        self._owe(going, [*going.owed[1:], *going.anew, *going.owed[:1] * again])

    def _owe(self, going: Going, recipes: Sequence[Recipe]) -> None:
        parent = going.job.parent or self._trial(going.job.number)
        if recipes and parent is not None:
            self.owe(replace(going.job, siblings=tuple(recipes), parent=parent))
        elif recipes and self.search.peers is not None:  # the trial was handed over: nobody makes up for its siblings
            self.search.peers.release(recipes)

    def _reserve(self, recipes: Sequence[Recipe], sibling_of: int) -> None:
        """Before their trial ends: no other process takes them for free."""
        peers = self.search.peers
        if peers is not None:
            self.ledger.patiently(lambda: peers.reserve(recipes, sibling_of))

    def _trial(self, number: int) -> Trial | None:
        return next((trial for trial in self.ledger.trials if trial.number == number), None)

    def _lost(self, going: Going, died: Died, recipe: Recipe) -> Ended:
        """What is known of a trial whose worker is gone."""
        seconds = {"train": time.monotonic() - going.began}
        if going.cut:
            reason = going.why if going.cut == LIMIT else str(CUTS[going.cut]())
            return Ended(going.job.number, recipe, FAILED, Evaluation({}, seconds), reason, cut=going.cut)
        reason = f"its worker died: {died.how}"
        return Ended(
            going.job.number, recipe, FAILED, Evaluation({}, seconds, facts={DIED: died.how}), reason, died.last_words
        )

    def _free(self, number: int, *, keep: bool = False) -> None:
        """`keep`: its weights serve siblings that are owed."""
        going, peers = self._going.pop(number), self.search.peers
        if peers is not None and (going.cut == STOP or not keep):
            self.ledger.patiently(lambda: peers.release(going.owed))
        if not keep and not (going.owed and going.cut == STOP):
            self.search.watch.on_free(number)


def _sibling_of(job: Job) -> int | None:
    """Of what another machine has made; who proposes a trial proposes no sibling."""
    return job.built.sibling_of if job.built else None


def _explained(ended: Ended, why: str) -> Ended:
    if ended.cut == LIMIT:
        return replace(ended, reason=why or ended.reason)
    if ended.cut in (STOP, OVER):
        return replace(ended, reason=str(CUTS[ended.cut]()))
    return replace(ended, reason=f"the disk is full: {ended.reason}") if ended.cut == FULL else ended


def _outlook(ended: Ended, again: bool) -> str:
    if ended.cut:
        return ""
    return "; its recipe was queued again" if again else "; its recipe is not tried again"
