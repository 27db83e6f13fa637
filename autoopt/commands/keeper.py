"""What a search keeps on the disk: artifacts of the front, others and structures while there is room."""

import logging
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autoopt.artifacts.trouble import StoreError
from autoopt.champion.card import make_card
from autoopt.commands.acts import MODEL_SHA256, tidy, work_folder
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.artifact import CHAMPION
from autoopt.core.disk import GB, MB, free_bytes, size_bytes
from autoopt.core.recipe import Recipe
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, MADE_ON, Trial
from autoopt.measurements import FACTS
from autoopt.pipeline import Bench, artifact_path
from autoopt.search.backup import back_up

log = logging.getLogger(__name__)

SPARE_MB = 8.0  # for the study's record, its copy and MLflow's
FILE_CLOCK_S = 1.0  # that the clock of files may be behind
SHARE = 20.0  # times what the last copy of the study, or look at the disk, took, until the next
MODELS = 3  # of the baseline's size: what a trial writes at most before it is recorded


@dataclass
class Keeper:
    bench: Bench
    settings: Settings
    _began: dict[int, float] = field(default_factory=dict)
    """When the trials that run began, by the clock of files."""
    _lost: dict[Recipe, list[int]] = field(default_factory=dict)
    """Numbers of trials whose artifacts are damaged or gone, by recipe."""
    _to_copy: bool = False
    _copy_after: float = 0.0
    _look_after: float = 0.0

    @property
    def work(self) -> Path:
        return self.settings.folder / "work"

    def left(self) -> list[int]:
        """Numbers of trials whose weights an earlier session left."""
        return [int(path.name) for path in self.work.glob("[0-9]*")]

    def damaged(self, standing: Standing) -> list[Recipe]:
        """Recipes of the front whose artifacts are damaged or gone: they are to be made again, see `keep`."""
        for trial in standing.front:
            if why := self.missing(trial):
                log.warning("the artifact of trial %d %s: its recipe is queued again", trial.number, why)
                self._lost.setdefault(trial.recipe, []).append(trial.number)
        return list(self._lost)

    def fetch(self, standing: Standing) -> list[str]:
        """Bring the artifacts that are worth keeping into the study's folder. Returns, and logs, a sentence for each
        that cannot be had.
        """
        wanted = worth_keeping(standing)
        found = ((trial.number, self.missing(trial)) for trial in standing.trials if trial.number in wanted)
        told = [f"the artifact of trial {number} {why}" for number, why in found if why]
        for sentence in told:
            log.warning("%s", sentence)
        return told

    def missing(self, trial: Trial) -> str:
        """Why the artifact of a trial is not to be had, '' where it is in its folder: maybe after it was taken from the
        champion, which is a copy of one of them, or made anew of the record and the model in the store.
        """
        number, champion = trial.number, self.settings.folder / CHAMPION
        folder = artifact.trial_folder(self.settings.folder, number)
        if artifact.is_whole(folder) and _is_of(folder, trial):
            return ""
        if artifact.is_whole(champion) and artifact.verify(champion)["trial"] == number and _is_of(champion, trial):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(champion, folder)
            return ""
        if self.bench.store is None:
            return "is damaged or gone"
        model = self.work / f"{trial.recipe.fingerprint}.fetched.onnx"
        try:
            self._fetch(trial, model)
            self._write(trial, number, model)
        except StoreError as error:
            return f"is damaged or gone here, and cannot be fetched: {error}"
        finally:
            model.unlink(missing_ok=True)
        return ""

    def has_room(self, standing: Standing) -> bool:
        """Whether the disk has room for a trial, maybe after something that can be made again was removed."""
        needed = SPARE_MB * MB + MODELS * self.bench.baseline_path.stat().st_size
        short = needed - free_bytes(self.settings.folder)
        if short > 0:
            self._remove(short, standing, "the disk is nearly full")
        return free_bytes(self.settings.folder) >= needed

    def on_start(self, number: int, recipe: Recipe) -> None:
        self._began[number] = time.time()

    def on_free(self, number: int) -> None:
        self._began.pop(number, None)
        tidy(self.work, number)

    def on_end(self) -> None:
        self._to_copy = self.settings.storage is None  # a database is copied by those who run it

    def on_turn(self) -> None:
        """Copy the study where it has new trials; of all time, a twentieth goes into that at most."""
        if self._to_copy and time.monotonic() > self._copy_after:
            self.back_up()

    def back_up(self) -> None:
        began = time.monotonic()
        try:
            back_up(self.settings.folder)
        except (OSError, sqlite3.Error) as error:  # the study itself is there
            log.warning("study.db could not be copied: %s", error)
        self._to_copy, self._copy_after = False, time.monotonic() + SHARE * (time.monotonic() - began)

    def keep(self, trial: Trial, standing: Standing) -> None:
        """Write the artifact of a trial, before it is on record; also in the place of a lost one of its recipe."""
        if trial.state != COMPLETE or trial.evaluation is None:
            return
        made_by = trial.number if trial.sibling_of is None else trial.sibling_of
        if MADE_ON in trial.evaluation.facts:  # by another machine: it was fetched for itself
            made_by = trial.number
        model = artifact_path(work_folder(self.work, made_by), trial.recipe)
        self.bench.drift.take(trial.evaluation.facts.get("baseline_drift", 0.0))
        if not self._is_here(trial, model):
            try:
                self._fetch(trial, model)
            except StoreError as error:  # what was measured holds all the same; see `fetch` and `damaged`
                log.warning("the artifact of trial %d is not kept yet: %s", trial.number, error)
                return
        for number in (trial.number, *self._lost.pop(trial.recipe, [])):
            self._write(trial, number, model)

    def _is_here(self, trial: Trial, model: Path) -> bool:
        """Whether the work folder of this machine has the trial's model, and not one that another time has left."""
        digest = _shared_as(trial)
        return model.is_file() and (digest is None or artifact.sha256(model) == digest)

    def _fetch(self, trial: Trial, model: Path) -> None:
        """The model out of the store. Raises StoreError."""
        digest = _shared_as(trial)
        if self.bench.store is None or digest is None:
            raise StoreError("its model was never put into artifacts.uri")
        self.bench.store.get(digest, model)

    def _write(self, trial: Trial, number: int, model: Path) -> None:
        folder = artifact.trial_folder(self.settings.folder, number)
        artifact.write(folder, model, trial.recipe, self._card(trial, number, model), self.bench.task.files)

    def _card(self, trial: Trial, number: int, model: Path) -> dict[str, Any]:
        assert trial.evaluation is not None
        return make_card(
            task=self.bench.task,
            recipe=trial.recipe,
            model=model,
            evaluation=trial.evaluation,
            kpis=self.settings.kpis,
            facts=FACTS,
            runtime=self.bench.runtime_of(trial.recipe),
            baseline_runtime=self.settings.runtimes[0],
            threads=self.settings.runtime_threads,
            seed=self.settings.seed,
            study=self.settings.study,
            trial=number,
            provider=self.bench.provider,
        )

    def make_room(self, standing: Standing) -> None:
        """Remove what can be made again, the oldest first, until the study's folder fits limits.disk_gb."""
        limit, began = self.settings.limits.disk_gb, time.monotonic()
        if limit is None or began < self._look_after:
            return
        over = size_bytes([self.settings.folder]) - limit * GB
        self._look_after = began + SHARE * (time.monotonic() - began)
        self._remove(over, standing, f"limits.disk_gb={limit:g}")

    def _remove(self, size: float, standing: Standing, why: str) -> None:
        """So many bytes, or what there is."""
        for folder in self._removable(standing):
            if size <= 0:
                return
            size -= size_bytes([folder])
            log.info("%s: %s is removed", why, folder)
            shutil.rmtree(folder, ignore_errors=True)

    def _removable(self, standing: Standing) -> Iterator[Path]:
        """Artifacts off the front, then exported structures that no running trial has opened."""
        kept = {artifact.trial_folder(self.settings.folder, number) for number in worth_keeping(standing)}
        yield from (path for path in _oldest_first(self.settings.folder / "trials") if path not in kept)
        running_since = min(self._began.values(), default=time.time()) - FILE_CLOCK_S
        for structure in _oldest_first(self.bench.structures):
            if structure.stat().st_mtime < running_since:
                yield structure


def _is_of(folder: Path, trial: Trial) -> bool:
    """Whether an artifact is the trial's: another study of the same name may have left one of its number."""
    digest = _shared_as(trial)
    if digest is not None:
        return artifact.sha256(folder / artifact.MODEL) == digest
    return Recipe.from_dict(yaml.safe_load((folder / artifact.RECIPE).read_text())) == trial.recipe


def worth_keeping(standing: Standing) -> set[int]:
    """Numbers of the front's trials, and of the nearest miss where nothing is feasible."""
    miss = standing.nearest_miss
    return {trial.number for trial in standing.front} | ({miss.number} if miss else set())


def _shared_as(trial: Trial) -> str | None:
    """The sha256 of its model in the store; None where it was not put there."""
    return None if trial.evaluation is None else trial.evaluation.facts.get(MODEL_SHA256)


def _oldest_first(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("*") if path.is_dir()]
    return sorted(found, key=lambda path: path.stat().st_mtime)
