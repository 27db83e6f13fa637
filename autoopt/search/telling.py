"""Telling Optuna how a trial ended: objectives, constraints, state, and the record."""

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY as CONSTRAINT
from optuna.trial import TrialState, create_trial

from autoopt.core.kpi import Kpi
from autoopt.core.space import Space, parameters
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Trial
from autoopt.search.asking import distributions
from autoopt.search.queue import is_closed
from autoopt.search.record import RECORD, REPEATS, from_frozen, to_record

WORST_VIOLATION = 1e9  # stands for infinity, which JSON and databases do not keep
SCREENED_VIOLATION = 1e12  # above any sum of the others: see constraints()

FAILED_VIOLATION = 1e13

OPTUNA_STATES = {COMPLETE: TrialState.COMPLETE, SCREENED: TrialState.PRUNED, FAILED: TrialState.PRUNED}


def tell(study: optuna.Study, asked: optuna.Trial, trial: Trial, kpis: tuple[Kpi, ...]) -> None:
    """Close the asked trial: the record first, then the constraints, then the state.

    Raises UpdateFinishedTrialError where another process has closed it: it took this one for dead. Told again, after an
    answer was lost, it changes nothing.
    """
    try:
        asked.set_user_attr(RECORD, to_record(trial))
    except UpdateFinishedTrialError:
        if from_frozen(study._storage.get_trial(asked._trial_id)) == trial:
            return
        raise
    _close(study, asked, trial, kpis)


def tell_repeat(study: optuna.Study, asked: optuna.Trial, known: Trial, kpis: tuple[Kpi, ...]) -> None:
    """The asked recipe was evaluated before: the sampler hears the same again. Raises UpdateFinishedTrialError."""
    if is_closed(study, asked):
        return
    asked.set_user_attr(REPEATS, known.number)
    _close(study, asked, known, kpis)


def add(study: optuna.Study, space: Space, trial: Trial, kpis: tuple[Kpi, ...]) -> None:
    """A trial that nobody asked for: the baseline, a sibling. Its parameters are left out where the space lacks it."""
    answers = parameters(space, trial.recipe) or {}
    study.add_trial(
        create_trial(
            state=optuna_state(trial),
            values=losses(kpis, trial) if trial.state == COMPLETE else None,
            params=answers,
            distributions=distributions(space, trial.recipe) if answers else {},
            user_attrs={RECORD: to_record(trial)},
            constraints=constraints(kpis, trial),
        )
    )


def optuna_state(trial: Trial) -> TrialState:
    """FAIL is what samplers leave out: a trial that did not come to its own end."""
    return TrialState.FAIL if trial.again else OPTUNA_STATES[trial.state]


def losses(kpis: tuple[Kpi, ...], trial: Trial) -> list[float]:
    return [kpi.loss(trial.measurements[kpi.name]) for kpi in kpis if kpi.objective]


def constraints(kpis: tuple[Kpi, ...], trial: Trial) -> dict[str, float]:
    """The violations, each by its bound. Samplers add the positive ones up and rank by the sum.

    A screened trial has broken fewer bounds than it would have, had it been measured to its end: one more constraint
    ranks it behind every finished one, and among its like by what it is known to have broken. One that failed by its
    own fault ranks behind those: bad, not unknown.
    """
    found = {key: min(violation, WORST_VIOLATION) for key, violation in trial.violations(kpis).items()}
    behind = {SCREENED: {"screened": SCREENED_VIOLATION}, FAILED: {"failed": FAILED_VIOLATION}}
    return found | behind.get(trial.state, {})


def _close(study: optuna.Study, asked: optuna.Trial, trial: Trial, kpis: tuple[Kpi, ...]) -> None:
    for key, violation in constraints(kpis, trial).items():
        # Trial.set_constraint reads the whole trial before each: ten statements in a database, of one that writes.
        study._storage.set_trial_system_attr(asked._trial_id, f"{CONSTRAINT}:{key}", violation)
    try:
        if trial.state == COMPLETE:
            study.tell(asked, losses(kpis, trial))
        else:
            study.tell(asked, state=optuna_state(trial))
    except ValueError as error:
        if is_closed(study, asked):  # in this moment, by another process
            raise UpdateFinishedTrialError(str(error)) from error
        raise
