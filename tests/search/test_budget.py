from dataclasses import replace
from datetime import datetime

import pytest

from autoopt.core.kpi import Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.standing import Standing, standing
from autoopt.core.trial import COMPLETE, FAILED, Evaluation, Trial
from autoopt.search.budget import Budget, next_occurrence, seconds_left, spent, trials_without_gain
from tests.search.table import KPIS


def trial(number: int, accuracy: float, latency: float, state: str = COMPLETE) -> Trial:
    measured = {"accuracy": Measurement(accuracy, 0.95), "latency_p95_ms": Measurement(latency, 1.0)}
    evaluation = Evaluation(measured) if state == COMPLETE else None
    return Trial(number, state, Recipe("cnn", "none", "none", width=1 + number), evaluation, ended_at_s=float(number))


def now(*trials: Trial) -> Standing:
    return standing(trials, KPIS)


def ask(budget: Budget, at: Standing, **changes: object) -> str | None:
    state = {"since": 0, "left": {}, **changes}
    return spent(budget, at, **state)  # type: ignore[arg-type]


BASELINE = trial(0, 0.95, 1.0)
GOOD, WORSE, BROKEN = trial(1, 0.94, 0.3), [trial(2, 0.93, 0.4), trial(3, 0.5, 0.1)], trial(4, 0, 0, FAILED)


def test_siblings_are_not_counted() -> None:
    sibling = Trial(2, COMPLETE, Recipe("cnn", "none", "fp16"), WORSE[0].evaluation, sibling_of=1)
    assert ask(Budget(trials=3), now(BASELINE, GOOD, sibling)) is None
    assert ask(Budget(plateau=1), now(BASELINE, GOOD, sibling)) is None


def test_trials_stop_at_the_number_not_after_it() -> None:
    assert ask(Budget(trials=3), now(BASELINE, GOOD, BROKEN)) is None
    assert ask(Budget(trials=3), now(BASELINE, GOOD, WORSE[0], BROKEN)) == "trials"
    assert ask(Budget(trials=3), now(BASELINE, GOOD, *WORSE), since=2) is None


def test_hours_and_until() -> None:
    seven = datetime(2026, 3, 10, 7)
    left = seconds_left(Budget(hours=2, until="07:00"), 7199.0, seven, datetime(2026, 3, 10, 6, 59))
    assert left == {"hours": 1.0, "until": 60.0}
    assert ask(Budget(hours=2, until="07:00"), now(), left=left) is None
    assert ask(Budget(hours=2), now(), left=seconds_left(Budget(hours=2), 7200.0, None, seven)) == "hours"
    assert ask(Budget(until="07:00"), now(), left=seconds_left(Budget(until="07:00"), 0.0, seven, seven)) == "until"


def test_kpis_stop_as_soon_as_a_trial_is_feasible() -> None:
    assert ask(Budget(trials=9, stop="kpis"), now(BASELINE)) is None
    assert ask(Budget(trials=9, stop="kpis"), now(BASELINE, GOOD)) == "kpis"
    assert ask(Budget(trials=9), now(GOOD)) is None


def test_a_baseline_that_meets_the_kpis_is_no_reason_to_stop() -> None:
    assert ask(Budget(trials=9, stop="kpis"), now(trial(0, 0.95, 0.4))) is None


def test_a_plateau_counts_ended_trials_since_the_front_last_grew() -> None:
    assert trials_without_gain(now(BASELINE, GOOD), 0) == 0
    assert trials_without_gain(now(BASELINE, GOOD, *WORSE, BROKEN), 0) == 2
    assert trials_without_gain(now(BASELINE, GOOD, *WORSE, BROKEN, trial(5, 0.93, 0.2)), 0) == 0
    assert ask(Budget(plateau=2), now(BASELINE, GOOD, *WORSE, BROKEN)) == "plateau"
    assert ask(Budget(plateau=3), now(BASELINE, GOOD, *WORSE, BROKEN)) is None


def test_a_plateau_goes_by_the_order_in_which_trials_ended() -> None:
    """A recipe that waited in the queue has a low number and may end last."""
    late = replace(trial(1, 0.94, 0.3), ended_at_s=9.0)
    assert trials_without_gain(now(BASELINE, late, *WORSE), 0) == 0
    early = replace(trial(7, 0.94, 0.3), ended_at_s=1.0)
    assert trials_without_gain(now(BASELINE, *WORSE, early), 0) == 2


def test_a_plateau_also_ends_a_search_that_finds_nothing() -> None:
    assert ask(Budget(plateau=2), now(BASELINE, WORSE[1])) is None
    assert ask(Budget(plateau=2), now(BASELINE, WORSE[1], trial(4, 0.4, 0.1))) == "plateau"


def test_a_plateau_counts_from_the_beginning_of_the_session() -> None:
    at = now(BASELINE, GOOD, *WORSE, trial(5, 0.5, 0.1))
    assert trials_without_gain(at, 0) == 3
    assert trials_without_gain(at, 4) == 1


@pytest.mark.parametrize(
    ("clock", "until", "expected"),
    [
        ("22:30", "07:00", "2026-03-11 07:00"),
        ("06:59", "07:00", "2026-03-10 07:00"),
        ("07:00", "7:00", "2026-03-11 07:00"),
    ],
)
def test_until_is_the_next_occurrence_of_that_time(clock: str, until: str, expected: str) -> None:
    assert next_occurrence(until, datetime.fromisoformat(f"2026-03-10 {clock}")) == datetime.fromisoformat(expected)
