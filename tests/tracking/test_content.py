"""What runs say, without an MLflow."""

import random
from dataclasses import replace

import pytest

from autoopt.compose import conf_dir
from autoopt.config import load_settings
from autoopt.core.clock import STAGES
from autoopt.core.kpi import Kpi, Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.space import draw, middle
from autoopt.core.space import values as choices
from autoopt.core.standing import standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Evaluation, Trial
from autoopt.measurements import FACTS
from autoopt.tracking.content import metrics, run_name
from autoopt.tracking.parent import NOTE_CHARS, note_tags, with_links
from autoopt.tracking.progress import progress
from tests.search.table import KPIS
from tests.tracking.stores import search_table

SOME = Evaluation({"latency_p95_ms": Measurement(0.0812, 1.0), "accuracy": Measurement(0.9594, 0.95)})
BOW = Recipe("bow", "none", "int8_static")


@pytest.mark.parametrize(
    ("trial", "name"),
    [
        (Trial(42, COMPLETE, BOW, SOME), "0042 bow int8_static p95 0.0812 ms acc 95.9"),
        (Trial(0, COMPLETE, BASELINE, SOME), "0000 teacher fp32 p95 0.0812 ms acc 95.9"),
        (Trial(42, SCREENED, BOW, SOME), "0042 bow int8_static screened"),
        (Trial(7, FAILED, replace(BOW, width=1.5)), "0007 bow x1.5 int8_static failed"),
        (
            Trial(7, COMPLETE, Recipe("teacher", "structured_magnitude", "none", pruning_ratio=0.4), SOME),
            "0007 teacher magnitude 0.4 fp32 p95 0.0812 ms acc 95.9",
        ),
        (
            Trial(7, FAILED, Recipe("teacher", "depth", "fp16", layers=2, runtime="openvino")),
            "0007 teacher 2L fp16 openvino failed",
        ),
        (
            Trial(7, COMPLETE, BOW, Evaluation({"r2": Measurement(0.91234, 0.95)})),
            "0007 bow int8_static r2 0.9123",
        ),
    ],
)
def test_a_name_says_what_it_is_and_what_it_reached(trial: Trial, name: str) -> None:
    assert run_name(trial) == name


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    return search_table(tmp_path_factory.mktemp("study") / "table", trials=25)


@pytest.mark.parametrize("seed", range(5))
def test_progress_is_the_standing_after_each_trial(seed: int, searched: list[Trial]) -> None:
    """Whatever the order in which they ended: several workers end trials out of turn."""
    draws = random.Random(seed)
    trials = [replace(trial, ended_unix_s=draws.random()) for trial in searched]
    ended = sorted(trials, key=lambda trial: (trial.number > 0, trial.ended_unix_s))
    found = list(progress(trials, KPIS, written=[]))
    for count in range(1, len(trials) + 1):
        then = standing(sorted(ended[:count], key=lambda trial: trial.number), KPIS)
        values = {point.key: point.value for point in found[count - 1]}
        assert values == {
            "hypervolume": pytest.approx(then.hypervolume, abs=1e-12),
            "feasible": len(then.feasible),
            "trials": count,
        }
    assert then.hypervolume > 0
    left = list(progress(trials, KPIS, written=range(1, len(trials))))
    assert [point.step for point in left[0]] == [len(trials)] * 3


@pytest.mark.parametrize("space", sorted(path.stem for path in (conf_dir() / "space").glob("*.yaml")))
def test_no_child_has_more_than_sixty_metrics_and_params(space: str) -> None:
    """With every measurement of a classification taken and a KPI, whatever the recipe."""
    taken = {name: facts for name, facts in FACTS.items() if name not in ("r2", "quality")}
    kpis = tuple(Kpi(name, f.higher_is_better, f.of_structure, objective=True) for name, f in taken.items())
    found = Evaluation(dict.fromkeys(taken, Measurement(1.0, 2.0)), dict.fromkeys(STAGES, 1.0), (0.5,))
    names = {metric.key for metric in metrics(Trial(1, COMPLETE, BOW, found), kpis)}
    assert {*taken, "kpi_score", "latency_p95_ms_ratio", "seconds_train", "epoch_quality"} <= names
    knobs, draws = load_settings([f"space={space}"]).space, random.Random(0)
    recipes = [draw(knobs, lambda name, knob: draws.choice(choices(knob) or (middle(knob),))) for _ in range(300)]
    assert max(len(names) + len(recipe.to_dict()) for recipe in recipes) <= 60


def test_a_note_is_written_over_ours_and_over_nothing_else() -> None:
    ours = note_tags("first", {})
    assert note_tags("second", ours)["mlflow.note.content"] == "second"
    assert note_tags("second", {**ours, "mlflow.note.content": "first, edited"}) == {}
    assert note_tags("second", {"mlflow.note.content": "a person was first"}) == {}


def test_links_that_do_not_fit_stay_text() -> None:
    text = "x" * (NOTE_CHARS - 30) + " [1] [2]"
    linked = with_links(text, {"1": "#/one", "2": "#/two", "3": "#/three"})
    assert linked == f"{text}\n[1]: #/one"
