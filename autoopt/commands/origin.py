"""Where a study comes from: owner, versions, machine, data and command, as its record keeps them for every reader."""

import platform
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from optuna import Study

from autoopt.champion.card import PACKAGES, UNKNOWN
from autoopt.config import Settings
from autoopt.core.cpu import cpu_name, usable_cores
from autoopt.core.passwords import masked
from autoopt.core.user import user_name
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.providers import chosen, machine_of
from autoopt.tasks import Task
from autoopt.tracking.target import Data, Origin

ORIGIN = "autoopt_origin"
"""Among the user attributes of a study."""


def keep_origin(study: Study, settings: Settings, task: Task) -> None:
    """At the start of each session: owner and data are those of the first, versions and machine those of the last."""
    first = study.user_attrs.get(ORIGIN, {})
    rows = {"train": len(task.train), "validation": len(task.validation), "test": len(task.test)}
    study.set_user_attr(
        ORIGIN,
        {
            "owner": first.get("owner") or user_name(),
            "command": first.get("command") or _command(),
            "versions": {**_versions(), "python": platform.python_version()},
            "machine": platform.node(),
            "cpu": f"{cpu_name()}, {usable_cores()} cores, {settings.runtime_threads} to serve",
            "gpu": machine_of(chosen(settings.provider)).get("gpu", ""),
            "architecture": platform.machine(),
            "data": {"digest": task.fingerprint, "source": masked(task.data_source), "rows": rows},
        },
    )


def origin_of(study: Study, task: str) -> Origin:
    """Of a study that is older than this there is nothing to tell."""
    kept: dict[str, Any] = study.user_attrs.get(ORIGIN, {})
    if not kept:
        return Origin()
    tags = {
        "autoopt.version": kept["versions"].get("autoopt", ""),
        "autoopt.versions": ", ".join(f"{name} {is_at}" for name, is_at in kept["versions"].items()),
        "autoopt.machine": kept["machine"],
        "autoopt.cpu": kept["cpu"],
        **({"autoopt.gpu": kept["gpu"]} if kept.get("gpu") else {}),
    }
    data = kept["data"]
    return Origin(kept["owner"], tags, Data(task, data["digest"], data["source"], data["rows"]))


def command_of(study: Study) -> str:
    """That began it; '' where it was no command."""
    return str(study.user_attrs.get(ORIGIN, {}).get("command", ""))


def cpu_of(study: Study) -> str:
    """The name of the CPU that its last session measured on; UNKNOWN of a study that is older than this."""
    return str(study.user_attrs.get(ORIGIN, {}).get("cpu", UNKNOWN)).rsplit(", ", 2)[0]


def gpu_of(study: Study) -> str:
    """The name of the GPU that its last session measured on; '' where that was the CPU."""
    return str(study.user_attrs.get(ORIGIN, {}).get("gpu", ""))


def measured_there(study: Study, card: Mapping[str, Any]) -> dict[str, Any]:
    """A card made on this machine, of what was measured where the study was searched: machine and versions are those
    of its record, or UNKNOWN.
    """
    kept, cpu = study.user_attrs.get(ORIGIN, {}), cpu_of(study)
    versions = kept.get("versions", {})
    facts = card["facts"] if cpu == cpu_name() else {**card["facts"], "cpu_saturates_int8": UNKNOWN}
    where = {"cpu": cpu, "machine": kept.get("architecture", UNKNOWN)}
    if gpu := gpu_of(study):
        where["gpu"] = gpu
    return {
        **card,
        "measured_on": {**card["measured_on"], **where},
        "facts": facts,
        "versions": {name: versions.get(name, UNKNOWN) for name in card["versions"]},
    }


def _command() -> str:
    """As it was typed, without passwords; '' where Python called. `python -m autoopt` runs __main__.py."""
    program = Path(sys.argv[0])
    if program.name != "autoopt" and program.parts[-2:] != ("autoopt", "__main__.py"):
        return ""
    return masked(shlex.join(["autoopt", *sys.argv[1:]]))


def _versions() -> dict[str, str]:
    found = {}
    for package in dict.fromkeys(("autoopt", *PACKAGES, *RUNTIMES, "mlflow")):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
