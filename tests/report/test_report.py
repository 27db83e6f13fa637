import json
from pathlib import Path

import pytest
from rich.console import Console

from autoopt.core.kpi import Facts, Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.standing import Standing, standing
from autoopt.core.trial import COMPLETE, FAILED, Evaluation, Trial
from autoopt.report.document import document
from autoopt.report.live import Display
from autoopt.report.page import note, page
from autoopt.report.plot import front_plot
from autoopt.report.table import table
from autoopt.report.words import bound, measured, recipe_line, verdict
from tests.search.table import KPIS

FACTS = {"accuracy": Facts("share", True, ""), "latency_p95_ms": Facts("ms", False, "")}
TEST = {"quality": "accuracy", "value": 0.93, "baseline": 0.95, "passed": True, "size": 300}


def trial(number: int, accuracy: float, latency: float, **fields: object) -> Trial:
    recipe = BASELINE if number == 0 else Recipe("cnn", "none", "int8_static", width=1.5, **fields)  # type: ignore[arg-type]
    values = {"accuracy": Measurement(accuracy, 0.95), "latency_p95_ms": Measurement(latency, 2.0)}
    return Trial(number, COMPLETE, recipe, Evaluation(values, {"train": 3.0, "measure": 1.0}), ended_at_s=number)


@pytest.fixture
def now() -> Standing:
    failed = Trial(3, FAILED, Recipe("mlp", "none", "none"), reason="the loss became <nan>")
    return standing([trial(0, 0.95, 2.0), trial(1, 0.94, 0.5), trial(2, 0.945, 0.8), failed], KPIS)


@pytest.fixture
def infeasible() -> Standing:
    return standing([trial(0, 0.95, 2.0), trial(1, 0.6, 0.5)], KPIS)


def rendered(now: Standing, champion: Trial | None) -> str:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(now, KPIS, FACTS, champion))
    console.file.close()
    return console.export_text()


def test_the_table_has_baseline_champion_and_front(now: Standing) -> None:
    text = rendered(now, now.front[0])
    assert "baseline" in text
    champion, front = ([cell.strip() for cell in line.split("│")] for line in text.splitlines() if "cnn" in line)
    assert champion[1:6] == ["1", "champion", "cnn x1.5 · int8_static", "94.00% (-1.00)", "0.5 (0.25x)"]
    assert front[1:3] == ["2", "front"]


def test_the_table_shows_the_nearest_miss_where_nothing_is_feasible(infeasible: Standing) -> None:
    assert "nearest miss" in rendered(infeasible, None)


def test_the_document_has_the_promised_keys(now: Standing, tmp_path: Path) -> None:
    made = document(
        study="s",
        stopped_by="trials",
        seconds=12.0,
        standing=now,
        kpis=KPIS,
        champion=now.front[0],
        test=TEST,
        path=tmp_path,
        outputs=tmp_path,
    )
    assert json.loads(json.dumps(made)) == made
    assert list(made) == [
        *("study", "stopped_by", "trials", "complete", "screened", "failed", "feasible", "seconds"),
        *("seconds_to_first_feasible", "hypervolume", "champion", "nearest_miss", "outputs"),
    ]
    assert (made["trials"], made["complete"], made["failed"], made["feasible"]) == (4, 3, 1, 2)
    assert made["seconds_to_first_feasible"] == 1
    assert set(made["champion"]) == {"trial", "kpi_score", "recipe", "measurements", "ratios", "test", "path"}
    assert made["champion"]["ratios"]["latency_p95_ms"] == 0.25
    assert made["nearest_miss"] is None


def test_the_document_of_an_infeasible_study_names_what_blocks(infeasible: Standing, tmp_path: Path) -> None:
    made = document(
        study="s",
        stopped_by=None,
        seconds=1.0,
        standing=infeasible,
        kpis=KPIS,
        champion=None,
        test=None,
        path=None,
        outputs=tmp_path,
    )
    assert made["champion"] is None
    assert (made["nearest_miss"]["trial"], made["nearest_miss"]["blocking"]) == (1, ["accuracy"])


def test_the_page_is_one_file_that_says_who_won(now: Standing, tmp_path: Path) -> None:
    plot = front_plot(now, KPIS, now.front[0], tmp_path / "front.png")
    text = page("<study>", now, KPIS, FACTS, now.front[0], TEST, plot)
    assert "<h1>&lt;study&gt;</h1>" in text
    assert "Trial 1 is the champion" in text
    assert "the loss became &lt;nan&gt;" in text
    assert "data:image/png;base64," in text
    assert "train</td><td>9.0 s</td><td>75%" in text
    assert "http://" not in text
    assert "https://" not in text
    assert "<script" not in text


def test_the_plot_is_drawn_for_one_and_two_objectives(now: Standing, infeasible: Standing, tmp_path: Path) -> None:
    for name, at, kpis in (("a", now, KPIS), ("b", infeasible, KPIS), ("c", now, KPIS[:1])):
        path = front_plot(at, kpis, at.front[0] if at.front else None, tmp_path / f"{name}.png")
        assert path.read_bytes().startswith(b"\x89PNG")
    assert len({(tmp_path / f"{name}.png").read_bytes() for name in "abc"}) == 3


def test_the_note_is_a_markdown_table(now: Standing) -> None:
    lines = note("s", now, KPIS, FACTS, now.front[0], TEST).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert [row.split("|")[2].strip() for row in rows[2:]] == ["baseline", "champion", "front"]


def test_words(now: Standing, infeasible: Standing) -> None:
    assert bound(KPIS[0]) == "accuracy at most 0.05 worse than the baseline"
    assert bound(KPIS[1]) == "latency_p95_ms <= 0.5x the baseline"
    assert measured("accuracy", Measurement(0.9, 0.92), FACTS["accuracy"]) == "90.00% (-2.00)"
    assert measured("latency_p95_ms", Measurement(1234.5, 2469.0), FACTS["latency_p95_ms"]) == "1234 (0.5x)"
    recipe = Recipe(
        "cnn",
        "structured_taylor",
        "int8_static",
        width=2,
        pruning_ratio=0.5,
        epochs=3,
        optimizer="sgd",
        learning_rate=0.1,
        calibration="minmax",
    )
    assert recipe_line(recipe) == "cnn x2 · structured_taylor 0.5 · int8_static/minmax · sgd 0.1, 3 epochs"
    assert "final exam on the test split passed" in verdict(now, KPIS, now.front[0], TEST)
    assert "FAILED" in verdict(now, KPIS, now.front[0], {**TEST, "passed": False})
    assert verdict(infeasible, KPIS, None, None).endswith("blocked by accuracy.")


def test_without_a_terminal_the_display_prints_a_line_a_trial(
    now: Standing, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display("s", KPIS, 1.0, None) as display:
        for ended in now.trials:
            display.on_start(ended.number, ended.recipe)
            display.on_end(ended, now)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 4
    assert lines[0].endswith("misses latency_p95_ms")
    assert lines[1].endswith("on the front")
    assert lines[3].endswith("failed: the loss became <nan>")


def test_in_a_terminal_the_display_shows_the_running_trial(now: Standing, tmp_path: Path) -> None:
    with (tmp_path / "screen").open("w") as file:
        console = Console(file=file, force_terminal=True, width=120)
        with Display("s", KPIS, 1.0, 10, console=console) as display:
            display.on_end(now.trials[1], now)
            display.on_start(2, now.trials[2].recipe)
            display.on_epoch(1, 0.91)
            console.print(display._render())
    text = (tmp_path / "screen").read_text()
    assert "4 trials, 2 feasible, 1 failed" in text
    assert "[epoch 1: 0.9100]" in text
