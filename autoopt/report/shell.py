"""The commands that the page offers to copy, as a POSIX shell reads them."""

import shlex
from pathlib import Path

from autoopt.report.outcome import Outcome

DEFAULT_OUTPUTS = "outputs"
"""As in conf/config.yaml."""


def reproduce(outcome: Outcome, trial: int) -> str:
    return _command(outcome, "reproduce", f"trial={trial}")


def promote(outcome: Outcome) -> str:
    return _command(outcome, "promote")


def sync(outcome: Outcome) -> str:
    return _command(outcome, "sync")


def rebuild(outcome: Outcome) -> str:
    return _command(outcome, "report")


def _command(outcome: Outcome, verb: str, *words: str) -> str:
    """With outputs=DIR where it is not the one that the command would look into by itself, from where this ran."""
    outputs = outcome.folder.parent
    elsewhere = [] if outputs == Path(DEFAULT_OUTPUTS).absolute() else [f"outputs={outputs}"]
    return shlex.join(["autoopt", verb, f"study={outcome.study}", *words, *elsewhere])
