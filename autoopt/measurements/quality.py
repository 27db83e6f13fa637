"""Quality of an artifact on a labelled split."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.core.metric import Metric
from autoopt.measurements.classes import agreement, calibration_error, recalls
from autoopt.measurements.subject import Run, Subject

FEWEST_ROWS = 20  # of a slice, for its quality to say anything


def quality(subject: Subject) -> dict[str, Measurement]:
    """See `scores`, on the subject's inputs."""
    outputs = predict(subject.session, subject.inputs)
    wrong = int((~np.isfinite(outputs)).any(1).sum())
    if wrong:
        raise TrialError(f"the artifact's outputs are not finite in {wrong} of {len(outputs)} rows of validation")
    return _numbers(scores(outputs, subject.baseline_outputs, subject.targets, subject.metrics, subject.slices))


def _numbers(found: dict[str, Measurement]) -> dict[str, Measurement]:
    """As they are. Raises TrialError where one is NaN, which no bound would be broken by."""
    for name, measured in found.items():
        if math.isnan(measured.value):
            raise TrialError(f"{name} on the validation split is no number")
    return found


def scores(
    mine: np.ndarray, base: np.ndarray, targets: np.ndarray, metrics: Sequence[Metric], slices: Sequence[str] = ()
) -> dict[str, Measurement]:
    """The metrics under their names; of a classification its worst class, agreement and calibration; with slices the
    first metric of the worst of them, of at least FEWEST_ROWS rows. Outputs (n, k) of artifact and baseline.
    """

    def both(score: Callable[[np.ndarray, np.ndarray], float]) -> Measurement:
        own, theirs = (float(score(outputs, targets)) for outputs in (mine, base))
        return Measurement(own, theirs)

    found = {metric.name: both(metric.score) for metric in metrics}
    if targets.dtype.kind == "i":
        found |= {
            "worst_class_recall": both(lambda outputs, targets: float(np.nanmin(recalls(outputs, targets)))),
            "agreement": Measurement(agreement(mine, base)),
            "calibration_error": both(calibration_error),
        }
    large = large_slices(slices)
    if large:
        score = metrics[0].score
        found["worst_slice"] = both(
            lambda outputs, targets: min(score(outputs[rows], targets[rows]) for rows in large.values())
        )
    return found


def places(slices: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows of each slice."""
    names = np.array(slices, dtype=str)
    return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}


def large_slices(slices: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows of each that has FEWEST_ROWS."""
    return {name: rows for name, rows in places(slices).items() if len(rows) >= FEWEST_ROWS}


def predict(session: Run, inputs: Inputs) -> np.ndarray:
    """Outputs (n, k). One input a call, as it is served: dynamic quantization takes its ranges from the whole batch, so
    that larger batches would score another model.
    """
    return np.concatenate([session(inputs[i : i + 1]) for i in range(len(inputs))])
