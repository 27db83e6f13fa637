"""Finding a name in a table, with a helpful answer when it is not there."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from autoopt.core.errors import ConfigError

V = TypeVar("V")


def lookup(table: Mapping[str, V], name: str, what: str) -> V:
    """The row called `name`. Raises ConfigError with the nearest and all known names; `what` names the kind."""
    if name not in table:
        raise ConfigError(f"unknown {what} {name!r}. {suggestion(name, table)}")
    return table[name]


def suggestion(name: object, known: Iterable[str]) -> str:
    """'Did you mean 'x'? Known: x, y, z', the first half only where something is near."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    return f"{guess}Known: {', '.join(names)}"
