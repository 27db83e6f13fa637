import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume

from autoopt.core.front import dominates, hypervolume, pareto

POINTS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)).map(lambda p: tuple(map(float, p))), max_size=25
)


@given(POINTS)
def test_pareto_keeps_exactly_what_nothing_dominates(points: list[tuple[float, ...]]) -> None:
    kept = pareto(points)
    assert {points[i] for i in kept} == {p for p in points if not any(dominates(q, p) for q in points)}
    assert len({points[i] for i in kept}) == len(kept)
    assert kept == sorted(kept)


@given(POINTS.filter(bool))
def test_pareto_agrees_with_optuna(points: list[tuple[float, ...]]) -> None:
    study = optuna.create_study(directions=["minimize"] * 3)
    study.add_trials([optuna.trial.create_trial(values=list(point)) for point in points])
    assert {points[i] for i in pareto(points)} == {tuple(trial.values) for trial in study.best_trials}


@given(POINTS)
def test_hypervolume_agrees_with_optuna(points: list[tuple[float, ...]]) -> None:
    reference = (5.0, 4.0, 6.0)
    inside = [p for p in points if all(x < r for x, r in zip(p, reference, strict=True))]
    expected = compute_hypervolume(np.array(inside), np.array(reference)) if inside else 0.0
    assert hypervolume(points, reference) * 5 * 4 * 6 == pytest.approx(expected)


def test_hypervolume_by_hand() -> None:
    assert hypervolume([(0.5,)], (1.0,)) == 0.5
    assert hypervolume([(-0.9, 0.25), (-0.8, 0.1)], (-0.6, 0.5)) == pytest.approx((0.5 * 0.5) + (1 / 3) * 0.3)
    assert hypervolume([], (1.0, 1.0)) == 0.0
    assert hypervolume([(1.0, 0.0)], (1.0, 1.0)) == 0.0
