"""Real studies, killed at random moments: nothing on record is lost, the champion is valid, the search goes on."""

from pathlib import Path

import pytest

from tests.chaos.real import kill_real


@pytest.mark.chaos
@pytest.mark.parametrize(("task", "kills", "trials"), [("digits", 10, 16), ("fashion", 3, 8)])
def test_a_real_study_survives_its_kills(task: str, kills: int, trials: int, tmp_path: Path) -> None:
    found = kill_real(task, tmp_path / "outputs", kills, trials)
    assert sum(found["faults"].values()) == kills
    assert (found["lost"], found["duplicates"], found["removed_from_mlflow"]) == (0, 0, 0)
    assert found["champion"]
    assert found["in_mlflow"]
