"""What a view is a view of, and what a search says at its end: plain values, so that nobody imports mlflow for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from autoopt.core.kpi import Kpi
from autoopt.core.standing import Standing


@dataclass(frozen=True)
class Data:
    """What a study learns from: never the data, only what identifies them."""

    name: str
    digest: str
    source: str
    rows: Mapping[str, int]
    """By split."""


@dataclass(frozen=True)
class Origin:
    """Where a study comes from, out of its own record: whoever writes the view, and wherever, writes the same."""

    owner: str = ""
    """Who began it; '' where the record is older than this."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Versions and machine, for the parent run."""
    data: Data | None = None


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
    origin: Origin = Origin()
    note: Callable[[Standing], str] | None = None
    """The parent's note while the search goes on."""


@dataclass(frozen=True)
class LastWord:
    """What the parent run carries when a search is over; its `status` is one of MLflow's. `metrics` are the champion's:
    parents beside each other are studies that compare. `step` of them grows with the study.
    """

    note: str
    files: Sequence[Path]
    facts: Mapping[str, Any]
    status: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    step: int = 0


class WriterLock(Protocol):
    """filelock's, or one of a database; `acquire` raises filelock's Timeout."""

    def acquire(self, timeout: float) -> object: ...

    def release(self) -> None: ...


def writer_lock(folder: Path) -> FileLock:
    """Held by whoever writes the view of the study in `folder`: a search or `autoopt sync`, never both."""
    return FileLock(folder / "tracking.lock")
