"""Packages of the extras: whether they are there, and how they are imported."""

import importlib
import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from autoopt.core.errors import ConfigError

OTHER_BUILDS = {"onnxruntime": "onnxruntime-gpu"}
"""Of the same module: whoever serves on a GPU installs the second in the place of the first."""


def need(package: str, extra: str, what: str) -> None:
    """Raises ConfigError where `package` is not installed; `what` is the setting that asks for it."""
    if not is_installed(package):
        raise ConfigError(f"{what} needs {package}: type pip install 'autoopt[{extra}]'")


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def distribution_of(package: str) -> str:
    """Under which name pip knows it: onnxruntime may be the build for GPUs."""
    return OTHER_BUILDS[package] if package in OTHER_BUILDS and not _known(package) else package


def version_of(package: str) -> str:
    """Raises PackageNotFoundError."""
    return version(distribution_of(package))


def _known(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def import_unreported(name: str) -> Any:
    """openvino and nncf tell their makers that they were imported, over the network and without asking. Where their
    package for that is not there, they go without: here it never is.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module(name)
