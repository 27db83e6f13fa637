"""Memory and cold start: a fresh process that loads the artifact and serves some inputs."""

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.measurements import serve_once
from autoopt.measurements.process import run_fresh
from autoopt.measurements.subject import Subject

SERVED, STARTS = 100, 3
NAMES = ("load_ms", "peak_rss_mb", "runtime_rss_mb")


def cold_start(subject: Subject) -> dict[str, Measurement]:
    """load_ms until the first answer, peak_rss_mb after SERVED inputs of one row each, and runtime_rss_mb, that of
    interpreter and runtime alone. Processes of artifact and baseline alternate; medians over STARTS, the spread half
    their range. Raises TrialError where a process does not come to its end.
    """
    with TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        calls: dict[str, Any] = _calls(subject.inputs)
        np.savez(inputs, **calls)
        mine, base = [], []
        for _ in range(STARTS):
            mine.append(_served(subject.path, inputs, subject, subject.runtime))
            base.append(_served(subject.baseline_path, inputs, subject, subject.baseline_runtime))
    return {name: _measurement([m[name] for m in mine], [b[name] for b in base]) for name in NAMES}


def _calls(inputs: Inputs) -> dict[str, np.ndarray]:
    """The arrays of each call under its number and their names."""
    rows = np.linspace(0, len(inputs) - 1, SERVED).round().astype(int)
    return {
        f"{call} {name}": array for call, row in enumerate(rows) for name, array in inputs[row : row + 1].arrays.items()
    }


def _served(model: Path, inputs: Path, subject: Subject, runtime: str) -> dict[str, float]:
    words = (str(model), str(inputs), str(subject.threads), runtime, subject.provider)
    return dict(run_fresh(str(serve_once.__file__), *words))


def _measurement(mine: list[float], base: list[float]) -> Measurement:
    return Measurement(median(mine), median(base), spread=(max(mine) - min(mine)) / 2)
