"""Versions of a registered model: an artifact as MLflow serves it, and what is told of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from optuna import Study

from autoopt.champion.model_card import headline, is_baseline
from autoopt.champion.serving import CONTENT, interface, save_model, says_the_same, servable
from autoopt.commands.candidates import Candidate
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.errors import ArtifactError, AutooptError, ConfigError
from autoopt.search.study import IDENTITY
from autoopt.tasks import Task

if TYPE_CHECKING:
    from autoopt.tracking.registry import Registry

DATA, INTERFACE, HISTORY = "autoopt.data", "autoopt.interface", "autoopt.forced_history"
"""Tags: fingerprints of the data, and of the inputs and classes; who forced it when and why, a JSON list."""


@dataclass(frozen=True)
class Shipment:
    searched: Settings
    study: Study
    task: Task
    registry: "Registry"


def check_same_use(ship: Shipment, champion: str | None, chosen: Candidate) -> None:
    """Raises ConfigError where the champion that serves by now answers other questions, and nobody chose the name."""
    if champion is None or ship.searched.raw["registry"]["model"] is not None:
        return
    tags, own = ship.registry.version(champion).tags, _use(ship, chosen.card)
    words = {INTERFACE: "other inputs or classes", DATA: "other data"}
    other = [words[key] for key in words if tags.get(key, own[key]) != own[key]]
    if other:
        name, study = ship.registry.name, tags.get("autoopt.study", "unknown")
        raise ConfigError(
            f"models:/{name}@champion (version {champion}, of study {study}) was made for {' and '.join(other)}: type "
            f"registry.model=ANOTHER_NAME for a model beside it, or registry.model={name} to take its place"
        )


def registered(ship: Shipment, candidate: Candidate) -> str:
    """The number of its version: the one that is there and answers as the artifact does, or a new one."""
    from autoopt.tracking.registry import FORCED, SHA256, STUDY, TRIAL

    registry, card = ship.registry, candidate.card
    tags = {
        STUDY: ship.study.user_attrs[IDENTITY],
        TRIAL: str(candidate.trial.number),
        SHA256: artifact.sha256(candidate.folder / artifact.MODEL),
        FORCED: "yes" if "forced" in card else "no",
    }
    with TemporaryDirectory() as folder:
        content = servable(candidate.folder, Path(folder) / CONTENT, candidate.trial.recipe, card, ship.task)
        there = registry.find(tags)
        if there is not None and _answers(ship, there.version, content, Path(folder) / "there"):
            return str(there.version)
        forced = _forced_tags(card["forced"], []) if "forced" in card else {}
        added = registry.add(
            ship.searched.task,
            ship.searched.outputs,
            {**tags, **_use(ship, card), **_more_tags(ship, card), **forced},
            _description(card),
            _run_of(ship, candidate.trial.number),
            lambda target, model: save_model(content, target, ship.task, model),
        )
        if not _answers(ship, added.version, content, Path(folder) / "added"):
            raise AutooptError(
                f"version {added.version} of {registry.name} does not answer as {candidate.folder} does: it was not "
                "promoted, and what MLflow serves is as it was"
            )
        return str(added.version)


def recorded(ship: Shipment, number: str, chosen: Candidate, *, moved: bool) -> dict[str, str] | None:
    """Who forces this version, when and why, as its tags tell it from now on; None where nobody had to. The same said
    again while it is the champion is not told twice.
    """
    forced = chosen.card.get("forced")
    if forced is None:
        return None
    history = json.loads(ship.registry.version(number).tags.get(HISTORY, "[]"))
    last = history[-1] if history else {}
    if last != forced and (moved or any(last.get(key) != forced[key] for key in ("by", "why", "over"))):
        ship.registry.retell(number, _forced_tags(forced, history), _description(chosen.card))
        return dict(forced)
    return dict(last)


def _forced_tags(forced: Mapping[str, str], history: list[Mapping[str, str]]) -> dict[str, str]:
    return {f"autoopt.forced_{key}": value for key, value in forced.items()} | {HISTORY: json.dumps([*history, forced])}


def _description(card: Mapping[str, Any]) -> str:
    return headline(card) + (f" Promoted by force: {card['forced']['why']}" if "forced" in card else "")


def _answers(ship: Shipment, number: Any, content: Path, into: Path) -> bool:
    """Whether a version as MLflow hands it out is whole, and says what the artifact says. Raises one of TROUBLE where
    MLflow does not hand it out: that says nothing of the version.
    """
    from mlflow.exceptions import MlflowException

    try:
        saved = ship.registry.download(str(number), into)
    except FileNotFoundError:  # its files were removed
        return False
    try:
        artifact.verify(saved / "data" / CONTENT)
        return says_the_same(saved, content, ship.task)
    except (ArtifactError, MlflowException):  # here, on this disk: no server is asked
        return False


def _use(ship: Shipment, card: Mapping[str, Any]) -> dict[str, str]:
    asked = json.dumps(interface(ship.task), sort_keys=True)
    return {DATA: card["data"]["fingerprint"], INTERFACE: hashlib.sha256(asked.encode()).hexdigest()[:16]}


def _more_tags(ship: Shipment, card: Mapping[str, Any]) -> dict[str, str]:
    exam = "of the baseline" if is_baseline(card) else "passed" if card["test"]["passed"] else "failed"
    return {"autoopt.study": ship.searched.study, "autoopt.exam": exam}


def _run_of(ship: Shipment, trial: int) -> str | None:
    """The trial's run, where MLflow has it."""
    from autoopt.tracking.runs import find_runs

    experiment = ship.registry.client.get_experiment_by_name(ship.searched.task)
    if experiment is None:
        return None
    _, children = find_runs(ship.registry.client, experiment.experiment_id, ship.study.user_attrs[IDENTITY])
    return next((run.info.run_id for run in children.get(trial, [])), None)
