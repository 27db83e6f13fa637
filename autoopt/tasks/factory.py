"""Functions of the user's, named on the command line."""

import importlib
import os
import sys
from typing import Any

from autoopt.core.errors import ConfigError


def call(key: str, named: str | None) -> Any:
    """What MODULE:FUNCTION returns, importable from the current directory. Raises ConfigError that names `key`."""
    module, _, name = str(named or "").partition(":")
    if not module or not name:
        raise ConfigError(f"{key}={named}: MODULE:FUNCTION is allowed, such as {key}=my_module:build")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{key}={named}: {error}; it is looked for in the current directory and in what is installed"
        ) from error
    if not hasattr(imported, name):
        raise ConfigError(f"{key}={named}: module {module} has no {name!r}")
    return getattr(imported, name)()
