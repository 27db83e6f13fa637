import getpass

import pytest

from autoopt.core.user import user_at_host, user_name


def test_a_number_without_a_name_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that has no entry for it: Python 3.11 raises KeyError, later ones OSError."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert user_name() == ""
    assert user_at_host().startswith("somebody@")
