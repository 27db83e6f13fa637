"""The address of a store, as it is typed."""

import difflib
import re
from pathlib import Path
from typing import Any

from autoopt.core.errors import ConfigError, one_line
from autoopt.core.passwords import masked

EXTRAS = {"s3": "s3", "s3a": "s3"}
"""Protocol -> the extra of autoopt that brings it."""
ALLOWED = "a folder, file:///FOLDER, s3://BUCKET/PREFIX, or another address that fsspec knows, is allowed, or null"


def read_address(value: Any) -> str | None:
    """A folder becomes absolute, so that it means the same wherever a worker runs. Raises ConfigError."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"artifacts.uri={value!r}: {ALLOWED}")
    uri = value.strip()
    if masked(uri) != uri:
        raise ConfigError(
            f"artifacts.uri={uri} holds a password, which every worker and the saved configuration would show: leave "
            "it out, and give it by the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    protocol, separator, rest = uri.partition("://")
    if not separator:
        if re.match(r"[A-Za-z][\w+.-]*:", uri):
            raise ConfigError(f"artifacts.uri={uri}: {ALLOWED}")
        return str(Path(uri).expanduser().absolute())
    _check_protocol(uri, protocol)
    if not rest.strip("/") or (protocol == "file" and not rest.startswith("/")):
        raise ConfigError(f"artifacts.uri={uri} names no place: {ALLOWED}")
    return uri.rstrip("/")


def _check_protocol(uri: str, protocol: str) -> None:
    import fsspec  # takes time, and is needed here alone

    known = fsspec.available_protocols()
    if protocol not in known:
        near = difflib.get_close_matches(protocol, known, n=1)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"artifacts.uri={uri}: unknown protocol {protocol!r}: {guess}{ALLOWED}")
    if protocol == "memory":
        raise ConfigError(f"artifacts.uri={uri}: the memory of a process is not shared: {ALLOWED}")
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        remedy = f"type pip install 'autoopt[{extra}]'" if extra else one_line(error, 200)
        raise ConfigError(f"artifacts.uri={uri} needs a package that is not installed: {remedy}") from error
