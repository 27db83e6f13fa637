import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from autoopt.core.kpi import Facts, Kpi, Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.standing import standing
from autoopt.core.trial import COMPLETE, CPU, FAILED, HOST, MADE_ON, SCREENED, Evaluation, Trial
from autoopt.report.document import document
from autoopt.report.machines import machines, machines_line
from autoopt.report.note import note
from autoopt.report.outcome import Outcome
from autoopt.report.page import page
from autoopt.report.plot import front_plot
from autoopt.report.table import table
from autoopt.report.words import (
    bound,
    early_ends,
    measured,
    measured_surely,
    recipe_line,
    structure_line,
    time_line,
    verdict,
)
from tests.search.table import KPIS

FACTS = {"accuracy": Facts("share", True, ""), "latency_p95_ms": Facts("ms", False, "")}
TEST = {"quality": "accuracy", "value": 0.93, "baseline": 0.95, "drop": 0.02, "drop_95": [0.004, 0.037], "size": 300}
TEST |= {"accuracy_95": [0.9, 0.95], "baseline_accuracy_95": [0.92, 0.97], "mcnemar_p": 0.02, "rule": "upper_limit"}
PASSED = {**TEST, "passed": True, "broken": [], "broken_by_rule": {"upper_limit": [], "point": []}}
FAILED_EXAM = {**TEST, "passed": False, "broken": ["accuracy.max_drop"]}
FAILED_EXAM |= {"broken_by_rule": {"upper_limit": ["accuracy.max_drop"], "point": ["accuracy.max_drop"]}}


def trial(number: int, accuracy: float, latency: float, **fields: object) -> Trial:
    recipe = BASELINE if number == 0 else Recipe("cnn", "none", "int8_static", width=1.5, **fields)  # type: ignore[arg-type]
    values = {"accuracy": Measurement(accuracy, 0.95), "latency_p95_ms": Measurement(latency, 2.0)}
    return Trial(number, COMPLETE, recipe, Evaluation(values, {"train": 3.0, "measure": 1.0}), ended_at_s=number)


def screened_at(latency: float) -> Evaluation:
    return Evaluation({"latency_p95_ms": Measurement(latency, 2.0)}, facts={"screened_by": "structure"})


FAILURE = Trial(3, FAILED, Recipe("mlp", "none", "none"), reason="the loss became <nan> [/usr/lib/x]")


def outcome(
    *trials: Trial,
    folder: Path = Path("/o/s"),
    exams: dict[int, dict] | None = None,
    kpis: tuple[Kpi, ...] = KPIS,
) -> Outcome:
    taken = {1: PASSED} if exams is None else exams
    return Outcome("<s>", folder, standing(trials, kpis), kpis, FACTS, taken, 2, "trials", 12.5, {"log": 0.3})


@pytest.fixture
def good() -> Outcome:
    return outcome(trial(0, 0.95, 2.0), trial(1, 0.94, 0.5), trial(2, 0.945, 0.8), FAILURE)


@pytest.fixture
def infeasible() -> Outcome:
    return outcome(trial(0, 0.95, 2.0), trial(1, 0.6, 0.5), exams={})


def rendered(at: Outcome) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(table(at))
    return console.export_text()


def test_the_table_has_baseline_champion_and_front(good: Outcome) -> None:
    text = rendered(good)
    assert "baseline" in text
    champion, front = ([cell.strip() for cell in line.split("│")] for line in text.splitlines() if "cnn" in line)
    assert champion[1:6] == ["1", "champion", "cnn x1.5 · int8_static", "94.00% (-1.00)", "0.5 (0.25x)"]
    assert front[1:3] == ["2", "front"]


def test_the_table_shows_the_nearest_miss_where_nothing_is_feasible(infeasible: Outcome) -> None:
    assert "nearest miss" in rendered(infeasible)


def test_the_document_has_the_promised_keys(good: Outcome) -> None:
    made = document(good)
    assert json.loads(json.dumps(made)) == made
    assert list(made) == [
        *("study", "stopped_by", "trials", "siblings", "complete", "screened", "failed", "feasible", "seconds"),
        *("seconds_to_first_feasible", "seconds_by_stage", "machines", "hypervolume", "champion", "exams"),
        *("nearest_miss", "outputs"),
    ]
    assert (made["trials"], made["complete"], made["failed"], made["feasible"]) == (4, 3, 1, 2)
    assert made["seconds_to_first_feasible"] == 1
    assert set(made["champion"]) == {"trial", "kpi_score", "recipe", "measurements", "ratios", "test", "path"}
    assert made["champion"]["ratios"]["latency_p95_ms"] == 0.25
    assert made["champion"]["path"] == "/o/s/champion"
    assert made["nearest_miss"] is None
    assert made["outputs"] == "/o"


def test_the_document_of_an_infeasible_study_names_what_blocks(infeasible: Outcome) -> None:
    made = document(infeasible)
    assert made["champion"] is None
    assert (made["nearest_miss"]["trial"], made["nearest_miss"]["blocking"]) == (1, ["accuracy"])


def text_of(at: Outcome) -> str:
    """The page without plotly.js, which is most of it."""
    from plotly.offline import get_plotlyjs

    return page(at).replace(get_plotlyjs(), "")


def test_the_page_is_one_file_that_says_who_won(good: Outcome) -> None:
    text = text_of(good)
    assert "<h1>&lt;s&gt;</h1>" in text
    assert "Trial 1 is the champion" in text
    assert (
        "final exam on the test split passed, accuracy 93.00% against the baseline&#x27;s 95.00%: -2.00 points" in text
    )
    assert "-2.00 points (95%: -3.70 to -0.40)" in text
    assert "<tr><td>95%</td><td>90.00% to 95.00%</td><td>92.00% to 97.00%</td></tr>" in text
    assert "<td>upper_limit</td><td>bounds hold at the far end of the interval</td>" in text
    assert "the loss became &lt;nan&gt;" in text
    assert "<td>9.0 s</td><td>72.0%</td>" in text
    assert "<td>0.2 s</td><td>1.6%</td>" in text
    for outside in ("http://", "https://", "<img", "<link", "src="):
        assert outside not in text


def test_a_study_that_has_hardly_begun_has_a_page() -> None:
    assert "No trial beyond the baseline is complete yet" in text_of(outcome(exams={}))
    text = text_of(outcome(trial(0, 0.95, 2.0), FAILURE, exams={}))
    assert "Too few trials: 0 with weights of their own are complete, 20 are needed" in text
    assert 'id="champion"' not in text


def test_the_plot_is_drawn_for_any_number_of_trials_and_objectives(
    good: Outcome, infeasible: Outcome, tmp_path: Path
) -> None:
    one = outcome(trial(0, 0.95, 2.0), trial(1, 0.94, 0.5), kpis=KPIS[:1])
    pictures = [front_plot(at, tmp_path / "f.png").read_bytes() for at in (good, infeasible, one, outcome())]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert len(set(pictures)) == 4


def test_the_note_is_a_markdown_table(good: Outcome) -> None:
    rows = [line for line in note(good).splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows[:5]}) == 1
    assert [row.split("|")[1].strip() for row in rows[2:5]] == ["[1]", "[0]", "[2]"]
    assert [row.split("|")[2].strip() for row in rows[2:5]] == ["champion", "baseline", "front"]


def test_the_note_says_what_stood_in_the_way_and_what_to_type(good: Outcome) -> None:
    text = note(good, "autoopt task=digits")
    assert text.startswith("**Trial 1 is the champion")
    for line in ("autoopt report 'study=<s>' outputs=/o", "autoopt promote 'study=<s>' outputs=/o"):
        assert f"\n{line}\n" in text  # as a shell reads it
    assert "\nautoopt reproduce 'study=<s>' trial=1 outputs=/o\n" in text
    assert "Searched with:\n\n```\nautoopt task=digits\n```" in text
    assert "**Time**: train 72%" in text
    stopped = Trial(4, SCREENED, Recipe("mlp", "none", "none"), screened_at(1.8))
    missed = outcome(trial(0, 0.95, 2.0), trial(1, 0.6, 1.9), trial(2, 0.95, 1.8), stopped, exams={})
    rows = [line for line in note(missed).splitlines() if line.startswith("| latency") or line.startswith("| accuracy")]
    assert rows == [
        "| latency_p95_ms <= 0.5x the baseline | 1 | 2 |",
        "| accuracy at most 0.05 worse than the baseline | - | 1 |",
    ]
    assert "promote" not in note(missed)


def test_a_note_of_a_long_front_counts_the_rows_that_do_not_fit() -> None:
    front = [trial(n, 0.91 + n * 1e-4, 0.2 + n * 1e-3) for n in range(1, 200)]
    text = note(outcome(trial(0, 0.95, 2.0), *front, exams={}))
    shown = sum(line.startswith("| [") for line in text.splitlines())
    assert 20 < shown < 200
    assert f"And {200 - shown} more" in text
    assert len(text) < 7000
    assert text.endswith("```\n\n![front.png]\n")


def test_a_long_reason_leaves_room_for_the_rest_of_the_note() -> None:
    failure = Trial(1, FAILED, Recipe("mlp", "none", "none"), reason="libraries write pages\n" * 700)
    text = note(outcome(trial(0, 0.95, 2.0), failure, exams={}), "autoopt task=digits")
    assert len(text) < 2000
    assert "autoopt report" in text


def test_the_best_one_is_no_champion_before_its_exam(good: Outcome) -> None:
    waiting = replace(good, exams={})
    assert verdict(waiting).startswith("Trial 1 is in the lead (")
    for said in (rendered(waiting), note(waiting)):
        assert "in the lead" in said
        assert "champion" not in said
    assert "<h2>In the lead: trial 1</h2>" in page(waiting)
    assert "<h2>Champion: trial 1</h2>" in page(good)


def test_an_epoch_without_a_number_is_a_gap(good: Outcome) -> None:
    """A metric of one's own may give NaN."""
    gone = replace(good.standing.trials[1].evaluation, curve=(float("nan"), 0.9))
    trials = [replace(t, evaluation=gone) if t.number == 1 else t for t in good.standing.trials]
    assert "[null,0.9]" in page(outcome(*trials)).replace(" ", "")


def test_words() -> None:
    assert bound(KPIS[0]) == "accuracy at most 0.05 worse than the baseline"
    assert bound(KPIS[1]) == "latency_p95_ms <= 0.5x the baseline"
    assert measured(Measurement(0.9, 0.92), FACTS["accuracy"]) == "90.00% (-2.00)"
    assert measured(Measurement(1234.5, 2469.0), FACTS["latency_p95_ms"]) == "1234 (0.5x)"
    fields = {"width": 2, "pruning_ratio": 0.5, "epochs": 3, "optimizer": "sgd", "learning_rate": 0.1}
    recipe = Recipe("cnn", "structured_taylor", "int8_static", calibration="minmax", **fields)
    assert recipe_line(recipe) == "cnn x2 · structured_taylor 0.5 · int8_static/minmax · sgd 0.1, 3 epochs"
    assert structure_line(replace(BASELINE, runtime="openvino")) == "teacher · fp32 · openvino"


def test_intervals_and_what_is_unstable_are_told(tmp_path: Path) -> None:
    steady = Measurement(0.2, 2.0, 0.01, (0.19, 0.21), (0.095, 0.1051))
    facts = FACTS["latency_p95_ms"]
    assert measured_surely(steady, facts) == "0.2 (0.1x, 0.095 to 0.105)"
    assert measured_surely(Measurement(0.9, 0.92), FACTS["accuracy"]) == "90.00% (-2.00)"
    shaky = replace(steady, unstable=True)
    assert measured(shaky, facts) == "0.2 (0.1x) ~"
    evaluation = Evaluation({"accuracy": Measurement(0.94, 0.95), "latency_p95_ms": shaky})
    best = replace(trial(1, 0.94, 0.2), evaluation=evaluation)
    at = outcome(trial(0, 0.95, 2.0), best)
    assert "~ unstable: half of its ratio" in rendered(at)
    assert "~ unstable" in text_of(at)
    assert "~ unstable" not in text_of(outcome(trial(0, 0.95, 2.0), trial(1, 0.94, 0.2)))


def test_what_lies_beneath_the_exam_is_told(good: Outcome, tmp_path: Path) -> None:
    rows = [
        {"class": "boot <a>", "rows": 40, "recall": 0.8, "baseline": 0.9},
        {"class": "scarf", "rows": 40, "recall": 0.9, "baseline": 0.9},
    ]
    slices = [{"slice": "mail", "rows": 60, "value": 0.85, "baseline": 0.9}]
    fresh = {"latency_p95_ms_batch_8": {"value": 1.5, "ratio": 0.25, "ratio_95": [0.2, 0.3], "unstable": True}}
    told = replace(good, exams={1: {**PASSED, "classes": rows, "slices": slices, "fresh": fresh}})
    cells = "<td>latency_p95_ms_batch_8</td><td>1.5 ~</td><td>0.25x</td><td>0.2 to 0.3</td>"
    assert cells in text_of(told)
    assert "boot &lt;a&gt;</td><td>80.0%</td><td>against 90.0%</td><td>of 40 rows" in text_of(told)
    assert "scarf</td><td>40</td><td>90.0%</td>" in text_of(told)  # among all classes
    assert "Classes that lost most: boot \\<a> 80.0% against 90.0% of 40 rows" in note(told)
    assert "Slices: mail 85.0% against 90.0% of 60 rows" in note(told)
    assert "Classes that lost" not in note(good)


def test_a_scheme_that_is_slower_than_fp32_is_named(tmp_path: Path) -> None:
    def timed(number: int, scheme: str, ratio: float) -> Trial:
        plain = trial(number, 0.94, 2 * ratio)
        p50 = Measurement(ratio, 1.0, 0.01, (ratio, ratio), (ratio - 0.01, ratio + 0.01))
        found = {**plain.measurements, "latency_p50_ms": p50}
        return replace(
            plain,
            recipe=replace(plain.recipe, quantization=scheme),
            evaluation=Evaluation(found, facts={"structure": "s"}),
        )

    at = outcome(trial(0, 0.95, 2.0), timed(1, "none", 0.2), timed(2, "fp16", 0.42))
    said = "slower than fp32 here, by the median call: fp16 in 1 of 1 structures, up to 2.1 times as long"
    assert said in text_of(at)
    assert f"{said[0].upper()}{said[1:]}." in note(at)


def test_time_is_told_by_stage_the_largest_first(good: Outcome) -> None:
    assert time_line(good) == "train 72%, measure 24%, log 2%"
    assert document(good)["seconds_by_stage"] == {"train": 9.0, "measure": 3.0, "log": 0.3}


def test_screened_trials_are_counted_by_what_screened_them(good: Outcome, tmp_path: Path) -> None:
    facts = {"screened_by": "structure"}
    screened = Trial(4, SCREENED, Recipe("mlp", "none", "fp16"), Evaluation({}, {}, (), facts), reason="size_mb is 2x")
    at = outcome(*good.standing.trials, screened)
    assert early_ends(at.standing) == {"failed": 1, "screened by its structure": 1}
    assert "1 failed, 1 screened by its structure" in text_of(at)


def test_the_verdict_covers_every_case(good: Outcome, infeasible: Outcome) -> None:
    assert "final exam on the test split passed" in verdict(good)
    assert "not taken yet" in verdict(replace(good, exams={}))
    second = verdict(replace(good, exams={1: FAILED_EXAM, 2: PASSED}))
    assert second.startswith("Trial 2 is the champion")
    assert "before it, trial 1 failed its exam by accuracy.max_drop (accuracy 93.00% against" in second
    unsure = {**FAILED_EXAM, "drop": -0.01, "broken_by_rule": {"upper_limit": ["accuracy.max_drop"], "point": []}}
    assert "+1.00 points (95%: -3.70 to -0.40); by exam.rule=upper_limit its far end counts)" in verdict(
        replace(good, exams={1: unsure, 2: PASSED})
    )
    assert "passed by exam.rule=point, accuracy" in verdict(replace(good, exams={1: {**PASSED, "rule": "point"}}))
    over = verdict(replace(good, exams={2: PASSED}))
    assert over.startswith("Trial 2 is the champion")
    assert "of a higher kpi_score, but not sure to hold the bounds on validation: trial 1." in over
    none = replace(good, exams={1: FAILED_EXAM, 2: FAILED_EXAM})
    assert verdict(none).startswith("No champion: of the front, trial 1 failed its exam by accuracy.max_drop")
    assert document(none)["champion"] is None
    assert set(document(none)["exams"]) == {"1", "2"}
    number = {**PASSED, "quality": "r2", "value": 0.8, "baseline": 0.9}
    assert "r2 0.8 against the baseline's 0.9: -0.02" in verdict(replace(good, exams={1: number}))
    assert verdict(infeasible).endswith("blocked by accuracy.")
    assert verdict(outcome(trial(0, 0.95, 2.0))) == "No trial beyond the baseline is complete yet."
    recipe = Recipe("cnn", "none", "none", width=2.0)
    broken = [
        Trial(n, SCREENED, recipe, screened_at(latency), f"p95 is {latency}") for n, latency in ((4, 1.9), (5, 1.2))
    ]
    assert verdict(outcome(trial(0, 0.95, 2.0), FAILURE, *broken, exams={})) == (
        "No trial beyond the baseline came to its end: 1 failed, 2 screened by its structure. "
        "kpis.latency_p95_ms.max_ratio=0.5 stopped 2, the nearest at 0.6x (trial 5, cnn x2 · fp32). "
        "Nothing was trained yet: type a larger budget.trials or budget.hours."
    )
    no_better = outcome(trial(0, 0.95, 0.9), trial(1, 0.94, 0.95))
    assert verdict(no_better).endswith("none beats the baseline on any objective: no champion.")


def test_machines_are_told_where_there_are_several() -> None:
    def made(number: int, host: str, made_on: str | None = None) -> Trial:
        facts = {HOST: host, CPU: f"CPU of {host}", **({MADE_ON: made_on} if made_on else {})}
        evaluation = Evaluation({"latency_p50_ms": Measurement(1.0, 2.0 * (1 + number))}, facts=facts)
        return Trial(number, SCREENED, Recipe("teacher", "none", "none"), evaluation)

    alone = standing([made(0, "a"), made(1, "a")], ())
    several = standing([made(0, "a"), made(1, "b"), made(2, "a", made_on="b")], ())
    assert machines_line(alone) == ""
    assert machines(several) == {
        "a": {"cpu": "CPU of a", "measured": 2, "made": 1, "baseline_latency_p50_ms": 4.0},
        "b": {"cpu": "CPU of b", "measured": 1, "made": 2, "baseline_latency_p50_ms": 4.0},
    }
    assert "a (CPU of a): made 1, measured 2, baseline p50 4 ms; b (CPU of b): made 2" in machines_line(several)
