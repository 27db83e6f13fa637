import pytest

from autoopt.training.schedules import SCHEDULES, factor


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_factors_stay_in_the_unit_interval_and_rise_first(schedule: str) -> None:
    factors = [factor(step, 100, 0.2, schedule) for step in range(100)]
    assert all(0 < f <= 1 for f in factors)
    assert factors[:20] == sorted(factors[:20])
    assert factors[20] == pytest.approx(1.0)
    assert factors[20:] == sorted(factors[20:], reverse=True)


def test_schedules_end_where_they_should() -> None:
    assert factor(99, 100, 0.0, "constant") == 1.0
    assert factor(99, 100, 0.0, "linear") == pytest.approx(0.01)
    assert factor(99, 100, 0.0, "cosine") == pytest.approx(0.000247, abs=1e-5)
    assert factor(50, 100, 0.0, "cosine") == pytest.approx(0.5)
