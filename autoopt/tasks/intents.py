"""task=intents: the CLINC150 intents of a customer-service agent (Larson et al. 2019, EMNLP, arXiv:1909.02027)."""

import json
from pathlib import Path

from autoopt.core.errors import ConfigError
from autoopt.tasks.task import Task
from autoopt.tasks.text import Sentences, text_task

URL = "https://raw.githubusercontent.com/clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de/data/data_full.json"
SHA256 = "36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0"
FILE = "data_full.json"
KEYS = ("train", "val", "test")


def intents(path: str | None = None, max_tokens: int = 32, pretrained: str | None = None) -> Task:
    """150 intents: 15,000 train, 3,000 validation, 4,500 test; those out of scope are left out.

    `path`: a file of data_full.json's format, or the folder that holds it; None: downloaded once into the user's cache.
    """
    raw = _read(_file(path))
    parts = [Sentences([text for text, _ in raw[key]], [label for _, label in raw[key]]) for key in KEYS]
    return text_task(
        "intents",
        parts,
        pretrained=pretrained,
        max_tokens=max_tokens,
        source="CLINC150 (Larson et al. 2019), clinc/oos-eval, CC BY 3.0" if path is None else str(path),
    )


def _file(path: str | None) -> Path:
    if path is None:
        return _downloaded()
    found = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not found.is_file():
        raise ConfigError(f"task.path={path}: there is no {FILE}: give the file, or the folder that holds it")
    return found


def _downloaded() -> Path:
    import pooch

    try:
        return Path(pooch.retrieve(URL, known_hash=f"sha256:{SHA256}", fname=FILE, path=pooch.os_cache("autoopt")))
    except Exception as error:  # no network, a proxy's page, a changed file: each layer below has its own
        raise ConfigError(
            f"task.path=null, and {FILE} cannot be downloaded ({type(error).__name__}): "
            f"type task.path=FILE with a copy of {URL}, or connect to a network"
        ) from error


def _read(path: Path) -> dict[str, list[list[str]]]:
    try:
        raw = json.loads(path.read_text())
        return {key: [[str(text), str(label)] for text, label in raw[key]] for key in KEYS}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"task.path={path} has not the format {{'train': [[text, intent], ...], 'val': ..., 'test': ...}}: {error}"
        ) from error
