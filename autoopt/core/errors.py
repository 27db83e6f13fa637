"""Errors that a user may meet. Anything else that escapes is a bug."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autoopt.core.passwords import masked


class AutooptError(Exception):
    """Base of all errors below: the command line prints the message as one line. No password in a URL is part of it."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(masked(arg) if isinstance(arg, str) else arg for arg in args))


class ConfigError(AutooptError):
    """Wrong input, found before any work starts. The message says what, the value, what is allowed, what to type."""


class ArtifactError(AutooptError):
    """An artifact's files are missing or do not match their manifest."""


class TrialError(AutooptError):
    """This recipe does not work out: the trial ends as failed with this reason, the search goes on."""


class Killed(TrialError):
    """A process that measured was killed, by the system or by hand: no verdict on the model."""


class OverLimit(TrialError):
    """A trial took more time or memory than it may."""


class Interrupted(AutooptError):
    """Ctrl-C or SIGTERM arrived while a trial was running: the trial is abandoned and asked again on resume."""


class OutOfTime(AutooptError):
    """The budget's time ran out while a trial was running: it is abandoned and asked again in the next session."""


class Bug(Exception):
    """An error of this program, met by a trial that is on record by now. The message holds the trace."""


STOP, OVER, LIMIT, FULL, KILLED = "stop", "over", "limit", "full", "killed"
"""Why a trial is cut short: a signal, the budget's time, a limit of its own, no room on the disk, a kill of a process
that measured for it.
"""

CUTS: dict[str, Callable[[], AutooptError]] = {
    STOP: lambda: Interrupted("interrupted; its recipe was queued again"),
    OVER: lambda: OutOfTime("the budget's time was over; its recipe waits for the next session"),
    LIMIT: lambda: OverLimit("over a limit"),
}


class Screened(Exception):
    """Ends a trial that cannot win. `by` is one of SCREENS; the message says what stands in the way, with figures."""

    def __init__(self, by: str, reason: str) -> None:
        super().__init__(reason)
        self.by = by


STRUCTURE, BAR, CURVE = SCREENS = ("structure", "bar", "curve")
"""By a bound that its size or speed breaks, by a bar above all that may be expected, by its learning curve."""


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Whatever libraries and users' code raise in the block is a TrialError that begins with `what`."""
    try:
        yield
    except (AutooptError, MemoryError):
        raise
    except Exception as error:
        raise TrialError(f"{what} failed: {type(error).__name__}: {error}") from error


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those by way of which it was raised."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def one_line(error: BaseException, limit: int | None = None) -> str:
    """The message on one line, cut to so many characters: libraries write pages. Masked first: half a URL could not
    be.
    """
    return masked(" ".join(str(error).split()))[:limit]


def trial_failure(error: BaseException) -> str | None:
    """The reason in words, where an error ends its trial only: a recipe that does not work out, or out of memory as
    Python or torch say it. None: it is a bug.
    """
    text = one_line(error)
    if isinstance(error, TrialError):
        return text or "no reason given"
    allocation = "can't allocate memory" in text or "out of memory" in text.lower()
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and allocation):
        return f"out of memory: {text[:200]}"
    return None
