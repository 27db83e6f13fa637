"""What waits to be asked before the sampler has a say: first recipes, and those that a stop or a deadline cut short."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from autoopt.core.recipe import Recipe
from autoopt.core.space import Space, parameters
from autoopt.core.trial import DIED, WITH_SEARCH
from autoopt.search.record import RECORD, VOID

DEADLY = 4  # searches that died while they had the same recipe
DEADLY_REASON = f"{DEADLY} searches died while they had its recipe: it is not tried again"
QUEUED, RETRY_OF, LEFT = "queued", "retry_of", "left"
FIRST_QUEUED = "autoopt_first_queued"


def queue_first(study: optuna.Study, space: Space, recipes: Sequence[Recipe]) -> None:
    """Once a study; a kill on the way is made up for by the next call. Recipes outside of the space are left out."""
    if FIRST_QUEUED in study.user_attrs or not recipes:
        return
    for recipe in recipes:
        queued = parameters(space, recipe)
        if queued is not None:
            study.enqueue_trial(queued, user_attrs={QUEUED: True}, skip_if_exists=True)
    study.set_user_attr(FIRST_QUEUED, True)


def retry(study: optuna.Study, trial: optuna.Trial) -> None:
    """Ask the same recipe again, ahead of the sampler."""
    study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})


def leave(study: optuna.Study, asked: optuna.Trial) -> bool:
    """Close a trial that was asked and not begun. True where it was queued: then it waits for the next session."""
    waits = QUEUED in asked.user_attrs or RETRY_OF in asked.user_attrs
    if is_closed(study, asked):
        return waits
    if waits:
        asked.set_user_attr(LEFT, True)
    asked.set_user_attr(VOID, True)
    _fail(study, asked._trial_id)
    return waits


def queue_left(study: optuna.Study, *, lost_only: bool = False) -> None:
    """Queue what earlier sessions left, see leave, and what processes have died with; `lost_only`: the latter alone."""
    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    for trial in trials:
        if trial.state != TrialState.FAIL or trial.number in again:
            continue
        if (LEFT in trial.user_attrs and not lost_only) or _is_lost(trial, trials):
            _queue(study, trial)


def queue_again(study: optuna.Study, space: Space, recipes: Collection[Recipe]) -> None:
    """Recipes that were evaluated before, unless they are waiting already."""
    waiting = [
        t.system_attrs.get("fixed_params") for t in study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    ]
    for recipe in recipes:
        queued = parameters(space, recipe)
        if queued is not None and queued not in waiting:
            study.enqueue_trial(queued, user_attrs={QUEUED: True})


def queue_orphans(study: optuna.Study) -> None:
    """Close trials that a dead search left running, and queue them again. The caller holds the study's lock: nobody
    works on them.

    A recipe that so many searches died with is not asked again: it may be what killed them.
    """
    trials = study.get_trials(deepcopy=False)
    lost = [trial.user_attrs[RECORD]["recipe"] for trial in trials if _died(trial)]
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            record = trial.user_attrs.get(RECORD)
            if record is not None and lost.count(record["recipe"]) >= DEADLY:
                _note(study, trial, RECORD, {**record, "reason": DEADLY_REASON, "again": False})
            else:
                _note(study, trial, LEFT, True)
            _fail(study, trial._trial_id)
    queue_left(study)


def is_closed(study: optuna.Study, asked: optuna.Trial) -> bool:
    """Also by an earlier attempt of this process, whose answer was lost."""
    return bool(study._storage.get_trial(asked._trial_id).state.is_finished())


def close_unbegun(study: optuna.Study, number: int) -> None:
    """Close a trial of another process that was never begun; what had been queued is queued again."""
    frozen = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)
    if frozen.state != TrialState.RUNNING:
        return
    with suppress(UpdateFinishedTrialError):  # another process was faster
        _note(study, frozen, VOID, True)
        _fail(study, frozen._trial_id)
        if QUEUED in frozen.user_attrs or RETRY_OF in frozen.user_attrs:
            _queue(study, frozen)


def queue_lost(study: optuna.Study, frozen: FrozenTrial) -> None:
    """Queue the recipe of a trial whose process is gone, unless it may be what killed it: see queue_orphans."""
    if _is_lost(frozen, study.get_trials(deepcopy=False)):
        _queue(study, frozen)


def _is_lost(frozen: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether its heartbeat has stopped, and its recipe is to be tried again."""
    record, was_queued = frozen.user_attrs.get(RECORD), {QUEUED, RETRY_OF} & frozen.user_attrs.keys()
    if {VOID, LEFT} & frozen.user_attrs.keys():
        return False
    if record is None:
        return bool(was_queued)
    if not record["again"] or not _died(frozen):
        return False
    lost = [trial.user_attrs[RECORD]["recipe"] for trial in trials if _died(trial)]
    return record["evaluation"]["facts"][DIED] == WITH_SEARCH and lost.count(record["recipe"]) < DEADLY


def _queue(study: optuna.Study, frozen: FrozenTrial) -> None:
    asked = {**frozen.system_attrs.get("fixed_params", {}), **frozen.params}  # it may not have asked for all
    study.enqueue_trial(asked, user_attrs={RETRY_OF: frozen.number})


def _fail(study: optuna.Study, trial_id: int) -> None:
    """Raises UpdateFinishedTrialError where another process has closed it; Study.tell raises a ValueError then."""
    study._storage.set_trial_state_values(trial_id, state=TrialState.FAIL)


def _note(study: optuna.Study, trial: FrozenTrial, key: str, value: Any) -> None:
    study._storage.set_trial_user_attr(trial._trial_id, key, value)  # Optuna has no public way from outside


def _died(frozen: FrozenTrial) -> bool:
    evaluation = frozen.user_attrs.get(RECORD, {}).get("evaluation")
    return bool(evaluation) and DIED in evaluation["facts"]
