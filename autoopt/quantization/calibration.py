"""The calibration set: training inputs that set activation ranges; never validation, never test."""

from dataclasses import dataclass

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod

CALIBRATIONS: dict[str, CalibrationMethod] = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


@dataclass(frozen=True, eq=False)
class Calibration:
    """Inputs (n, ...) as the model takes them; `method` is a key of CALIBRATIONS, None where the scheme needs none."""

    inputs: np.ndarray
    method: str | None = None


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the calibration set in small batches to onnxruntime."""

    def __init__(self, inputs: np.ndarray, name: str, batch: int = 32) -> None:
        self._batches = iter([{name: inputs[i : i + batch]} for i in range(0, len(inputs), batch)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)
