"""Why trials ended early, those with one reason together."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from autoopt.core.trial import COMPLETE, SCREENED, Trial

NUMBER = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Ending:
    """`reason` is that of the first trial; the others differ in numbers alone."""

    how: str
    reason: str
    trials: tuple[int, ...]


def endings(trials: Iterable[Trial]) -> list[Ending]:
    """The most frequent first."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.state != COMPLETE:
            groups.setdefault((how(trial), NUMBER.sub("#", trial.reason)), []).append(trial)
    found = [Ending(key[0], group[0].reason, tuple(t.number for t in group)) for key, group in groups.items()]
    return sorted(found, key=lambda ending: -len(ending.trials))


def how(trial: Trial) -> str:
    """How it ended early: its state, and what screened it."""
    screened = trial.state == SCREENED and trial.evaluation is not None
    return f"screened by its {trial.evaluation.facts['screened_by']}" if screened and trial.evaluation else trial.state
