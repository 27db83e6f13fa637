import random

import pytest

from autoopt.core.kpi import Kpi, Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.standing import grown, standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Evaluation, Trial

KPIS = (
    Kpi("accuracy", True, objective=True, max_drop=0.02),
    Kpi("latency_p95_ms", False, objective=True, max_ratio=0.5),
    Kpi("size_mb", False, max=2.0),
)


def trial(number: int, accuracy: float, latency: float, size: float = 1.0) -> Trial:
    measured = {
        "accuracy": Measurement(accuracy, 0.9),
        "latency_p95_ms": Measurement(latency, 1.0),
        "size_mb": Measurement(size, 5.0),
    }
    recipe = BASELINE if number == 0 else Recipe("cnn", "none", "none", width=number)
    return Trial(number, COMPLETE, recipe, Evaluation(measured), ended_at_s=10.0 * number)


def test_front_champion_candidate_and_counts() -> None:
    trials = [
        trial(0, 0.90, 1.0, 5.0),
        trial(1, 0.89, 0.4),
        trial(2, 0.89, 0.2),
        trial(3, 0.895, 0.3),
        trial(4, 0.80, 0.1),
        Trial(5, FAILED, Recipe("mlp", "none", "none"), reason="x"),
        Trial(6, SCREENED, Recipe("mlp", "none", "fp16"), reason="y"),
    ]
    now = standing(trials, KPIS)
    assert [t.number for t in now.feasible] == [2, 3, 1]
    assert [t.number for t in now.front] == [2, 3]
    assert now.nearest_miss is None
    assert now.first_feasible_s == 10.0
    assert now.counts() == {"trials": 7, "siblings": 0, "complete": 5, "screened": 1, "failed": 1, "feasible": 3}
    # (accuracy ratio - 0.88/0.9) / (0.88/0.9) by (0.5 - latency) / 0.5, the union of two boxes
    a, b = (0.89 - 0.88) / 0.88, (0.895 - 0.88) / 0.88
    assert now.hypervolume == pytest.approx(a * 0.6 + (b - a) * 0.4)


def test_the_nearest_miss_is_named_with_what_blocks_it() -> None:
    now = standing([trial(0, 0.9, 1.0, 1.0), trial(1, 0.89, 0.6, 2.2), trial(2, 0.5, 0.1)], KPIS)
    assert now.front == ()
    assert now.hypervolume == 0.0
    assert now.nearest_miss is not None
    assert now.nearest_miss.number == 1
    assert now.nearest_miss.blocking(KPIS) == ["latency_p95_ms", "size_mb"]


def test_of_equal_misses_the_better_one_is_nearest() -> None:
    now = standing([trial(0, 0.9, 1.0, 5.0), trial(1, 0.885, 0.3, 2.2), trial(2, 0.9, 0.3, 2.2001)], KPIS)
    assert now.nearest_miss is not None
    assert now.nearest_miss.number == 2


def test_the_baseline_is_never_a_candidate() -> None:
    now = standing([trial(0, 0.9, 0.4), trial(1, 0.9, 0.45), trial(2, 0.89, 0.3)], KPIS)
    assert [t.number for t in now.feasible] == [2, 1]
    assert [t.number for t in now.front] == [2], "trial 1 is beaten by the baseline itself"
    assert now.first_feasible_s == 10.0


def test_trials_that_are_no_better_than_the_baseline_are_ranked_too() -> None:
    kpis = (Kpi("accuracy", True, objective=True), Kpi("size_mb", False, max=2.0))
    now = standing([trial(0, 0.9, 1.0, 5.0), trial(1, 0.7, 1.0), trial(2, 0.8, 1.0)], kpis)
    assert [t.number for t in now.feasible] == [2, 1]
    assert [t.score(kpis) for t in now.feasible] == [0.0, 0.0]


def test_an_empty_study_stands_nowhere() -> None:
    now = standing([], KPIS)
    assert now.counts()["trials"] == 0
    assert now.nearest_miss is None
    assert now.hypervolume == 0.0


@pytest.mark.parametrize("seed", range(30))
def test_grown_by_one_trial_after_the_other_it_stands_as_if_read_at_once(seed: int) -> None:
    draws = random.Random(seed)
    good = draws.choice([0.0, 0.2, 0.9])  # the share of sizes within the bound: many feasible, few, or none at all
    trials = [trial(0, 0.90, draws.choice([1.0, 0.45]), draws.choice([1.9, 5.0]))]
    for number in draws.sample(range(1, 40), 30):  # they end in another order; numbers coarse enough for ties
        size = 1.5 if draws.random() < good else draws.choice([2.2, 2.2001, 3.0])
        made = trial(number, draws.choice([0.85, 0.88, 0.885, 0.89, 0.9]), draws.choice([0.2, 0.3, 0.4, 0.6]), size)
        ended = Trial(number, draws.choice([FAILED, SCREENED]), made.recipe, made.evaluation)
        trials.append(made if draws.random() < 0.8 else ended)
    now = standing(trials[:1], KPIS)
    for count, more in enumerate(trials[1:], start=2):
        now = grown(now, more, KPIS)
        assert now == standing(trials[:count], KPIS)
