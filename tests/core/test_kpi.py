import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.errors import ConfigError
from autoopt.core.kpi import Facts, Kpi, Measurement, kpi_score, parse_kpis, violations

FACTS = {
    "accuracy": Facts("share", True, ""),
    "latency_p95_ms": Facts("ms", False, ""),
    "size_mb": Facts("MB", False, ""),
    "weight_sparsity": Facts("share", True, "", has_baseline=False),
}
ACCURACY = Kpi("accuracy", True, objective=True, max_drop=0.02)
LATENCY = Kpi("latency_p95_ms", False, objective=True, max_ratio=0.5)


@pytest.mark.parametrize(
    ("kpi", "value", "baseline", "expected"),
    [
        (Kpi("a", True, min=0.9), 0.81, 1.0, 0.1),
        (Kpi("a", False, max=2.0), 3.0, 1.0, 0.5),
        (Kpi("a", True, max_drop=0.02), 0.86, 0.90, 1.0),
        (Kpi("a", True, max_drop=0.02), 0.95, 0.90, -3.5),
        (Kpi("a", False, max_drop=0.5), 3.0, 2.0, 1.0),
        (Kpi("a", False, max_ratio=0.5), 1.0, 1.0, 1.0),
        (Kpi("a", True, min_ratio=2.0), 1.0, 1.0, 0.5),
        (Kpi("a", True, min=0.0), -0.5, 1.0, 0.5),
        (Kpi("a", False, max_ratio=0.5), 1.0, None, math.inf),
    ],
)
def test_violation_is_the_distance_past_the_bound_over_its_magnitude(
    kpi: Kpi, value: float, baseline: float | None, expected: float
) -> None:
    assert list(kpi.violations(Measurement(value, baseline)).values()) == [pytest.approx(expected)]


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.01, 10))
def test_a_ratio_bound_is_met_where_the_ratio_is_within_it_up_to_rounding(
    value: float, baseline: float, bound: float
) -> None:
    violation = Kpi("a", False, max_ratio=bound).violations(Measurement(value, baseline))["max_ratio"]
    ratio = value / baseline
    assert violation <= 0 or ratio > bound
    assert violation > 0 or ratio <= bound * (1 + 2e-9)


def test_a_drop_of_exactly_the_bound_is_met_whatever_the_rounding() -> None:
    kpi = Kpi("accuracy", True, max_drop=0.015)
    for right in range(2000, 3000):
        at = Measurement((right - 45) / 3000, right / 3000)
        past = Measurement((right - 46) / 3000, right / 3000)
        assert kpi.violations(at)["max_drop"] <= 0
        assert kpi.violations(past)["max_drop"] > 0


def test_kpi_score_is_the_mean_log_improvement_of_feasible_trials() -> None:
    measured = {"accuracy": Measurement(0.9, 0.9), "latency_p95_ms": Measurement(1.0, 4.0)}
    assert kpi_score([ACCURACY, LATENCY], measured) == pytest.approx(math.log(4) / 2)
    heavy = Kpi("latency_p95_ms", False, objective=True, weight=3.0)
    assert kpi_score([ACCURACY, heavy], measured) == pytest.approx(3 * math.log(4) / 4)


@pytest.mark.parametrize("baseline", [-0.12, 0.0, 0.12])
def test_a_metric_that_may_be_negative_is_better_where_it_is_higher(baseline: float) -> None:
    kpi = Kpi("quality", True, objective=True, max_drop=0.1)
    values = [baseline + shift for shift in (-0.05, -0.01, 0.0, 0.02)]
    measured = [Measurement(value, baseline) for value in values]
    losses, gains = [kpi.loss(m) for m in measured], [kpi.gain(m) for m in measured]
    assert losses == sorted(losses, reverse=True)
    assert gains == sorted(gains)
    assert gains[2] == 0.0
    assert all(kpi.reference_loss(measured[2]) > loss for loss in losses)
    unbound = Kpi("quality", True, objective=True)
    assert unbound.reference_loss(measured[2]) >= unbound.loss(measured[1])


def test_r2_near_zero_gains_what_it_gained_not_fifty_times() -> None:
    assert Kpi("r2", True, objective=True).gain(Measurement(0.11, 0.0022)) == pytest.approx(0.1078)


def test_kpi_score_of_an_infeasible_trial_is_minus_the_summed_violation() -> None:
    measured = {"accuracy": Measurement(0.84, 0.9), "latency_p95_ms": Measurement(1.0, 1.0)}
    assert kpi_score([ACCURACY, LATENCY], measured) == pytest.approx(-(2.0 + 1.0))


@given(st.floats(0.5, 1), st.floats(0.01, 2))
def test_kpi_score_has_the_sign_of_feasibility(accuracy: float, latency: float) -> None:
    measured = {"accuracy": Measurement(accuracy, 0.9), "latency_p95_ms": Measurement(latency, 1.0)}
    feasible = all(v <= 0 for v in violations([ACCURACY, LATENCY], measured).values())
    assert (kpi_score([ACCURACY, LATENCY], measured) >= 0) == feasible


def test_loss_is_smaller_for_what_is_better() -> None:
    assert ACCURACY.loss(Measurement(0.9, 1.0)) < ACCURACY.loss(Measurement(0.8, 1.0))
    assert LATENCY.loss(Measurement(0.5, 1.0)) < LATENCY.loss(Measurement(0.6, 1.0))


def test_the_hypervolume_corner_is_the_tightest_bound_or_the_baseline() -> None:
    assert LATENCY.reference_loss(Measurement(4.1, 4.0)) == pytest.approx(0.5)
    assert Kpi("a", False, max=1.0, max_ratio=0.5).reference_loss(Measurement(4.0, 4.0)) == pytest.approx(0.25)
    assert ACCURACY.reference_loss(Measurement(0.9, 0.9)) == pytest.approx(-0.88 / 0.9)
    assert Kpi("a", False).reference_loss(Measurement(4.0, 4.0)) == 1.0
    assert Kpi("a", True).reference_loss(Measurement(4.0, 4.0)) == 0.0


def test_parse_takes_direction_from_the_measurement() -> None:
    kpis = parse_kpis({"accuracy": {"objective": True, "max_drop": 0.01}, "size_mb": {"max": 3}}, FACTS)
    assert kpis == (Kpi("accuracy", True, objective=True, max_drop=0.01), Kpi("size_mb", False, max=3))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"acuracy": {"objective": True}}, "unknown KPI 'acuracy'. Did you mean 'accuracy'"),
        ({"accuracy": {"objetive": True}}, "unknown key 'objetive'. Did you mean 'objective'"),
        ({"accuracy": {"objective": "yes"}}, "true or false is allowed"),
        ({"accuracy": {"objective": True, "max_drop": -0.1}}, "max_drop=-0.1: a number >= 0"),
        ({"accuracy": {"objective": True, "min": "high"}}, "min='high': a number is allowed"),
        ({"accuracy": {"objective": True, "min": math.nan}}, "a number is allowed"),
        ({"accuracy": {"objective": True, "weight": 0}}, "weight=0: a number > 0"),
        ({"size_mb": {"objective": True, "max_ratio": 0}}, "max_ratio=0: a number > 0"),
        ({"accuracy": {}}, "has no role"),
        ({"accuracy": 0.9}, "give it a role"),
        ({"accuracy": {"min": 0.9}}, "no KPI is an objective"),
        ({"size_mb": {"objective": True, "min": 5, "max": 2}}, "min=5 is above max=2"),
        ({"size_mb": {"objective": True, "min_ratio": 2, "max_ratio": 1}}, "nothing can meet both"),
        ({"accuracy": {"objective": True, "min": 90}}, r"accuracy.min=90: a share lies in \[0, 1\]: write 0.9 for 90%"),
        ({"weight_sparsity": {"objective": True, "max_drop": 1}}, "the baseline has no weight_sparsity"),
    ],
)
def test_a_bad_kpi_says_what_is_allowed(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_kpis(raw, FACTS)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_violation_is_certain_where_the_spread_does_not_reach_the_bound(higher_is_better: bool) -> None:
    kpi = Kpi("a", higher_is_better, min=5.0, max=20.0, min_ratio=0.5, max_ratio=2.0)
    assert kpi.certain_violations(Measurement(4.0, 10.0, 1.5)) == pytest.approx(
        {"min": -0.1, "max": -0.875, "min_ratio": -0.1, "max_ratio": -0.875}
    )
    high = kpi.certain_violations(Measurement(22.0, 10.0, 1.0))
    assert (high["max"], high["max_ratio"]) == pytest.approx((0.05, 0.05))
    assert Kpi("a", higher_is_better, max_drop=1.0).certain_violations(
        Measurement(8.0 if higher_is_better else 12.0, 10.0, 0.25)
    ) == {"max_drop": 0.75}


def test_an_unstable_value_breaks_a_bound_only_by_more_than_its_spread() -> None:
    kpi = Kpi("a", False, max_ratio=0.5)
    assert kpi.violations(Measurement(5.5, 10.0, 1.0)) == pytest.approx({"max_ratio": 0.1})
    assert kpi.violations(Measurement(5.5, 10.0, 1.0, unstable=True))["max_ratio"] <= 0
    assert kpi.violations(Measurement(6.5, 10.0, 1.0, unstable=True)) == pytest.approx({"max_ratio": 0.1})


def test_the_baseline_beside_itself_has_a_ratio_of_one() -> None:
    noisy = Measurement(0.95, 1.0, 0.05, (0.9, 1.0), (0.9, 1.0)).beside_itself()
    assert (noisy.value, noisy.ratio, noisy.ratio_interval) == (1.0, 1.0, (0.95, 1.05))
    assert Measurement(0.3).beside_itself() == Measurement(0.3)


@pytest.mark.parametrize(
    "measured",
    [Measurement(1.0), Measurement(1.0, 2.0, 0.5), Measurement(1.0, 2.0, 0.5, (0.9, 1.1), (0.4, 0.6), True)],
)
def test_a_measurement_survives_the_record(measured: Measurement) -> None:
    assert Measurement.from_list(json.loads(json.dumps(measured.to_list()))) == measured


def test_the_least_value_that_meets_every_bound() -> None:
    base = Measurement(0.9, 0.9)
    assert Kpi("a", True, min=0.85, max_drop=0.02).least(base) == pytest.approx(0.88)
    assert Kpi("a", False, max=5.0, max_ratio=2.0).least(Measurement(2.0, 2.0)) == 4.0
    assert Kpi("a", True, objective=True).least(base) is None


def test_what_was_not_measured_breaks_no_bound() -> None:
    assert violations((ACCURACY, LATENCY), {"latency_p95_ms": Measurement(0.6, 1.0)}) == {
        "latency_p95_ms.max_ratio": pytest.approx(0.2)
    }
