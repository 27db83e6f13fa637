"""What a view is a view of, and what a search says at its end: plain values, so that nobody imports mlflow for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from autoopt.core.kpi import Kpi


@dataclass(frozen=True)
class Target:
    """Where the runs of a study are written."""

    uri: str
    outputs: Path
    """Absolute; artifacts of a local store go below it."""
    task: str
    """The name of the experiment."""
    study: str
    identity: str
    """The study's random id: names repeat."""
    kpis: tuple[Kpi, ...]
    artifacts: Callable[[int], Path]
    """The folder of a trial's artifact, which need not exist."""


@dataclass(frozen=True)
class LastWord:
    """What the parent run carries when a search is over; its `status` is one of MLflow's."""

    note: str
    files: Sequence[Path]
    facts: Mapping[str, Any]
    status: str


def writer_lock(folder: Path) -> FileLock:
    """Held by whoever writes the view of the study in `folder`: a search or `autoopt sync`, never both."""
    return FileLock(folder / "tracking.lock")
