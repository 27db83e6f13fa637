"""A job: one trial, or the siblings that an earlier one still owes, evaluated here or in a worker process."""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from autoopt.core.clock import StageClock
from autoopt.core.disk import is_full
from autoopt.core.errors import (
    CUTS,
    FULL,
    KILLED,
    LIMIT,
    OVER,
    STOP,
    Interrupted,
    Killed,
    OutOfTime,
    OverLimit,
    Screened,
    trial_failure,
)
from autoopt.core.kpi import Kpi
from autoopt.core.passwords import masked
from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, FAILED, HOST, MADE_ON, SCREENED, Draft, Evaluation, Trial
from autoopt.search.rules import Rules
from autoopt.search.screening import Gate

Evaluate = Callable[[Draft, Gate], Iterable[Draft]]
MakeUp = Callable[[Trial, Sequence[Recipe]], Iterable[Draft]]
Measure = Callable[[Draft, Gate], None]


@dataclass(frozen=True)
class Acts:
    """What a job is done with.

    `evaluate(draft, gate)` fills the draft, shows the gate what it finds, and returns the drafts of the siblings, which
    it may make one by one. It raises TrialError where a recipe fails; where only the draft's own scheme does, or a
    sibling's, the draft says so in `error`. `make_up(trial, recipes)` returns siblings of an earlier trial that a stop
    cost, as far as its weights are still there.
    """

    evaluate: Evaluate
    make_up: MakeUp = lambda trial, recipes: ()
    measure: Measure = lambda draft, gate: None
    """Measures the artifact that another machine has made of the draft's recipe."""
    tidy: Callable[[int], None] = lambda number: None
    """Removes what the job of that number has left on this machine, once the search has all that it needs of it."""
    where: Mapping[str, str] = field(default_factory=dict)
    """The machine, among the facts of all that is done there: HOST and CPU."""


@dataclass(frozen=True)
class Built:
    """What a machine that does not measure has made of a recipe; the artifact is in the store."""

    evaluation: Evaluation
    sibling_of: int | None


@dataclass(frozen=True)
class Job:
    number: int
    """Of the trial; of the one that trained the weights where `parent` is given."""
    recipe: Recipe
    siblings: tuple[Recipe, ...]
    rules: Rules
    kpis: tuple[Kpi, ...]
    parent: Trial | None = None
    """The trial is on record already: its siblings alone are asked for."""
    built: Built | None = None
    """Its artifact was made on another machine: it is measured alone."""


@dataclass(frozen=True)
class Epoch:
    number: int
    epoch: int
    quality: float


@dataclass(frozen=True)
class Began:
    """A stage of the trial."""

    number: int
    stage: str


@dataclass(frozen=True)
class Ended:
    """How the trial of a job, or a sibling of it, ended: plain values that travel between processes."""

    number: int
    recipe: Recipe
    state: str
    evaluation: Evaluation
    reason: str = ""
    trace: str = ""
    cut: str = ""
    """STOP, OVER, LIMIT, FULL or KILLED where it did not come to its own end."""
    bug: bool = False
    sibling: bool = False


@dataclass(frozen=True)
class Free:
    """A job is over, its siblings too."""

    number: int


@dataclass(frozen=True)
class Died:
    """A worker died while it had the job of this number."""

    number: int
    how: str
    """Signal or exit code, in words."""
    last_words: str
    """The last lines that it wrote."""


Event = Began | Epoch | Ended | Free | Died


def perform(
    job: Job, acts: Acts, trials: Sequence[Trial], cut: Callable[[], str], emit: Callable[[Event], None]
) -> None:
    """Do a job and emit what happens. `trials`: the study's so far; `cut()`: why to cut it short, '' to go on."""
    parent = job.parent
    found = acts.make_up(parent, job.siblings) if parent else _evaluated(job, acts, trials, cut, emit)
    for sibling in _each(job, found):
        emit(_ended(job, sibling, acts.where, sibling=True))
        if cut() == STOP:
            break  # the next session makes up for the rest
    emit(Free(job.number))


def _each(job: Job, found: Iterable[Draft]) -> Iterator[Draft]:
    """The siblings; where making them raises, the one that was to come next says so and is the last."""
    left, siblings = list(job.siblings), iter(found)
    while True:
        try:
            sibling = next(siblings, None)
        except Exception as error:
            if not left:
                raise
            yield Draft(left[0], error=error)
            return
        if sibling is None:
            return
        left.remove(sibling.recipe)
        yield sibling


def _evaluated(
    job: Job, acts: Acts, trials: Sequence[Trial], cut: Callable[[], str], emit: Callable[[Event], None]
) -> Iterable[Draft]:
    def on_epoch(epoch: int, quality: float) -> None:
        emit(Epoch(job.number, epoch, quality))

    clock = StageClock(on_stage=lambda stage: emit(Began(job.number, stage)))
    draft, found = Draft(job.recipe, job.siblings, clock), ()  # type: tuple[Draft, Iterable[Draft]]
    if job.built:
        clock.seconds.update(job.built.evaluation.seconds)
        draft.curve += job.built.evaluation.curve
        draft.facts |= job.built.evaluation.facts
        draft.facts[MADE_ON] = draft.facts[HOST]
    gate = Gate(job.rules, job.kpis, trials, job.recipe, cut, on_epoch, job.number)
    try:
        if job.built is None:
            found = acts.evaluate(draft, gate)
        else:
            acts.measure(draft, gate)
    except Exception as error:
        draft.error = error
    except KeyboardInterrupt:
        draft.error = CUTS[STOP]()
    emit(_ended(job, draft, acts.where))
    return found


def _ended(job: Job, draft: Draft, where: Mapping[str, str], *, sibling: bool = False) -> Ended:
    draft.facts |= where
    error, state, reason, trace, cut, bug = draft.error, COMPLETE, "", "", "", False
    if isinstance(error, Screened):
        draft.facts |= {"screened_by": error.by}
        state, reason = SCREENED, str(error)
    elif error is not None:
        state, cut = FAILED, _cut(error)
        failure = trial_failure(error) or (str(error) if cut else None)
        bug = failure is None
        reason = failure or masked(f"a bug: {type(error).__name__}: {error}")
        trace = "" if cut else masked("".join(traceback.format_exception(error)))
    return Ended(job.number, draft.recipe, state, draft.evaluation(), reason, trace, cut, bug, sibling)


def _cut(error: BaseException) -> str:
    kinds = {Interrupted: STOP, OutOfTime: OVER, OverLimit: LIMIT, Killed: KILLED}
    return next((cut for kind, cut in kinds.items() if isinstance(error, kind)), FULL if is_full(error) else "")
