from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from autoopt.champion.exam import final_exam
from autoopt.core.errors import TrialError
from autoopt.core.kpi import Kpi, Measurement
from autoopt.runtimes import RUNTIMES
from autoopt.tasks import Task
from tests.search.table import begin

KPIS = (
    Kpi("accuracy", True, objective=True, max_drop=0.02),
    Kpi("latency_p95_ms", False, objective=True, max_ratio=0.5),
)


class Opener:
    """Opens sessions and counts them; a session may be made to answer wrongly on a share of the inputs."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.opened: list[Path] = []
        self._wrong = wrong

    def __call__(self, path: Path) -> Callable[[np.ndarray], np.ndarray]:
        self.opened.append(path)
        session = RUNTIMES["onnxruntime"](path, 1)
        if path.name != "mlp.onnx" or not self._wrong:
            return session
        rng = np.random.default_rng(0)
        return lambda inputs: -session(inputs) if rng.random() < self._wrong else session(inputs)


def take(
    opener: Opener,
    digits: Task,
    exported: dict[str, Path],
    study: object,
    *,
    rule: str = "point",
    p95: float = 0.4,
    kpis: tuple[Kpi, ...] = KPIS,
) -> dict:
    def again() -> dict[str, Measurement]:
        return {"latency_p95_ms": Measurement(p95, 1.0, spread=0.05)}

    def opened() -> tuple:
        return opener(exported["mlp"]), opener(exported["cnn"])

    return final_exam(study, 4, opened, digits, kpis, rule, again)  # type: ignore[arg-type]


def test_it_is_scored_on_the_test_split(digits: Task, exported: dict[str, Path], tmp_path: Path) -> None:
    result = take(Opener(), digits, exported, begin(tmp_path))
    predicted = RUNTIMES["onnxruntime"](exported["mlp"], 1)(digits.test.inputs.numpy()).argmax(1)
    assert result["value"] == accuracy_score(digits.test.targets, predicted)
    assert result["drop"] == pytest.approx(result["baseline"] - result["value"])
    assert result["size"] == len(digits.test)
    assert result["passed"] == (result["drop"] <= 0.02)
    low, high = result["drop_95"]
    assert low <= result["drop"] <= high
    assert result["accuracy_95"][0] < result["value"] < result["accuracy_95"][1]
    assert 0 < result["mcnemar_p"] <= 1
    assert sum(row["rows"] for row in result["classes"]) == len(digits.test)
    losses = [row["recall"] - row["baseline"] for row in result["classes"]]
    assert losses == sorted(losses)
    found = sum(row["rows"] * row["recall"] for row in result["classes"]) / len(digits.test)
    assert found == pytest.approx(result["value"])
    assert result["fresh"]["latency_p95_ms"] == {"value": 0.4, "baseline": 1.0, "ratio": 0.4}


def test_every_bound_on_quality_is_held_against_the_test_split(
    digits: Task, exported: dict[str, Path], tmp_path: Path
) -> None:
    """Metrics by the rule, what a bootstrap cannot tell at its value."""
    rows = len(digits.test)
    digits = replace(digits, test=replace(digits.test, slices=tuple("ab"[i % 2] for i in range(rows))))
    bounds = {"macro_f1": 0.02, "worst_class_recall": 0.1, "worst_slice": 0.02}
    kpis = (*KPIS, *(Kpi(name, True, max_drop=drop) for name, drop in bounds.items()), Kpi("agreement", True, min=0.97))
    result = take(Opener(wrong=0.04), digits, exported, begin(tmp_path), rule="upper_limit", kpis=kpis)
    scores = result["scores"]
    assert set(scores) == {"accuracy", "calibration_error", "agreement", *bounds}
    broken = {
        f"{name}.max_drop" for name in ("worst_class_recall", "worst_slice") if drop_of(scores[name]) > bounds[name]
    }
    assert broken | {"accuracy.max_drop", "macro_f1.max_drop", "agreement.min"} == set(result["broken"])
    assert scores["agreement"]["value"] < 0.97
    assert [row["rows"] for row in result["slices"]] == [rows / 2, rows / 2]
    assert min(row["value"] for row in result["slices"]) == scores["worst_slice"]["value"]


def drop_of(score: dict) -> float:
    return score["baseline"] - score["value"]


@pytest.mark.parametrize("drop", [0.005, 0.03])
def test_the_upper_limit_of_the_drop_decides_unless_told_otherwise(
    drop: float, digits: Task, exported: dict[str, Path], tmp_path: Path
) -> None:
    """300 rows do not tell a drop of half a point from one of two points: the default does not let it pass."""
    opened = Opener(wrong=drop)
    points = take(opened, digits, exported, begin(tmp_path / "a"), rule="point")
    upper = take(Opener(wrong=drop), digits, exported, begin(tmp_path / "b"), rule="upper_limit")
    assert points["drop_95"] == upper["drop_95"]
    assert points["passed"] == (points["drop"] <= 0.02)
    assert upper["passed"] == (upper["drop_95"][1] <= 0.02)


def test_speed_in_a_fresh_process_may_fail_it(digits: Task, exported: dict[str, Path], tmp_path: Path) -> None:
    within_spread = take(Opener(), digits, exported, begin(tmp_path / "a"), p95=0.54)
    assert "latency_p95_ms" not in str(within_spread["broken"])
    slow = take(Opener(), digits, exported, begin(tmp_path / "b"), p95=0.56)
    assert "latency_p95_ms.max_ratio in a fresh process" in slow["broken"]
    assert not slow["passed"]


def test_a_model_that_a_fresh_process_cannot_serve_fails_and_says_why(
    digits: Task, exported: dict[str, Path], tmp_path: Path
) -> None:
    def again() -> dict[str, Measurement]:
        raise TrialError("measuring in a fresh process failed: killed")

    def opened() -> tuple:
        return Opener()(exported["mlp"]), Opener()(exported["cnn"])

    result = final_exam(begin(tmp_path), 4, opened, digits, KPIS, "point", again)  # type: ignore[arg-type]
    assert not result["passed"]
    assert "measuring in a fresh process failed: killed" in result["broken"]
    assert result["fresh"] == {}


def test_a_drop_beyond_the_bound_fails_and_is_named(digits: Task, exported: dict[str, Path], tmp_path: Path) -> None:
    result = take(Opener(wrong=0.2), digits, exported, begin(tmp_path))
    assert not result["passed"]
    assert result["broken"] == ["accuracy.max_drop"]


def test_the_test_split_is_read_once(digits: Task, exported: dict[str, Path], tmp_path: Path) -> None:
    opener = Opener()
    first = take(opener, digits, exported, begin(tmp_path))
    assert len(opener.opened) == 2
    assert take(opener, digits, exported, begin(tmp_path)) == first
    assert len(opener.opened) == 2
