from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from autoopt.champion.exam import final_exam
from autoopt.core.kpi import Kpi
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


def take(opener: Opener, digits: Task, exported: dict[str, Path], study: object) -> dict:
    return final_exam(study, 4, exported["mlp"], exported["cnn"], digits, KPIS, opener)  # type: ignore[arg-type]


def test_it_is_scored_on_the_test_split(digits: Task, exported: dict[str, Path], tmp_path: Path) -> None:
    result = take(Opener(), digits, exported, begin(tmp_path))
    predicted = RUNTIMES["onnxruntime"](exported["mlp"], 1)(digits.test.inputs.numpy()).argmax(1)
    assert result["value"] == accuracy_score(digits.test.targets, predicted)
    assert result["drop"] == pytest.approx(result["baseline"] - result["value"])
    assert result["size"] == len(digits.test)
    assert result["passed"] == (result["drop"] <= 0.02)


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
