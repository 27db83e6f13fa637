"""config.yaml, as a study was begun with it: for people, and read back where it is as it was written."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from autoopt.core.errors import ConfigError
from autoopt.core.passwords import masked_values

CONFIG = "config.yaml"
MARK = "# sha256 of the lines below: "
log = logging.getLogger(__name__)


def config_text(raw: Mapping[str, Any]) -> str:
    """A resolved configuration as YAML, without the passwords in it."""
    text: str = yaml.safe_dump(masked_values(raw), sort_keys=False)
    return text


def saved_text(raw: Mapping[str, Any]) -> str:
    """What is written to config.yaml: the hash, since half of a YAML file is YAML, too."""
    text = config_text(raw)
    return f"{MARK}{_digest(text)}\n{text}"


def read_saved(folder: Path) -> dict[str, Any] | None:
    """The study's configuration, its passwords masked; None where the file is not there, damaged or changed by hand:
    what must not change is on the study's own record.
    """
    if not (folder / CONFIG).is_file():
        return None
    first, _, text = (folder / CONFIG).read_bytes().decode(errors="replace").partition("\n")
    if first == f"{MARK}{_digest(text)}":
        return dict(yaml.safe_load(text))
    log.warning("%s is not as it was written: it is not read", folder / CONFIG)
    return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def tracking_address(typed: str | None, saved: str | None) -> str | None:
    """The command line's, else where the search wrote. Raises ConfigError where that was saved without its password."""
    uri = typed or saved
    if uri and "***" in uri:
        raise ConfigError(
            f"tracking.uri={uri} was saved without its password: type tracking.uri=http://USER:PASSWORD@…"
        )
    return uri
