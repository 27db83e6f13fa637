"""What goes where the disk gets small, and what never does."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoopt.artifacts import trouble
from autoopt.artifacts.store import Store
from autoopt.commands import keeper as keeper_module
from autoopt.commands.acts import MODEL_SHA256, work_folder
from autoopt.commands.keeper import Keeper
from autoopt.core import artifact
from autoopt.core.artifact import CHAMPION
from autoopt.core.kpi import Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.standing import standing
from autoopt.core.trial import COMPLETE, MADE_ON, Evaluation, Trial
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


# --- models that another machine has made, in a store ----------------------------------------------------------------


@pytest.fixture
def shared(keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """The same with a store, empty yet."""
    monkeypatch.setattr(Keeper, "_card", lambda self, trial, number, model: {"trial": number})
    monkeypatch.setattr(trouble, "FIRST_WAIT_S", 0.0)
    vars(keeper.bench).update(
        store=Store(str(tmp_path / "shared")),
        drift=SimpleNamespace(take=lambda share: None),
        task=SimpleNamespace(files={"labels.json": b"[]"}),
    )
    return keeper


def put(keeper: Keeper, number: int, content: bytes, sibling_of: int | None = None) -> Trial:
    """The trial of the front with that number, after a worker elsewhere has put its model into the store."""
    model = keeper.settings.folder.parent / "elsewhere.onnx"
    model.write_bytes(content)
    assert keeper.bench.store is not None
    facts, was = {MODEL_SHA256: keeper.bench.store.put(model)}, NOW.trials[number]
    assert was.evaluation is not None
    return replace(was, evaluation=replace(was.evaluation, facts=facts), sibling_of=sibling_of)


def model_of(keeper: Keeper, number: int) -> bytes:
    folder = artifact.trial_folder(keeper.settings.folder, number)
    assert artifact.verify(folder) == {"trial": number}
    return (folder / artifact.MODEL).read_bytes()


def here(keeper: Keeper, trial: Trial, content: bytes) -> Path:
    made_by = trial.number if trial.sibling_of is None else trial.sibling_of
    model = artifact_path(work_folder(keeper.work, made_by), trial.recipe)
    model.parent.mkdir(parents=True)
    model.write_bytes(content)
    return model


@pytest.mark.parametrize("sibling_of", [None, 2])
def test_a_model_that_another_machine_made_is_fetched(shared: Keeper, sibling_of: int | None) -> None:
    shared.keep(put(shared, 3, b"made elsewhere", sibling_of), NOW)
    assert model_of(shared, 3) == b"made elsewhere"
    assert (artifact.trial_folder(shared.settings.folder, 3) / "labels.json").read_bytes() == b"[]"


def test_a_model_that_is_here_is_not_fetched(shared: Keeper) -> None:
    trial = put(shared, 3, b"made here")
    here(shared, trial, b"made here")
    shutil.rmtree(Path(shared.bench.store.uri))  # type: ignore[union-attr]
    shared.keep(trial, NOW)
    assert model_of(shared, 3) == b"made here"


def test_a_sibling_that_was_made_elsewhere_and_measured_here_is_not_fetched_twice(shared: Keeper) -> None:
    trial = put(shared, 3, b"made elsewhere", sibling_of=2)
    assert trial.evaluation is not None
    trial = replace(trial, evaluation=replace(trial.evaluation, facts={**trial.evaluation.facts, MADE_ON: "other"}))
    here(shared, replace(trial, sibling_of=None), b"made elsewhere")  # where it was measured
    shutil.rmtree(Path(shared.bench.store.uri))  # type: ignore[union-attr]
    shared.keep(trial, NOW)
    assert model_of(shared, 3) == b"made elsewhere"
    assert not work_folder(shared.work, 2).exists()


def test_a_model_that_another_time_has_left_here_is_not_taken(shared: Keeper) -> None:
    trial = put(shared, 3, b"made elsewhere")
    here(shared, trial, b"of another session")
    shared.keep(trial, NOW)
    assert model_of(shared, 3) == b"made elsewhere"


def test_a_model_that_was_not_shared_is_taken_where_it_is(shared: Keeper) -> None:
    """The store was away when it was made."""
    here(shared, NOW.trials[3], b"made here")
    shared.keep(NOW.trials[3], NOW)
    assert model_of(shared, 3) == b"made here"


def test_a_model_that_cannot_be_had_costs_the_artifact_and_not_the_trial(
    shared: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(artifact.trial_folder(shared.settings.folder, 3))
    shared.keep(NOW.trials[3], NOW)
    assert "trial 3 is not kept yet: its model was never put into artifacts.uri" in caplog.text
    trial = put(shared, 3, b"gone")
    shutil.rmtree(Path(shared.bench.store.uri))  # type: ignore[union-attr]
    shared.keep(trial, NOW)
    assert "trial 3 is not kept yet: artifacts.uri=" in caplog.text
    assert not artifact.trial_folder(shared.settings.folder, 3).exists()


def test_what_was_lost_here_is_made_anew_of_record_and_store(shared: Keeper) -> None:
    trial = put(shared, 3, b"made elsewhere")
    now = replace(NOW, front=(NOW.trials[1], trial))
    damage(artifact.trial_folder(shared.settings.folder, 3))
    assert shared.damaged(now) == []
    assert model_of(shared, 3) == b"made elsewhere"
    assert list(shared.work.glob("*.onnx")) == []


def test_what_the_store_has_damaged_too_is_made_again(shared: Keeper) -> None:
    trial = put(shared, 3, b"made elsewhere")
    damage(artifact.trial_folder(shared.settings.folder, 3))
    for path in Path(shared.bench.store.uri).rglob("objects/*/*"):  # type: ignore[union-attr]
        path.write_bytes(b"made elsewherf")
    assert shared.damaged(replace(NOW, front=(trial,))) == [trial.recipe]


def test_before_the_exam_the_front_is_fetched_and_what_cannot_be_had_is_told(
    shared: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    trials = list(NOW.trials)
    trials[3], trials[4] = put(shared, 3, b"made elsewhere"), put(shared, 4, b"off the front")
    now = replace(NOW, trials=tuple(trials), front=(trials[1], trials[3]))
    shutil.rmtree(shared.settings.folder / "trials")
    told = shared.fetch(now)
    assert told == [
        "the artifact of trial 1 is damaged or gone here, and cannot be fetched: its model was never put into "
        "artifacts.uri"
    ]
    assert told[0] in caplog.text
    assert there(shared)[0] == {3}
    assert model_of(shared, 3) == b"made elsewhere"
    assert shared.fetch(replace(now, front=(trials[3],))) == []


def test_without_a_store_fetching_tells_what_is_missing(keeper: Keeper) -> None:
    assert keeper.fetch(NOW) == []
    damage(artifact.trial_folder(keeper.settings.folder, 3))
    assert keeper.fetch(NOW) == ["the artifact of trial 3 is damaged or gone"]
