"""Files on their way to a store."""

import logging
import os
import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autoopt.artifacts.store import Store
from autoopt.artifacts.trouble import StoreError
from autoopt.core.artifact import sha256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outbox:
    """What the store did not take lies in `folder` under its sha256, whatever becomes of the file that it was: it is
    sent with one of the next, by this process or another.
    """

    store: Store
    folder: Path

    def send(self, path: Path) -> str:
        """Its sha256, by which it is in the store: now, or when that is back."""
        digest = sha256(path)
        try:
            self.store.put(path, digest)
            self.flush()
        except StoreError as error:
            self._keep(path, digest)
            log.warning("%d models wait to be shared: %s", len(self._waiting()), error)
        return digest

    def flush(self) -> None:
        """Send what waits. Raises StoreError."""
        for file in self._waiting():
            with suppress(FileNotFoundError):  # another process has just sent it
                if sha256(file) == file.name:  # else a kill came while it was written
                    self.store.put(file, file.name)
                file.unlink(missing_ok=True)

    def _waiting(self) -> list[Path]:
        return sorted(file for file in self.folder.glob("*") if "." not in file.name)

    def _keep(self, path: Path, digest: str) -> None:
        if not (self.folder / digest).is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = self.folder / f"{digest}.{uuid.uuid4().hex}"
            try:
                os.link(path, fresh)
            except OSError:  # a file system without links
                shutil.copyfile(path, fresh)
            fresh.replace(self.folder / digest)
