"""Whatever is killed, and whenever: no trial that was on record is lost or there twice, and the study goes on."""

from pathlib import Path

import pytest

from autoopt.tracking.store import default_uri
from tests.chaos.killing import kill_table


@pytest.mark.parametrize("kills", [pytest.param(6, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.chaos)])
def test_kills_at_random_moments_lose_nothing(kills: int, tmp_path: Path) -> None:
    found = kill_table(tmp_path / "table", kills, uri=default_uri(tmp_path))
    assert sum(found["faults"].values()) == kills
    assert (found["lost"], found["duplicates"]) == (0, 0)
    assert (found["lost_in_mlflow"], found["duplicates_in_mlflow"]) == (0, 0)
    assert found["told"] >= 20
