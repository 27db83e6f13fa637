"""The card for people says what the card for programs says."""

from pathlib import Path
from typing import Any

import torch

from autoopt.champion.card import make_card
from autoopt.champion.model_card import model_card
from autoopt.core.kpi import Kpi, Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.trial import Evaluation
from autoopt.measurements import FACTS
from autoopt.runtimes.export import export
from autoopt.tasks import Task

EXAM: dict[str, Any] = {
    "quality": "accuracy",
    "rule": "upper_limit",
    "passed": False,
    "broken": ["accuracy.max_drop"],
    "value": 0.9,
    "baseline": 0.95,
    "drop": 0.05,
    "drop_95": [0.02, 0.08],
    "size": 300,
    "accuracy_95": [0.86, 0.93],
    "baseline_accuracy_95": [0.92, 0.97],
    "mcnemar_p": 0.001,
    "scores": {"accuracy": {"value": 0.9, "baseline": 0.95, "ratio": 0.947}},
    "fresh": {"latency_p95_ms": {"value": 1.0, "baseline": 4.0, "ratio": 0.25, "ratio_95": [0.2, 0.3]}},
    "classes": [{"class": "a|b", "rows": 30, "recall": 0.5, "baseline": 0.9}],
    "slices": [],
}


def made(task: Task, folder: Path, **more: Any) -> str:
    export(task.build_teacher(), task.validation.inputs[:2], folder / "m.onnx")
    found = {
        "accuracy": Measurement(0.9, 0.95),
        "latency_p95_ms": Measurement(1.0, 4.0, interval=(0.9, 1.1), ratio_interval=(0.2, 0.3), unstable=True),
    }
    card = make_card(
        task=task,
        recipe=Recipe("cnn", "none", "int8_static", epochs=3, optimizer="adamw", learning_rate=1e-5),
        model=folder / "m.onnx",
        evaluation=Evaluation(found),
        kpis=(Kpi("accuracy", True, objective=True, max_drop=0.01), Kpi("latency_p95_ms", False, max_ratio=0.5)),
        facts=FACTS,
        runtime="onnxruntime",
        baseline_runtime="onnxruntime",
        threads=1,
        seed=7,
        study="night",
        trial=12,
    )
    return model_card({**card, **more})


def test_it_tells_use_limits_data_metrics_exam_recipe_and_lineage(digits: Task, tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = made(digits, tmp_path, test=EXAM, lineage={"study_id": "f00", "teacher": "beef"})
    for part in ("Use", "Limits", "Data", "Metrics on validation", "Final exam", "Recipe", "Lineage"):
        assert f"\n## {part}\n" in text
    assert "\n## History\n" not in text
    assert digits.data_source in text
    assert digits.input_meaning in text
    assert "| latency_p95_ms | 1 ms ~ | 0.9 to 1.1 | 4 | 0.25x | 0.2 to 0.3 | max_ratio 0.5 |" in text
    assert "| accuracy | 0.9 | 0.8608 to 0.9291 | 0.95 | 0.947x |  | objective, max_drop 0.01 |" in text  # Wilson
    assert "FAILED by accuracy.max_drop: accuracy 90.00% against the baseline's 95.00%, -5.00 points" in text
    assert "**It failed its final exam** by accuracy.max_drop" in text
    assert "The test split has 300 rows" in text
    for line in (
        "| teacher | `beef` |",
        "| seed | `7` |",
        "| learning_rate | `1e-05` |",
        f"| data | `{digits.fingerprint}` |",
    ):
        assert line in text
    assert "`autoopt reproduce study=night trial=12` makes it again." in text


def test_a_forced_promotion_is_in_its_history(digits: Task, tmp_path: Path) -> None:
    forced = {"by": "ada", "at": "2026-01-01T07:00:00+00:00", "why": "the demo", "over": "its final exam failed"}
    text = made(digits, tmp_path, test=EXAM, forced=forced)
    assert (
        "## History\n\n- Promoted by force by ada on 2026-01-01T07:00:00+00:00, over: its final exam failed. " in text
    )
    assert text.endswith("Reason given: the demo\n")


def test_what_took_no_exam_says_so(digits: Task, tmp_path: Path) -> None:
    text = made(digits, tmp_path)
    assert "It has taken no final exam" in text
    assert "\n## Final exam\n" not in text
