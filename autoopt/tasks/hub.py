"""Pretrained models: a local folder, or a name on the Hugging Face hub."""

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

from autoopt.core.errors import ConfigError, one_line


def need_transformers(extra: str) -> None:
    """Raises ConfigError where the packages of the extra are not there."""
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError(f"pretrained teachers need transformers: type pip install 'autoopt[{extra}]'")


def pretrained_folder(model: str, files: Sequence[str]) -> Path:
    """The folder of teacher.model, which holds `files` (patterns). Raises ConfigError."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=list(files)))
    except Exception as error:  # no network, no such name, no permission: each library below has its own
        reason = one_line(error, 200)
        raise ConfigError(
            f"teacher.model={model} is no folder, and the hub does not give it ({reason}): "
            f"type teacher.model=FOLDER with {', '.join(files)}"
        ) from error


def quiet_transformers() -> None:
    """No progress bars, and no warnings about heads that are new."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
