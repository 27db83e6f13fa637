"""A store: objects by their content, in a folder or a bucket that several machines share.

    URI/objects/ab/abcdef...   a file, named by the sha256 of its bytes: written once, verified whenever it is read
    URI/folders/KEY.json       a folder of the caches: its files, with sha256 and size of each
    URI/claims/KEY             who is making such a folder at the moment, see claim.py

Nothing here goes away by itself: several studies may refer to one object.
"""

import json
import logging
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from autoopt.artifacts.trouble import ATTEMPTS, DamagedError, MissingError, StoreError, in_words, patiently
from autoopt.core.artifact import sha256
from autoopt.core.errors import ConfigError
from autoopt.core.sealed import SUMS, is_whole, write_folder

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PROBE = "autoopt.txt"
PROBE_TEXT = b"Artifacts and caches of autoopt: objects by their sha256, and folders that refer to them.\n"
PROBE_ATTEMPTS = 2  # somebody waits
ALWAYS = {"use_listings_cache": False, "skip_instance_cache": True}  # other machines write here, too
OF_S3 = {"config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 0}}}
OPTIONS: Mapping[str, Mapping[str, Any]] = {"s3": OF_S3, "s3a": OF_S3}
"""Of fsspec's file systems, by protocol. Those of S3 try again by themselves, several times over: minutes."""
ATOMIC = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss")
"""Protocols of object stores, where a file appears when all of it is there; elsewhere it gets its name at the end."""
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """What it raises is a StoreError."""

    uri: str
    _opened: dict[int, tuple["AbstractFileSystem", str]] = field(default_factory=dict, repr=False, compare=False)
    """By process: connections do not survive a fork."""
    _away: set[str] = field(default_factory=set, repr=False, compare=False)
    """Not empty: the last request came to nothing, and the next one is not tried again for long."""

    def put(self, path: Path, digest: str | None = None) -> str:
        """Its sha256, `digest` where that is known. What is there is not sent again."""
        digest = digest or sha256(path)
        where = _object(digest)
        if self._size(where) != path.stat().st_size:
            self._send(path, where)
        return digest

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether there is such an object, of that size in bytes."""
        found = self._size(_object(digest))
        return found is not None and size in (None, found)

    def get(self, digest: str, place: Path) -> None:
        """Write the object to the file `place`, which is whole or not there. Raises MissingError and DamagedError; a
        damaged object is removed, so that it may be put again.
        """
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f"{place.name}.{uuid.uuid4().hex}.new")
        try:
            for _ in range(2):  # the first time it may have been the way here
                self._fetch(_object(digest), fresh)
                if sha256(fresh) == digest:
                    fresh.replace(place)
                    return
            self.remove(_object(digest))
            raise DamagedError(f"object {digest} of artifacts.uri={self.uri} was damaged, and is removed")
        finally:
            fresh.unlink(missing_ok=True)

    def put_folder(self, key: str, folder: Path) -> bool:
        """Share a whole folder of core.sealed. False where the store has another one of that key: it stays."""
        sums: dict[str, str] = json.loads((folder / SUMS).read_bytes())
        mine = {name: [digest, (folder / name).stat().st_size] for name, digest in sums.items()}
        there = self._index(key)
        if there is not None and there != mine and all(self.has(digest, size) for digest, size in there.values()):
            return False
        for name, digest in sums.items():
            self.put(folder / name, digest)
        if there != mine:
            self.write(_folder(key), json.dumps({"files": mine}).encode())
        return self._index(key) == mine  # else somebody wrote another one in this moment

    def get_folder(self, key: str, place: Path) -> bool:
        """Write the folder to `place`, in the place of what is not whole there. False where the store lacks it, or a
        file of it, or one is damaged.
        """
        files = self._index(key)
        if files is None:
            return False

        def fill(fresh: Path) -> None:
            for name, (digest, _) in files.items():
                self.get(digest, fresh / name)

        try:
            write_folder(place, fill)
        except (MissingError, DamagedError) as error:
            log.warning("%s of artifacts.uri=%s is not whole: %s", key, self.uri, error)
            return False
        return is_whole(place)

    def check(self) -> None:
        """Whether it can be written and read back. Raises ConfigError within seconds."""
        try:
            self.write(PROBE, PROBE_TEXT, PROBE_ATTEMPTS)
            found = self.read(PROBE, PROBE_ATTEMPTS)
            if found != PROBE_TEXT:
                raise StoreError("what was written was not what is read")
            self._size(_object("none"), PROBE_ATTEMPTS)  # S3 forbids that, rather, to who has no right to list
        except (StoreError, OSError) as error:
            reason = in_words(error.__cause__ or error)
            raise ConfigError(
                f"artifacts.uri={self.uri} cannot be written and read back ({reason}): check address, credentials and "
                "rights, or type artifacts.uri=ANOTHER"
            ) from error

    def read(self, where: str, attempts: int = ATTEMPTS) -> bytes | None:
        """A small file below the URI; None where there is none."""
        files, root = self._open()
        try:
            found: bytes = self._ask(lambda: files.cat_file(f"{root}/{where}"), attempts)
        except FileNotFoundError:
            return None
        return found

    def write(self, where: str, content: bytes, attempts: int = ATTEMPTS) -> None:
        """A small file; nobody ever reads half of it."""
        files, _ = self._open()
        self._placed(where, lambda path: files.pipe_file(path, content), attempts)

    def create(self, where: str, content: bytes) -> bool:
        """A small file; False where there is one. Servers that do not know of such a condition write all the same."""
        files, root = self._open()
        path = f"{root}/{where}"

        def do() -> bool:
            try:
                if _protocol(self.uri) in ATOMIC:
                    files.pipe_file(path, content, mode="create")
                else:  # where pipe_file would look first, and write then
                    self._make_parent(path)
                    with files.open(path, "xb") as file:
                        file.write(content)
            except FileExistsError:
                return False
            return True

        return self._ask(do)

    def remove(self, where: str) -> None:
        files, root = self._open()
        try:
            self._ask(lambda: files.rm_file(f"{root}/{where}"))
        except FileNotFoundError:
            return

    def _send(self, path: Path, where: str) -> None:
        files, _ = self._open()
        self._placed(where, lambda place: files.put_file(str(path), place), ATTEMPTS)

    def _fetch(self, where: str, path: Path) -> None:
        files, root = self._open()
        try:
            self._ask(lambda: files.get_file(f"{root}/{where}", str(path)))
        except FileNotFoundError as error:
            raise MissingError(f"artifacts.uri={self.uri} has no {where}") from error

    def _placed(self, where: str, write: Callable[[str], object], attempts: int) -> None:
        """`write(path)` under another name first, where a file could be read while it is written."""
        files, root = self._open()
        path = f"{root}/{where}"

        def do() -> None:
            if _protocol(self.uri) in ATOMIC:
                write(path)
                return
            self._make_parent(path)
            fresh = f"{path}.{uuid.uuid4().hex}.new"
            try:
                write(fresh)
                files.mv(fresh, path)
            finally:
                if files.exists(fresh):
                    files.rm_file(fresh)

        try:
            self._ask(do, attempts)
        except FileNotFoundError as error:
            raise StoreError(f"{self._trouble()} ({in_words(error)})") from error

    def _make_parent(self, path: str) -> None:
        if _protocol(self.uri) not in ATOMIC:  # these have none, and might create a bucket
            self._open()[0].makedirs(path.rpartition("/")[0], exist_ok=True)

    def _size(self, where: str, attempts: int = ATTEMPTS) -> int | None:
        """In bytes; None where there is no such file."""
        files, root = self._open()
        try:
            return int(self._ask(lambda: files.info(f"{root}/{where}"), attempts)["size"])
        except FileNotFoundError:
            return None

    def _index(self, key: str) -> dict[str, list[Any]] | None:
        """File -> sha256 and size in bytes; None, and a warning, where what is there is no such list."""
        content = self.read(_folder(key))
        if content is None:
            return None
        try:
            files = {
                str(name): [str(digest), int(size)] for name, (digest, size) in json.loads(content)["files"].items()
            }
            if not any(name in ("", ".", "..", SUMS) or set(name) & set("/\\") for name in files):
                return files
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pass  # said below
        log.warning("%s of artifacts.uri=%s is damaged: it is made again", _folder(key), self.uri)
        return None

    def _ask(self, do: Callable[[], T], attempts: int = ATTEMPTS) -> T:
        try:
            found = patiently(self._trouble(), do, 1 if self._away else attempts)
        except StoreError:
            self._away.add("")
            raise
        except FileNotFoundError:
            self._away.clear()  # an answer, too
            raise
        self._away.clear()
        return found

    def _trouble(self) -> str:
        return f"artifacts.uri={self.uri} cannot be reached, read or written"

    def _open(self) -> tuple["AbstractFileSystem", str]:
        if os.getpid() not in self._opened:
            import fsspec  # where there is no store, nobody pays for it

            protocol = _protocol(self.uri)
            files, root = fsspec.core.url_to_fs(self.uri, **ALWAYS, **OPTIONS.get(protocol, {}))
            if protocol in OPTIONS:
                files.retries = 1
            self._opened[os.getpid()] = files, root.rstrip("/")
        return self._opened[os.getpid()]


def open_store(uri: str | None) -> Store | None:
    """None without an address. Nothing is connected before it is needed."""
    return None if uri is None else Store(uri)


def _object(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest}"


def _folder(key: str) -> str:
    return f"folders/{key}.json"


def _protocol(uri: str) -> str:
    return uri.partition("://")[0] if "://" in uri else "file"
