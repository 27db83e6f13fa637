"""What is computed once: in a folder of this machine and, where there is a store, in the whole cluster."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from autoopt.artifacts.claim import claimed
from autoopt.artifacts.store import Store
from autoopt.artifacts.trouble import StoreError
from autoopt.core.sealed import is_whole, write_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cache:
    root: Path
    store: Store | None = None
    _shared: set[str] = field(default_factory=set, repr=False, compare=False)
    """Keys that this process has seen in the store, or has tried to put there."""

    def folder(self, key: str, write: Callable[[Path], None], meanwhile: Callable[[], object] = lambda: None) -> Path:
        """The folder `key`, such as logits/NAME, whole: as it is here, else the store's, else made by `write(fresh)`.

        `meanwhile()` is called now and then while another host makes it, and may raise. Raises StoreError where the
        store does not answer: to make something dear once more would be worse.
        """
        place = self.root / key
        if is_whole(place):
            self._share(key, place)
        elif self.store is None:
            write_folder(place, write)
        else:
            self._have(self.store, key, place, write, meanwhile)
            self._shared.add(key)
        return place

    def _share(self, key: str, place: Path) -> None:
        """What was made before there was a store; the search does not depend on it."""
        if self.store is None or key in self._shared:
            return
        self._shared.add(key)
        try:
            if not self.store.put_folder(key, place):
                log.warning(
                    "artifacts.uri=%s has another %s than this machine, where it stays: to use the store's, remove %s",
                    *(self.store.uri, key, place),
                )
        except StoreError as error:
            log.warning("%s is not shared: %s", key, error)

    def _have(
        self,
        store: Store,
        key: str,
        place: Path,
        write: Callable[[Path], None],
        meanwhile: Callable[[], object],
    ) -> None:
        with claimed(store, key, lambda: store.get_folder(key, place), meanwhile) as ours:
            if not ours:
                return
            write_folder(place, write)
            if store.put_folder(key, place):
                return
            log.warning("another host was faster with %s: its own is taken", key)
            shutil.rmtree(place)
            if not store.get_folder(key, place):
                raise StoreError(f"{key} of artifacts.uri={store.uri} changes while it is read: start again")
