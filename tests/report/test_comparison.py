"""What may be compared, and what may not."""

from dataclasses import replace
from typing import Any

from autoopt.core.kpi import Kpi
from autoopt.report.compare_page import compare_page
from autoopt.report.comparison import Studied, cautions, comparison_document, rows
from tests.report.test_report import outcome, trial
from tests.search.table import KPIS


def studied(name: str, task: str = "digits", kpis: tuple[Kpi, ...] = KPIS, **identity: Any) -> Studied:
    best = trial(1, 0.94, 0.5 if name == "a" else 0.7)
    at = replace(outcome(trial(0, 0.95, 2.0), best, kpis=kpis), study=name)
    return Studied(at, task, {"task": {"name": task, "data": "1"}, "teacher": {"weights": "w"}, **identity})


def told(*studies: Studied) -> dict[str, list[str]]:
    return dict(rows(studies))


def test_studies_of_one_task_and_kpis_are_compared_in_full() -> None:
    pair = (studied("a"), studied("b"))
    assert cautions(pair) == []
    table = told(*pair)
    assert table["champion's latency_p95_ms"] == ["0.5 (0.25x)", "0.7 (0.35x)"]
    assert table["hypervolume"] == [f"{one.outcome.standing.hypervolume:.4g}" for one in pair]
    document = comparison_document(pair)
    assert document["comparable"]
    assert [one["study"] for one in document["studies"]] == ["a", "b"]
    assert document["studies"][0]["hypervolume"] > document["studies"][1]["hypervolume"]
    page = compare_page(pair)
    assert page.count('<div class="chart"') == 3
    assert "<h2>Hypervolume</h2>" in page


def test_other_bounds_leave_measurements_alone() -> None:
    pair = (studied("a"), studied("b", kpis=(replace(KPIS[0], max_drop=0.02), KPIS[1])))
    assert "kpi_score and hypervolume are not comparable" in cautions(pair)[0]
    assert "hypervolume" not in told(*pair)
    assert "champion's kpi_score" not in told(*pair)
    assert told(*pair)["champion's accuracy"] == ["94.00% (-1.00)", "94.00% (-1.00)"]
    document = comparison_document(pair)
    assert not document["comparable"]
    assert [one["hypervolume"] for one in document["studies"]] == [None, None]
    assert [one["champion"]["kpi_score"] for one in document["studies"]] == [None, None]
    page = compare_page(pair)
    assert "<h2>Fronts</h2>" in page
    assert "<h2>Hypervolume</h2>" not in page


def test_other_tasks_are_not_drawn_together() -> None:
    pair = (studied("a"), studied("b", task="fashion"))
    assert "a is of digits, b is of fashion" in cautions(pair)[0]
    assert "hypervolume" not in told(*pair)
    assert '<div class="chart"' not in compare_page(pair)


def test_another_teacher_or_runtime_is_named() -> None:
    pair = (studied("a", runtime={"threads": 1}), studied("b", teacher={"weights": "v"}, runtime={"threads": 2}))
    assert [caution.split(" differ")[0] for caution in cautions(pair)] == [
        "The teacher's weights",
        "The runtime or its threads",
    ]


def test_a_study_without_a_champion_has_its_nearest_miss() -> None:
    bare = replace(studied("b"), outcome=replace(outcome(trial(0, 0.95, 2.0), trial(1, 0.6, 0.5), exams={}), study="b"))
    table = told(studied("a"), bare)
    assert table["champion"][1].startswith("none; nearest miss: trial 1")
    assert table["champion's accuracy"][1] == table["champion's exam"][1] == "–"
    assert comparison_document((bare,))["studies"][0]["champion"] is None
