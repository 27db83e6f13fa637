"""Screening decides by the finished trials alone: each rule on hand-made ones."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.errors import Screened
from autoopt.core.kpi import Kpi, Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.trial import COMPLETE, Evaluation, Trial
from autoopt.search.rules import Rules
from autoopt.search.screening import ENOUGH, Gate, error_left, strongest_rival, upper_estimate
from tests.search.table import KPIS

ACCURACY, LATENCY = KPIS
SIZE = Kpi("size_mb", False, of_structure=True, max_ratio=0.25)
RECIPE = Recipe("cnn", "none", "int8_static", width=1.0, epochs=10)


def trial(number: int, accuracy: float, latency: float, *, curve: tuple[float, ...] = (), **fields: object) -> Trial:
    values = {"accuracy": Measurement(accuracy, 0.95), "latency_p95_ms": Measurement(latency, 1.0)}
    recipe = BASELINE if number == 0 else Recipe("cnn", "none", "none", width=number, epochs=len(curve))
    return Trial(number, COMPLETE, recipe, Evaluation(values, curve=curve), **fields)  # type: ignore[arg-type]


def speed(latency: float, spread: float = 0.0) -> dict[str, Measurement]:
    return {"latency_p95_ms": Measurement(latency, 1.0, spread)}


def gate(*trials: Trial, kpis: tuple[Kpi, ...] = KPIS, **rules: object) -> Gate:
    return Gate(Rules(**rules), kpis, (trial(0, 0.95, 1.0), *trials), RECIPE)  # type: ignore[arg-type]


def test_a_broken_bound_ends_a_trial_before_training() -> None:
    with pytest.raises(
        Screened, match="latency_p95_ms is 0.6x the baseline: max_ratio=0.5 is broken already"
    ) as caught:
        gate().admit(speed(0.6))
    assert caught.value.by == "structure"
    gate().admit(speed(0.5))


def test_a_bound_that_may_hold_within_the_spread_does_not() -> None:
    gate().admit(speed(0.6, spread=0.11))
    with pytest.raises(Screened):
        gate().admit(speed(0.6, spread=0.09))


def test_the_first_measurement_alone_may_decide() -> None:
    with pytest.raises(Screened, match="size_mb is 0.3x"):
        gate(kpis=(ACCURACY, LATENCY, SIZE)).admit({"size_mb": Measurement(0.3, 1.0)})
    gate(kpis=(ACCURACY, LATENCY, SIZE)).admit({"size_mb": Measurement(0.2, 1.0)})


def test_the_bar_is_the_quality_bound_or_the_best_of_those_no_slower() -> None:
    assert gate().bar(speed(0.3)) == pytest.approx(0.90)
    rivals = (trial(1, 0.93, 0.2), trial(2, 0.94, 0.4), trial(3, 0.80, 0.1))
    assert gate(*rivals).bar(speed(0.3)) == 0.93
    assert gate(*rivals).bar(speed(0.4)) == 0.94
    assert gate(*rivals).bar(speed(0.15)) == pytest.approx(0.90), "the only faster one is not feasible"
    assert gate(*rivals, bar=False).bar(speed(0.4)) == pytest.approx(0.90)


def test_rivals_are_sought_once_until_something_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    sought = []

    def noted(*asked: object) -> float | None:
        sought.append(asked)
        return strongest_rival(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr("autoopt.search.screening.strongest_rival", noted)
    trials = [trial(0, 0.95, 1.0), trial(1, 0.93, 0.2), trial(2, 0.94, 0.4)]
    one = Gate(Rules(), KPIS, trials, RECIPE)
    assert [one.bar(speed(latency)) for latency in (0.3, 0.3, 0.4, 0.3)] == [0.93, 0.93, 0.94, 0.93]
    assert len(sought) == 2
    trials.append(trial(3, 0.945, 0.25))
    assert one.bar(speed(0.3)) == 0.945


def test_a_bar_above_all_that_may_be_expected_ends_a_trial_before_training() -> None:
    strict = (Kpi("accuracy", True, objective=True, min=0.99), LATENCY)
    with pytest.raises(Screened, match="needs accuracy 0.9900 to matter, at most 0.9600 is expected") as caught:
        gate(kpis=strict).admit(speed(0.3))
    assert caught.value.by == "bar"
    gate(kpis=strict, margin=0.05).admit(speed(0.3))
    gate(kpis=strict, bar=False).admit(speed(0.3))
    gate(trial(1, 0.985, 0.2), kpis=strict).admit(speed(0.3)), "some student exceeds the teacher by far"


def test_no_rival_is_beyond_reach() -> None:
    """Whatever one student has reached, a slower one may exceed: the baseline is no ceiling."""
    gate(trial(1, 0.99, 0.2)).admit(speed(0.3))


def test_other_objectives_that_weights_decide_lift_the_bar() -> None:
    download = Kpi("download_mb", False, objective=True)
    assert strongest_rival((*KPIS, download), [trial(1, 0.96, 0.2)], speed(0.3)) is None
    assert strongest_rival(KPIS, [trial(1, 0.96, 0.2)], speed(0.3)) == 0.96


def test_an_unmeasured_structure_has_no_rivals_yet() -> None:
    assert strongest_rival(KPIS, [trial(1, 0.96, 0.2)], {}) is None


def test_the_baseline_passes_every_gate() -> None:
    Gate(Rules(), KPIS, (), BASELINE).admit(speed(9.0))


def test_a_study_without_a_quality_kpi_has_no_bar() -> None:
    free = gate(trial(1, 0.96, 0.2), kpis=(LATENCY,))
    assert free.bar(speed(0.3)) is None
    free.after_epoch(speed(0.3), [0.1])


FINISHED = tuple(
    trial(n, 0.92, 0.4, curve=(0.5, 0.7, 0.8, 0.85, 0.9, 0.905, 0.91, 0.915, 0.92, 0.92)) for n in range(1, 1 + ENOUGH)
)


def test_a_learning_curve_that_cannot_reach_the_bar_ends_a_trial() -> None:
    at = gate(*FINISHED)
    with pytest.raises(
        Screened, match=r"accuracy 0.3000 after epoch 5 of 10 foretells at most 0.\d+, it needs"
    ) as caught:
        at.after_epoch(speed(0.5), [0.1, 0.2, 0.3, 0.3, 0.3])
    assert caught.value.by == "curve"
    at.after_epoch(speed(0.5), [0.5, 0.7, 0.8, 0.85, 0.9])
    at.after_epoch(speed(0.5), [0.3] * 10)  # the last epoch: there is nothing left to save
    gate(*FINISHED, screens=False).after_epoch(speed(0.5), [0.1, 0.2, 0.3, 0.3, 0.3])


def test_few_curves_foretell_nothing() -> None:
    gate(*FINISHED[:-1]).after_epoch(speed(0.5), [0.1, 0.2, 0.3, 0.3, 0.3])
    assert upper_estimate([0.3], 10, [(0.5, 0.9)] * (ENOUGH - 1)) == math.inf
    assert upper_estimate([0.3] * 5, 10, [(0.5, 0.9)] * ENOUGH) < 1


def test_a_quality_that_is_nan_is_not_compared() -> None:
    nan, known = math.nan, FINISHED[0].evaluation.curve
    at = gate(*FINISHED)
    at.after_epoch(speed(0.5), [nan] * 5)
    for curve in ([nan, 0.9, 0.9, 0.9, 0.9], [0.9, 0.9, 0.9, 0.9, nan]):
        at.after_epoch(speed(0.5), curve)
    with pytest.raises(Screened, match="accuracy 0.3000 after epoch 5"):
        at.after_epoch(speed(0.5), [nan, 0.2, 0.3, 0.3, nan])
    assert error_left((nan, 0.6, nan, 0.8), 0.25) is None
    assert error_left((nan, 0.6, nan, 0.8), 0.5) == pytest.approx(0.5)
    assert upper_estimate([0.3] * 5, 10, [known] * ENOUGH) == upper_estimate(
        [0.3, nan] * 2 + [0.3], 10, [known] * ENOUGH
    )


def test_siblings_have_no_curve_of_their_own() -> None:
    siblings = (trial(n, 0.92, 0.4, curve=FINISHED[0].evaluation.curve, sibling_of=1) for n in range(2, 9))
    gate(FINISHED[0], *siblings).after_epoch(speed(0.5), [0.1, 0.2, 0.3, 0.3, 0.3])


def test_error_left_reads_the_curve_at_the_same_fraction() -> None:
    curve = (0.5, 0.6, 0.8, 0.75, 0.9)
    assert error_left(curve, 0.2) == pytest.approx(0.2)
    assert error_left(curve, 0.79) == pytest.approx(0.1 / 0.2)
    assert error_left(curve, 0.8) == pytest.approx(0.1 / 0.2), "the best so far, not the last"
    assert error_left(curve, 1.0) == pytest.approx(1.0)
    assert error_left(curve, 0.1) is None


curves = st.lists(st.floats(0.0, 0.99), min_size=1, max_size=12)


@given(curve=curves, finished=st.lists(curves, min_size=ENOUGH, max_size=30), more=st.integers(0, 12))
def test_an_estimate_is_never_below_what_was_reached(
    curve: list[float], finished: list[list[float]], more: int
) -> None:
    assert upper_estimate(curve, len(curve) + more, finished) >= max(curve) - 1e-9


@given(finished=st.lists(curves, min_size=ENOUGH, max_size=10))
def test_a_curve_that_was_seen_before_is_never_screened_while_curves_are_few(finished: list[list[float]]) -> None:
    for curve in finished:
        for epochs in range(1, len(curve) + 1):
            assert upper_estimate(curve[:epochs], len(curve), finished) >= max(curve) - 1e-9
