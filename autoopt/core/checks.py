"""Checks of single values, with errors that name the key, the value and what is allowed."""

from typing import Any

from autoopt.core.errors import ConfigError

MOST_THREADS = 1024
"""More than any machine has a use for: OpenMP ends the process where it cannot have as many as it was told."""


def whole(path: str, value: Any, least: int, most: int = 2**31) -> int:
    """A whole number from `least` to `most`. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or value > most:
        raise ConfigError(f"{path}={value!r}: a whole number from {least} to {most} is allowed")
    return value


def number(path: str, value: Any, *, above_zero: bool) -> float:
    """A finite number above 0, or from 0 on. Raises ConfigError."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and (value > 0 if above_zero else value >= 0)
    if not good or value == float("inf"):
        raise ConfigError(f"{path}={value!r}: a finite number {'> 0' if above_zero else '>= 0'} is allowed")
    return float(value)
