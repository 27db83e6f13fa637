"""MLflow stopped and started under load; a disk that runs full."""

from pathlib import Path

import pytest

from tests.chaos.outage import fill_disk, interrupt_mlflow


@pytest.mark.parametrize(
    "outages", [pytest.param(2, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.chaos)]
)
def test_an_mlflow_that_comes_and_goes_gets_every_trial_once(outages: int, tmp_path: Path) -> None:
    found = interrupt_mlflow(tmp_path / "table", outages)
    assert (found["lost"], found["duplicates"]) == (0, 0)
    assert (found["lost_in_mlflow"], found["duplicates_in_mlflow"]) == (0, 0)


@pytest.mark.chaos
def test_a_search_on_a_disk_that_runs_full_waits_and_goes_on(tmp_path: Path) -> None:
    times = 5
    try:
        found = fill_disk(tmp_path / "disk", times)
    except OSError as error:
        pytest.skip(str(error))
    assert found["waited"] >= times
    assert (found["lost"], found["duplicates"]) == (0, 0)
    assert found["champion"]
