"""Quality of an artifact on a labelled split."""

import numpy as np

from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.measurements.subject import Run, Subject


def quality(subject: Subject) -> dict[str, Measurement]:
    """The task's metric, under its name."""
    score = subject.metric.score
    outputs = (predict(subject.session, subject.inputs), subject.baseline_outputs)
    mine, base = (float(score(found, subject.targets)) for found in outputs)
    return {subject.metric.name: Measurement(mine, base)}


def predict(session: Run, inputs: Inputs) -> np.ndarray:
    """Outputs (n, k). One input a call, as it is served: dynamic quantization takes its ranges from the whole batch, so
    that larger batches would score another model.
    """
    return np.concatenate([session(inputs[i : i + 1]) for i in range(len(inputs))])
