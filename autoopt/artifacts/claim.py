"""Claims: of several hosts that need the same folder, one makes it, and the others wait for it."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from autoopt.artifacts.store import Store
from autoopt.artifacts.trouble import StoreError

BEAT_S, STALE_S, POLL_S, STEP_S = 5.0, 60.0, 2.0, 0.1
"""A claim that has not moved for STALE_S, by the clock of who waits, is of a host that died."""
log = logging.getLogger(__name__)


@contextmanager
def claimed(store: Store, key: str, is_there: Callable[[], bool], meanwhile: Callable[[], object]) -> Iterator[bool]:
    """True where it is ours to make while the block lasts; False as soon as `is_there()`, asked now and then.

    `meanwhile()` is called while this waits, and may raise. At worst, as where a host sleeps for longer than STALE_S,
    two make the same: whoever shares it first wins.
    """
    where, token = f"claims/{key}", uuid.uuid4().hex.encode()
    seen, since = b"", time.monotonic()
    while True:
        if is_there():
            yield False
            return
        if store.create(where, token) and _theirs(store, where) == token:
            break
        now = _theirs(store, where)
        if now != seen:
            if not seen:
                log.warning("another process makes %s for artifacts.uri=%s: waiting for it", key, store.uri)
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > STALE_S:
            log.warning("whoever made %s for artifacts.uri=%s is gone: it is made here", key, store.uri)
            store.remove(where)
            continue
        _wait(meanwhile)
    done = threading.Event()
    beat = threading.Thread(target=_keep_alive, args=(store, where, token, done), daemon=True)
    beat.start()
    try:
        yield not is_there()  # somebody may have come to its end between the look and the claim
    finally:
        done.set()
        beat.join()
        with suppress(StoreError):  # then it is stale in a minute
            store.remove(where)


def _theirs(store: Store, where: str) -> bytes:
    return store.read(where) or b"none"


def _wait(meanwhile: Callable[[], object]) -> None:
    end = time.monotonic() + POLL_S
    while time.monotonic() < end:
        meanwhile()
        time.sleep(STEP_S)


def _keep_alive(store: Store, where: str, token: bytes, done: threading.Event) -> None:
    number = 0
    while not done.wait(BEAT_S):
        number += 1
        with suppress(StoreError, OSError):
            store.write(where, token + str(number).encode())
