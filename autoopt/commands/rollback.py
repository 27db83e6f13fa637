"""autoopt rollback: models:/NAME@champion is what it was before."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from autoopt.champion.serving import CONTENT
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.errors import ArtifactError, AutooptError, ConfigError, one_line
from autoopt.core.passwords import masked
from autoopt.tracking.store import database, default_uri

if TYPE_CHECKING:
    from autoopt.tracking.registry import Registry


def rollback(settings: Settings) -> int:
    """Champion and previous change places: twice is where you were. Without a previous one the backup serves. Raises
    ConfigError where there is nothing to go back to, AutooptError where MLflow is in trouble.
    """
    uri = settings.tracking_uri or default_uri(settings.outputs)
    file = database(uri)
    if file is not None and not file.is_file():
        raise ConfigError(f"{file} is not there: type outputs=DIR or tracking.uri=, as for promote")
    from autoopt.tracking.registry import BACKUP, CHAMPION, PREVIOUS, open_registry  # mlflow costs two seconds
    from autoopt.tracking.view import TROUBLE

    name = settings.model
    try:
        with open_registry(uri, name, settings.outputs) as registry:
            before = registry.aliases()
            champion = before.get(CHAMPION)
            if champion is None:
                raise ConfigError(
                    f"no model {name!r} with a champion in {masked(uri)}: type task=NAME or registry.model=NAME, or "
                    "autoopt promote study=NAME first"
                )
            source = PREVIOUS if before.get(PREVIOUS) not in (None, champion) else BACKUP
            target = before.get(source)
            if target in (None, champion):
                raise ConfigError(f"version {champion} of {name} is all there is: nothing to roll back to")
            _check(registry, str(target))
            description = registry.version(str(target)).description
            registry.move({CHAMPION: str(target), PREVIOUS: champion})
            now = registry.aliases()
    except TROUBLE as error:
        raise AutooptError(
            f"MLflow did not answer ({masked(one_line(error, 160))}…): is it up at {masked(uri)}? Then type the "
            "same again"
        ) from error
    why = "" if source == PREVIOUS else ", the backup: there was no previous one"
    print(f"models:/{name}@champion is version {target} again{why}: {description}")
    print(f"version {champion} is the previous one now: the same command goes back to it")
    print(json.dumps({"model": name, "registry": masked(uri), "from": source, "aliases": now}), flush=True)
    return 0


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
