"""Quality of an artifact on a labelled split."""

import numpy as np

from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.measurements.subject import Run, Subject


def accuracy(subject: Subject) -> dict[str, Measurement]:
    """Share of inputs whose class is right."""
    predicted = predict(subject.session, subject.inputs)
    right, baseline_right = (float((p == subject.targets).mean()) for p in (predicted, subject.baseline_predictions))
    return {"accuracy": Measurement(right, baseline_right)}


def predict(session: Run, inputs: Inputs) -> np.ndarray:
    """Class ids (n,). One input a call, as it is served: dynamic quantization takes its ranges from the whole batch,
    so larger
    batches would score another model."""
    return np.array([session(inputs[i : i + 1]).argmax() for i in range(len(inputs))])
