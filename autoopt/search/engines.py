"""Engines: where workers run. A table from name to row; a row's options are the keys of conf/engine/NAME.yaml."""

import importlib.util
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from autoopt.core.checks import MOST_THREADS, number, whole
from autoopt.core.errors import ConfigError
from autoopt.core.lookup import suggestion
from autoopt.search.crew import Hired

PLACEMENTS = ("SPREAD", "PACK")
MOST_HOURS = 24 * 365
KNOCK_S = 5.0


@dataclass(frozen=True)
class Local:
    """Processes of this machine."""


@dataclass(frozen=True)
class Ray:
    address: str | None
    cpus: float
    gpus: float
    placement: str


@dataclass(frozen=True)
class Slurm:
    partition: str | None
    cpus: int
    gpus: int
    memory_gb: float | None
    hours: float
    setup: tuple[str, ...]
    dry_run: bool


Engine = Local | Ray | Slurm


@dataclass(frozen=True)
class Place:
    """What workers need to know of the search."""

    folder: Path
    """Of the study, absolute."""
    preload: str
    """A module that takes time to import."""
    threads: int
    """Of one worker."""
    artifacts: str | None
    """artifacts.uri: where workers of other machines leave their models."""
    say: Callable[[str], None]


@dataclass(frozen=True)
class Row:
    read: Callable[[Mapping[str, Any]], Engine]
    hire: Callable[[Any, int, Place], Hired] | None
    """(options, workers, place) -> a crew, as a context; None where workers come by themselves."""
    package: str | None = None
    """What it is of no use without; the extra of that name installs it."""
    extra: str = ""
    hires: bool = True
    """Whether it needs at least one worker."""


def _hire_processes(engine: Local, count: int, place: Place) -> Hired:
    from autoopt.search.workers import Workers

    return Workers(count, place.folder / "work", place.preload)


def _hire_actors(engine: Ray, count: int, place: Place) -> Hired:
    from autoopt.search.ray_crew import Actors

    return Actors(engine, count, place)


def _read_local(raw: Mapping[str, Any]) -> Local:
    return Local()


def _read_ray(raw: Mapping[str, Any]) -> Ray:
    address, placement = raw["address"], raw["placement"]
    if address is not None and not re.fullmatch(r"auto|(ray://)?[^\s:/@]+:\d{1,5}", str(address)):
        raise ConfigError(f"engine.address={address}: null, auto, HOST:PORT or ray://HOST:PORT is allowed")
    if placement not in PLACEMENTS:
        raise ConfigError(f"engine.placement={placement}: {' or '.join(PLACEMENTS)} is allowed")
    gpus = number("engine.gpus", raw["gpus"], above_zero=False)
    if gpus > 1 and gpus != int(gpus):
        raise ConfigError(f"engine.gpus={raw['gpus']}: a whole number, or a share of one such as 0.5 is allowed")
    for key in ("cpus", "gpus"):
        _fine("engine." + key, raw[key])
    return Ray(
        None if address is None else str(address), number("engine.cpus", raw["cpus"], above_zero=True), gpus, placement
    )


def _fine(path: str, share: Any) -> None:
    if isinstance(share, float) and 0 < share < 1e-4:
        raise ConfigError(f"{path}={share}: 0.0001 is the least share that Ray knows")


def _read_slurm(raw: Mapping[str, Any]) -> Slurm:
    partition, setup, memory = raw["partition"], raw["setup"], raw["memory_gb"]
    if partition is not None and not re.fullmatch(r"[\w.,-]+", str(partition)):
        raise ConfigError(f"engine.partition={partition!r}: the name of a partition is allowed, or null")
    if not isinstance(setup, list) or not all(isinstance(line, str) and line.strip() for line in setup):
        raise ConfigError(f"engine.setup={setup!r}: a list of shell commands is allowed, such as '[module load cuda]'")
    if not isinstance(raw["dry_run"], bool):
        raise ConfigError(f"engine.dry_run={raw['dry_run']!r}: true or false is allowed")
    hours = number("engine.hours", raw["hours"], above_zero=True)
    if hours > MOST_HOURS:
        raise ConfigError(f"engine.hours={raw['hours']}: at most {MOST_HOURS} is allowed")
    return Slurm(
        partition=None if partition is None else str(partition),
        cpus=whole("engine.cpus", raw["cpus"], 1, MOST_THREADS),
        gpus=whole("engine.gpus", raw["gpus"], 0, MOST_THREADS),
        memory_gb=None if memory is None else number("engine.memory_gb", memory, above_zero=True),
        hours=hours,
        setup=tuple(setup),
        dry_run=raw["dry_run"],
    )


KINDS: Mapping[str, type[Engine]] = {"local": Local, "ray": Ray, "slurm": Slurm}
ENGINES: Mapping[str, Row] = {
    "local": Row(_read_local, _hire_processes, hires=False),
    "ray": Row(_read_ray, _hire_actors, package="ray", extra="ray"),
    "slurm": Row(_read_slurm, None, package="submitit", extra="slurm"),
}


def read_engine(raw: Mapping[str, Any], workers: int) -> Engine:
    """The options of the engine that is called raw['name']. Raises ConfigError."""
    name = raw["name"]
    known = [field.name for field in fields(KINDS[name])]
    for key in raw:
        if key != "name" and key not in known:
            hint = suggestion(key, known) if known else "It has none."
            raise ConfigError(f"engine {name} has no option {key!r}. {hint} (Choose one by engine=NAME.)")
    engine = ENGINES[name].read({**dict.fromkeys(known), **raw})
    if ENGINES[name].hires and not workers:
        raise ConfigError(f"workers=0 with engine={name}: a number from 1 on is allowed, or engine=local")
    return engine


def row_of(engine: Engine) -> Row:
    return next(ENGINES[name] for name, kind in KINDS.items() if isinstance(engine, kind))


def check_engine(engine: Engine) -> None:
    """Raises ConfigError where the engine's package is not there, or nobody listens at its address."""
    row = row_of(engine)
    if row.package is not None and importlib.util.find_spec(row.package) is None:
        raise ConfigError(f"engine={row.extra} needs {row.package}: type pip install 'autoopt[{row.extra}]'")
    if isinstance(engine, Ray):
        _knock(engine.address)


def _knock(address: str | None) -> None:
    """Ray itself would try for minutes, and then end the process."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), KNOCK_S).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"engine.address={address}: nobody answers there ({why}): type that of a running head"
        ) from None


def worker_threads(engine: Engine, typed: Any, threads: int, workers: int) -> int:
    """What one worker trains with. Elsewhere than on this machine it is what the engine gives it, unless typed."""
    if typed is None and not isinstance(engine, Local):
        return max(1, int(engine.cpus))
    return max(1, threads // max(1, workers))
