"""Files on their way to a store."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from autoopt.artifacts.store import Store
from autoopt.artifacts.trouble import StoreError
from autoopt.core.artifact import sha256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outbox:
    store: Store
    _waiting: dict[str, Path] = field(default_factory=dict)
    """By sha256, in the order in which they came."""

    def send(self, path: Path) -> str:
        """Its sha256, by which it is in the store: now, or where that is away, with one of the next that are sent."""
        found = sha256(path)
        self._waiting[found] = path
        for digest, file in list(self._waiting.items()):
            try:
                if file.is_file() and sha256(file) == digest:  # else the search has had it from here, and it is gone
                    self.store.put(file, digest)
            except StoreError as error:
                log.warning("%d models wait to be shared: %s", len(self._waiting), error)
                break
            del self._waiting[digest]
        return found

    def waits_for(self, folder: Path) -> bool:
        """Whether a file of that folder has yet to be sent."""
        return any(folder in path.parents for path in self._waiting.values())
