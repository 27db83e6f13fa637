"""Functions of the user's, named on the command line."""

import importlib
import os
import sys
from typing import Any

from autoopt.core.errors import AutooptError, ConfigError, one_line


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
    except (Exception, SystemExit) as error:  # it is the user's, and may raise anything
        raise ConfigError(f"{key}={named}: module {module} cannot be imported: {_told(error)}") from error
    if not callable(getattr(imported, name, None)):
        raise ConfigError(f"{key}={named}: module {module} has no {name!r} to call")
    try:
        return getattr(imported, name)()
    except AutooptError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{key}={named} raised {_told(error)}: mend it, --debug shows where") from error


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error, 200)}"
