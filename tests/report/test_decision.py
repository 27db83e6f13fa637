"""Why the champion, and who else is as good as far as anybody knows."""

from dataclasses import replace

from autoopt.core.kpi import Measurement
from autoopt.core.trial import Trial
from autoopt.report.decision import decision, rivals
from tests.report.test_report import FAILED_EXAM, PASSED, outcome, trial


def timed(number: int, accuracy: float, ratio: float, half: float) -> Trial:
    plain = trial(number, accuracy, 2 * ratio)
    found = Measurement(2 * ratio, 2.0, 0.01, None, (ratio - half, ratio + half))
    assert plain.evaluation is not None
    return replace(
        plain, evaluation=replace(plain.evaluation, measurements={**plain.measurements, "latency_p95_ms": found})
    )


BASE = trial(0, 0.95, 2.0)


def test_who_is_as_fast_within_the_intervals_and_better_is_named() -> None:
    at = outcome(BASE, timed(1, 0.935, 0.120, 0.01), timed(2, 0.95, 0.122, 0.01))
    assert at.champion is not None
    assert at.champion.number == 1
    assert [rival.number for rival in rivals(at)] == [2]
    assert decision(at).startswith("Why: kpi_score 1.05")
    assert "next is trial 2 with 1.05" in decision(at)
    assert "better in accuracy: trial 2 (accuracy +0.00 points, latency_p95_ms 0.122x)." in decision(at)


def test_who_is_slower_for_sure_is_not() -> None:
    at = outcome(BASE, timed(1, 0.935, 0.120, 0.01), timed(2, 0.95, 0.2, 0.01))
    assert rivals(at) == []
    assert "No worse" not in decision(at)


def test_without_intervals_the_values_count() -> None:
    assert rivals(outcome(BASE, trial(1, 0.935, 0.24), trial(2, 0.95, 0.244))) == []


def test_who_failed_the_exam_is_not_named() -> None:
    trials = (BASE, timed(1, 0.935, 0.120, 0.01), timed(2, 0.95, 0.122, 0.01))
    assert rivals(outcome(*trials, exams={1: PASSED, 2: FAILED_EXAM})) == []


def test_a_front_of_one_says_so() -> None:
    assert decision(outcome(BASE, trial(1, 0.95, 0.2))).endswith("it is alone on the front.")
    assert decision(outcome(BASE, exams={})) == ""
