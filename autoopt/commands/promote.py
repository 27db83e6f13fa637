"""autoopt promote: a study's champion, or one of its trials, becomes what models:/NAME@champion is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from optuna import Study

from autoopt.champion.model_card import headline, is_baseline
from autoopt.champion.serving import CONTENT, save_model, says_the_same, servable
from autoopt.commands.candidates import Candidate, baseline, candidate
from autoopt.commands.searched import as_searched, task_of
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.errors import ArtifactError, AutooptError, one_line
from autoopt.core.passwords import masked
from autoopt.search.study import IDENTITY, load_study, lock_study
from autoopt.tasks import Task
from autoopt.tracking.store import default_uri

if TYPE_CHECKING:
    from autoopt.tracking.registry import Registry


def promote(settings: Settings, *, force: str | None = None) -> int:
    """Prints a line for people and, as the last of stdout, one JSON document. `force`: the reason why it is promoted
    whatever its exam says. Raises ConfigError where it is refused, AutooptError where MLflow is in trouble: the
    aliases have not moved then.
    """
    study = load_study(settings.folder, settings.study)
    with lock_study(settings.folder, settings.study):
        searched = as_searched(settings, study)
        task = task_of(searched, study)
        chosen = candidate(searched, study, task, force)
        backup = baseline(searched, study, task)
        uri = searched.tracking_uri or default_uri(searched.outputs)
        from autoopt.tracking.registry import open_registry  # mlflow costs two seconds: a refusal does not wait for it
        from autoopt.tracking.view import TROUBLE

        try:
            with open_registry(uri, searched.model, searched.outputs) as registry:
                moved, now = _promote(Shipment(searched, study, task, registry), chosen, backup)
        except TROUBLE as error:
            raise AutooptError(
                f"MLflow did not take the model ({masked(one_line(error, 160))}…), and what it serves is as it was: is "
                f"it up at {masked(uri)}? Then type the same again"
            ) from error

    if force is not None and "forced" not in chosen.card:
        print("--force was not needed: nothing spoke against it")
    _tell(searched, chosen, uri, now, moved=moved)
    return 0


@dataclass(frozen=True)
class Shipment:
    searched: Settings
    study: Study
    task: Task
    registry: "Registry"


def _promote(ship: Shipment, chosen: Candidate, backup: Candidate) -> tuple[bool, dict[str, str]]:
    """Whether an alias has moved, and what they are."""
    registry, before = ship.registry, ship.registry.aliases()
    to = {"backup": _registered(ship, backup), "champion": _registered(ship, chosen)}
    former = before.get("champion")
    if former not in (None, to["champion"]):
        to["previous"] = str(former)
    moved = any(before.get(alias) != version for alias, version in to.items())
    if moved:
        registry.move(to)
    return moved, registry.aliases()


def _tell(searched: Settings, chosen: Candidate, uri: str, now: Mapping[str, str], *, moved: bool) -> None:
    name, uri, forced = searched.model, masked(uri), chosen.card.get("forced")
    is_now = f"models:/{name}@champion is version {now['champion']}"
    print(f"{is_now} now: {headline(chosen.card)}" if moved else f"{is_now} already: nothing has changed")
    numbers = ", ".join(f"{alias} {version}" for alias, version in sorted(now.items()))
    print(f"versions of {name}: {numbers}; registry: {uri}")
    print(f"serve: MLFLOW_TRACKING_URI={uri} mlflow models serve -m models:/{name}@champion --env-manager local")
    document = {"model": name, "registry": uri, "study": searched.study, "trial": chosen.trial.number}
    print(json.dumps({**document, "aliases": now, "changed": moved, "forced": forced}), flush=True)


def _registered(ship: Shipment, candidate: Candidate) -> str:
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
        added = registry.add(
            ship.searched.task,
            ship.searched.outputs,
            {**tags, **_more_tags(ship, card)},
            headline(card) + (f" Promoted by force: {card['forced']['why']}" if "forced" in card else ""),
            _run_of(ship, candidate.trial.number),
            lambda target, model: save_model(content, target, ship.task, model),
        )
        if not _answers(ship, added.version, content, Path(folder) / "added"):
            raise AutooptError(
                f"version {added.version} of {registry.name} does not answer as {candidate.folder} does: it was not "
                "promoted, and what MLflow serves is as it was"
            )
        return str(added.version)


def _answers(ship: Shipment, number: Any, content: Path, into: Path) -> bool:
    """Whether a version as MLflow hands it out is whole, and says what the artifact says."""
    from mlflow.exceptions import MlflowException

    try:
        saved = ship.registry.download(str(number), into)
        artifact.verify(saved / "data" / CONTENT)
        return says_the_same(saved, content, ship.task)
    except (ArtifactError, MlflowException, OSError):
        return False


def _more_tags(ship: Shipment, card: Mapping[str, Any]) -> dict[str, str]:
    exam = "of the baseline" if is_baseline(card) else "passed" if card["test"]["passed"] else "failed"
    forced = {f"autoopt.forced_{key}": str(value) for key, value in card.get("forced", {}).items()}
    return {"autoopt.study": ship.searched.study, "autoopt.exam": exam, **forced}


def _run_of(ship: Shipment, trial: int) -> str | None:
    """The trial's run, where MLflow has it."""
    from autoopt.tracking.runs import find_runs

    experiment = ship.registry.client.get_experiment_by_name(ship.searched.task)
    if experiment is None:
        return None
    _, children = find_runs(ship.registry.client, experiment.experiment_id, ship.study.user_attrs[IDENTITY])
    return next((run.info.run_id for run in children.get(trial, [])), None)
