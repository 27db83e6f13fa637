"""What goes where the disk gets small, and what never does."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoopt.commands import keeper as keeper_module
from autoopt.commands.acts import work_folder
from autoopt.commands.keeper import Keeper
from autoopt.core import artifact
from autoopt.core.artifact import CHAMPION
from autoopt.core.kpi import Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.standing import standing
from autoopt.core.trial import COMPLETE, Evaluation, Trial
from autoopt.pipeline import artifact_path
from autoopt.search.limits import Limits
from tests.search.table import KPIS

MB = 1_000_000


def trial(number: int, accuracy: float, speed: float) -> Trial:
    recipe = Recipe("cnn", "none", "fp16", learning_rate=number * 1e-3) if number else BASELINE
    found = {"accuracy": Measurement(accuracy, 0.95), "latency_p95_ms": Measurement(speed, 1.0)}
    return Trial(number, COMPLETE, recipe, Evaluation(found))


NOW = standing(
    [trial(0, 0.95, 1.0), trial(1, 0.94, 0.3), trial(2, 0.93, 0.35), trial(3, 0.92, 0.25), trial(4, 0.91, 0.4)], KPIS
)
FRONT, OTHERS = {1, 3}, {2, 4}


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    """Artifacts and structures of 1 MB each, made one after the other."""
    model, age = tmp_path / "model.onnx", iter(range(1000, 2000))
    model.write_bytes(b"x" * MB)
    folder = tmp_path / "study"
    for number in range(1, 5):
        made = artifact.write(
            artifact.trial_folder(folder, number), model, NOW.trials[number].recipe, {"trial": number}
        )
        os.utime(made, (when := next(age), when))
    for name in ("old", "new"):
        (folder / "structures" / name).mkdir(parents=True)
        (folder / "structures" / name / "graph.onnx").write_bytes(b"x" * MB)
        os.utime(folder / "structures" / name, (when := next(age), when))
    (folder / "study.db").write_bytes(b"x" * MB)
    bench: Any = SimpleNamespace(structures=folder / "structures", baseline_path=model, store=None)
    settings: Any = SimpleNamespace(folder=folder, limits=Limits(disk_gb=1.0))
    return Keeper(bench, settings)


def there(keeper: Keeper) -> tuple[set[int], set[str]]:
    folder = keeper.settings.folder
    return {int(path.name) for path in (folder / "trials").iterdir()}, {
        p.name for p in (folder / "structures").iterdir()
    }


def limited(keeper: Keeper, gb: float | None) -> Keeper:
    return Keeper(keeper.bench, SimpleNamespace(folder=keeper.settings.folder, limits=Limits(disk_gb=gb)))  # type: ignore[arg-type]


def test_the_front_is_what_this_is_about() -> None:
    assert {t.number for t in NOW.front} == FRONT


@pytest.mark.parametrize(
    ("mb", "trials", "structures"),
    [
        (9.0, FRONT | OTHERS, {"old", "new"}),
        (6.5, FRONT | {4}, {"old", "new"}),
        (5.5, FRONT, {"old", "new"}),
        (4.5, FRONT, {"new"}),
        (0.0, FRONT, set()),
    ],
)
def test_the_oldest_goes_first_and_the_front_never(
    mb: float, trials: set[int], structures: set[str], keeper: Keeper
) -> None:
    limited(keeper, mb / 1000).make_room(NOW)
    assert there(keeper) == (trials, structures)
    assert (keeper.settings.folder / "study.db").stat().st_size == MB


def test_without_a_limit_nothing_goes(keeper: Keeper) -> None:
    limited(keeper, None).make_room(NOW)
    assert there(keeper) == (FRONT | OTHERS, {"old", "new"})


def test_a_structure_that_a_running_trial_has_opened_stays(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "SHARE", 0.0)  # it looks each time
    small = limited(keeper, 0.0)
    small.on_start(5, BASELINE)
    os.utime(keeper.bench.structures / "old")
    small.make_room(NOW)
    assert there(keeper) == (FRONT, {"old"})
    small.on_free(5)
    os.utime(keeper.bench.structures / "old", (1, 1))
    small.make_room(NOW)
    assert there(keeper) == (FRONT, set())


def test_a_disk_that_is_nearly_full_is_cleared_first(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial needs 11 MB here: 8 for the records, and three models of one."""

    def free(folder: Path) -> float:
        trials, structures = there(keeper)
        return (9.5 + 6 - len(trials) - len(structures)) * MB

    monkeypatch.setattr(keeper_module, "free_bytes", free)
    assert keeper.has_room(NOW)
    assert there(keeper) == (FRONT, {"old", "new"})
    monkeypatch.setattr(keeper_module, "free_bytes", lambda folder: free(folder) - 2 * MB)
    assert keeper.has_room(NOW)
    assert there(keeper) == (FRONT, set())
    monkeypatch.setattr(keeper_module, "free_bytes", lambda folder: free(folder) - 3 * MB)
    assert not keeper.has_room(NOW)


def damage(folder: Path) -> None:
    (folder / artifact.MODEL).write_bytes(b"y")


def test_damaged_artifacts_of_the_front_are_told(keeper: Keeper, tmp_path: Path) -> None:
    assert keeper.damaged(NOW) == []
    for number in (2, 3):  # the first is not on the front
        damage(artifact.trial_folder(keeper.settings.folder, number))
    assert keeper.damaged(NOW) == [NOW.trials[3].recipe]


def test_what_the_champion_still_has_is_taken_from_there(keeper: Keeper) -> None:
    folder = keeper.settings.folder
    artifact.write(folder / CHAMPION, keeper.bench.baseline_path, NOW.trials[3].recipe, {"trial": 3})
    damage(artifact.trial_folder(folder, 3))
    assert keeper.damaged(NOW) == []
    assert artifact.is_whole(artifact.trial_folder(folder, 3))


def test_what_is_made_again_takes_the_place_of_what_was_lost(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, recipe = keeper.settings.folder, NOW.trials[3].recipe
    damage(artifact.trial_folder(folder, 3))
    assert keeper.damaged(NOW) == [recipe]
    monkeypatch.setattr(Keeper, "_card", lambda self, trial, number, model: {"trial": number})
    keeper.bench.drift, keeper.bench.task = SimpleNamespace(take=lambda share: None), SimpleNamespace(files={})  # type: ignore[misc]
    model = artifact_path(work_folder(keeper.work, 5), recipe)
    model.parent.mkdir(parents=True)
    model.write_bytes(b"made again")
    keeper.keep(Trial(5, COMPLETE, recipe, NOW.trials[3].evaluation), NOW)
    for number in (3, 5):
        assert artifact.verify(artifact.trial_folder(folder, number)) == {"trial": number}
    assert Keeper(keeper.bench, keeper.settings).damaged(NOW) == []
