"""What a search keeps on the disk: artifacts of the front, others and structures while there is room."""

import logging
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoopt.champion.card import make_card
from autoopt.commands.acts import work_folder
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.artifact import CHAMPION
from autoopt.core.disk import GB, MB, free_bytes, size_bytes
from autoopt.core.recipe import Recipe
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, Trial
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
            if not self._is_whole(trial.number):
                log.warning("the artifact of trial %d is damaged or gone: its recipe is queued again", trial.number)
                self._lost.setdefault(trial.recipe, []).append(trial.number)
        return list(self._lost)

    def _is_whole(self, number: int) -> bool:
        """Maybe after it was taken from the champion, which is a copy of one of them."""
        folder, champion = artifact.trial_folder(self.settings.folder, number), self.settings.folder / CHAMPION
        if artifact.is_whole(folder):
            return True
        if not artifact.is_whole(champion) or artifact.verify(champion)["trial"] != number:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(champion, folder)
        return True

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
        shutil.rmtree(work_folder(self.work, number), ignore_errors=True)

    def on_end(self) -> None:
        self._to_copy = True

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
        model = artifact_path(work_folder(self.work, made_by), trial.recipe)
        self.bench.drift.take(trial.evaluation.facts.get("baseline_drift", 0.0))
        for number in (trial.number, *self._lost.pop(trial.recipe, [])):
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


def worth_keeping(standing: Standing) -> set[int]:
    """Numbers of the front's trials, and of the nearest miss where nothing is feasible."""
    miss = standing.nearest_miss
    return {trial.number for trial in standing.front} | ({miss.number} if miss else set())


def _oldest_first(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("*") if path.is_dir()]
    return sorted(found, key=lambda path: path.stat().st_mtime)
