"""The loop: propose, evaluate, tell, until the budget is spent."""

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from autoopt.core.errors import AutooptError, Interrupted, TrialError
from autoopt.core.kpi import Kpi
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.space import Choice, Range, Space, Value, draw, parameters
from autoopt.core.standing import Standing, standing
from autoopt.core.trial import COMPLETE, FAILED, Evaluation, Trial
from autoopt.search.budget import Budget, next_occurrence, spent
from autoopt.search.record import RECORD, REPEATS, read_trials, to_record
from autoopt.search.session import Session

log = logging.getLogger(__name__)

REPEATS_IN_A_ROW, FAILURES_IN_A_ROW = 50, 10
STUBBORN = 5  # repeats or failures in a row after which recipes are drawn at random: some samplers insist on a point
WORST_VIOLATION = 1e9  # stands for infinity, which JSON and databases do not keep

Evaluate = Callable[[Recipe, int], Evaluation]


@dataclass(frozen=True)
class Watch:
    """Told about the search as it goes: the live display, the tracker, the house-keeping of artifacts."""

    on_start: Callable[[int, Recipe], None] = lambda number, recipe: None
    on_end: Callable[[Trial, Standing], None] = lambda trial, standing: None


@dataclass(frozen=True)
class Search:
    """A study and what it is searched with. `evaluate(recipe, trial number)` raises TrialError where a recipe fails."""

    study: optuna.Study
    space: Space
    kpis: tuple[Kpi, ...]
    evaluate: Evaluate
    budget: Budget
    first: Sequence[Recipe]
    """Asked before the sampler has a say; those outside of the space are left out."""
    watch: Watch = Watch()
    should_stop: Callable[[], bool] = lambda: False


def run_search(search: Search) -> str:
    """Search until the budget is spent; returns why it stopped: trials, hours, until, kpis, plateau or interrupt.

    Raises AutooptError where the first FAILURES_IN_A_ROW trials all failed. Any other exception than TrialError and
    MemoryError from `evaluate` is a bug: the trial is recorded as failed, then it is raised again.
    """
    trials = read_trials(search.study)
    session = Session.begin(search.study, trials)
    until = next_occurrence(search.budget.until, datetime.now()) if search.budget.until else None
    try:
        if not trials:
            _measure_baseline(search, session, trials)
        stopped_by = _search(search, session, trials, until)
    except Interrupted:
        stopped_by = "interrupt"
    session.save(stopped_by)
    return stopped_by


def _search(search: Search, session: Session, trials: list[Trial], until: datetime | None) -> str:
    repeats = failures = 0
    while True:
        now = standing(trials, search.kpis)
        past = until is not None and datetime.now() >= until
        reason = spent(
            search.budget,
            now,
            since=session.first_trials,
            searched_s=session.searched_s - session.first_s,
            past_until=past,
        )
        if search.should_stop():
            raise Interrupted("stopped between two trials")
        if reason:
            return reason
        if repeats >= REPEATS_IN_A_ROW:
            log.warning("the last %d recipes proposed had all been evaluated before: the space is exhausted", repeats)
            return "plateau"
        if failures >= FAILURES_IN_A_ROW and now.count(COMPLETE) <= 1:
            raise AutooptError(f"the first {failures} trials all failed, the last one with: {trials[-1].reason}")
        trial = _next_trial(search, session, trials, stubborn=max(repeats, failures) >= STUBBORN)
        if trial is None:
            repeats += 1
            continue
        repeats, failures = 0, failures + 1 if trial.state == FAILED else 0
        trials.append(trial)
        session.save(None)
        search.watch.on_end(trial, standing(trials, search.kpis))


def _next_trial(search: Search, session: Session, trials: list[Trial], *, stubborn: bool) -> Trial | None:
    """One proposal, evaluated; None where its recipe was answered from the record."""
    with _random_sampler(search.study) if stubborn else nullcontext():
        asked = search.study.ask()
        recipe = draw(search.space, lambda parameter, knob: _suggest(asked, parameter, knob))
    known = next((trial for trial in trials if trial.state == COMPLETE and trial.recipe == recipe), None)
    if known is not None:
        asked.set_user_attr(REPEATS, known.number)
        _set_constraints(asked, search.kpis, known)
        search.study.tell(asked, _losses(search.kpis, known))
        return None
    asked.set_user_attr(RECORD, to_record(recipe, reason="running"))
    search.watch.on_start(asked.number, recipe)
    try:
        evaluation = search.evaluate(recipe, asked.number)
    except (TrialError, MemoryError) as error:
        return _fail(
            search,
            session,
            asked,
            recipe,
            f"{type(error).__name__}: {error}" if isinstance(error, MemoryError) else str(error),
        )
    except (Interrupted, KeyboardInterrupt):
        _fail(search, session, asked, recipe, "interrupted; its recipe was queued again")
        search.study.enqueue_trial(asked.params, user_attrs={"retry_of": asked.number})
        raise
    except BaseException as error:
        _fail(search, session, asked, recipe, f"a bug: {type(error).__name__}: {error}")
        raise
    trial = Trial(asked.number, COMPLETE, recipe, evaluation, ended_at_s=session.searched_s)
    asked.set_user_attr(RECORD, to_record(recipe, evaluation=evaluation, ended_at_s=trial.ended_at_s))
    _set_constraints(asked, search.kpis, trial)
    search.study.tell(asked, _losses(search.kpis, trial))
    return trial


@contextmanager
def _random_sampler(study: optuna.Study) -> Iterator[None]:
    """Within the block the study proposes at random; the seed is the number of trials, so that it never repeats."""
    before = study.sampler
    study.sampler = RandomSampler(seed=len(study.get_trials(deepcopy=False)))
    try:
        yield
    finally:
        study.sampler = before


def _measure_baseline(search: Search, session: Session, trials: list[Trial]) -> None:
    """Trial 0, added as it stands whether or not the space contains it; then the first recipes are queued."""
    search.watch.on_start(0, BASELINE)
    evaluation = search.evaluate(BASELINE, 0)
    trial = Trial(0, COMPLETE, BASELINE, evaluation, ended_at_s=session.searched_s)
    answers = parameters(search.space, BASELINE) or {}
    search.study.add_trial(
        optuna.trial.create_trial(
            values=_losses(search.kpis, trial),
            params=answers,
            distributions=_distributions(search.space, BASELINE) if answers else {},
            user_attrs={RECORD: to_record(BASELINE, evaluation=evaluation, ended_at_s=trial.ended_at_s)},
            constraints=_constraints(search.kpis, trial),
        )
    )
    for recipe in search.first:
        queued = parameters(search.space, recipe)
        if queued is not None:
            search.study.enqueue_trial(queued)
    trials.append(trial)
    session.save(None)
    search.watch.on_end(trial, standing(trials, search.kpis))


def _fail(search: Search, session: Session, asked: optuna.Trial, recipe: Recipe, reason: str) -> Trial:
    trial = Trial(
        asked.number, FAILED, recipe, reason=reason, trace=traceback.format_exc(), ended_at_s=session.searched_s
    )
    asked.set_user_attr(RECORD, to_record(recipe, reason=reason, trace=trial.trace, ended_at_s=trial.ended_at_s))
    search.study.tell(asked, state=TrialState.FAIL)
    log.warning("trial %d failed: %s", trial.number, reason)
    return trial


def _losses(kpis: tuple[Kpi, ...], trial: Trial) -> list[float]:
    return [kpi.loss(trial.measurements[kpi.name]) for kpi in kpis if kpi.objective]


def _constraints(kpis: tuple[Kpi, ...], trial: Trial) -> dict[str, float]:
    return {key: min(violation, WORST_VIOLATION) for key, violation in trial.violations(kpis).items()}


def _set_constraints(asked: optuna.Trial, kpis: tuple[Kpi, ...], trial: Trial) -> None:
    for key, violation in _constraints(kpis, trial).items():
        asked.set_constraint(key, violation)


def _suggest(asked: optuna.Trial, parameter: str, knob: Choice | Range) -> Value:
    if isinstance(knob, Choice):
        return asked.suggest_categorical(parameter, knob.values)  # type: ignore[return-value]
    if knob.whole:
        return asked.suggest_int(parameter, int(knob.low), int(knob.high), log=knob.log, step=int(knob.step or 1))
    return asked.suggest_float(parameter, knob.low, knob.high, log=knob.log, step=knob.step)


def _distribution(knob: Choice | Range) -> BaseDistribution:
    if isinstance(knob, Choice):
        return CategoricalDistribution(knob.values)
    if knob.whole:
        return IntDistribution(int(knob.low), int(knob.high), log=knob.log, step=int(knob.step or 1))
    return FloatDistribution(knob.low, knob.high, log=knob.log, step=knob.step)


def _distributions(space: Space, recipe: Recipe) -> dict[str, BaseDistribution]:
    """The distribution of each parameter that `draw` asks for this recipe."""
    found: dict[str, BaseDistribution] = {}
    wanted: dict[str, Any] = recipe.to_dict()

    def note(parameter: str, knob: Choice | Range) -> Value:
        found[parameter] = _distribution(knob)
        return wanted[parameter.partition("[")[0]]  # type: ignore[no-any-return]

    draw(space, note)
    return found
