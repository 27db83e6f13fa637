"""autoopt promote: a study's champion, or one of its trials, becomes what models:/NAME@champion is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from optuna import Study

from autoopt.champion.exam import taken_exams
from autoopt.champion.model_card import headline
from autoopt.commands.aliases import move, of_registry
from autoopt.commands.candidates import Candidate, baseline, candidate, fetch
from autoopt.commands.conclude import write_report
from autoopt.commands.saved import tracking_address
from autoopt.commands.searched import as_searched, outcome_of, task_of
from autoopt.commands.versions import Shipment, check_same_use, recorded, registered
from autoopt.config import Settings
from autoopt.core.errors import AutooptError, one_line
from autoopt.core.passwords import masked
from autoopt.report import shell
from autoopt.search.lock import lock_study
from autoopt.search.study import load_study
from autoopt.tracking.store import default_uri


def promote(settings: Settings, *, force: str | None = None, local: Sequence[str] = ()) -> int:
    """Prints a line for people and, as the last of stdout, one JSON document. `force`: the reason why it is promoted
    whatever its exam says; `local`: overrides of keys that differ on this machine, such as task.path. Raises
    ConfigError where it is refused, AutooptError where MLflow is in trouble, which says whether the aliases have moved.
    """
    study = load_study(settings.folder, settings.study, settings.storage)
    with lock_study(settings.folder, settings.study, settings.storage):
        searched = as_searched(settings, study, local)
        searched = replace(searched, tracking_uri=tracking_address(settings.tracking_uri, searched.tracking_uri))
        task = task_of(searched, study)
        fetch(searched, study, task)
        with exams_told(searched, study):
            chosen = candidate(searched, study, task, force)
        backup = baseline(searched, study, task)
        uri = searched.tracking_uri or default_uri(searched.outputs)
        from autoopt.tracking.registry import open_registry  # mlflow costs two seconds: a refusal does not wait for it
        from autoopt.tracking.view import TROUBLE

        try:
            with open_registry(uri, searched.model, searched.outputs) as registry:
                ship = Shipment(searched, study, task, registry)
                before = registry.aliases()
                check_same_use(ship, before.get("champion"), chosen)
                to = _aliases(ship, before, chosen, backup)
                moved = any(before.get(alias) != version for alias, version in to.items())
                forced = recorded(ship, to["champion"], chosen, moved=moved)
                now = move(registry, to, before, "promote") if moved else before
        except TROUBLE as error:
            raise AutooptError(
                f"MLflow did not take the model ({one_line(error, 160)}…), and what it serves is as it was: is it up "
                f"at {masked(uri)}? Then type the same again"
            ) from error

    if force is not None and "forced" not in chosen.card:
        print("--force was not needed: nothing spoke against it")
    _tell(searched, chosen, uri, now, forced, moved=moved)
    return 0


@contextmanager
def exams_told(searched: Settings, study: Study) -> Iterator[None]:
    """Exams that are taken within, passed or not, go into the report; and MLflow is told by sync."""
    known = taken_exams(study).keys()
    try:
        yield
    finally:
        if new := sorted(taken_exams(study).keys() - known):
            outcome = outcome_of(searched, study)
            html = write_report(outcome)[0]
            print(f"the final exam of trial {', '.join(map(str, new))} is in {html}")
            if searched.tracker != "none":
                print(f"MLflow has it after: {shell.sync(outcome)}")


def _aliases(ship: Shipment, before: Mapping[str, str], chosen: Candidate, backup: Candidate) -> dict[str, str]:
    """Where they are to go. The former champion is the previous one, unless it is the same model."""
    from autoopt.tracking.registry import SHA256

    registry, former = ship.registry, before.get("champion")
    to = {"backup": registered(ship, backup), "champion": registered(ship, chosen)}
    if former not in (None, to["champion"]):
        was, becomes = (registry.version(str(number)).tags.get(SHA256) for number in (former, to["champion"]))
        if was is None or was != becomes:
            to["previous"] = str(former)
    return to


def _tell(searched: Settings, chosen: Candidate, uri: str, now: Mapping[str, str], forced: Any, *, moved: bool) -> None:
    name = searched.model
    is_now = f"models:/{name}@champion is version {now['champion']}"
    print(f"{is_now} now: {headline(chosen.card)}" if moved else f"{is_now} already: nothing has changed")
    numbers = ", ".join(f"{alias} {version}" for alias, version in sorted(now.items()))
    print(f"versions of {name}: {numbers}; registry: {masked(uri)}")
    if moved:
        print("servers that run keep the version that they have loaded: start them again")
    print(f"serve: {of_registry(uri)} mlflow models serve -m models:/{name}@champion --env-manager local")
    document = {"model": name, "registry": masked(uri), "study": searched.study, "trial": chosen.trial.number}
    print(json.dumps({**document, "aliases": now, "changed": moved, "forced": forced}), flush=True)
