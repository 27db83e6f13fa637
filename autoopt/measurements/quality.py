"""Quality of an artifact on a labelled split."""

from collections.abc import Callable

import numpy as np

from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.measurements.classes import agreement, calibration_error, recalls
from autoopt.measurements.subject import Run, Subject


def quality(subject: Subject) -> dict[str, Measurement]:
    """The task's metric, under its name; of a classification its worst class, agreement and calibration too."""
    outputs = (predict(subject.session, subject.inputs), subject.baseline_outputs)

    def both(score: Callable[[np.ndarray, np.ndarray], float]) -> Measurement:
        mine, base = (float(score(found, subject.targets)) for found in outputs)
        return Measurement(mine, base)

    found = {subject.metric.name: both(subject.metric.score)}
    if subject.targets.dtype.kind == "i":
        found |= {
            "worst_class_recall": both(lambda outputs, targets: float(np.nanmin(recalls(outputs, targets)))),
            "agreement": Measurement(agreement(*outputs)),
            "calibration_error": both(calibration_error),
        }
    return found


def predict(session: Run, inputs: Inputs) -> np.ndarray:
    """Outputs (n, k). One input a call, as it is served: dynamic quantization takes its ranges from the whole batch, so
    that larger batches would score another model.
    """
    return np.concatenate([session(inputs[i : i + 1]) for i in range(len(inputs))])
