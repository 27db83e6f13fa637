"""autoopt rollback: models:/NAME@champion is what it was before."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from autoopt.champion.serving import CONTENT
from autoopt.commands.aliases import move
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.errors import ArtifactError, AutooptError, ConfigError, one_line
from autoopt.core.passwords import masked
from autoopt.tracking.store import database, default_uri

if TYPE_CHECKING:
    from autoopt.tracking.registry import Registry

ROLLBACK = "rollback"


def rollback(settings: Settings) -> int:
    """Champion and previous change places: twice is where you were. Without a previous one the backup serves. One that
    a kill cut short is finished, and no second one is made. Raises ConfigError where there is nothing to go back to,
    AutooptError where MLflow is in trouble, which says what is served.
    """
    uri = settings.tracking_uri or default_uri(settings.outputs)
    file = database(uri)
    if file is not None and not file.is_file():
        raise ConfigError(f"{file} is not there: type outputs=DIR or tracking.uri=, as for promote")
    from autoopt.tracking.registry import open_registry  # mlflow costs two seconds
    from autoopt.tracking.view import TROUBLE

    try:
        with open_registry(uri, settings.model, settings.outputs) as registry:
            settled = registry.settled
            if settled is not None and settled["what"] == ROLLBACK:
                print(
                    "a rollback was cut short after the champion had moved: it is finished now, and no second one made"
                )
                before = settled["from"]
                now = {**before, **settled["to"]}
            else:
                before = registry.aliases()
                now = move(registry, _back(registry, before), before, ROLLBACK)
            _tell(registry, before, now)
    except TROUBLE as error:
        raise AutooptError(
            f"MLflow did not answer ({one_line(error, 160)}…), and what it serves is as it was: is it up at "
            f"{masked(uri)}? Then type the same again"
        ) from error
    return 0


def _back(registry: "Registry", before: dict[str, str]) -> dict[str, str]:
    """Where the aliases go. Raises ConfigError, ArtifactError."""
    from autoopt.tracking.registry import BACKUP, CHAMPION, PREVIOUS

    name, champion = registry.name, before.get(CHAMPION)
    if champion is None:
        raise ConfigError(
            f"no model {name!r} with a champion in {masked(registry.uri)}: type task=NAME or registry.model=NAME, or "
            "autoopt promote study=NAME first"
        )
    target = before.get(_source(before))
    if target in (None, champion):
        raise ConfigError(f"version {champion} of {name} is all there is: nothing to roll back to")
    _check(registry, str(target))
    to = {CHAMPION: str(target), PREVIOUS: champion}
    baseline = registry.baseline_of(str(target))  # the backup is of the study that is served
    return to if baseline in (None, before.get(BACKUP)) else {**to, BACKUP: str(baseline)}


def _source(before: dict[str, str]) -> str:
    from autoopt.tracking.registry import BACKUP, CHAMPION, PREVIOUS

    return PREVIOUS if before.get(PREVIOUS) not in (None, before.get(CHAMPION)) else BACKUP


def _tell(registry: "Registry", before: dict[str, str], now: dict[str, str]) -> None:
    from autoopt.tracking.registry import CHAMPION, PREVIOUS
    from autoopt.tracking.view import TROUBLE

    name, source = registry.name, _source(before)
    description: str | None = None
    with suppress(*TROUBLE):  # by now it has moved
        description = registry.version(now[CHAMPION]).description
    why = "" if source == PREVIOUS else ", the backup: there was no previous one"
    print(f"models:/{name}@champion is version {now[CHAMPION]} again{why}: {description or 'not described'}")
    print(f"version {now[PREVIOUS]} is the previous one now: the same command goes back to it")
    print("servers that run keep the version that they have loaded: start them again")
    print(json.dumps({"model": name, "registry": masked(registry.uri), "from": source, "aliases": now}), flush=True)


def _check(registry: "Registry", number: str) -> None:
    """Raises ArtifactError where the files of a version are not as they were registered."""
    with TemporaryDirectory() as folder:
        try:
            artifact.verify(registry.download(number, Path(folder)) / "data" / CONTENT)
        except ArtifactError as error:
            raise ArtifactError(
                f"version {number} of {registry.name} is damaged ({error}): nothing was rolled back; type autoopt "
                "promote study=NAME trial=N, which registers it anew"
            ) from error
