"""engine=slurm: the jobs of a search, each of which is `autoopt worker`."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from autoopt.config import Settings
from autoopt.config_sections import STORAGE
from autoopt.core.errors import AutooptError, ConfigError
from autoopt.search.engines import Slurm
from autoopt.search.peers import Peers
from autoopt.search.session import joined_ended
from autoopt.search.slurm import are_gone, cancel, check_slurm, submit, written

LOOK_S = 60.0  # between two looks at the jobs


def refuse_slurm(settings: Settings) -> None:
    """Raises ConfigError where engine=slurm cannot work."""
    if isinstance(settings.engine, Slurm):
        check_slurm(settings.engine, settings.storage)
        if settings.store is None:
            raise ConfigError(
                "engine=slurm: the jobs' models have to reach the search: type artifacts.uri=FOLDER, on a disk that "
                "all machines share, or s3://BUCKET/PREFIX"
            )


def dry_run(settings: Settings) -> int:
    """Write the batch file and say where it is; nothing is searched. Returns the exit code."""
    assert isinstance(settings.engine, Slurm)
    command, secrets = command_of_worker(settings)
    folder = settings.folder / "slurm"
    batch, line = written(settings.engine, settings.workers, folder, command, secrets, settings.limits.grace_s)
    print(f"nothing is submitted: {batch} is for {settings.workers} jobs, each of which runs\n{line}", file=sys.stderr)
    print(json.dumps({"study": settings.study, "batch": str(batch), "workers": settings.workers, "command": command}))
    return 0


@contextmanager
def slurm_jobs(settings: Settings, say: Callable[[str], None]) -> Iterator[list[str]]:
    """The ids of the jobs, submitted. At the end those that still wait are taken back; a worker that runs ends by
    itself when it finds that the search has ended.
    """
    assert isinstance(settings.engine, Slurm)
    command, secrets = command_of_worker(settings)
    jobs = submit(
        settings.engine, settings.workers, settings.folder / "slurm", command, secrets, settings.limits.grace_s
    )
    say(f"slurm: jobs {', '.join(jobs)}; their logs are in {settings.folder / 'slurm'}")
    try:
        yield jobs
    finally:
        cancel(jobs)


@dataclass
class Looking:
    """Called a few times a second by a search that only conducts: where no job is left, it ends as they have found, or
    raises AutooptError where none says that it was done.
    """

    jobs: Sequence[str]
    logs: Path
    peers: Peers
    _looked_at: float = field(default_factory=time.monotonic)

    def __call__(self) -> None:
        if time.monotonic() - self._looked_at < LOOK_S:
            return
        self._looked_at = time.monotonic()
        if not are_gone(self.jobs):
            return
        self.peers.verdict = joined_ended(self.peers.study)
        if self.peers.verdict is None:
            raise AutooptError(
                f"all jobs of Slurm have ended, and the budget is not spent: why is in {self.logs}; the same command "
                "submits others, and goes on"
            )


def command_of_worker(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """What a job runs, and the environment variables that hold what must not stand there."""
    assert isinstance(settings.engine, Slurm)
    secrets = {STORAGE: settings.storage or ""}
    tracking, login = _without_login(settings.tracking_uri)
    given: dict[str, Any] = {
        "study": settings.study,
        "outputs": str(settings.outputs),
        "tracking.uri": tracking,
        "artifacts.uri": settings.raw["artifacts"]["uri"],
        "workers": 1,
        "threads": settings.worker_threads,
        "device": settings.raw.get("device"),
        **{f"limits.{key}": value for key, value in settings.raw["limits"].items()},
    }
    keys = [f"{key}={_quoted(value)}" for key, value in given.items() if value is not None]
    return [sys.executable, "-m", "autoopt", "worker", *keys], secrets | login


def _quoted(value: Any) -> str:
    """As Hydra reads it: a comma or a space in a path is part of it."""
    text = str(value)
    if re.fullmatch(r"[\w./:@-]+", text):
        return text
    escaped = text.replace("'", "\\'")
    return f"'{escaped}'"


def _without_login(uri: str | None) -> tuple[str | None, dict[str, str]]:
    """An address of MLflow, and the login in it, as MLflow takes it from the environment."""
    parts = urlsplit(uri or "")
    if uri is None or "@" not in parts.netloc:
        return uri, {}
    login = {"MLFLOW_TRACKING_USERNAME": parts.username, "MLFLOW_TRACKING_PASSWORD": parts.password}
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, {name: unquote(value) for name, value in login.items() if value is not None}
