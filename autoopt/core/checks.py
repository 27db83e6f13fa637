"""Checks of single values, with errors that name the key, the value and what is allowed."""

from typing import Any

from autoopt.core.errors import ConfigError


def whole(path: str, value: Any, least: int) -> int:
    """A whole number from `least` to 2^31. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or value > 2**31:
        raise ConfigError(f"{path}={value!r}: a whole number from {least} to {2**31} is allowed")
    return value


def number(path: str, value: Any, *, above_zero: bool) -> float:
    """A finite number above 0, or from 0 on. Raises ConfigError."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and (value > 0 if above_zero else value >= 0)
    if not good or value == float("inf"):
        raise ConfigError(f"{path}={value!r}: a finite number {'> 0' if above_zero else '>= 0'} is allowed")
    return float(value)
