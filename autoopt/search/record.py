"""The study's record: what of a trial is kept in Optuna's storage, written and read in this one place."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, DIED, FAILED, HOST, SCREENED, WITH_SEARCH, Evaluation, Trial

RECORD = "autoopt"
"""The one user attribute of a trial that holds all of it: one write instead of twenty."""
REPEATS = "repeats"
"""Set on a trial whose recipe was answered from an earlier one: it teaches the sampler, and counts nowhere."""
VOID = "void"
"""Set on a trial that was numbered and not begun."""

BEGUN = "begun"
"""Set on a trial whose process has sent its first heartbeat."""
BUILT, TAKEN = "built", "taken"
"""Set on a running trial whose artifact is made and waits for the machine that measures: what is known of it, and that
this machine has it now.
"""

STATES = {TrialState.COMPLETE: COMPLETE, TrialState.PRUNED: SCREENED, TrialState.FAIL: FAILED}
"""Ours, where the record does not say: a failed trial is PRUNED to Optuna where its recipe is to blame, since samplers
do not look at those that FAILed.
"""


def to_record(trial: Trial) -> dict[str, Any]:
    return {
        "state": trial.state,
        "recipe": trial.recipe.to_dict(),
        "evaluation": trial.evaluation.to_dict() if trial.evaluation else None,
        "reason": trial.reason,
        "trace": trial.trace,
        "ended_at_s": trial.ended_at_s,
        "sibling_of": trial.sibling_of,
        "again": trial.again,
        "ended_unix_s": trial.ended_unix_s,
    }


def running(
    recipe: Recipe, siblings: Sequence[Recipe] = (), sibling_of: int | None = None, host: str = ""
) -> dict[str, Any]:
    """The record of a trial that has just begun, as it stands where the search is killed meanwhile. `siblings`: what
    else is about to be made there; `host`: where, of a study that several processes search.
    """
    lost = Evaluation({}, facts={DIED: WITH_SEARCH, **({HOST: host} if host else {})})
    who = f"its process on {host}" if host else "the search"
    reason = f"{who} died during this trial; its recipe was queued again"
    record = to_record(Trial(-1, FAILED, recipe, lost, reason, again=True, sibling_of=sibling_of))
    return record | {"owes": [sibling.to_dict() for sibling in siblings]} if siblings else record


def recipes_of(frozen: FrozenTrial) -> list[Recipe]:
    """Those that whoever has this running trial works on."""
    record = frozen.user_attrs[RECORD]
    return [Recipe.from_dict(recipe) for recipe in (record["recipe"], *record.get("owes", ()))]


def from_frozen(frozen: FrozenTrial) -> Trial | None:
    """None for trials that wait, run, or repeat an earlier one."""
    record: Mapping[str, Any] | None = frozen.user_attrs.get(RECORD)
    if record is None or frozen.state not in STATES or {REPEATS, VOID} & frozen.user_attrs.keys():
        return None
    return Trial(
        number=frozen.number,
        state=record.get("state", STATES[frozen.state]),
        recipe=Recipe.from_dict(record["recipe"]),
        evaluation=Evaluation.from_dict(record["evaluation"]) if record["evaluation"] else None,
        reason=record["reason"],
        trace=record["trace"],
        ended_at_s=record["ended_at_s"],
        sibling_of=record["sibling_of"],
        again=record.get("again", False),
        ended_unix_s=record.get("ended_unix_s") or _closed_unix_s(frozen),
    )


def _closed_unix_s(frozen: FrozenTrial) -> float:
    """When Optuna closed it: of a trial that a kill left running, its own record does not know its end."""
    return frozen.datetime_complete.timestamp() if frozen.datetime_complete else 0.0


def read_trials(study: Study) -> list[Trial]:
    """All ended trials, by number."""
    found = (from_frozen(frozen) for frozen in study.get_trials(deepcopy=False))
    return sorted((trial for trial in found if trial is not None), key=lambda trial: trial.number)
