"""Where a study comes from: owner, versions, machine, data and command, as its record keeps them for every reader."""

import getpass
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from optuna import Study

from autoopt.champion.card import PACKAGES
from autoopt.config import Settings
from autoopt.core.cpu import cpu_name, usable_cores
from autoopt.core.passwords import masked
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
            "owner": first.get("owner") or _user(),
            "command": first.get("command") or _command(),
            "versions": {**_versions(), "python": platform.python_version()},
            "machine": platform.node(),
            "cpu": f"{cpu_name()}, {usable_cores()} cores, {settings.runtime_threads} to serve",
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
    }
    data = kept["data"]
    return Origin(kept["owner"], tags, Data(task, data["digest"], data["source"], data["rows"]))


def command_of(study: Study) -> str:
    """That began it; '' where it was no command."""
    return str(study.user_attrs.get(ORIGIN, {}).get("command", ""))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container, a number without a name
        return ""


def _command() -> str:
    """As it was typed, without passwords; '' where Python called. `python -m autoopt` runs __main__.py."""
    program = Path(sys.argv[0])
    if program.name != "autoopt" and program.parts[-2:] != ("autoopt", "__main__.py"):
        return ""
    return masked(shlex.join(["autoopt", *sys.argv[1:]]))


def _versions() -> dict[str, str]:
    found = {}
    for package in ("autoopt", *PACKAGES, "mlflow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
