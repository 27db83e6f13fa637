"""Trouble with a store: what passes is tried again, what does not is told in one line."""

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from autoopt.core.disk import is_full
from autoopt.core.errors import AutooptError, Killed, one_line

T = TypeVar("T")

ATTEMPTS, FIRST_WAIT_S = 4, 0.5  # the wait doubles each time
FINAL = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError, ImportError)
FINAL_NUMBERS = (errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EROFS, errno.ENAMETOOLONG)
FINAL_NAMES = ("CredentialsError", "ValidationError", "ConfigError", "ProfileNotFound", "InvalidRegionError")
"""How the names of other libraries' errors end that would come again: nothing is imported to know them."""


class StoreError(Killed):
    """A store cannot be read or written: no verdict on any model, so that a trial which ends by it is tried again."""


class MissingError(StoreError):
    """The store has no such object."""


class DamagedError(StoreError):
    """An object of the store is not what its name says."""


def patiently(what: str, do: Callable[[], T], attempts: int = ATTEMPTS) -> T:
    """What `do` returns, tried again after timeouts, refused connections and errors of a server.

    Raises FileNotFoundError as it comes, and StoreError that begins with `what` for all else that comes from outside; a
    disk that is full stays what it is, since whoever searches waits for room.
    """
    for attempt in range(attempts):
        try:
            return do()
        except (AutooptError, FileNotFoundError, MemoryError, TypeError, AttributeError, NameError):
            raise
        except Exception as error:
            if is_full(error):
                raise
            if attempt + 1 == attempts or _is_final(error):
                raise StoreError(f"{what} ({in_words(error)})") from error
            time.sleep(FIRST_WAIT_S * 2**attempt * random.uniform(0.75, 1.25))  # hosts do not come back all at once
    raise AssertionError("no attempt was made")


def in_words(error: BaseException) -> str:
    """One line without passwords."""
    if isinstance(error, OSError) and error.strerror:
        return one_line(OSError(error.strerror), 300)
    return one_line(error, 300) or type(error).__name__


def _is_final(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in FINAL_NUMBERS:
        return True
    return isinstance(error, FINAL) or type(error).__name__.endswith(FINAL_NAMES)
