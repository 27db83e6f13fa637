"""A study goes on whichever of its files was damaged."""

from pathlib import Path

import pytest

from tests.chaos.damage import damage_files


@pytest.mark.chaos
def test_no_damaged_file_ends_a_study_or_loses_a_trial(tmp_path: Path) -> None:
    found = damage_files(tmp_path)
    assert found["damaged"] > 50
    assert found["wrong"] == []
