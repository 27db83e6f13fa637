"""The live panel, and the status lines in its place."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from autoopt.core.left import Left
from autoopt.core.standing import standing
from autoopt.report.live import Display
from autoopt.report.outcome import Outcome
from autoopt.report.panel import duration, kpi_table, sparkline, trend_line
from autoopt.report.words import bound
from tests.report.test_report import FAILURE, KPIS, outcome, trial


@pytest.fixture
def good() -> Outcome:
    return outcome(trial(0, 0.95, 2.0), trial(1, 0.94, 0.5), trial(2, 0.945, 0.8), FAILURE)


def test_without_a_terminal_a_status_line_is_printed_each_minute(
    good: Outcome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("autoopt.report.live.time.monotonic", lambda: now)
    with Display("s", KPIS) as display:
        display.on_start(5, good.standing.trials[1].recipe)
        display.on_stage(5, "train")
        display.on_epoch(5, 3, 0.91)
        for ended in good.standing.trials:
            assert display.on_end(ended, good.standing).startswith(f"{ended.number:4d}  ")
        for seconds in range(0, 185, 5):
            now = 1000.0 + seconds
            display.on_turn(Left(seconds=3600.0 - seconds))
        display.on_wait("the disk is nearly full")
        display.on_wait("")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("s: ")
    assert lines[0].endswith("60 s, about 59 min left; running 5 (train, epoch 3: 0.9100)")
    assert "trials" in lines[0]
    assert lines[3:] == ["waiting: the disk is nearly full", "going on"]


def test_in_a_terminal_the_display_shows_the_running_trial(good: Outcome, tmp_path: Path) -> None:
    with (tmp_path / "screen").open("w") as file:
        console = Console(file=file, force_terminal=True, width=120)
        with Display("s", KPIS, console=console) as display:
            display.on_end(good.standing.trials[1], good.standing)
            display.on_start(2, good.standing.trials[2].recipe)
            display.on_epoch(2, 1, 0.91)
            console.print(display._render())
            display.on_stage(2, "measure")
            console.print(display._render())
    text = (tmp_path / "screen").read_text()
    assert "4 trials, 2 feasible, 0 screened, 1 failed" in text
    assert "[epoch 1: 0.9100]" in text
    assert "[measure]" in text
    assert "trial 1 leads" in text
    assert bound(KPIS[0]) in text


def test_a_search_that_goes_on_shows_how_the_study_stands(good: Outcome) -> None:
    with Display("s", KPIS) as display:
        display.on_resume(good.standing)
        assert display._headline().startswith("s: 4 trials, 2 feasible, 0 screened, 1 failed, best kpi_score 0.6")
    with Display("s", KPIS) as display:
        display.on_resume(standing([], KPIS))
        assert display._headline() == "s: measuring the baseline"


def test_the_bound_that_is_broken_is_marked() -> None:
    """While nothing is feasible, by the nearest miss."""
    standing = outcome(trial(0, 0.95, 2.0), trial(1, 0.6, 0.5), exams={}).standing
    console = Console(width=120, record=True, file=StringIO())
    console.print(kpi_table(standing, KPIS))
    lines = console.export_text().splitlines()
    assert "trial 1 is the nearest miss" in lines[0]
    assert ["✗" in line for line in lines[1:]] == [kpi.name == "accuracy" for kpi in KPIS]
    assert lines[1].rstrip().endswith("0.6 (trial 1)")


def test_a_trend_shows_growth_and_for_how_long_there_was_none() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert len(sparkline([float(i) for i in range(100)])) == 30
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert trend_line([0.1, 0.4, 0.4, 0.4]) == "hypervolume ▃███ 0.4, no gain in the last 2 trials"
    assert trend_line([0.1, 0.2]) == "hypervolume ▅█ 0.2"
    assert trend_line([]) == ""


def test_durations_are_told_in_the_unit_that_fits() -> None:
    assert [duration(s) for s in (-1, 40, 95, 3 * 3600 + 5 * 60)] == ["0 s", "40 s", "2 min", "3 h 05 min"]


def test_time_left_is_the_nearer_of_deadline_and_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("autoopt.report.live.time.monotonic", lambda: now)
    ended = [trial(0, 0.95, 2.0), trial(1, 0.94, 0.5), trial(2, 0.94, 0.4)]
    with Display("s", KPIS) as display:
        display.on_turn(Left(trials=10, seconds=900.0))
        for each in ended:
            now += 10.0
            display.on_end(each, outcome(*ended).standing)
        assert display._headline().endswith("30 s, about 2 min left")
        display.on_turn(Left(trials=10, seconds=50.0))
        now += 10.0
        assert display._headline().endswith("40 s, about 40 s left")
