"""Passwords in URLs are for the server that they open, and for nobody who reads a log, a card or an error."""

import re
from collections.abc import Mapping
from typing import Any

# As SQLAlchemy reads a URL, a password may hold ':' and '/'; and up to the last '@', since some people type that, too.
USER = re.compile(r"(://[^\s:/@]*:)\S*@")
TOKEN = re.compile(r"(https?://)[^\s:/@]+@")  # there it is a token rather than a name
QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:password|passwd|pwd|token|secret|credential|signature)|[\w.-]*api[_-]?key|sig)=)[^\s&;#\"']*",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """The text with *** in the place of each password in a URL: scheme://user:***@host, ?token=***.

    Rather one word too many than one too few: what follows a port up to an '@', without a space between, goes as well.
    """
    return QUERY.sub(r"\1***", TOKEN.sub(r"\1***@", USER.sub(r"\1***@", text)))


def masked_values(value: Any) -> Any:
    """Plain JSON values with all texts in them masked; keys are kept."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: masked_values(each) for key, each in value.items()}
    return [masked_values(each) for each in value] if isinstance(value, list | tuple) else value
