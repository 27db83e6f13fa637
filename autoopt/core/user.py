"""Who runs this, and where."""

import getpass
import platform


def user_name() -> str:
    """'' where nobody knows: in a container, a number may have no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def user_at_host() -> str:
    return f"{user_name() or 'somebody'}@{platform.node()}"
